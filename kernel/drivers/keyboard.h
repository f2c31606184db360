// The PS/2 keyboard (drivers/ps2.c).
#pragma once
#include "lib/compiler.h"

// Starts controller and keyboard; without them the screen has no input. Boot.
void keyboard_init(void);
// What Control-Alt-Delete does; called in an interrupt. NULL: nothing.
void keyboard_set_reboot_hook(void (*hook)(void));
// The lock keys' LEDs: enum key_lock.
unsigned keyboard_leds(void);
