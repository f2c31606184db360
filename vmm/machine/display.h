// The text screen on a terminal: what the guest has on its VGA is drawn there with the sequences of the `linux` and `xterm`
// terminals. Nothing of it is part of the machine: the guest cannot notice, and a log knows nothing of it.
#pragma once
#include <stdbool.h>

struct machine;
struct output;

void display_create(struct machine *m, struct output *terminal);
// Draws what has changed since the last time, as often as eyes want it, as V passes: at the ends of slices. `idle`: nothing
// will change for a while.
void display_refresh(struct machine *m, bool idle);
// At the end: draws the last of it, and leaves the terminal's cursor below.
void display_close(struct machine *m);
