/* sources: vmm/emulate.c vmm/access.c vmm/fetch.c vmm/operate.c vmm/xmm.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_guest.c tests/unit/vmm_mock.c */
// Device memory accesses step by step: what user space sees, faults, segmentation, REP, the fetch cache.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vmm_guest.h"
#include "cpu/msr.h"
#include "mm/layout.h"
#include "vmm/emulate.h"
#include "vmm/x86.h"

#define CODE   0x1000ull
#define DEVICE 0xfee00000ull
#define RAM    0x10000ull

static uint8_t code[8192] __attribute__((aligned(4096))), ram[8192], device[8192];
static struct guest g;

// A guest with identity mapping: code, memory, a device.
static int setup(void **state) {
    guest_init(&g);
    memset(code, 0x90, sizeof(code));
    memset(ram, 0, sizeof(ram));
    for (unsigned i = 0; i < sizeof(device); i++)
        device[i] = (uint8_t)(i * 7 + 1);
    guest_add_memory(&g, CODE, code, sizeof(code), false);
    guest_add_memory(&g, RAM, ram, sizeof(ram), false);
    guest_add_memory(&g, DEVICE, device, sizeof(device), true);
    g.v.rip = CODE;
    test_direct_map = NULL;
    return 0;
}
static int teardown(void **state) {
    guest_free(&g);
    return 0;
}

static void place(uint64_t rip, const char *hex) {
    for (unsigned n = 0, value; sscanf(hex + 2 * n, "%2x", &value) == 1; n++)
        code[rip - CODE + n] = (uint8_t)value;
    g.v.rip = rip;
}

// The exit alone: what KVM_RUN returns at first.
static int begin(uint64_t linear, bool write) {
    struct vm_exit e = {.kind = EXIT_MEMORY};
    uint32_t error;
    vcpu_translate(&g.v, linear, 0, false, &e.memory.gpa, &error);
    e.memory.gva = linear;
    e.memory.gva_valid = true;
    e.memory.write = write;
    e.memory.read = !write;
    return emulate_mmio(&g.v, &e);
}

static int complete(void) {
    int (*f)(struct vcpu *) = g.v.complete;
    g.v.complete = NULL;
    return f(&g.v);
}

static void expect_mmio(uint64_t gpa, unsigned len, bool write) {
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_MMIO);
    assert_int_equal(g.v.run->mmio.phys_addr, gpa);
    assert_int_equal(g.v.run->mmio.len, len);
    assert_int_equal(g.v.run->mmio.is_write, write);
}

static uint64_t get(const void *at, unsigned size) {
    uint64_t value = 0;
    memcpy(&value, at, size);
    return value;
}

// ---- single accesses -------------------------------------------------------------------------------
static void test_plain_store(void **state) {
    place(CODE, "8903"); // mov [rbx], eax
    g.v.gpr[GPR_RBX] = DEVICE + 0x80;
    g.v.gpr[GPR_RAX] = 0xaabbccdd12345678;
    assert_int_equal(begin(DEVICE + 0x80, true), 0);
    expect_mmio(DEVICE + 0x80, 4, true);
    assert_int_equal(get(g.v.run->mmio.data, 8), 0x12345678);
    assert_int_equal(g.v.rip, CODE); // nothing is done before completion
    assert_int_equal(g.v.count, 0);
    assert_int_equal(complete(), 1);
    assert_int_equal(g.v.rip, CODE + 2);
    assert_int_equal(g.v.count, 1);
}

static void test_plain_load(void **state) {
    place(CODE, "0fbe5b10"); // movsx ebx, byte [rbx+16]
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(begin(DEVICE + 16, false), 0);
    expect_mmio(DEVICE + 16, 1, false);
    memset(g.v.run->mmio.data, 0x80, 8); // more than was asked for
    g.v.run->mmio.len = 200;             // user space may write anything
    assert_int_equal(complete(), 1);
    assert_int_equal(g.v.gpr[GPR_RBX], 0xffffff80);
}

