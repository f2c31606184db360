// Keyboard controller (8042) with a PS/2 keyboard and mouse: ports 60h and 64h, IRQ 1 and 12.
//
// What the keyboard sends is the input event "keyboard": bytes of scan code set 2, as a keyboard's own
// cable carries them; the controller translates them to set 1 unless the guest turns that off. The
// mouse answers commands and never moves.
#pragma once

struct machine;
struct output;

// `terminal`: what is typed there are keys (typing.h); NULL: nobody can type.
void ps2_create(struct machine *m, struct output *terminal);
