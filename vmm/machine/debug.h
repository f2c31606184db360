// The debugger's view of a machine: the operations of replay/target.h, and what the run loop asks while a debugged
// run goes on. Stopping, stepping and breakpoints change nothing that the guest or a log can notice.
#pragma once
#include "replay/target.h"
#include "vmm/machine/machine.h"

// The target of these operations is a struct machine with a debugger.
extern const struct target_ops debug_ops;

// Gives the machine, which has not run yet, a debugger. `status`: vmx's exit status is written there when the VM
// ends (memory that the front shares). 0, or -errno after a message.
int debug_create(struct machine *m, int *status);
// After server_run(): what has to be finished when nobody wants the machine any more (a recording's end).
void debug_finish(struct machine *m);

// ---- for the run loop; m->debug is not NULL --------------------------------------------------------
// Before each turn: true if the run pauses here. Pending accesses are completed then.
bool debug_pauses(struct machine *m);
// The guest must stop at `stop`: or earlier, for the debugger.
uint64_t debug_stop_count(const struct machine *m, uint64_t stop);
// The debugger stopped the guest in the shadow of STI or MOV SS, where counts never do.
bool debug_in_shadow(const struct machine *m);
// An interrupt or NMI is about to be given to the vCPU.
void debug_delivers(struct cpu *c);
// Another vCPU's turn begins.
void debug_switches(struct machine *m);
// Before each KVM_RUN: additional CHRONO_* bits of chrono_run.control.
uint32_t debug_control(struct cpu *c);
// After each exit: true if it is the debugger's (a breakpoint, a watch, MOV DR) and was handled.
bool debug_takes_exit(struct cpu *c);