static void test_read_then_write(void **state) {
    place(CODE, "830b01"); // or dword [rbx], 1
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(begin(DEVICE, true), 0);
    expect_mmio(DEVICE, 4, false);
    memcpy(g.v.run->mmio.data, "\x10\0\0\x80", 4);
    assert_int_equal(complete(), 0);
    expect_mmio(DEVICE, 4, true);
    assert_int_equal(get(g.v.run->mmio.data, 4), 0x80000011);
    assert_int_equal(g.v.rflags, RFLAGS_FIXED);
    assert_int_equal(complete(), 1);
    assert_int_equal(g.v.rflags & 0x8d5, 0x84); // SF, PF
    assert_int_equal(g.v.count, 1);
}

static void test_across_pages(void **state) {
    place(CODE, "488903"); // mov [rbx], rax
    g.v.gpr[GPR_RBX] = DEVICE + 4096 - 3;
    g.v.gpr[GPR_RAX] = 0x8877665544332211;
    guest_map(&g, CODE, 8192, CODE);
    guest_map(&g, DEVICE, 4096, DEVICE);
    guest_map(&g, DEVICE + 4096, 4096, RAM); // the second half is memory
    assert_int_equal(begin(DEVICE + 4096 - 3, true), 0);
    expect_mmio(DEVICE + 4096 - 3, 3, true);
    assert_int_equal(get(g.v.run->mmio.data, 3), 0x332211);
    assert_int_equal(get(ram, 5), 0);
    assert_int_equal(complete(), 1);
    assert_int_equal(get(ram, 8), 0x8877665544);
}

static void test_sixteen_bytes(void **state) {
    place(CODE, "f30f7f0b"); // movdqu [rbx], xmm1
    g.v.gpr[GPR_RBX] = DEVICE + 1;
    memcpy((char *)g.v.fpu + 160 + 16, "0123456789abcdef", 16);
    *(uint64_t *)((char *)g.v.fpu + 512) = 2;
    assert_int_equal(begin(DEVICE + 1, true), 0);
    expect_mmio(DEVICE + 1, 8, true);
    assert_int_equal(complete(), 0);
    expect_mmio(DEVICE + 9, 8, true);
    assert_memory_equal(g.v.run->mmio.data, "89abcdef", 8);
    assert_int_equal(complete(), 1);
}

static void test_sixteen_bytes_exchanged(void **state) {
    place(CODE, "480fc70b"); // cmpxchg16b [rbx]
    g.v.gpr[GPR_RBX] = DEVICE + 16;
    g.v.gpr[GPR_RAX] = get(device + 16, 8);
    g.v.gpr[GPR_RDX] = get(device + 24, 8);
    g.v.gpr[GPR_RCX] = 0x1122334455667788;
    assert_int_equal(begin(DEVICE + 16, true), 0);
    for (unsigned i = 0; i < 4; i++) { // two halves read, then written
        expect_mmio(DEVICE + (i % 2 ? 24 : 16), 8, i >= 2);
        if (i < 2)
            memcpy(g.v.run->mmio.data, device + 16 + 8 * i, 8);
        else
            assert_int_equal(get(g.v.run->mmio.data, 8), g.v.gpr[i == 2 ? GPR_RBX : GPR_RCX]);
        assert_int_equal(complete(), i == 3);
    }
    assert_int_equal(g.v.rflags & 0x40, 0x40);
    assert_int_equal(g.v.count, 1);
}

static void test_sixteen_bytes_misaligned(void **state) {
    place(CODE, "480fc70b");
    g.v.gpr[GPR_RBX] = DEVICE + 8;
    assert_int_equal(guest_mmio(&g, DEVICE + 8, true), 1);
    assert_int_equal(g.exceptions, 1);
    assert_int_equal(g.vector, VECTOR_GP);
    assert_int_equal(g.mmio_exits, 0);
    g.exceptions = 0;
    place(CODE, "0fc70b"); // cmpxchg8b may be anywhere
    g.v.gpr[GPR_RBX] = DEVICE + 3;
    assert_int_equal(guest_mmio(&g, DEVICE + 3, true), 1);
    assert_int_equal(g.exceptions, 0);
    assert_int_equal(g.v.gpr[GPR_RAX], get(device + 3, 4));
    assert_int_equal(g.v.gpr[GPR_RDX], get(device + 7, 4));
    assert_int_equal(g.v.rflags & 0x40, 0);
}

