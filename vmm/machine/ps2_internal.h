// What the controller (ps2.c) and its two devices (ps2_keyboard.c, ps2_mouse.c) share.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine/state.h"

#define PS2_QUEUE 16

enum { PS2_ACK = 0xfa, PS2_RESEND = 0xfe, PS2_SELF_TEST_PASSED = 0xaa };

// Bytes that a device wants to send, in order.
struct ps2_queue {
    uint8_t byte[PS2_QUEUE];
    uint8_t head, count;
};
void ps2_put(struct ps2_queue *q, uint8_t byte); // lost when the queue is full
uint8_t ps2_take(struct ps2_queue *q);           // it is not empty
void ps2_queue_state(struct ps2_queue *q, struct state_visitor *v);

struct ps2_keyboard {
    struct ps2_queue queue;
    uint8_t expects; // command whose parameter comes next, 0: none
    bool enabled;    // sends keys
    uint8_t leds, rate, last;
};
void keyboard_reset(struct ps2_keyboard *k);
void keyboard_state(struct ps2_keyboard *k, struct state_visitor *v);
// A byte from the controller: a command or its parameter.
void keyboard_write(struct ps2_keyboard *k, uint8_t value);
// A byte of scan code set 2 from the user.
void keyboard_key(struct ps2_keyboard *k, uint8_t code);
// The code of set 1 for a byte of set 2, as the controller translates; *release: after a prefix F0h.
uint8_t keyboard_translate(uint8_t code, bool *release);

struct ps2_mouse {
    struct ps2_queue queue;
    uint8_t expects;
    bool enabled, remote, wrap, scale2;
    uint8_t rate, resolution;
};
void mouse_reset(struct ps2_mouse *m);
void mouse_state(struct ps2_mouse *m, struct state_visitor *v);
void mouse_write(struct ps2_mouse *m, uint8_t value);
