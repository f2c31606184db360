// Inside cpu/ only.
#pragma once

// Sets the APIC timer of the calling processor up, disarmed.
void clock_init_cpu(void);
