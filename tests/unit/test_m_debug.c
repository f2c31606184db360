/* sources: vmm/machine/debug_break.c vmm/machine/debug_regs.c vmm/machine/debug_text.c vmm/machine/debug_walk.c vmm/machine/bus.c vmm/machine/device.c vmm/machine/state.c vmm/machine/vtime.c tests/unit/machine_host.c */
// The machine's debugger over a KVM that only remembers what it was asked for: address spaces, where breakpoints and
// watchpoints are put, registers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <cmocka.h>
#include "machine_host.h"
#include "vmm/machine/debug_internal.h"

#define SETS 64

static struct machine *m;
static struct debug *d;

// ---- a KVM ---------------------------------------------------------------------------------------
static struct {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debug;
    uint8_t xsave[4096];
    struct kvm_guest_debug guest_debug;
    uint64_t code[SETS]; // breakpoints that are set
    unsigned codes;
    struct chrono_watch watches[SETS];
    unsigned watch_count;
    unsigned calls; // that changed something
} kvm;

static int set_code(const struct chrono_breakpoint *b) {
    for (unsigned i = 0; i < kvm.codes; i++) {
        if (kvm.code[i] != b->gpa)
            continue;
        if (!b->set)
            kvm.code[i] = kvm.code[--kvm.codes];
        return 0;
    }
    if (b->set)
        kvm.code[kvm.codes++] = b->gpa;
    return b->set ? 0 : -1;
}

static int set_watch(const struct chrono_watch *w) {
    unsigned i = 0;
    while (i < kvm.watch_count && kvm.watches[i].id != w->id)
        i++;
    if (w->access && i == kvm.watch_count)
        kvm.watch_count++;
    kvm.watches[i] = w->access ? *w : kvm.watches[kvm.watch_count - 1];
    if (!w->access)
        kvm.watch_count--;
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    switch (request) {
    case KVM_GET_REGS: *(struct kvm_regs *)arg = kvm.regs; return 0;
    case KVM_SET_REGS: kvm.regs = *(struct kvm_regs *)arg; return 0;
    case KVM_GET_SREGS: *(struct kvm_sregs *)arg = kvm.sregs; return 0;
    case KVM_SET_SREGS: kvm.sregs = *(struct kvm_sregs *)arg; return 0;
    case KVM_GET_XSAVE: memcpy(arg, kvm.xsave, 4096); return 0;
    case KVM_SET_XSAVE: memcpy(kvm.xsave, arg, 4096); return 0;
    case KVM_GET_DEBUGREGS: *(struct kvm_debugregs *)arg = kvm.debug; return 0;
    case KVM_SET_GUEST_DEBUG:
        kvm.calls++;
        kvm.guest_debug = *(struct kvm_guest_debug *)arg;
        return 0;
    case CHRONO_SET_BREAKPOINT: kvm.calls++; return set_code(arg);
    case CHRONO_SET_WATCH: kvm.calls++; return set_watch(arg);
    default: errno = ENOTTY; return -1;
    }
}

void cpu_get_sregs(struct cpu *c, struct kvm_sregs *s) {
    *s = kvm.sregs;
}

uint64_t cpu_get_msr(struct cpu *c, uint32_t index) {
    return index;
}

void cpu_set_msr(struct cpu *c, uint32_t index, uint64_t value) {}

const void *memory_look(const struct machine *of, uint64_t gpa, uint64_t n) {
    return guest_memory((struct machine *)of, gpa, n);
}

// ---- address spaces ------------------------------------------------------------------------------
#define PRESENT 3ull
#define LARGE   0x80ull

static void poke(uint64_t gpa, uint64_t value, unsigned size) {
    memcpy(m->ram + gpa, &value, size);
}

static uint64_t translated(uint64_t linear) {
    struct space s = debug_space(&m->cpus[0]);
    uint64_t gpa;
    return debug_translate(m, &s, linear, &gpa) ? gpa : UINT64_MAX;
}

static void paging(uint64_t cr4, uint64_t efer) {
    kvm.sregs.cr0 = 0x80000001;
    kvm.sregs.cr3 = 0x1000;
    kvm.sregs.cr4 = cr4;
    kvm.sregs.efer = efer;
}

