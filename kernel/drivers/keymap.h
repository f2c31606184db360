// Scancodes to bytes: the US layout as the `linux` terminal sends it. A pure state machine.
#pragma once
#include "lib/compiler.h"

enum key_lock { LOCK_SCROLL = 1, LOCK_NUM = 2, LOCK_CAPS = 4 }; // as the keyboard numbers its LEDs

struct keymap {
    bool extended;                     // after 0xe0
    uint8_t skip;                      // bytes of the Pause key to come
    bool shift[2], control[2], alt[2]; // left, right
    uint8_t locks, locks_down;         // enum key_lock; those whose key is held (no repeat)
};

enum key_action { KEY_NONE, KEY_TEXT, KEY_LOCKS, KEY_SWITCH, KEY_SCROLL, KEY_REBOOT };

struct key_event {
    enum key_action action;
    char text[8]; // KEY_TEXT
    unsigned length;
    int number; // KEY_SWITCH: terminal, from 0; KEY_SCROLL: lines back
};

// One byte of scancode set 1. `application_cursor`: the terminal asked for DECCKM. KEY_LOCKS: the
// LEDs have to follow k->locks.
struct key_event keymap_feed(struct keymap *k, uint8_t code, bool application_cursor);
