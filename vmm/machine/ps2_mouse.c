// A PS/2 mouse with two buttons that lies still: it answers what drivers ask.
#include <string.h>
#include "vmm/machine/ps2_internal.h"

enum {
    SCALE_1 = 0xe6,
    SCALE_2 = 0xe7,
    SET_RESOLUTION = 0xe8,
    STATUS = 0xe9,
    STREAM = 0xea,
    READ_DATA = 0xeb,
    WRAP_OFF = 0xec,
    WRAP_ON = 0xee,
    REMOTE = 0xf0,
    IDENTIFY = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    DEFAULTS = 0xf6,
    RESET = 0xff,
};

void mouse_reset(struct ps2_mouse *m) {
    memset(m, 0, sizeof(*m));
    m->rate = 100;     // samples a second
    m->resolution = 2; // 4 counts per millimetre
}

void mouse_state(struct ps2_mouse *m, struct state_visitor *v) {
    ps2_queue_state(&m->queue, v);
    STATE(v, m, expects);
    STATE(v, m, enabled);
    STATE(v, m, remote);
    STATE(v, m, wrap);
    STATE(v, m, scale2);
    STATE(v, m, rate);
    STATE(v, m, resolution);
}

static void send_status(struct ps2_mouse *m) {
    ps2_put(&m->queue, (uint8_t)(m->remote << 6 | m->enabled << 5 | m->scale2 << 4));
    ps2_put(&m->queue, m->resolution);
    ps2_put(&m->queue, m->rate);
}

static void parameter(struct ps2_mouse *m, uint8_t value) {
    if (m->expects == SET_RATE)
        m->rate = value;
    else
        m->resolution = value & 3;
    m->expects = 0;
    ps2_put(&m->queue, PS2_ACK);
}

static void command(struct ps2_mouse *m, uint8_t value) {
    ps2_put(&m->queue, PS2_ACK);
    switch (value) {
    case SCALE_1:
    case SCALE_2: m->scale2 = value == SCALE_2; break;
    case SET_RESOLUTION:
    case SET_RATE: m->expects = value; break;
    case STATUS: send_status(m); break;
    case STREAM:
    case REMOTE: m->remote = value == REMOTE; break;
    case READ_DATA:
        ps2_put(&m->queue, 8); // no button, no movement
        ps2_put(&m->queue, 0);
        ps2_put(&m->queue, 0);
        break;
    case WRAP_OFF:
    case WRAP_ON: m->wrap = value == WRAP_ON; break;
    case IDENTIFY: ps2_put(&m->queue, 0); break;
    case ENABLE:
    case DISABLE: m->enabled = value == ENABLE; break;
    case DEFAULTS:
    case RESET:
        mouse_reset(m);
        ps2_put(&m->queue, PS2_ACK);
        if (value == RESET) {
            ps2_put(&m->queue, PS2_SELF_TEST_PASSED);
            ps2_put(&m->queue, 0);
        }
        break;
    default: m->queue.count = 0; ps2_put(&m->queue, PS2_RESEND);
    }
}

void mouse_write(struct ps2_mouse *m, uint8_t value) {
    if (m->wrap && value != WRAP_OFF && value != RESET) {
        ps2_put(&m->queue, value);
        return;
    }
    if (m->expects) {
        parameter(m, value);
        return;
    }
    m->queue.count = 0;
    command(m, value);
}
