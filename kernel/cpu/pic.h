// The two 8259 interrupt controllers of the PC, which the IOAPIC replaces.
#pragma once

// Masks all their lines, and moves their vectors away from the exceptions in case one still fires.
void pic_disable(void);
