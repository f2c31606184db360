/* sources: vmm/string_io.c vmm/emulate.c vmm/access.c vmm/fetch.c vmm/operate.c vmm/xmm.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_guest.c tests/unit/vmm_mock.c */
// INS and OUTS: batches, directions, faults before the port is touched, the count.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm_guest.h"
#include "vmm/clock.h"
#include "vmm/emulate.h"
#include "vmm/x86.h"

#define CODE   0x1000ull
#define RAM    0x10000ull
#define DEVICE 0xfee00000ull

static uint8_t ram[3 * 4096], device[4096];
static uint8_t port_data[3 * 4096]; // what was written to the port, or is read from it
static unsigned port_at;            // of it
static struct guest g;

static void port(struct guest *guest) {
    struct kvm_run *run = guest->v.run;
    unsigned n = run->io.count * run->io.size;
    assert_int_equal(run->io.port, 0x1f0);
    assert_true(n <= 4096 && port_at + n <= sizeof(port_data));
    if (run->io.direction == KVM_EXIT_IO_OUT)
        memcpy(port_data + port_at, guest->v.pio_data, n);
    else
        memcpy(guest->v.pio_data, port_data + port_at, n);
    port_at += n;
}

static int setup(void **state) {
    guest_init(&g);
    for (unsigned i = 0; i < sizeof(ram); i++) {
        ram[i] = (uint8_t)(i * 13 + i / 256);
        port_data[i] = (uint8_t)(i * 5 + i / 256 + 3);
    }
    memset(device, 0, sizeof(device));
    guest_add_memory(&g, RAM, ram, sizeof(ram), false);
    guest_add_memory(&g, DEVICE, device, sizeof(device), true);
    g.v.rip = CODE;
    g.on_io = port;
    port_at = 0;
    return 0;
}
static int teardown(void **state) {
    guest_free(&g);
    return 0;
}

static int run(bool in, unsigned size, bool rep) {
    struct vm_exit e = {.kind = EXIT_IO, .length = rep ? 2 : 1};
    e.io.port = 0x1f0;
    e.io.size = (uint8_t)size;
    e.io.in = in;
    e.io.string = true;
    e.io.rep = rep;
    e.io.address_size = 8;
    e.io.segment = SEG_DS;
    return guest_serve(&g, emulate_string_io(&g.v, &e));
}

// As the guest does: again and again until the instruction is over.
static unsigned run_all(bool in, unsigned size) {
    unsigned exits = 0;
    while (g.v.rip == CODE) {
        assert_int_equal(run(in, size, true), 1);
        assert_true(exits++ < 20000);
    }
    return exits;
}

static void test_single(void **state) {
    g.v.gpr[GPR_RSI] = RAM + 5;
    g.v.gpr[GPR_RCX] = 77; // means nothing
    assert_int_equal(run(false, 4, false), 1);
    assert_memory_equal(port_data, ram + 5, 4);
    assert_int_equal(g.v.gpr[GPR_RSI], RAM + 9);
    assert_int_equal(g.v.gpr[GPR_RCX], 77);
    assert_int_equal(g.v.count, 1);
    g.v.gpr[GPR_RDI] = RAM + 100;
    assert_int_equal(run(true, 2, false), 1);
    assert_memory_equal(ram + 100, port_data + 4, 2);
    assert_int_equal(g.v.gpr[GPR_RDI], RAM + 102);
    assert_int_equal(g.v.rip, CODE + 2);
}

static void test_batches(void **state) {
    g.v.gpr[GPR_RSI] = RAM + 2; // elements of 4 cross both page ends
    g.v.gpr[GPR_RCX] = 2500;
    unsigned exits = run_all(false, 4);
    assert_int_equal(exits, 5); // three pages and two elements between them
    assert_memory_equal(port_data, ram + 2, 10000);
    assert_int_equal(g.v.gpr[GPR_RCX], 0);
    assert_int_equal(g.v.gpr[GPR_RSI], RAM + 10002);
    assert_int_equal(g.v.count, 2500);
    assert_int_equal(g.v.rip, CODE + 2);
}

