// vmx under a debugger: the machine in a process of its own, and this one as the debugger's front.
#pragma once

struct config;
struct machine;

// Runs the VM of the configuration, whose key `gdb` is set. Returns vmx's exit status.
int front_run(const struct config *config);
// main.c: signals that end a VM leave it at its next stop.
void catch_signals(struct machine *m);