// Four levels: ffff8000_00000000 is 5000h, the next 2 MB are at 0, 1 GB is at 40000000h.
static void four_levels(void) {
    paging(0x20, 0x500);
    poke(0x1000 + 256 * 8, 0x2000 | PRESENT, 8);
    poke(0x2000, 0x3000 | PRESENT, 8);
    poke(0x2008, 0x40000000 | LARGE | PRESENT, 8);
    poke(0x3000, 0x4000 | PRESENT, 8);
    poke(0x3008, 0 | LARGE | PRESENT, 8);
    poke(0x4000, 0x8000000000005000 | PRESENT, 8);
}

static void walks_of_four_levels(void **state) {
    four_levels();
    uint8_t *before = malloc(HOST_RAM);
    memcpy(before, m->ram, HOST_RAM);
    assert_int_equal(translated(0xffff800000000123), 0x5123);
    assert_int_equal(translated(0xffff800000001123), UINT64_MAX);
    assert_int_equal(translated(0xffff800000212345), 0x12345);
    assert_int_equal(translated(0xffff800052345678), 0x52345678);
    assert_int_equal(translated(0x0000800000000123), UINT64_MAX); // not canonical
    assert_int_equal(translated(0), UINT64_MAX);
    assert_memory_equal(before, m->ram, HOST_RAM); // no accessed bits
    free(before);
}

static void walks_of_older_modes(void **state) {
    assert_int_equal(translated(0x123456789), 0x23456789); // no paging, 32 bits
    paging(0, 0);
    poke(0x1000 + 4, 0x2000 | PRESENT, 4);
    poke(0x2000 + 8, 0x7000 | PRESENT, 4);
    poke(0x1000 + 8, 0x00c06000 | LARGE | PRESENT, 4);
    assert_int_equal(translated(0x402abc), 0x7abc);
    assert_int_equal(translated(0x403abc), UINT64_MAX);
    assert_int_equal(translated(0x800000), UINT64_MAX); // without CR4.PSE a table, and empty
    kvm.sregs.cr4 = 0x10;
    assert_int_equal(translated(0x812345), 0x0300c12345); // PSE-36
    paging(0x20, 0);
    poke(0x1000 + 24, 0x2000 | 1, 8);
    poke(0x2000, 0x200000 | LARGE | PRESENT, 8);
    assert_int_equal(translated(0xc0012345), 0x212345);
}

static void reads_end_where_nothing_is(void **state) {
    char text[16] = "";
    four_levels();
    struct space s = debug_space(&m->cpus[0]);
    memcpy(m->ram + 0x5ff8, "endofpag", 8);
    assert_int_equal(debug_read(m, &s, 0xffff800000000ff8, text, 16), 8);
    assert_string_equal(text, "endofpag");
    assert_int_equal(debug_read(m, &s, 0xffff800000001000, text, 16), 0);
    assert_int_equal(debug_read(m, &debug_physical_space, HOST_RAM - 4, text, 16), 4);
    assert_int_equal(debug_read(m, &debug_physical_space, 0x5ff8, text, 8), 8);
}

// ---- places --------------------------------------------------------------------------------------
static void place(const struct breakpoint *list, unsigned n) {
    struct run_request q = {.breakpoints = list, .breakpoint_count = n};
    debug_place(d, &q);
}

static struct breakpoint code(uint32_t kind, uint64_t address) {
    return (struct breakpoint){.kind = kind, .address = address, .cr3 = ANY_CR3};
}

static struct breakpoint data(uint32_t kind, uint64_t address, uint32_t length) {
    return (struct breakpoint){.kind = kind, .address = address, .length = length, .cr3 = ANY_CR3};
}

static void software_breakpoints(void **state) {
    struct breakpoint list[] = {code(BREAK_SOFTWARE, 0x1234), code(BREAK_SOFTWARE, 0x1234),
                                code(BREAK_SOFTWARE, 0x5678)};
    list[1].cr3 = 0x7000; // the same place, restricted: one INT3 is enough for both
    place(list, 3);
    assert_int_equal(kvm.codes, 2);
    unsigned calls = kvm.calls;
    place(list, 3);
    assert_int_equal(kvm.calls, calls); // nothing is done again
    place(list + 1, 2);
    assert_int_equal(kvm.codes, 2); // still needed
    place(list + 2, 1);
    assert_int_equal(kvm.codes, 1);
    assert_int_equal(d->placed[2].which, 0);
    place(NULL, 0);
    assert_int_equal(kvm.codes, 0);
    assert_int_equal(d->placed_count, 0);
}