static void test_input(void **state) {
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 256;
    assert_int_equal(run_all(true, 2), 1); // a disk sector
    assert_memory_equal(ram, port_data, 512);
    assert_int_equal(g.v.count, 256);
}

static void test_downwards(void **state) {
    g.v.rflags |= 0x400;
    g.v.gpr[GPR_RSI] = RAM + 4096 + 4;
    g.v.gpr[GPR_RCX] = 5;
    assert_int_equal(run_all(false, 2), 2);
    for (unsigned i = 0; i < 5; i++)
        assert_memory_equal(port_data + 2 * i, ram + 4096 + 4 - 2 * i, 2);
    assert_int_equal(g.v.gpr[GPR_RSI], RAM + 4096 - 6);
}

static void test_nothing_to_do(void **state) {
    assert_int_equal(run(false, 1, true), 1);
    assert_int_equal(g.io_exits, 0);
    assert_int_equal(g.v.rip, CODE + 2);
}

static void test_fault_before_port(void **state) {
    guest_map(&g, RAM, 4096, RAM);
    g.v.gpr[GPR_RDI] = RAM + 4092; // one element before the end
    g.v.gpr[GPR_RCX] = 3;
    assert_int_equal(run(true, 4, true), 1);
    assert_int_equal(port_at, 4);
    assert_int_equal(g.v.gpr[GPR_RCX], 2);
    assert_int_equal(run(true, 4, true), 1);
    assert_int_equal(port_at, 4); // nothing was read for what cannot be stored
    assert_int_equal(g.vector, VECTOR_PF);
    assert_int_equal(g.v.cr2, RAM + 4096);
    assert_int_equal(g.v.gpr[GPR_RCX], 2);
    assert_int_equal(g.v.count, 1);
}

static void test_element_across_missing_page(void **state) {
    guest_map(&g, RAM, 4096, RAM);
    g.v.gpr[GPR_RDI] = RAM + 4094;
    g.v.gpr[GPR_RCX] = 3;
    assert_int_equal(run(true, 4, true), 1);
    assert_int_equal(port_at, 0);
    assert_int_equal(g.v.cr2, RAM + 4096);
}

static void test_port_to_device(void **state) {
    g.v.gpr[GPR_RDI] = DEVICE + 8;
    g.v.gpr[GPR_RCX] = 3;
    assert_int_equal(run_all(true, 4), 3); // one by one
    assert_memory_equal(device + 8, port_data, 12);
    assert_int_equal(g.io_exits, 3);
    assert_int_equal(g.mmio_exits, 3);
    assert_int_equal(g.v.count, 3);
}

static void test_device_to_port(void **state) {
    memcpy(device, "abcdef", 6);
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RCX] = 3;
    assert_int_equal(run_all(false, 2), 3);
    assert_memory_equal(port_data, "abcdef", 6);
}

static void test_read_only_memory(void **state) {
    g.memory[0].read_only = true;
    uint8_t before = ram[0];
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 2;
    assert_int_equal(run_all(true, 1), 2);
    assert_int_equal(ram[0], before);
    assert_int_equal(g.mmio_exits, 2);
}

static void test_stops_at_the_count(void **state) {
    g.v.gpr[GPR_RSI] = RAM;
    g.v.gpr[GPR_RCX] = 100;
    g.v.count = 1000;
    g.v.control = CHRONO_STOP_AT;
    g.v.stop_at = 1007;
    assert_int_equal(run(false, 1, true), 1);
    assert_int_equal(g.v.count, 1007);
    assert_int_equal(g.v.gpr[GPR_RCX], 93);
}

