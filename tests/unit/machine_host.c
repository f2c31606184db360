#include "machine_host.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/inputs.h"
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/output.h"
#include "vmm/machine/pit.h"

#define WEAK __attribute__((weak))

struct host host;
static int some_output;
struct output *const host_output = (struct output *)&some_output;
static struct input_source *sources;

// Each device is one allocation, with struct device first; irq.c's is part of the machine.
static void free_devices(void) {
    for (struct device *d = host.machine.devices, *next; d; d = next) {
        next = d->next;
        if (d != &host.machine.irq_device)
            free(d);
    }
}

struct machine *host_create(void) {
    free_devices();
    free(host.machine.ram);
    memset(&host, 0, sizeof(host));
    sources = NULL;
    host.machine.ram = calloc(1, HOST_RAM);
    host.machine.ram_size = host.machine.low_size = HOST_RAM;
    host.machine.hz = HOST_HZ;
    host.machine.cpu_count = 1;
    return &host.machine;
}

void host_reset(void) {
    for (struct device *d = host.machine.devices; d; d = d->next)
        d->ops->reset(d);
}

void host_advance(uint64_t ns) {
    struct machine *m = &host.machine;
    uint64_t end = m->count + ns;
    while (vtime_next_deadline(m) <= m->anchor + end) {
        uint64_t deadline = vtime_next_deadline(m);
        if (deadline > m->anchor + m->count)
            m->count = deadline - m->anchor;
        vtime_fire(m);
    }
    m->count = end;
}

size_t host_input(const char *name, const void *data, size_t n) {
    const uint8_t *p = data;
    size_t done = 0;
    for (struct input_source *s = sources; s; s = s->next) {
        if (strcmp(s->name, name) != 0)
            continue;
        while (done < n) {
            size_t part = s->room ? s->room(s->opaque) : INPUT_MAX;
            if (!part)
                break;
            if (part > n - done)
                part = n - done;
            s->deliver(s->opaque, p + done, part);
            done += part;
        }
    }
    return done;
}

// ---- ports -------------------------------------------------------------------------------------
uint8_t in8(uint16_t port) {
    return (uint8_t)bus_read(&host.machine, BUS_PORT, port, 1);
}
uint16_t in16(uint16_t port) {
    return (uint16_t)bus_read(&host.machine, BUS_PORT, port, 2);
}
uint32_t in32(uint16_t port) {
    return (uint32_t)bus_read(&host.machine, BUS_PORT, port, 4);
}
void out8(uint16_t port, uint8_t value) {
    bus_write(&host.machine, BUS_PORT, port, 1, value);
}
void out16(uint16_t port, uint16_t value) {
    bus_write(&host.machine, BUS_PORT, port, 2, value);
}
void out32(uint16_t port, uint32_t value) {
    bus_write(&host.machine, BUS_PORT, port, 4, value);
}

static uint16_t config_port(unsigned slot, unsigned function, unsigned offset) {
    out32(0xcf8, 0x80000000u | slot << 11 | function << 8 | (offset & 0xfc));
    return (uint16_t)(0xcfc + (offset & 3));
}
uint32_t pci_config_read(unsigned slot, unsigned function, unsigned offset, unsigned width) {
    return (uint32_t)bus_read(&host.machine, BUS_PORT, config_port(slot, function, offset), width);
}
void pci_config_write(unsigned slot, unsigned function, unsigned offset, unsigned width,
                      uint32_t value) {
    bus_write(&host.machine, BUS_PORT, config_port(slot, function, offset), width, value);
}

// ---- states ------------------------------------------------------------------------------------
bool host_round_trip(void) {
    size_t size;
    char text[256] = "";
    void *saved = state_save(&host.machine, &size);
    host_reset();
    bool same = state_load(&host.machine, saved, size, text, sizeof(text)) == 0 &&
                state_compare(&host.machine, saved, size, text, sizeof(text));
    if (!same)
        fprintf(stderr, "state: %s\n", text);
    free(saved);
    return same;
}

// ---- fakes -------------------------------------------------------------------------------------
WEAK void irq_set(struct machine *m, unsigned gsi, bool level) {
    (void)m;
    host.edges[gsi] += level && !host.level[gsi];
    host.level[gsi] = level;
}

WEAK unsigned irq_pci_gsi(unsigned slot, unsigned pin) {
    return (slot + pin - 1) & 1 ? 11 : 10;
}

WEAK void irq_set_pci(struct machine *m, unsigned slot, unsigned pin, bool level) {
    irq_set(m, irq_pci_gsi(slot, pin), level);
}

WEAK void irq_message(struct machine *m, uint64_t address, uint32_t data) {
    (void)m;
    host.message[host.messages % HOST_MESSAGES].address = address;
    host.message[host.messages++ % HOST_MESSAGES].data = data;
}

WEAK void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n) {
    return gpa <= m->ram_size && n <= m->ram_size - gpa ? m->ram + gpa : NULL;
}

WEAK void machine_log(struct machine *m, const char *fmt, ...) {
    (void)m;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(host.log, sizeof(host.log), fmt, ap);
    va_end(ap);
    host.log_count++;
}

WEAK void machine_trace(struct machine *m, const char *fmt, ...) {
    (void)m;
    (void)fmt;
}

WEAK void machine_stop(struct machine *m, enum machine_end end, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->end_reason, sizeof(m->end_reason), fmt, ap);
    va_end(ap);
    m->end = end;
}

WEAK void pit_interrupt_wanted(struct machine *m) {
    (void)m;
    host.timer_wanted++;
}

WEAK uint8_t reset_control_read(struct machine *m) {
    (void)m;
    return 0;
}

WEAK void reset_control_write(struct machine *m, uint8_t value) {
    if (value == RESET_VALUE)
        machine_stop(m, MACHINE_RESET, "reset register");
}

WEAK void output_write(struct output *o, const void *data, size_t n) {
    (void)o;
    size_t room = sizeof(host.sent) - 1 - host.sent_size;
    if (n > room)
        n = room;
    memcpy(host.sent + host.sent_size, data, n);
    host.sent_size += n;
    host.sent[host.sent_size] = 0;
}

WEAK bool output_used(void) {
    return host.sent_size;
}

WEAK void output_source(const struct output *o, struct input_source *source) {
    (void)o;
    source->fd = -1;
}

WEAK void inputs_add_source(struct inputs *in, struct input_source *s) {
    (void)in;
    s->next = sources;
    sources = s;
}

WEAK void inputs_random(struct inputs *in, void *buf, size_t n) {
    (void)in;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = host.random++;
}

WEAK uint64_t inputs_wall_clock(struct inputs *in) {
    (void)in;
    return 1000000000;
}