static void test_initial_xmm(void **state) {
    place(CODE, "f30f7f0b");
    g.v.gpr[GPR_RBX] = DEVICE;
    memset((char *)g.v.fpu + 160, 0x55, 256); // not valid: the registers are initial
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(device[i], 0);
}

// ---- AVX -------------------------------------------------------------------------------------------
#define YMM_HIGH 576 // in the area of XSAVE

static void use_avx(void) {
    g.v.cr4 |= CR4_OSXSAVE;
    g.v.xcr0 = 7;
    *(uint64_t *)((char *)g.v.fpu + 512) = 6;
}

static void test_vector_store(void **state) {
    use_avx();
    place(CODE, "c5fe7f0b"); // vmovdqu [rbx], ymm1
    g.v.gpr[GPR_RBX] = DEVICE + 5;
    memcpy((char *)g.v.fpu + 160 + 16, "0123456789abcdef", 16);
    memcpy((char *)g.v.fpu + YMM_HIGH + 16, "ghijklmnopqrstuv", 16);
    assert_int_equal(guest_mmio(&g, DEVICE + 5, true), 1);
    assert_int_equal(g.mmio_exits, 4);
    assert_memory_equal(device + 5, "0123456789abcdefghijklmnopqrstuv", 32);
}

static void test_vector_load_zeroes(void **state) {
    use_avx();
    memset((char *)g.v.fpu + YMM_HIGH, 0x55, 256);
    place(CODE, "f30f6f0b"); // movdqu xmm1, [rbx]: the upper half stays
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(get((char *)g.v.fpu + YMM_HIGH + 16, 8), 0x5555555555555555);
    place(CODE, "c5fa100b"); // vmovss xmm1, [rbx]
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(get((char *)g.v.fpu + 160 + 16, 8), get(device, 4));
    for (unsigned i = 0; i < 16; i += 8)
        assert_int_equal(get((char *)g.v.fpu + YMM_HIGH + 16 + i, 8), 0);
    assert_int_equal(get((char *)g.v.fpu + YMM_HIGH + 32, 8), 0x5555555555555555);
}

static void test_vector_alignment(void **state) {
    use_avx();
    place(CODE, "c5fc280b"); // vmovaps ymm1, [rbx]
    g.v.gpr[GPR_RBX] = DEVICE + 16;
    assert_int_equal(guest_mmio(&g, DEVICE + 16, false), 1);
    assert_int_equal(g.exceptions, 1);
    assert_int_equal(g.vector, VECTOR_GP);
    place(CODE, "c5f8280b"); // its 16 bytes are aligned
    assert_int_equal(guest_mmio(&g, DEVICE + 16, false), 1);
    assert_int_equal(g.exceptions, 1);
}

static void test_vector_switched_off(void **state) {
    uint64_t *needed[] = {&g.v.cr4, &g.v.xcr0, &g.v.cr0};
    for (unsigned i = 0; i < 3; i++) {
        g.v.cr0 |= CR0_PE;
        use_avx();
        *needed[i] &= i == 0 ? ~CR4_OSXSAVE : i == 1 ? ~4ull : ~CR0_PE;
        place(CODE, "c5fe7f0b");
        g.v.gpr[GPR_RBX] = DEVICE;
        g.vector = 0;
        assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
        assert_int_equal(g.vector, VECTOR_UD);
        assert_int_equal(g.exceptions, i + 1);
        assert_int_equal(g.v.rip, CODE);
    }
    assert_int_equal(g.mmio_exits, 0);
}

static void test_memory_to_device(void **state) {
    place(CODE, "a5"); // movsd
    g.v.gpr[GPR_RSI] = RAM;
    g.v.gpr[GPR_RDI] = DEVICE;
    memcpy(ram, "abcd", 4);
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_memory_equal(device, "abcd", 4);
    assert_int_equal(g.mmio_exits, 1);
}

static void test_read_only_memory(void **state) {
    g.memory[1].read_only = true;
    place(CODE, "8303ff"); // add dword [rbx], -1
    g.v.gpr[GPR_RBX] = RAM;
    ram[0] = 5;
    assert_int_equal(begin(RAM, true), 0);
    expect_mmio(RAM, 4, true); // read from memory, written by user space
    assert_int_equal(get(g.v.run->mmio.data, 4), 4);
    assert_int_equal(complete(), 1);
}

