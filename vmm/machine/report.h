// What a machine's messages say about the state that its guest was left in.
#pragma once

struct machine;

// The general registers and a few more.
void report_registers(struct machine *m, unsigned cpu);
// What the guest did last, as far as we saw it.
void report_exits(struct machine *m);
// For whoever has to find out why a guest crashed: everything of the current vCPU, its instruction, the last exits.
void report_crash(struct machine *m);
