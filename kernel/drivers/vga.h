// The VGA text screen with the keyboard: virtual terminals tty1–tty4, one of them in the foreground.
#pragma once
#include "lib/compiler.h"

struct tty;

#define VGA_TERMINALS 4u

// Makes the terminals and /dev/tty0, takes over the log's screen. Without a text screen there are
// none, and the functions below do nothing. Boot.
void vga_init(void);
// The foreground terminal, or NULL. Any context, as the others.
struct tty *vga_foreground(void);
// Brings terminal n (0-based) to the foreground; out of range: ignored.
void vga_switch(unsigned n);
// Looks `lines` further back (negative: forward) in the foreground terminal's history.
void vga_scroll(int lines);
// True when its cursor keys shall send application sequences (DECCKM).
bool vga_application_cursor(void);