// ---- exceptions ------------------------------------------------------------------------------------
static void test_fault_at_second_operand(void **state) {
    place(CODE, "a5");
    guest_map(&g, CODE, 8192, CODE);
    guest_map(&g, DEVICE, 4096, DEVICE);
    guest_map(&g, RAM, 4096, RAM);
    g.range[2].denied = ACCESS_WRITE;
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM + 8;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.exceptions, 1);
    assert_int_equal(g.vector, VECTOR_PF);
    assert_int_equal(g.v.cr2, RAM + 8);
    assert_int_equal(g.error, 3);
    assert_int_equal(g.v.gpr[GPR_RSI], DEVICE); // nothing has changed
    assert_int_equal(g.v.rip, CODE);
    assert_int_equal(g.v.count, 0);
}

static void test_fault_on_second_page(void **state) {
    place(CODE, "488903");
    guest_map(&g, CODE, 8192, CODE);
    guest_map(&g, DEVICE, 4096, DEVICE);
    g.v.seg[SEG_SS].dpl = 3; // user mode
    g.v.gpr[GPR_RBX] = DEVICE + 4092;
    assert_int_equal(guest_mmio(&g, DEVICE + 4092, true), 1);
    assert_int_equal(g.mmio_exits, 0); // before anything was written
    assert_int_equal(g.v.cr2, DEVICE + 4096);
    assert_int_equal(g.error, 6);
}

static void test_read_modify_write_checks_first(void **state) {
    place(CODE, "8303ff");
    guest_map(&g, CODE, 8192, CODE);
    guest_map(&g, DEVICE, 4096, DEVICE);
    g.range[1].denied = ACCESS_WRITE;
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.mmio_exits, 0); // the device was not read
    assert_int_equal(g.vector, VECTOR_PF);
}

static void test_not_canonical(void **state) {
    place(CODE, "a5");
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = 0x800000000000;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.vector, VECTOR_GP);
}

static void test_alignment_check(void **state) {
    place(CODE, "a5");
    g.v.cr0 |= 1u << 18;
    g.v.rflags |= 1u << 18;
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM + 2;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.exceptions, 0); // supervisor
    g.v.rip = CODE;
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM + 2;
    g.v.seg[SEG_SS].dpl = 3;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.vector, VECTOR_AC);
}

// ---- segments --------------------------------------------------------------------------------------
static void test_segment_base_and_wrap(void **state) {
    guest_set_32(&g);
    place(CODE, "648903"); // mov fs:[ebx], eax
    g.v.seg[SEG_FS].base = DEVICE + 0x1000;
    g.v.gpr[GPR_RBX] = 0xfffff004; // wraps around to DEVICE + 4
    g.v.gpr[GPR_RAX] = 0x11223344;
    assert_int_equal(guest_mmio(&g, DEVICE + 4, true), 1);
    assert_int_equal(get(device + 4, 4), 0x11223344);
}

static void test_limits(void **state) {
    guest_set_32(&g);
    place(CODE, "a5"); // movsd: source DS, destination ES
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM;
    g.v.seg[SEG_ES].limit = RAM + 2; // one byte too few
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.vector, VECTOR_GP);
    g.v.seg[SEG_ES].type = 7; // expand-down: above the limit is valid
    g.v.seg[SEG_ES].limit = RAM - 1;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.exceptions, 1);
    g.v.rip = CODE;
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM;
    g.v.seg[SEG_ES].type = 1; // read-only
    g.v.seg[SEG_ES].limit = 0xffffffff;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.exceptions, 2);
}

static void test_real_mode(void **state) {
    guest_set_real(&g);
    place(CODE, "6726668b4702"); // mov eax, es:[edi+2] by 32-bit addressing
    g.v.seg[SEG_ES].base = 0xffff0;
    g.v.gpr[GPR_RDI] = 0x20;
    guest_add_memory(&g, 0x100000, device, 4096, true);
    g.v.gpr[GPR_RAX] = ~0ull;
    assert_int_equal(guest_mmio(&g, 0x100012, false), 1);
    assert_int_equal(g.v.gpr[GPR_RAX], get(device + 0x12, 4));
    assert_int_equal(g.v.rip, CODE + 6);
    place(CODE, "a4"); // movsb with SI and DI of 16 bits
    g.v.gpr[GPR_RSI] = 0x5550010;
    g.v.gpr[GPR_RDI] = 0x777ffff;
    assert_int_equal(guest_mmio(&g, 0x10, false), 1);
    assert_int_equal(g.v.gpr[GPR_RSI], 0x5550011);
    assert_int_equal(g.v.gpr[GPR_RDI], 0x7770000);
}