static void hardware_breakpoints(void **state) {
    struct breakpoint list[5];
    for (unsigned i = 0; i < 5; i++)
        list[i] = code(BREAK_HARDWARE, 0x1000 * i);
    place(list, 5);
    assert_int_equal(kvm.codes, 1); // the fifth
    assert_int_equal(kvm.guest_debug.arch.debugreg[7], 0xaa);
    assert_int_equal(kvm.guest_debug.arch.debugreg[3], 0x3000);
    d->passing = PASS_CODE;
    debug_load_registers(d);
    assert_int_equal(kvm.guest_debug.control, 0);
    d->passing = 0;
    place(NULL, 0);
    assert_int_equal(kvm.codes, 0);
    assert_int_equal(kvm.guest_debug.control, 0);
}

static void watchpoints_in_registers(void **state) {
    struct breakpoint odd = data(WATCH_WRITE, 0x1003, 6); // 1 + 4 + 1 bytes
    place(&odd, 1);
    assert_int_equal(d->placed[0].how, IN_REGISTERS);
    assert_int_equal(kvm.guest_debug.arch.debugreg[0], 0x1003);
    assert_int_equal(kvm.guest_debug.arch.debugreg[1], 0x1004);
    assert_int_equal(kvm.guest_debug.arch.debugreg[2], 0x1008);
    assert_int_equal(kvm.guest_debug.arch.debugreg[7], 0x2a | 0x1u << 16 | 0xdu << 20 | 0x1u << 24);
    struct breakpoint wide = data(WATCH_ACCESS, 0x2000, 8);
    place(&wide, 1);
    assert_int_equal(kvm.guest_debug.arch.debugreg[0], 0x2000);
    assert_int_equal(kvm.guest_debug.arch.debugreg[7], 0x2 | 0xbu << 16);
    place(NULL, 0);
}

static void watchpoints_in_pages(void **state) {
    struct breakpoint list[] = {data(WATCH_WRITE, 0x1ffe, 100), data(WATCH_READ, 0x3000, 4)};
    place(list, 2);
    assert_int_equal(d->placed[0].how, IN_PAGES);
    assert_int_equal(d->placed[0].pieces, 2);
    assert_int_equal(d->placed[1].how, IN_PAGES); // only a page tells reads from writes
    assert_int_equal(kvm.watch_count, 3);
    assert_int_equal(kvm.watches[0].access, CHRONO_WRITE);
    assert_int_equal(kvm.watches[0].len, 2);
    assert_int_equal(kvm.watches[1].gpa, 0x2000);
    assert_int_equal(kvm.watches[1].len, 98);
    assert_int_equal(kvm.watches[2].access, CHRONO_READ);
    assert_true(d->page_watches && d->watching);
    struct breakpoint none = data(WATCH_WRITE, 0x1000, 0), huge = data(WATCH_WRITE, 0x1000, 5000);
    place(&none, 1);
    assert_int_equal(d->placed_count, 0); // nothing to watch
    place(&huge, 1);
    assert_int_equal(d->placed_count, 0);
    assert_int_equal(kvm.watch_count, 0);
    assert_false(d->page_watches);
}

static void interrupts_need_no_place(void **state) {
    struct breakpoint b = code(INTERRUPT, 0x1234);
    unsigned calls = kvm.calls;
    place(&b, 1);
    assert_int_equal(d->placed[0].how, AT_DELIVERIES);
    assert_true(d->watching_interrupts);
    debug_place_again(d);
    assert_int_equal(d->placed[0].how, AT_DELIVERIES);
    place(NULL, 0);
    assert_false(d->watching_interrupts);
    assert_int_equal(kvm.calls, calls);
}

static void unmapped_places_wait(void **state) {
    struct breakpoint list[6];
    four_levels();
    for (unsigned i = 0; i < 6; i++)
        list[i] = code(BREAK_SOFTWARE, 0xffff800000001000 + i);
    place(list, 6);
    assert_int_equal(d->placed[3].how, IN_REGISTERS); // by linear address, where one is free
    assert_int_equal(d->placed[4].how, NOWHERE);
    poke(0x4008, 0x6000 | PRESENT, 8); // now it is mapped
    debug_place_again(d);
    assert_int_equal(d->placed[4].how, IN_CODE);
    assert_int_equal(d->placed[5].gpa[0], 0x6005);
    poke(0x4008, 0x7000 | PRESENT, 8); // and now somewhere else
    place(list, 6);
    assert_int_equal(kvm.codes, 2);
    assert_int_equal(d->placed[5].gpa[0], 0x7005);
    place(NULL, 0);
}

