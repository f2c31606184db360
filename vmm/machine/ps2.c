// The controller: an 8042 with the PC's program (IBM Personal System/2 Hardware Interface Technical
// Reference, "Keyboard and Auxiliary Device Controller").
//
// There is one output buffer for answers of the controller, the keyboard and the mouse, in this order.
// The next byte comes some time after the last was read, so that reading port 60h twice gives the same.
#include "vmm/machine/ps2.h"
#include <stdlib.h>
#include <string.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/output.h"
#include "vmm/machine/ps2_internal.h"
#include "vmm/machine/typing.h"

#define DATA_PORT    0x60
#define COMMAND_PORT 0x64
#define IRQ_KEYBOARD 1
#define IRQ_MOUSE    12
#define BYTE_NS      100000 // from one byte to the next

enum { ST_OUT_FULL = 1, ST_SYSTEM = 4, ST_COMMAND = 8, ST_UNLOCKED = 0x10, ST_MOUSE = 0x20 };
// The command byte, byte 0 of the controller's memory.
enum {
    CB_IRQ_KEYBOARD = 1,
    CB_IRQ_MOUSE = 2,
    CB_SYSTEM = 4,
    CB_NO_KEYBOARD = 0x10,
    CB_NO_MOUSE = 0x20,
    CB_TRANSLATE = 0x40
};
enum { OUT_RUN = 1, OUT_A20 = 2 }; // output port: not reset; A20

enum {
    C_READ_MEMORY = 0x20,  // to 3Fh
    C_WRITE_MEMORY = 0x60, // to 7Fh
    C_PASSWORD_TEST = 0xa4,
    C_MOUSE_OFF = 0xa7,
    C_MOUSE_ON = 0xa8,
    C_MOUSE_TEST = 0xa9,
    C_SELF_TEST = 0xaa,
    C_KEYBOARD_TEST = 0xab,
    C_KEYBOARD_OFF = 0xad,
    C_KEYBOARD_ON = 0xae,
    C_READ_INPUTS = 0xc0,
    C_READ_OUTPUTS = 0xd0,
    C_WRITE_OUTPUTS = 0xd1,
    C_WRITE_KEYBOARD_OUT = 0xd2,
    C_WRITE_MOUSE_OUT = 0xd3,
    C_WRITE_MOUSE = 0xd4,
    C_A20_OFF = 0xdd,
    C_A20_ON = 0xdf,
    C_TEST_INPUTS = 0xe0,
    C_PULSE = 0xf0, // to FFh: output lines whose bits are 0
};
// Where a byte of the output buffer comes from.
enum { FROM_CONTROLLER, FROM_KEYBOARD, FROM_MOUSE };

struct ps2 {
    struct device device;
    struct bus_range data, command;
    struct input_source source;
    struct typing typing; // of the terminal: no part of the machine
    struct vtimer timer;  // the next byte comes
    uint8_t memory[32];   // [0]: command byte
    uint8_t expects;      // command whose data byte comes next, 0: the byte is for the keyboard
    bool last_was_command;
    uint8_t out; // output buffer
    bool out_full;
    uint8_t out_from;
    bool release;             // translation: the prefix F0h came
    struct ps2_queue answers; // of the controller; for D2h and D3h too
    uint8_t answers_from[PS2_QUEUE];
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
};

// ---- queues ------------------------------------------------------------------------------------
void ps2_put(struct ps2_queue *q, uint8_t byte) {
    if (q->count < PS2_QUEUE)
        q->byte[(q->head + q->count++) % PS2_QUEUE] = byte;
}

uint8_t ps2_take(struct ps2_queue *q) {
    uint8_t byte = q->byte[q->head % PS2_QUEUE];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->count--;
    return byte;
}

void ps2_queue_state(struct ps2_queue *q, struct state_visitor *v) {
    STATE(v, q, byte);
    STATE(v, q, head);
    STATE(v, q, count);
    q->head %= PS2_QUEUE;
    if (q->count > PS2_QUEUE)
        q->count = PS2_QUEUE;
}

// ---- output buffer -----------------------------------------------------------------------------
static void update_irqs(struct ps2 *p) {
    struct machine *m = p->device.machine;
    bool mouse = p->out_from == FROM_MOUSE;
    irq_set(m, IRQ_KEYBOARD, p->out_full && !mouse && (p->memory[0] & CB_IRQ_KEYBOARD));
    irq_set(m, IRQ_MOUSE, p->out_full && mouse && (p->memory[0] & CB_IRQ_MOUSE));
}

static void present(struct ps2 *p, uint8_t byte, uint8_t from) {
    p->out = byte;
    p->out_from = from;
    p->out_full = true;
}

// A key's code in the form that the guest wants. False: it was a prefix, which translation swallows.
static bool translate(struct ps2 *p, uint8_t *byte) {
    if (!(p->memory[0] & CB_TRANSLATE))
        return true;
    if (*byte == 0xf0) {
        p->release = true;
        return false;
    }
    *byte = keyboard_translate(*byte, &p->release);
    return true;
}