// ---- REP -------------------------------------------------------------------------------------------
static void test_rep_stores(void **state) {
    place(CODE, "f3ab"); // rep stosd
    g.v.gpr[GPR_RAX] = 0x01020304;
    g.v.gpr[GPR_RCX] = 5;
    g.v.gpr[GPR_RDI] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_int_equal(g.mmio_exits, 5); // without going back to the guest in between
    assert_int_equal(g.v.gpr[GPR_RCX], 0);
    assert_int_equal(g.v.rip, CODE + 2);
    assert_int_equal(g.v.count, 5);
    assert_int_equal(get(device + 16, 4), 0x01020304);
}

static void test_rep_is_interruptible(void **state) {
    place(CODE, "f3ab");
    g.v.gpr[GPR_RCX] = 5;
    g.v.gpr[GPR_RDI] = DEVICE;
    g.attention = true;
    for (unsigned i = 1; i <= 4; i++) {
        assert_int_equal(guest_mmio(&g, g.v.gpr[GPR_RDI], true), 1);
        assert_int_equal(g.v.gpr[GPR_RCX], 5 - i);
        assert_int_equal(g.v.gpr[GPR_RDI], DEVICE + 4 * i);
        assert_int_equal(g.v.rip, CODE);
        assert_int_equal(g.v.count, i);
    }
}

static void test_rep_into_memory_goes_back(void **state) {
    guest_add_memory(&g, DEVICE + sizeof(device), ram, 4096, false);
    place(CODE, "f3aa");
    g.v.gpr[GPR_RAX] = 0x5a;
    g.v.gpr[GPR_RCX] = 10;
    g.v.gpr[GPR_RDI] = DEVICE + sizeof(device) - 2;
    assert_int_equal(guest_mmio(&g, g.v.gpr[GPR_RDI], true), 1);
    assert_int_equal(g.v.gpr[GPR_RCX],
                     7); // two at the device, one by the emulator, the rest by hardware
    assert_int_equal(ram[0], 0x5a);
}

static void test_compare_ends_rep(void **state) {
    memset(device, 0, 16);
    device[3] = 0x41;
    place(CODE, "f2ae"); // repne scasb
    g.v.gpr[GPR_RAX] = 0x41;
    g.v.gpr[GPR_RCX] = 100;
    g.v.gpr[GPR_RDI] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, false), 1);
    assert_int_equal(g.v.gpr[GPR_RCX], 96);
    assert_int_equal(g.v.count, 4);
    assert_true(g.v.rflags & 0x40);
    assert_int_equal(g.v.rip, CODE + 2);
}

static void test_single_step(void **state) {
    place(CODE, "f3aa");
    g.v.gpr[GPR_RCX] = 2;
    g.v.gpr[GPR_RDI] = DEVICE;
    g.v.rflags |= RFLAGS_TF;
    g.attention = true;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_true(g.v.pending_debug & PENDING_DEBUG_BS); // after each iteration
    assert_int_equal(g.v.rip, CODE);
}

// ---- fetch -----------------------------------------------------------------------------------------
static void test_across_code_pages(void **state) {
    place(CODE + 4094, "c70344332211"); // mov dword [rbx], 0x11223344
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_int_equal(get(device, 4), 0x11223344);
    assert_int_equal(g.v.rip, CODE + 4100);
}

static void test_code_page_missing(void **state) {
    guest_map(&g, CODE, 4096, CODE);
    guest_map(&g, DEVICE, 4096, DEVICE);
    place(CODE + 4094, "c703");
    g.v.gpr[GPR_RBX] = DEVICE;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_int_equal(g.vector, VECTOR_PF);
    assert_int_equal(g.v.cr2, CODE + 4096);
}