static void the_guest_takes_the_registers(void **state) {
    struct breakpoint list[] = {data(WATCH_WRITE, 0x1000, 4), code(BREAK_HARDWARE, 0x2000)};
    place(list, 2);
    assert_true(d->registers_loaded);
    kvm.debug.dr7 = 0x403;
    place(list, 2);
    assert_false(d->registers_loaded);
    assert_int_equal(kvm.guest_debug.control, 0);
    assert_int_equal(d->placed[0].how, IN_PAGES);
    assert_int_equal(d->placed[1].how, IN_CODE);
    place(NULL, 0);
}

static void values(void **state) {
    struct breakpoint list[] = {data(WATCH_WRITE, 0x1ffe, 4)};
    place(list, 1);
    struct space s = debug_space(&m->cpus[0]);
    assert_false(debug_value_changed(d, &d->placed[0], &s));
    m->ram[0x2001] = 7;
    m->ram[0x2002] = 7; // behind it
    assert_true(debug_value_changed(d, &d->placed[0], &s));
    assert_false(debug_value_changed(d, &d->placed[0], &s));
    m->ram[0x1ffe] = 1;
    assert_true(debug_value_changed_in_ram(d, &d->placed[0]));
    assert_false(debug_value_changed_in_ram(d, &d->placed[0]));
    place(NULL, 0);
}

// ---- registers -----------------------------------------------------------------------------------
static void registers_of_the_fpu(void **state) {
    struct target_registers r;
    assert_int_equal(debug_read_registers(m, 0, &r), 0);
    assert_int_equal(r.fcw, 0x37f); // nothing in XSTATE_BV: all initial
    assert_int_equal(r.ftw, 0);     // all empty: FXSAVE's form, which the front makes gdb's of
    assert_int_equal(r.mxcsr, 0x1f80);
    kvm.xsave[512] = 7;
    kvm.xsave[3] = 6 << 3;          // TOP
    kvm.xsave[4] = 1 << 6 | 1 << 7; // registers 6 and 7: ST(0), ST(1)
    kvm.xsave[32 + 7] = 0x80;       // ST(0) = 1.0
    kvm.xsave[32 + 8] = 0xff;
    kvm.xsave[32 + 9] = 0x3f;
    kvm.xsave[160 + 16] = 0x11; // XMM1
    kvm.xsave[576 + 16] = 0x22; // upper half of YMM1
    assert_int_equal(debug_read_registers(m, 0, &r), 0);
    assert_int_equal(r.ftw, 0xc0);
    assert_int_equal(r.ymm[1][0], 0x11);
    assert_int_equal(r.ymm[1][16], 0x22);
    r.ymm[1][16] = 0x33;
    r.fcw = 0x27f;
    assert_int_equal(debug_write_registers(m, 0, &r), 0);
    struct target_registers again;
    debug_read_registers(m, 0, &again);
    assert_memory_equal(&again, &r, sizeof(r));
}