// Fills the empty buffer from whoever has something to say and may.
static void fill(struct ps2 *p) {
    if (!p->out_full && p->answers.count) {
        uint8_t from = p->answers_from[p->answers.head];
        present(p, ps2_take(&p->answers), from);
    }
    while (!p->out_full && p->keyboard.queue.count && !(p->memory[0] & CB_NO_KEYBOARD)) {
        uint8_t byte = ps2_take(&p->keyboard.queue);
        if (translate(p, &byte))
            present(p, byte, FROM_KEYBOARD);
    }
    if (!p->out_full && p->mouse.queue.count && !(p->memory[0] & CB_NO_MOUSE))
        present(p, ps2_take(&p->mouse.queue), FROM_MOUSE);
    update_irqs(p);
}

static void on_timer(void *opaque) {
    fill(opaque);
}

// Something may be waiting: it comes at once, unless a byte was read just now.
static void poll(struct ps2 *p) {
    if (p->timer.deadline == UINT64_MAX)
        fill(p);
}

static void answer(struct ps2 *p, uint8_t byte, uint8_t from) {
    if (p->answers.count == PS2_QUEUE)
        return;
    p->answers_from[(p->answers.head + p->answers.count) % PS2_QUEUE] = from;
    ps2_put(&p->answers, byte);
    if (!p->out_full) // the controller's own answers do not wait for a cable
        fill(p);
}

static uint8_t read_data(struct ps2 *p) {
    struct machine *m = p->device.machine;
    if (p->out_full) {
        p->out_full = false;
        update_irqs(p);
        vtimer_arm(&p->timer, vtime_now(m) + vtime_from_ns(m, BYTE_NS));
    }
    return p->out;
}

// ---- commands ----------------------------------------------------------------------------------
static uint8_t output_port(const struct ps2 *p) {
    bool mouse = p->out_from == FROM_MOUSE;
    return (uint8_t)(OUT_RUN | (p->device.machine->a20 ? OUT_A20 : 0) |
                     (p->out_full && !mouse) << 4 | (p->out_full && mouse) << 5 | 0xc0);
}

static void set_output_port(struct ps2 *p, uint8_t value) {
    p->device.machine->a20 = value & OUT_A20;
    if (!(value & OUT_RUN))
        machine_stop(p->device.machine, MACHINE_RESET,
                     "the guest reset the machine by the keyboard controller");
}

static void set_command_byte(struct ps2 *p, uint8_t set, uint8_t clear) {
    p->memory[0] = (uint8_t)((p->memory[0] | set) & ~clear);
    poll(p);
    update_irqs(p);
}

static void self_test(struct ps2 *p) {
    p->answers.count = 0;
    p->out_full = false;
    p->memory[0] = (p->memory[0] | CB_SYSTEM | CB_NO_KEYBOARD | CB_NO_MOUSE) &
                   ~(CB_IRQ_KEYBOARD | CB_IRQ_MOUSE);
    answer(p, 0x55, FROM_CONTROLLER);
}

static void write_command(struct ps2 *p, uint8_t value) {
    p->last_was_command = true;
    p->expects = 0;
    if (value >= C_READ_MEMORY && value < C_READ_MEMORY + 0x20) {
        answer(p, p->memory[value & 0x1f], FROM_CONTROLLER);
        return;
    }
    if (value >= C_PULSE) {
        set_output_port(p, (uint8_t)((output_port(p) & 0xfe) | (value & OUT_RUN)));
        return;
    }
    switch (value) {
    case C_WRITE_MEMORY ... C_WRITE_MEMORY + 0x1f:
    case C_WRITE_OUTPUTS ... C_WRITE_MOUSE: p->expects = value; break;
    case C_PASSWORD_TEST: answer(p, 0xf1, FROM_CONTROLLER); break; // none is set
    case C_MOUSE_OFF: set_command_byte(p, CB_NO_MOUSE, 0); break;
    case C_MOUSE_ON: set_command_byte(p, 0, CB_NO_MOUSE); break;
    case C_KEYBOARD_OFF: set_command_byte(p, CB_NO_KEYBOARD, 0); break;
    case C_KEYBOARD_ON: set_command_byte(p, 0, CB_NO_KEYBOARD); break;
    case C_MOUSE_TEST:
    case C_KEYBOARD_TEST:
    case C_TEST_INPUTS: answer(p, 0, FROM_CONTROLLER); break;
    case C_SELF_TEST: self_test(p); break;
    case C_READ_INPUTS: answer(p, 0x80, FROM_CONTROLLER); break; // keyboard not locked
    case C_READ_OUTPUTS: answer(p, output_port(p), FROM_CONTROLLER); break;
    case C_A20_OFF:
    case C_A20_ON: p->device.machine->a20 = value == C_A20_ON; break;
    default: break;
    }
}

