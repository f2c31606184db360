/* sources: vmm/machine/lapic.c vmm/machine/lapic_timer.c vmm/machine/lapic_message.c vmm/machine/ioapic.c vmm/machine/pic.c vmm/machine/pit.c vmm/machine/pit_channel.c vmm/machine/rtc.c vmm/machine/rtc_time.c vmm/machine/acpi_pm.c vmm/machine/irq.c vmm/machine/memory.c vmm/machine/sums.c vmm/machine/page_sum.c vmm/machine/page_sum_avx2.c vmm/machine/page_sum_avx512.c replay/checks.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// Drives every register of the interrupt controllers and timers with arbitrary accesses. Nothing may
// crash, timers must always move on, and at the end a saved state, loaded, must be the same state.
#include <stdlib.h>
#include "tests/unit/machine_host.h"
#include "vmm/machine/acpi_pm.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/pic.h"
#include "vmm/machine/pit.h"
#include "vmm/machine/rtc.h"

#define CPUS       2
#define LONGEST_NS 3000000000ull // of one step of time

struct input {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct input *in, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << i * 8;
    return value;
}

static struct machine *create(void) {
    struct machine *m = host_create();
    m->cpu_count = CPUS;
    irq_create(m);
    pic_create(m);
    ioapic_create(m);
    for (unsigned i = 0; i < CPUS; i++) {
        m->cpus[i].machine = m;
        m->cpus[i].index = i;
        lapic_create(&m->cpus[i]);
    }
    pit_create(m);
    rtc_create(m);
    acpi_pm_create(m);
    host_reset();
    return m;
}

static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40,  0x41, 0x42,
                                 0x43, 0x61, 0x70, 0x71, 0x600, 0x602, 0x604, 0x608};
#define PORTS (sizeof(ports) / sizeof(ports[0]))
static const uint8_t widths[] = {1, 2, 4, 4};

static void advance(uint64_t ns) {
    // A guest that programs the fastest timers gets many: bounded, so that an input ends.
    struct machine *m = &host.machine;
    uint64_t end = vtime_now(m) + ns % LONGEST_NS;
    for (unsigned i = 0; i < 1000 && vtime_next_deadline(m) <= end; i++) {
        uint64_t deadline = vtime_next_deadline(m);
        if (deadline > vtime_now(m))
            m->count = deadline - m->anchor;
        vtime_fire(m);
    }
    if (end > vtime_now(m))
        m->count = end - m->anchor;
    vtime_fire(m);
}

static void step(struct machine *m, struct input *in) {
    uint8_t what = take(in, 1);
    struct cpu *c = &m->cpus[what >> 4 & (CPUS - 1)];
    unsigned width = widths[what >> 6];
    uint16_t port = (what & 15) < 3 ? ports[take(in, 1) % PORTS] : 0;
    uint64_t value;
    switch (what & 15) {
    case 0: bus_write(m, BUS_PORT, port, width, take(in, width)); break;
    case 1: out8(port, take(in, 1)); break;
    case 2: bus_read(m, BUS_PORT, port, width); break;
    case 3: lapic_write(c->lapic, take(in, 1) << 4, 4, take(in, 4)); break;
    case 4: lapic_read(c->lapic, take(in, 2) & 0xfff, width); break;
    case 5: lapic_write_msr(c->lapic, 0x800 + take(in, 1), take(in, 8)); break;
    case 6: lapic_read_msr(c->lapic, 0x800 + take(in, 1), &value); break;
    case 7: lapic_write_msr(c->lapic, 0x1b, 0xfee00000 | (take(in, 2) & 0xfff)); break;
    case 8: lapic_write_msr(c->lapic, 0x6e0, vtime_now(m) + take(in, 4)); break;
    case 9:
        bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, take(in, 1));
        bus_write(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4, take(in, 4));
        break;
    case 10: bus_read(m, BUS_MEMORY, IOAPIC_BASE + (take(in, 1) & 0x5f), width); break;
    case 11: irq_set(m, take(in, 1) % IOAPIC_PINS, what & 0x80); break;
    case 12: irq_set_pci(m, take(in, 1) & 31, 1 + (what >> 4 & 3), what & 0x80); break;
    case 13: irq_message(m, 0xfee00000 | (take(in, 4) & 0xfffff), take(in, 4)); break;
    case 14:
        if (irq_pending(c))
            irq_acknowledge(c);
        break;
    case 15: advance(take(in, 4)); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct machine *m = create();
    struct input in = {data, size};
    while (in.left)
        step(m, &in);
    if (!host_round_trip())
        abort();
    return 0;
}
