// The interrupt descriptor table, shared by all processors.
#pragma once

void idt_init(void); // fills it; boot processor only
void idt_load(void); // on each processor