static void test_reported(void **state) {
    place(CODE, "0f0b");
    assert_int_equal(guest_mmio(&g, DEVICE, true), 0);
    assert_int_equal(g.reports, 1);
    struct vm_exit e = {.kind = EXIT_MEMORY, .vectoring = true};
    e.memory.gva_valid = true;
    assert_int_equal(emulate_mmio(&g.v, &e), 0);
    assert_int_equal(g.reports, 2);
    e.vectoring = false;
    e.memory.page_walk = true;
    assert_int_equal(emulate_mmio(&g.v, &e), 0);
    assert_int_equal(g.reports, 3);
    g.v.rip = DEVICE; // code in device memory
    assert_int_equal(guest_mmio(&g, DEVICE, true), 0);
    assert_int_equal(g.reports, 4);
}

// Real tables of the guest, in memory that the cache can see: entry 0 of each level, then page CODE.
struct tables {
    uint64_t level[4][512];
    uint8_t pages[2][4096];
} __attribute__((aligned(4096)));

static void test_fetch_cache(void **state) {
    struct tables *t = aligned_alloc(4096, sizeof(*t));
    memset(t, 0, sizeof(*t));
    test_direct_map = (char *)t;
    guest_add_memory(&g, 0x100000, t, sizeof(*t), false);
    for (unsigned i = 0; i < 3; i++)
        t->level[i][0] = (0x100000 + 4096 * (i + 1)) | 0x63;
    t->level[3][1] = 0x104000 | 0x63; // CODE is the first of the pages
    g.v.cr3 = 0x100000;
    guest_map(&g, CODE, 4096, 0x104000);
    guest_map(&g, DEVICE, 4096, DEVICE);
    memcpy(t->pages[0], "\x88\x03", 2); // mov [rbx], al
    memcpy(t->pages[1], "\x88\x23", 2); // mov [rbx], ah
    g.v.gpr[GPR_RBX] = DEVICE;
    g.v.gpr[GPR_RAX] = 0x2211;
    for (unsigned round = 0; round < 3; round++) {
        g.v.rip = CODE;
        assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
        assert_int_equal(device[0], 0x11);
        // The long way is closed: only the cache can know the code.
        g.range[0].denied = ACCESS_EXEC;
    }
    t->pages[0][1] = 0x23; // the code changed
    g.v.rip = CODE;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_int_equal(device[0], 0x22);
    t->pages[0][1] = 0x03;
    t->level[3][1] = 0x105000 | 0x63; // the page is another one
    g.range[0].denied = 0;
    g.range[0].gpa = 0x105000;
    g.v.rip = CODE;
    assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
    assert_int_equal(device[0], 0x22);
    const char *reasons[] = {"memory of the host", "slots", "address space"};
    uint64_t *counters[] = {&g.space.invalidations, &g.vm.slot_changes, &g.v.cr3};
    for (unsigned i = 0; i < 3; i++) { // each makes the next fetch take the long way
        g.v.rip = CODE;
        g.range[0].denied = ACCESS_EXEC;
        assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
        assert_int_equal(g.exceptions, i);
        *counters[i] += i == 2 ? 4096 : 1;
        g.v.rip = CODE;
        assert_int_equal(guest_mmio(&g, DEVICE, true), 1);
        if (g.exceptions != i + 1)
            fail_msg("not noticed: %s", reasons[i]);
        g.range[0].denied = 0;
        if (i == 2)
            break;
        g.v.rip = CODE;
        assert_int_equal(guest_mmio(&g, DEVICE, true), 1); // fills it again
    }
    free(t);
}

// ---- page watches -------------------------------------------------------------------------------------
static void watch(uint64_t linear, uint64_t size, unsigned access) {
    g.vm.debugged = true;
    g.v.control = CHRONO_WATCHES;
    g.watch = (struct guest_watch){linear, size, access};
}

static void expect_watch(void) {
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(g.v.rip, CODE);
    assert_int_equal(g.v.count, 0);
}

// From a device to watched memory: the device is read once, however often the watch stops.
static void test_watch_behind_a_device(void **state) {
    place(CODE, "a5"); // movsd
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM;
    watch(RAM + 3, 1, ACCESS_WRITE);
    assert_int_equal(begin(DEVICE, false), 0);
    expect_mmio(DEVICE, 4, false);
    memcpy(g.v.run->mmio.data, "\x11\x22\x33\x44", 4);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(complete(), 0);
        expect_watch();
        assert_int_equal(get(ram, 4), 0);
    }
    g.v.control = 0;
    assert_int_equal(complete(), 1);
    assert_int_equal(get(ram, 4), 0x44332211);
    assert_int_equal(g.v.rip, CODE + 1);
    assert_int_equal(g.v.count, 1);
}

