// Interrupt lines and vectors.
#pragma once
#include "cpu/trapframe.h"

// Runs with interrupts off on the processor that took it; must not sleep. EOI is done by the caller.
typedef void (*irq_handler)(void *arg);

// Routes ISA interrupt `line` (0–15; overrides of the MADT applied) to a fresh vector on the boot
// processor and unmasks it. Several handlers may share a line. 0, or -ENOSPC. May sleep: no.
int irq_register(unsigned line, const char *name, irq_handler handler, void *arg);
// The same for a PCI pin: `gsi` as routed, level triggered, active low.
int irq_register_gsi(unsigned gsi, bool level, bool active_low, const char *name, irq_handler h,
                     void *arg);
// Fixed vectors of the kernel itself, above all devices.
enum {
    VECTOR_TIMER = 0xf0,
    VECTOR_RESCHEDULE = 0xf1,
    VECTOR_TLB = 0xf2,
    VECTOR_VMM_KICK = 0xf3,
    VECTOR_CALL = 0xf4,
    VECTOR_LOG = 0xf5,
    VECTOR_APIC_ERROR = 0xfe,
    VECTOR_SPURIOUS = 0xff
};
// Installs the handler of one of the fixed vectors (boot only).
void irq_set_vector(unsigned vector, const char *name, irq_handler handler, void *arg);
// Who handles a vector, for /proc/interrupts beside struct cpu's irq_count; NULL: nobody.
const char *irq_name(unsigned vector);