static void test_single_step(void **state) {
    g.v.rflags |= RFLAGS_TF;
    g.v.gpr[GPR_RSI] = RAM;
    g.v.gpr[GPR_RCX] = 100;
    assert_int_equal(run(false, 1, true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 99);
    assert_true(g.v.pending_debug & PENDING_DEBUG_BS);
}

// A debugger looks at what its registers watch after each element.
static void test_debug_registers(void **state) {
    g.v.guest_debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 5;
    assert_int_equal(run(true, 4, true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 4);
    assert_int_equal(run_all(true, 4), 4);
    assert_int_equal(g.v.count, 5);
    assert_memory_equal(ram, port_data, 20);
}

static void test_segment_limit(void **state) {
    guest_set_32(&g);
    g.v.seg[SEG_ES].limit = RAM + 5;
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 4;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(run(true, 2, true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 1); // three were inside
    assert_int_equal(port_at, 6);
    assert_int_equal(g.vector, VECTOR_GP);
}

// ---- page watches -------------------------------------------------------------------------------------
static void watch(uint64_t linear, uint64_t size, unsigned access) {
    g.vm.debugged = true;
    g.v.control = CHRONO_WATCHES;
    g.watch = (struct guest_watch){linear, size, access};
}

// Everything before the watched byte happens, nothing of its element: the port is not even asked.
static void test_watched_input(void **state) {
    uint8_t before[8];
    memcpy(before, ram + 4, 8);
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 8;
    watch(RAM + 5, 1, ACCESS_WRITE);
    assert_int_equal(run(true, 2, true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 6);
    assert_int_equal(g.v.count, 2);
    assert_memory_equal(ram, port_data, 4);
    assert_int_equal(run(true, 2, true), 0);
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_null(g.v.complete);
    assert_int_equal(port_at, 4);
    assert_memory_equal(ram + 4, before, 8);
    g.v.control = 0;
    assert_int_equal(run_all(true, 2), 1);
    assert_memory_equal(ram, port_data, 16);
    assert_int_equal(g.v.count, 8);
}

static void test_watched_output(void **state) {
    g.v.gpr[GPR_RSI] = RAM + 0x108; // downwards
    g.v.gpr[GPR_RCX] = 4;
    g.v.rflags |= 1u << 10;
    watch(RAM + 0x100, 2, ACCESS_READ);
    assert_int_equal(run(false, 4, true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 2);
    assert_int_equal(run(false, 4, true), 0);
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(g.v.gpr[GPR_RSI], RAM + 0x100);
    watch(RAM + 0x100, 2, ACCESS_WRITE); // which this is not
    assert_int_equal(run_all(false, 4), 1);
}

// A watch that comes while the port is asked: its answer is kept.
static void test_watch_behind_the_port(void **state) {
    g.v.gpr[GPR_RDI] = RAM + 4094; // across a page: an element of its own
    struct vm_exit e = {.kind = EXIT_IO, .length = 1};
    e.io.port = 0x1f0;
    e.io.size = 4;
    e.io.in = e.io.string = true;
    e.io.address_size = 8;
    assert_int_equal(emulate_string_io(&g.v, &e), 0);
    port(&g);
    watch(RAM + 4094, 1, ACCESS_WRITE);
    int (*complete)(struct vcpu *) = g.v.complete;
    g.v.complete = NULL;
    assert_int_equal(complete(&g.v), 0);
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    g.v.control = 0;
    complete = g.v.complete;
    assert_non_null(complete);
    assert_int_equal(complete(&g.v), 1);
    assert_memory_equal(ram + 4094, port_data, 4);
    assert_int_equal(port_at, 4);
    assert_int_equal(g.v.rip, CODE + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_single),
        TEST(test_batches),
        TEST(test_input),
        TEST(test_downwards),
        TEST(test_nothing_to_do),
        TEST(test_fault_before_port),
        TEST(test_element_across_missing_page),
        TEST(test_port_to_device),
        TEST(test_device_to_port),
        TEST(test_read_only_memory),
        TEST(test_stops_at_the_count),
        TEST(test_single_step),
        TEST(test_debug_registers),
        TEST(test_segment_limit),
        TEST(test_watched_input),
        TEST(test_watched_output),
        TEST(test_watch_behind_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
