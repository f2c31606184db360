/* sources: vmm/machine/lapic.c vmm/machine/lapic_timer.c vmm/machine/lapic_message.c vmm/machine/ioapic.c vmm/machine/pic.c vmm/machine/irq.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// Local APICs and the IOAPIC together with the 8259 pair and the wiring, as processors see them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/ioapic.h"
#include "vmm/machine/lapic.h"
#include "vmm/machine/pic.h"

enum {
    ID = 0x20,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    TIMER = 0x320,
    LINT0 = 0x350,
    LINT1 = 0x360,
    ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0
};
#define CPUS 4

static struct machine *m;
static struct lapic *apic[CPUS];

static void put(unsigned cpu, unsigned reg, uint32_t value) {
    lapic_write(apic[cpu], reg, 4, value);
}

static uint32_t get(unsigned cpu, unsigned reg) {
    return lapic_read(apic[cpu], reg, 4);
}

static void redirect(unsigned pin, uint64_t entry) {
    bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, 0x10 + 2 * pin);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4, (uint32_t)entry);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, 0x11 + 2 * pin);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4, entry >> 32);
}

static uint32_t redirection(unsigned pin) {
    bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, 0x10 + 2 * pin);
    return bus_read(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4);
}

static int setup(void **state) {
    m = host_create();
    m->cpu_count = CPUS;
    irq_create(m);
    pic_create(m);
    ioapic_create(m);
    for (unsigned i = 0; i < CPUS; i++) {
        m->cpus[i].machine = m;
        m->cpus[i].index = i;
        lapic_create(&m->cpus[i]);
        apic[i] = m->cpus[i].lapic;
    }
    host_reset();
    for (unsigned i = 0; i < CPUS; i++)
        put(i, SVR, 0x1ff);
    return 0;
}

// ---- priorities --------------------------------------------------------------------------------
static void priorities(void **state) {
    put(0, ICR, 0x40000 | 0x41); // to itself
    put(0, ICR, 0x40000 | 0x63);
    assert_int_equal(lapic_pending(apic[0]), 0x63);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x63);
    assert_int_equal(get(0, PPR), 0x60);
    assert_int_equal(lapic_pending(apic[0]), -1);
    put(0, ICR, 0x40000 | 0x65); // the same class waits
    assert_int_equal(lapic_pending(apic[0]), -1);
    put(0, EOI, 0);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x65);
    put(0, EOI, 0);
    put(0, TPR, 0x40);
    assert_int_equal(lapic_pending(apic[0]), -1);
    assert_int_equal(lapic_cr8(apic[0]), 4);
    lapic_set_cr8(apic[0], 3);
    assert_int_equal(get(0, TPR), 0x30);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x41);
    assert_int_equal(get(0, ISR + 0x20), 1 << 1);
}

static void software_disable(void **state) {
    put(1, LINT0, 0x30);
    put(1, SVR, 0xff);
    assert_int_equal(get(1, LINT0), 0x10030);
    put(1, LINT0, 0x31); // stays masked
    assert_int_equal(get(1, LINT0), 0x10031);
    put(0, ICR_HIGH, 1 << 24);
    put(0, ICR, 0x41);
    assert_int_equal(lapic_pending(apic[1]), -1);
    put(0, ICR, 4 << 8); // NMIs still come
    assert_true(m->cpus[1].nmi_pending);
}

// ---- between processors ------------------------------------------------------------------------
static unsigned takers(uint8_t vector) {
    unsigned mask = 0;
    for (unsigned i = 0; i < CPUS; i++)
        if (lapic_pending(apic[i]) == vector)
            mask |= 1u << i;
    return mask;
}

static void physical_destinations(void **state) {
    put(0, ICR_HIGH, 2 << 24);
    put(0, ICR, 0x51);
    assert_int_equal(takers(0x51), 1 << 2);
    put(0, ICR_HIGH, 0xffu << 24);
    put(0, ICR, 0x52);
    assert_int_equal(takers(0x52), 0xf);
}

static void logical_destinations(void **state) {
    for (unsigned i = 0; i < CPUS; i++)
        put(i, LDR, 1u << (24 + i));
    put(0, ICR_HIGH, 5u << 24);
    put(0, ICR, 0x800 | 0x61);
    assert_int_equal(takers(0x61), 5);
    for (unsigned i = 0; i < CPUS; i++) { // two clusters of two
        put(i, DFR, 0x0fffffff);
        put(i, LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    put(0, ICR_HIGH, 0x13u << 24);
    put(0, ICR, 0x800 | 0x71);
    assert_int_equal(takers(0x71), 0xc);
}

static void shorthands(void **state) {
    put(1, ICR, 1 << 18 | 0x50);
    assert_int_equal(takers(0x50), 1 << 1);
    put(1, ICR, 2 << 18 | 0x60);
    assert_int_equal(takers(0x60), 0xf);
    put(1, ICR, 3 << 18 | 0x70);
    assert_int_equal(takers(0x70), 0xd);
}

static void lowest_priority(void **state) {
    for (unsigned i = 0; i < CPUS; i++)
        put(i, TPR, i == 2 ? 0x10 : 0x20);
    put(0, ICR_HIGH, 0xffu << 24);
    put(0, ICR, 1 << 8 | 0x80);
    assert_int_equal(takers(0x80), 1 << 2);
    put(2, TPR, 0x30);
    put(0, ICR, 1 << 8 | 0x80); // whoever has it keeps it
    assert_int_equal(takers(0x80), 1 << 2);
}

static void init_and_start_up(void **state) {
    m->cpus[1].waiting_for_sipi = false;
    put(0, ICR_HIGH, 1 << 24);
    put(0, ICR, 6 << 8 | 0x9f); // a start-up without INIT is ignored
    assert_false(m->cpus[1].sipi_pending);
    put(0, ICR, 0xc500); // INIT, level, assert
    assert_true(m->cpus[1].init_pending);
    m->cpus[1].init_pending = false;
    put(0, ICR, 0x8500); // de-assert
    assert_false(m->cpus[1].init_pending);
    m->cpus[1].waiting_for_sipi = true;
    put(0, ICR, 6 << 8 | 0x9f);
    assert_true(m->cpus[1].sipi_pending);
    assert_int_equal(m->cpus[1].sipi_vector, 0x9f);
}

static void errors(void **state) {
    put(0, ERROR, 0xfe);
    put(0, ICR, 0x40000 | 0x0f); // illegal vector
    assert_int_equal(get(0, ESR), 0);
    put(0, ESR, 0);
    assert_int_equal(get(0, ESR), 1 << 5);
    assert_int_equal(lapic_acknowledge(apic[0]), 0xfe);
    put(0, EOI, 0);
    put(0, 0x40, 0); // no such register
    put(0, ESR, 0);
    assert_int_equal(get(0, ESR), 1 << 7);
    put(0, ERROR, 5); // a report that is an error must not recur for ever
    put(0, ICR, 0x40000 | 0x01);
    put(0, TIMER, 3);
    put(0, INITIAL, 10);
    host_advance(100);
}

// ---- timer -------------------------------------------------------------------------------------
static void one_shot(void **state) {
    put(0, DIVIDE, 0x3); // by 16
    put(0, TIMER, 0x40);
    put(0, INITIAL, 1000);
    host_advance(8000);
    assert_int_equal(get(0, CURRENT), 500);
    host_advance(7999);
    assert_int_equal(lapic_pending(apic[0]), -1);
    host_advance(1);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x40);
    assert_int_equal(get(0, CURRENT), 0);
    put(0, EOI, 0);
    host_advance(100000);
    assert_int_equal(lapic_pending(apic[0]), -1);
}

// A count that has run out stays at 0, in whatever mode, until there is a new one (SDM vol. 3, "APIC Timer").
static void periodic_after_one_shot(void **state) {
    put(0, DIVIDE, 0xb);
    put(0, TIMER, 0x40);
    put(0, INITIAL, 10000);
    host_advance(15000);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x40);
    put(0, EOI, 0);
    put(0, TIMER, 0x20041);
    host_advance(1000);
    assert_int_equal(get(0, CURRENT), 0);
    host_advance(100000);
    assert_int_equal(get(0, CURRENT), 0);
    assert_int_equal(lapic_pending(apic[0]), -1);
    put(0, INITIAL, 10000);
    host_advance(10000);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x41);
}

static void periodic(void **state) {
    put(0, DIVIDE, 0xb); // by 1
    put(0, TIMER, 0x20040);
    put(0, INITIAL, 10000);
    unsigned count = 0;
    for (unsigned i = 0; i < 1000; i++) {
        host_advance(1000);
        if (lapic_acknowledge(apic[0]) == 0x40) {
            count++;
            put(0, EOI, 0);
        }
    }
    assert_int_equal(count, 100);
    put(0, INITIAL, 0);
    host_advance(1000000);
    assert_int_equal(lapic_pending(apic[0]), -1);
}

static void deadline(void **state) {
    uint64_t value;
    assert_true(lapic_write_msr(apic[0], 0x6e0, 5000)); // ignored in another mode
    assert_true(lapic_read_msr(apic[0], 0x6e0, &value));
    assert_int_equal(value, 0);
    put(0, TIMER, 0x40040);
    assert_true(lapic_write_msr(apic[0], 0x6e0, vtime_now(m) + 5000));
    host_advance(4999);
    assert_int_equal(lapic_pending(apic[0]), -1);
    host_advance(1);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x40);
    assert_true(lapic_read_msr(apic[0], 0x6e0, &value));
    assert_int_equal(value, 0);
    put(0, EOI, 0);
    assert_true(lapic_write_msr(apic[0], 0x6e0, 1)); // long gone: at once
    host_advance(0);
    assert_int_equal(lapic_pending(apic[0]), 0x40);
}

static void the_8254_hears_of_its_listener(void **state) {
    redirect(2, 0x10034);
    redirect(3, 0x35);
    assert_int_equal(host.timer_wanted, 0);
    redirect(2, 0x34);
    assert_int_not_equal(host.timer_wanted, 0);
}

static void masked_timer_still_counts(void **state) {
    put(0, DIVIDE, 0xb);
    put(0, TIMER, 0x10040);
    put(0, INITIAL, 5000);
    host_advance(1000);
    assert_int_equal(get(0, CURRENT), 4000);
    host_advance(9000);
    assert_int_equal(lapic_pending(apic[0]), -1);
}

// ---- x2APIC ------------------------------------------------------------------------------------
static void x2apic(void **state) {
    uint64_t value;
    assert_false(lapic_read_msr(apic[2], 0x802, &value));     // not while xAPIC
    assert_false(lapic_write_msr(apic[2], 0x1b, 0xfee00400)); // not from off, not without enable
    assert_true(lapic_claims(apic[2], 0xfee00020));
    assert_true(lapic_write_msr(apic[2], 0x1b, 0xfee00c00));
    assert_false(lapic_claims(apic[2], 0xfee00020));
    assert_true(lapic_read_msr(apic[2], 0x802, &value));
    assert_int_equal(value, 2);
    assert_true(lapic_read_msr(apic[2], 0x80d, &value));
    assert_int_equal(value, 1 << 2);
    assert_false(lapic_write_msr(apic[2], 0x80d, 1)); // read-only
    assert_false(lapic_write_msr(apic[2], 0x80b, 1)); // must be 0
    assert_false(lapic_write_msr(apic[2], 0x80e, 0)); // no DFR
    assert_false(lapic_write_msr(apic[2], 0x808, 0x100));
    assert_true(lapic_write_msr(apic[2], 0x83f, 0x55)); // self IPI
    assert_int_equal(lapic_acknowledge(apic[2]), 0x55);
    assert_true(lapic_write_msr(apic[2], 0x80b, 0));
    assert_true(lapic_write_msr(apic[2], 0x830, 1ull << 32 | 0x56));
    assert_int_equal(lapic_pending(apic[1]), 0x56);
    assert_true(lapic_read_msr(apic[2], 0x830, &value));
    assert_int_equal(value, 1ull << 32 | 0x56);
    assert_false(lapic_write_msr(apic[2], 0x1b, 0xfee00800)); // not back to xAPIC directly
    assert_true(lapic_write_msr(apic[2], 0x1b, 0xfee00000));
    assert_true(lapic_write_msr(apic[2], 0x1b, 0xfee00800));
}

// ---- IOAPIC and wiring -------------------------------------------------------------------------
static void edges(void **state) {
    redirect(4, 0x34);
    irq_set(m, 4, true);
    assert_int_equal(lapic_acknowledge(apic[0]), 0x34);
    put(0, EOI, 0);
    irq_set(m, 4, true);
    assert_int_equal(lapic_pending(apic[0]), -1);
    irq_set(m, 4, false);
    redirect(4, 0x10034); // an edge while masked is lost
    irq_set(m, 4, true);
    redirect(4, 0x34);
    assert_int_equal(lapic_pending(apic[0]), -1);
    redirect(2, 0x30); // IRQ 0 is pin 2
    irq_set(m, 0, true);
    assert_int_equal(lapic_pending(apic[0]), 0x30);
}

static void levels(void **state) {
    redirect(10, 1ull << 56 | 0x8000 | 0x3a);
    irq_set_pci(m, 0, 1, true); // shares the line with
    irq_set_pci(m, 2, 1, true);
    assert_int_equal(lapic_acknowledge(apic[1]), 0x3a);
    assert_int_equal(redirection(10) & 0x4000, 0x4000);
    assert_int_equal(get(1, TMR + 0x10), 1 << 0x1a);
    irq_set_pci(m, 0, 1, false);
    put(1, EOI, 0); // still asserted by the other: again
    assert_int_equal(lapic_acknowledge(apic[1]), 0x3a);
    irq_set_pci(m, 2, 1, false);
    put(1, EOI, 0);
    assert_int_equal(lapic_pending(apic[1]), -1);
    assert_int_equal(redirection(10) & 0x4000, 0);
}

// A local APIC that refuses an interrupt gets it when it can take it: the line need not move for that.
static void refused_levels_wait(void **state) {
    put(1, SVR, 0xff); // off
    redirect(10, 1ull << 56 | 0x8000 | 0x3a);
    irq_set_pci(m, 0, 1, true);
    assert_int_equal(redirection(10) & 0x4000, 0);
    put(1, SVR, 0x1ff);
    assert_int_equal(lapic_acknowledge(apic[1]), 0x3a);
    assert_int_equal(redirection(10) & 0x4000, 0x4000);
    irq_set_pci(m, 0, 1, false);
    put(1, EOI, 0);
    redirect(11, 8ull << 56 | 0x8800 | 0x3b); // to logical 8, which nobody is
    irq_set_pci(m, 1, 1, true);
    assert_int_equal(lapic_pending(apic[2]), -1);
    put(2, LDR, 8u << 24);
    assert_int_equal(lapic_acknowledge(apic[2]), 0x3b);
}

// With 16 vCPUs it is 16, and a guest may write it back.
static void ioapic_id(void **state) {
    bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, 0);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4, 16u << 24);
    assert_int_equal(bus_read(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4), 16u << 24);
}

static void eoi_register(void **state) {
    redirect(9, 0x8000 | 0x39);
    irq_set(m, 9, true);
    irq_set(m, 9, false);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE + 0x40, 4, 0x39);
    assert_int_equal(redirection(9) & 0x4000, 0);
    bus_write(m, BUS_MEMORY, IOAPIC_BASE, 4, 1);
    assert_int_equal(bus_read(m, BUS_MEMORY, IOAPIC_BASE + 0x10, 4), 0x170020);
}

static void messages(void **state) {
    irq_message(m, 0xfee02000, 0x45);
    assert_int_equal(lapic_pending(apic[2]), 0x45);
    irq_message(m, 0xfee0200c, 0x46); // logical: nobody has a logical id
    assert_int_equal(lapic_pending(apic[2]), 0x45);
    irq_message(m, 0x1000, 0x47); // not an APIC's address
}

static void external_interrupts(void **state) {
    out8(0x21, 0xfd);
    put(0, LINT0, 0x700);
    irq_set(m, 1, true);
    assert_true(irq_pending(&m->cpus[0]));
    assert_false(irq_pending(&m->cpus[1]));
    assert_int_equal(irq_acknowledge(&m->cpus[0]), 9);
    assert_false(irq_pending(&m->cpus[0]));
    out8(0x20, 0x20);
    irq_set(m, 1, false);
    put(0, LINT0, 0x10000);
    redirect(0, 1ull << 56 | 0x700); // virtual wire through the IOAPIC
    irq_set(m, 1, true);
    assert_false(irq_pending(&m->cpus[0]));
    assert_true(irq_pending(&m->cpus[1]));
    redirect(0, 0x10000);
    put(0, LINT0, 0x400); // as an NMI
    irq_set(m, 1, false);
    irq_acknowledge(&m->cpus[1]);
    assert_int_equal(pic_acknowledge(m->pic), 9);
    out8(0x20, 0x20);
    irq_set(m, 1, true);
    assert_true(m->cpus[0].nmi_pending);
}

static void power_on_is_virtual_wire(void **state) {
    host_reset();
    out8(0x21, 0xfe);
    irq_set(m, 0, true);
    assert_true(irq_pending(&m->cpus[0]));
    assert_false(irq_pending(&m->cpus[1]));
}

static void state_is_complete(void **state) {
    put(0, TIMER, 0x20040);
    put(0, INITIAL, 12345);
    put(1, ICR, 3 << 18 | 0x70);
    lapic_acknowledge(apic[0]);
    redirect(10, 0x8000 | 0x3a);
    irq_set(m, 10, true);
    host_advance(100000);
    char text[128];
    size_t size;
    char *saved = state_save(m, &size);
    assert_true(host_round_trip());
    assert_true(state_compare(m, saved, size, text, sizeof(text)));
    free(saved);
    host_advance(100000);
    assert_int_equal(get(0, IRR + 0x20) & 1, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(software_disable, setup),
        cmocka_unit_test_setup(physical_destinations, setup),
        cmocka_unit_test_setup(logical_destinations, setup),
        cmocka_unit_test_setup(shorthands, setup),
        cmocka_unit_test_setup(lowest_priority, setup),
        cmocka_unit_test_setup(init_and_start_up, setup),
        cmocka_unit_test_setup(errors, setup),
        cmocka_unit_test_setup(one_shot, setup),
        cmocka_unit_test_setup(periodic, setup),
        cmocka_unit_test_setup(deadline, setup),
        cmocka_unit_test_setup(the_8254_hears_of_its_listener, setup),
        cmocka_unit_test_setup(masked_timer_still_counts, setup),
        cmocka_unit_test_setup(x2apic, setup),
        cmocka_unit_test_setup(edges, setup),
        cmocka_unit_test_setup(levels, setup),
        cmocka_unit_test_setup(refused_levels_wait, setup),
        cmocka_unit_test_setup(ioapic_id, setup),
        cmocka_unit_test_setup(periodic_after_one_shot, setup),
        cmocka_unit_test_setup(eoi_register, setup),
        cmocka_unit_test_setup(messages, setup),
        cmocka_unit_test_setup(external_interrupts, setup),
        cmocka_unit_test_setup(power_on_is_virtual_wire, setup),
        cmocka_unit_test_setup(state_is_complete, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