// What a watch stops before a device was touched is simply executed again.
static void test_watch_before_a_device(void **state) {
    place(CODE, "a5"); // movsd
    g.v.gpr[GPR_RSI] = RAM;
    g.v.gpr[GPR_RDI] = DEVICE;
    watch(RAM, 1, ACCESS_READ);
    assert_int_equal(begin(DEVICE, true), 0);
    expect_watch();
    assert_null(g.v.complete);
    watch(RAM, 4, ACCESS_WRITE); // which this is not
    assert_int_equal(begin(DEVICE, true), 0);
    expect_mmio(DEVICE, 4, true);
    assert_int_equal(complete(), 1);
}

// The second iteration: the first one has happened.
static void test_watch_within_rep(void **state) {
    place(CODE, "f3a5"); // rep movsd
    g.v.gpr[GPR_RSI] = DEVICE;
    g.v.gpr[GPR_RDI] = RAM;
    g.v.gpr[GPR_RCX] = 3;
    watch(RAM + 4, 4, ACCESS_WRITE);
    assert_int_equal(begin(DEVICE, false), 0);
    for (unsigned i = 0; g.v.run->exit_reason == KVM_EXIT_MMIO; i++) {
        assert_true(i < 2);
        memcpy(g.v.run->mmio.data, "\1\2\3\4", 4);
        assert_int_equal(complete(), 0);
    }
    assert_int_equal(g.v.run->exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(g.v.gpr[GPR_RCX], 2);
    assert_int_equal(g.v.gpr[GPR_RDI], RAM + 4);
    assert_int_equal(g.v.count, 1);
    assert_int_equal(get(ram, 8), 0x04030201);
}

// An address on the stack is pushed from a device; and a word is popped to one.
static void test_watch_on_the_stack(void **state) {
    place(CODE, "ff33"); // push qword [rbx]
    g.v.gpr[GPR_RBX] = DEVICE;
    g.v.gpr[GPR_RSP] = RAM + 64;
    watch(RAM + 56, 8, ACCESS_WRITE);
    assert_int_equal(begin(DEVICE, false), 0);
    expect_mmio(DEVICE, 8, false);
    assert_int_equal(complete(), 0);
    expect_watch();
    assert_int_equal(g.v.gpr[GPR_RSP], RAM + 64);
    g.v.complete = NULL;
    place(CODE, "8f03"); // pop qword [rbx]
    watch(RAM + 64, 8, ACCESS_READ);
    assert_int_equal(begin(DEVICE, true), 0);
    expect_watch();
    assert_int_equal(g.v.gpr[GPR_RSP], RAM + 64);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_plain_store),
        TEST(test_plain_load),
        TEST(test_read_then_write),
        TEST(test_across_pages),
        TEST(test_sixteen_bytes),
        TEST(test_sixteen_bytes_exchanged),
        TEST(test_sixteen_bytes_misaligned),
        TEST(test_initial_xmm),
        TEST(test_vector_store),
        TEST(test_vector_load_zeroes),
        TEST(test_vector_alignment),
        TEST(test_vector_switched_off),
        TEST(test_memory_to_device),
        TEST(test_read_only_memory),
        TEST(test_fault_at_second_operand),
        TEST(test_fault_on_second_page),
        TEST(test_read_modify_write_checks_first),
        TEST(test_not_canonical),
        TEST(test_alignment_check),
        TEST(test_segment_base_and_wrap),
        TEST(test_limits),
        TEST(test_real_mode),
        TEST(test_rep_stores),
        TEST(test_rep_is_interruptible),
        TEST(test_rep_into_memory_goes_back),
        TEST(test_compare_ends_rep),
        TEST(test_single_step),
        TEST(test_across_code_pages),
        TEST(test_code_page_missing),
        TEST(test_reported),
        TEST(test_fetch_cache),
        TEST(test_watch_behind_a_device),
        TEST(test_watch_before_a_device),
        TEST(test_watch_within_rep),
        TEST(test_watch_on_the_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
