#include "vmm/machine/ports.h"
#include <stdlib.h>
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/output.h"

#define POST_PORT     0x80
#define CONTROL_PORT  0x92
#define DEBUG_PORT    0xe9
#define DEBUG_PORT2   0x402
#define DEBUG_PRESENT 0xe9 // what the debug ports read as

enum { CONTROL_RESET = 1, CONTROL_A20 = 2 };

struct ports {
    struct device device;
    struct output *debug;
    struct bus_range post, control, debug_ports[2], exit, bios;
    uint8_t post_code;
};

static uint64_t post_read(void *opaque, uint64_t offset, unsigned width) {
    (void)offset;
    (void)width;
    return ((struct ports *)opaque)->post_code;
}

static void post_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    ((struct ports *)opaque)->post_code = (uint8_t)value; // mostly a delay
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned width) {
    (void)offset;
    (void)width;
    return ((struct ports *)opaque)->device.machine->a20 ? CONTROL_A20 : 0;
}

static void control_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    struct machine *m = ((struct ports *)opaque)->device.machine;
    m->a20 = value & CONTROL_A20;
    if (value & CONTROL_RESET)
        machine_stop(m, MACHINE_RESET, "the guest reset the machine by port 92h");
}

static uint64_t debug_read(void *opaque, uint64_t offset, unsigned width) {
    (void)opaque;
    (void)offset;
    (void)width;
    return DEBUG_PRESENT;
}

static void debug_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    const struct ports *p = opaque;
    uint8_t byte = (uint8_t)value;
    if (p->debug)
        output_write(p->debug, &byte, 1);
}

static void exit_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    struct machine *m = ((struct ports *)opaque)->device.machine;
    m->exit_status = (int)(value & 0xff);
    machine_stop(m, MACHINE_POWERED_OFF, "the guest ended the VM with status %d by port 501h",
                 m->exit_status);
}

static void bios_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    (void)offset;
    (void)width;
    struct machine *m = ((struct ports *)opaque)->device.machine;
    machine_log(m,
                "the guest calls interrupt %02xh in real mode and has no handler for it: this "
                "machine has no BIOS",
                (unsigned)(value & 0xff));
    m->exit_status = EXIT_FAILED;
    machine_stop(m, MACHINE_POWERED_OFF, "the guest called the BIOS");
}

static void reset(struct device *d) {
    struct ports *p = (struct ports *)d;
    p->post_code = 0;
    p->device.machine->a20 = true; // as a BIOS leaves it
}

static void state(struct device *d, struct state_visitor *v) {
    struct ports *p = (struct ports *)d;
    STATE(v, p, post_code);
    STATE(v, d->machine, a20);
}

static const struct device_ops ops = {
    .name = "ports",
    .reset = reset,
    .state = state,
    .nondeterminism = "none: registers that only the guest changes",
};

static void add(struct ports *p, struct bus_range *r, uint16_t port, const char *name,
                uint64_t (*read)(void *opaque, uint64_t offset, unsigned width),
                void (*write)(void *opaque, uint64_t offset, unsigned width, uint64_t value)) {
    *r = (struct bus_range){
        .space = BUS_PORT,
        .base = port,
        .size = 1,
        .name = name,
        .max_width = 1,
        .read = read,
        .write = write,
        .opaque = p,
    };
    bus_add(p->device.machine, r);
}

void ports_create(struct machine *m, struct output *debug) {
    struct ports *p = calloc(1, sizeof(*p));
    p->debug = debug;
    device_register(m, &p->device, &ops);
    add(p, &p->post, POST_PORT, "post code", post_read, post_write);
    add(p, &p->control, CONTROL_PORT, "system control", control_read, control_write);
    add(p, &p->debug_ports[0], DEBUG_PORT, "debug output", debug_read, debug_write);
    add(p, &p->debug_ports[1], DEBUG_PORT2, "debug output", debug_read, debug_write);
    add(p, &p->exit, EXIT_PORT, "exit status", NULL, exit_write);
    add(p, &p->bios, BIOS_PORT, "bios call", NULL, bios_write);
}
