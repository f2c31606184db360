// A PS/2 keyboard with 101 keys (IBM Personal System/2 Hardware Interface Technical Reference).
#include <string.h>
#include "vmm/machine/ps2_internal.h"

#define TYPEMATIC 0x2b // 10.9 characters a second after half a second
#define RELEASE   0xf0 // prefix of set 2

enum {
    SET_LEDS = 0xed,
    ECHO = 0xee,
    SCAN_SET = 0xf0,
    IDENTIFY = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    DEFAULTS = 0xf6,
    KEY_TYPES = 0xf7,    // to FAh: of all keys
    ONE_KEY_TYPE = 0xfb, // to FDh: of one key, which follows
    RESEND = 0xfe,
    RESET = 0xff,
};

uint8_t keyboard_translate(uint8_t code, bool *release) {
    // Set 2 → set 1. Codes above 83h are the same in both.
    static const uint8_t table[0x84] = {
        0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
        0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
        0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
        0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
        0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
        0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
        0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
        0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
        0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41};
    uint8_t value = code < sizeof(table) ? table[code] : code;
    if (*release)
        value |= 0x80;
    *release = false;
    return value;
}

static void defaults(struct ps2_keyboard *k) {
    k->expects = 0;
    k->leds = 0;
    k->rate = TYPEMATIC;
}

void keyboard_reset(struct ps2_keyboard *k) {
    memset(k, 0, sizeof(*k));
    defaults(k);
    k->enabled = true;
}

void keyboard_state(struct ps2_keyboard *k, struct state_visitor *v) {
    ps2_queue_state(&k->queue, v);
    STATE(v, k, expects);
    STATE(v, k, enabled);
    STATE(v, k, leds);
    STATE(v, k, rate);
    STATE(v, k, last);
}

static void send(struct ps2_keyboard *k, uint8_t byte) {
    k->last = byte;
    ps2_put(&k->queue, byte);
}

void keyboard_key(struct ps2_keyboard *k, uint8_t code) {
    if (k->enabled)
        send(k, code);
}

static void parameter(struct ps2_keyboard *k, uint8_t value) {
    uint8_t command = k->expects;
    k->expects = 0;
    if (command == SCAN_SET && value == 0) {
        send(k, PS2_ACK);
        send(k, 2);
        return;
    }
    if (command == SCAN_SET &&
        value != 2) { // others are rare, and the controller translates to set 1
        send(k, PS2_RESEND);
        return;
    }
    if (command == SET_LEDS)
        k->leds = value & 7;
    else if (command == SET_RATE)
        k->rate = value & 0x7f;
    send(k, PS2_ACK);
}

static void command(struct ps2_keyboard *k, uint8_t value) {
    switch (value) {
    case ECHO: send(k, ECHO); return;
    case RESEND: send(k, k->last); return;
    case SET_LEDS:
    case SCAN_SET:
    case SET_RATE:
    case ONE_KEY_TYPE:
    case ONE_KEY_TYPE + 1:
    case ONE_KEY_TYPE + 2: k->expects = value; break;
    case ENABLE: k->enabled = true; break;
    case DISABLE:
    case DEFAULTS:
        defaults(k);
        k->enabled = value == DEFAULTS;
        break;
    case IDENTIFY:
    case RESET:
    case KEY_TYPES:
    case KEY_TYPES + 1:
    case KEY_TYPES + 2:
    case KEY_TYPES + 3: break;
    default: send(k, PS2_RESEND); return;
    }
    send(k, PS2_ACK);
    if (value == IDENTIFY) {
        send(k, 0xab);
        send(k, 0x83);
    } else if (value == RESET) {
        defaults(k);
        k->enabled = true;
        send(k, PS2_SELF_TEST_PASSED);
    }
}

void keyboard_write(struct ps2_keyboard *k, uint8_t value) {
    if (value < 0xed && k->expects) {
        parameter(k, value);
        return;
    }
    k->expects = 0;
    k->queue.count = 0; // a command ends what was being sent
    command(k, value);
}