static void write_data(struct ps2 *p, uint8_t value) {
    uint8_t command = p->expects;
    p->last_was_command = false;
    p->expects = 0;
    switch (command) {
    case C_WRITE_MEMORY ... C_WRITE_MEMORY + 0x1f:
        p->memory[command & 0x1f] = value;
        set_command_byte(p, 0, 0);
        break;
    case C_WRITE_OUTPUTS: set_output_port(p, value); break;
    case C_WRITE_KEYBOARD_OUT: answer(p, value, FROM_KEYBOARD); break;
    case C_WRITE_MOUSE_OUT: answer(p, value, FROM_MOUSE); break;
    case C_WRITE_MOUSE:
        mouse_write(&p->mouse, value);
        set_command_byte(p, 0, CB_NO_MOUSE); // writing to a device turns its line on
        break;
    default:
        keyboard_write(&p->keyboard, value);
        set_command_byte(p, 0, CB_NO_KEYBOARD);
        break;
    }
}

// ---- ports -------------------------------------------------------------------------------------
static uint64_t data_read(void *opaque, uint64_t offset, unsigned width) {
    (void)offset;
    (void)width;
    return read_data(opaque);
}

static void data_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    write_data(opaque, (uint8_t)value);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned width) {
    (void)offset;
    (void)width;
    const struct ps2 *p = opaque;
    return (p->out_full ? ST_OUT_FULL : 0) | (p->memory[0] & CB_SYSTEM ? ST_SYSTEM : 0) |
           (p->last_was_command ? ST_COMMAND : 0) | ST_UNLOCKED |
           (p->out_full && p->out_from == FROM_MOUSE ? ST_MOUSE : 0);
}

static void command_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    write_command(opaque, (uint8_t)value);
}

// ---- input -------------------------------------------------------------------------------------
static size_t room(void *opaque) {
    const struct ps2 *p = opaque;
    return PS2_QUEUE - p->keyboard.queue.count;
}

static size_t translate_keys(void *opaque, const uint8_t *typed, size_t n, uint8_t *codes,
                             size_t size) {
    struct ps2 *p = opaque;
    size_t used = typing_codes(&p->typing, typed, n, codes, size);
    p->source.unfinished = p->typing.length;
    return used;
}

static void deliver(void *opaque, const uint8_t *data, size_t n) {
    struct ps2 *p = opaque;
    for (size_t i = 0; i < n; i++)
        keyboard_key(&p->keyboard, data[i]);
    poll(p);
}

// ---- device ------------------------------------------------------------------------------------
static void reset(struct device *d) {
    struct ps2 *p = (struct ps2 *)d;
    memset(p->memory, 0, sizeof(p->memory));
    memset(&p->answers, 0, sizeof(p->answers));
    memset(p->answers_from, 0, sizeof(p->answers_from));
    p->memory[0] = CB_SYSTEM | CB_TRANSLATE | CB_IRQ_KEYBOARD | CB_NO_MOUSE; // as a BIOS leaves it
    p->expects = p->out = p->out_from = 0;
    p->last_was_command = p->out_full = p->release = false;
    keyboard_reset(&p->keyboard);
    mouse_reset(&p->mouse);
    vtimer_cancel(&p->timer);
    update_irqs(p);
}

static void state(struct device *d, struct state_visitor *v) {
    struct ps2 *p = (struct ps2 *)d;
    STATE(v, p, timer.deadline);
    STATE(v, p, memory);
    STATE(v, p, expects);
    STATE(v, p, last_was_command);
    STATE(v, p, out);
    STATE(v, p, out_full);
    STATE(v, p, out_from);
    STATE(v, p, release);
    ps2_queue_state(&p->answers, v);
    STATE(v, p, answers_from);
    keyboard_state(&p->keyboard, v);
    mouse_state(&p->mouse, v);
}

static void loaded(struct device *d) {
    vtimer_restore(&((struct ps2 *)d)->timer);
}

static const struct device_ops ops = {
    .name = "ps2",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "keys: input event \"keyboard\"",
};

void ps2_create(struct machine *m, struct output *terminal) {
    struct ps2 *p = calloc(1, sizeof(*p));
    device_register(m, &p->device, &ops);
    vtimer_init(m, &p->timer, on_timer, p);
    p->data = (struct bus_range){
        .space = BUS_PORT,
        .base = DATA_PORT,
        .size = 1,
        .name = "keyboard data",
        .read = data_read,
        .write = data_write,
        .opaque = p,
    };
    p->command = (struct bus_range){
        .space = BUS_PORT,
        .base = COMMAND_PORT,
        .size = 1,
        .name = "keyboard command",
        .read = status_read,
        .write = command_write,
        .opaque = p,
    };
    bus_add(m, &p->data);
    bus_add(m, &p->command);
    p->source = (struct input_source){
        .name = "keyboard",
        .fd = -1,
        .room = room,
        .deliver = deliver,
        .opaque = p,
    };
    if (terminal) {
        output_source(terminal, &p->source);
        p->source.translate = translate_keys;
    }
    inputs_add_source(m->inputs, &p->source);
}
