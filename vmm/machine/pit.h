// The 8254 timer and port 61h.
#pragma once
struct machine;
void pit_create(struct machine *m);
// An interrupt controller lets IRQ 0 through: from now on the rises of counter 0's output are interrupts, even where the
// guest has not programmed it.
void pit_interrupt_wanted(struct machine *m);
