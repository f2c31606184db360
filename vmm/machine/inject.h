// Faults on purpose, for tests of the comparison that a replay makes: at a moment of virtual time one bit of the
// machine's state is turned over (key inject).
#pragma once

struct machine;

// By the configuration, after all devices. 0, or -EINVAL after a message.
int inject_create(struct machine *m);
// Without the fault, after all.
void inject_nothing(struct machine *m);