static void registers_of_the_processor(void **state) {
    struct target_registers r;
    kvm.regs = (struct kvm_regs){.rax = 1, .rcx = 2, .rdx = 3, .rbx = 4, .r15 = 5, .rip = 6};
    kvm.sregs.cs = (struct kvm_segment){
        .base = 0xf0000, .limit = 0xffff, .selector = 0xf000, .type = 11, .s = 1, .present = 1};
    kvm.sregs.fs = (struct kvm_segment){.unusable = 1, .type = 3};
    assert_int_equal(debug_read_registers(m, 0, &r), 0);
    assert_int_equal(r.general[1], 2);
    assert_int_equal(r.general[3], 4);
    assert_int_equal(r.general[15], 5);
    assert_int_equal(r.mode, TARGET_MODE_16);
    assert_int_equal(r.segments[TARGET_CS].attributes, 0x9b);
    assert_int_equal(r.segments[TARGET_FS].attributes, 0);
    kvm.sregs.cs.db = 1;
    debug_read_registers(m, 0, &r);
    assert_int_equal(r.mode, TARGET_MODE_32);
    kvm.sregs.cs.db = 0;
    kvm.sregs.cs.l = 1;
    kvm.sregs.efer = 0x500;
    debug_read_registers(m, 0, &r);
    assert_int_equal(r.mode, TARGET_MODE_64);
    r.general[0] = 77;
    r.segments[TARGET_DS] = (struct target_segment){.base = 1, .limit = 2, .attributes = 0x93};
    assert_int_equal(debug_write_registers(m, 0, &r), 0);
    assert_int_equal(kvm.regs.rax, 77);
    assert_int_equal(kvm.sregs.ds.type, 3);
    struct target_registers slip = r; // nothing that the next entry would refuse gets through
    slip.rip = 1ull << 47;
    assert_int_equal(debug_write_registers(m, 0, &slip), -EINVAL);
    slip = r;
    slip.segments[TARGET_GS].base = 1ull << 63;
    assert_int_equal(debug_write_registers(m, 0, &slip), -EINVAL);
    slip = r;
    slip.segments[TARGET_SS].base = 1ull << 32;
    slip.segments[TARGET_SS].attributes = 0x93;
    assert_int_equal(debug_write_registers(m, 0, &slip), -EINVAL);
    slip = r;
    slip.gs_kernel_base = 1ull << 47;
    assert_int_equal(debug_write_registers(m, 0, &slip), -EINVAL);
    kvm.sregs.cs.l = 0;
    debug_read_registers(m, 0, &slip);
    slip.rip = 1ull << 32;
    assert_int_equal(debug_write_registers(m, 0, &slip), -EINVAL);
    assert_int_equal(kvm.regs.rax, 77);
    d->kind = TARGET_REPLAYING;
    assert_int_equal(debug_write_registers(m, 0, &r), -EPERM);
    assert_int_equal(debug_read_registers(m, 1, &r), -EINVAL);
}

// ---- texts -----------------------------------------------------------------------------------------
// A log of 50 events, of which number 20 is next.
static uint64_t described[2];

uint64_t inputs_events(const struct inputs *in) {
    return 50;
}
uint64_t inputs_event(const struct inputs *in) {
    return 20;
}
void inputs_describe(const struct inputs *in, uint64_t first, uint64_t last, char *buf, size_t n) {
    described[0] = first;
    described[1] = last;
    snprintf(buf, n, "events\n");
}

bool irq_pending(struct cpu *c) {
    return false;
}
void exits_text(const struct machine *machine, char *buf, size_t n) {}
void cpu_get_regs(struct cpu *c, struct kvm_regs *r) {
    *r = kvm.regs;
}

static void assert_describes(const char *around, uint64_t first, uint64_t last) {
    char text[100];
    debug_text(m, TEXT_EVENTS, around, text, sizeof(text));
    assert_string_equal(text, "events\n");
    assert_int_equal(described[0], first);
    assert_int_equal(described[1], last);
}

static void events_around_a_place(void **state) {
    char text[100];
    assert_describes("", 10, 30);
    assert_describes("3", 0, 13);
    assert_describes("49", 39, 49);
    debug_text(m, TEXT_EVENTS, "18446744073709551615", text, sizeof(text));
    assert_string_equal(text, "The log has events 0 to 49.\n");
}

static int setup(void **state) {
    m = host_create();
    memset(&kvm, 0, sizeof(kvm));
    free(d);
    d = calloc(1, sizeof(*d));
    d->machine = m;
    m->debug = d;
    m->cpus[0].machine = m;
    m->current = &m->cpus[0];
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(walks_of_four_levels, setup),
        cmocka_unit_test_setup(walks_of_older_modes, setup),
        cmocka_unit_test_setup(reads_end_where_nothing_is, setup),
        cmocka_unit_test_setup(software_breakpoints, setup),
        cmocka_unit_test_setup(hardware_breakpoints, setup),
        cmocka_unit_test_setup(watchpoints_in_registers, setup),
        cmocka_unit_test_setup(watchpoints_in_pages, setup),
        cmocka_unit_test_setup(interrupts_need_no_place, setup),
        cmocka_unit_test_setup(unmapped_places_wait, setup),
        cmocka_unit_test_setup(the_guest_takes_the_registers, setup),
        cmocka_unit_test_setup(values, setup),
        cmocka_unit_test_setup(registers_of_the_fpu, setup),
        cmocka_unit_test_setup(registers_of_the_processor, setup),
        cmocka_unit_test_setup(events_around_a_place, setup),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(d);
    return failed;
}
