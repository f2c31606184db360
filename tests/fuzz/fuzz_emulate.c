/* sources: vmm/emulate.c vmm/string_io.c vmm/task_switch.c vmm/segment.c vmm/access.c vmm/fetch.c vmm/operate.c vmm/xmm.c vmm/decode.c vmm/decode_tables.c tests/unit/vmm_guest.c tests/unit/vmm_mock.c */
// Any bytes as instructions, segments, tables and registers of a guest, and any answers of user space: the
// emulator stays within its memory, asks for at most eight bytes at a time, and comes to an end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "vmm_guest.h"
#include "vmm/emulate.h"
#include "vmm/x86.h"

#define RAM_SIZE 0x4000
#define CODE     0x1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at;
    size_t left;
    uint64_t seed;
};

// The input's bytes, then numbers that follow from them.
static uint64_t take(struct input *in, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        in->seed = in->seed * 6364136223846793005ull + 1442695040888963407ull;
        uint8_t byte = (uint8_t)(in->seed >> 56);
        if (in->left) {
            byte = *in->at++;
            in->left--;
        }
        value |= (uint64_t)byte << 8 * i;
    }
    return value;
}

static void require(bool condition) {
    if (!condition)
        abort();
}

// Addresses that hit something more often than chance would.
static uint64_t address(struct input *in) {
    static const uint64_t near[] = {
        0, CODE, RAM_SIZE - 8, 0xfee00000, 0x7fffffffffff, 0xffffffff, 0xffff800000000000};
    uint8_t which = (uint8_t)take(in, 1);
    return which < 160 ? near[which % 7] + take(in, 1) : take(in, 8);
}

static void random_segment(struct input *in, struct kvm_segment *s) {
    uint16_t bits = (uint16_t)take(in, 2);
    *s = (struct kvm_segment){.base = bits & 0x400 ? address(in) : 0,
                              .selector = (uint16_t)take(in, 2),
                              .limit = bits & 0x800 ? (uint32_t)address(in) : 0xffffffff,
                              .type = bits & 15,
                              .dpl = bits >> 4 & 3,
                              .present = !(bits & 0xc0),
                              .db = bits >> 8 & 1,
                              .s = 1,
                              .unusable = (bits >> 12) == 15};
}

static void random_vcpu(struct input *in, struct guest *g) {
    struct vcpu *v = &g->v;
    uint8_t mode = (uint8_t)take(in, 1);
    if (mode % 4 == 1)
        guest_set_32(g);
    if (mode % 4 == 2)
        guest_set_real(g);
    for (unsigned i = 0; mode & 0x10 && i < 6; i++)
        if (i != SEG_CS)
            random_segment(in, &v->seg[i]);
    v->seg[SEG_TR] = (struct kvm_segment){
        .base = address(in), .limit = 0x67, .type = 11, .present = 1};
    v->seg[SEG_LDTR].unusable = mode & 0x20;
    v->gdt = (struct kvm_dtable){.base = 0x2000, .limit = (uint16_t)take(in, 2)};
    for (unsigned i = 0; i < 16; i++)
        v->gpr[i] = address(in);
    v->rflags = (take(in, 3) & RFLAGS_KNOWN) | RFLAGS_FIXED;
    v->rip = CODE + (mode & 0x40 ? 0xff8 : 0);
    v->cr0 |= mode & 0x80 ? 1u << 18 : 0;
    uint8_t more = (uint8_t)take(in, 1);
    g->attention = more & 1;
    v->cr4 = more & 2 ? CR4_OSXSAVE : 0;
    v->xcr0 = more >> 2 & 7;
    g->vm.debugged = more & 0x20;
    v->chrono->control = more & 0x40 ? CHRONO_WATCHES : 0;
    g->watch = (struct guest_watch){address(in), take(in, 1), more >> 5};
}

static int serve(struct input *in, struct guest *g, int r) {
    struct vcpu *v = &g->v;
    for (unsigned i = 0; r == 0 && v->complete && i < 200; i++) {
        if (v->run->exit_reason == KVM_EXIT_MMIO)
            require(v->run->mmio.len >= 1 && v->run->mmio.len <= 8);
        else if (v->run->exit_reason == KVM_EXIT_IO)
            require(v->run->io.count * v->run->io.size <= 4096);
        else // a watch; gone on with or not
            require(v->run->exit_reason == KVM_EXIT_CHRONO_WATCH && v->chrono->control);
        if (v->run->exit_reason == KVM_EXIT_CHRONO_WATCH && i % 2)
            v->chrono->control = 0;
        for (unsigned k = 0; k < 64; k++) // user space writes what it likes
            ((uint8_t *)&v->run->mmio)[k] = (uint8_t)take(in, 1);
        int (*complete)(struct vcpu *) = v->complete;
        v->complete = NULL;
        r = complete(v);
    }
    return r;
}

static int one_exit(struct input *in, struct guest *g) {
    struct vm_exit e = {.kind = EXIT_MEMORY};
    uint8_t kind = (uint8_t)take(in, 1);
    if (kind < 180) {
        e.memory.gva = e.memory.gpa = address(in);
        e.memory.gva_valid = kind != 0;
        e.memory.write = kind & 1;
        e.vectoring = kind == 2;
        return emulate_mmio(&g->v, &e);
    }
    e.length = 1 + kind % 15;
    if (kind < 230) {
        e.kind = EXIT_IO;
        e.io.port = (uint16_t)take(in, 2);
        e.io.size = (uint8_t)(1u << kind % 3);
        e.io.in = kind & 1;
        e.io.string = true;
        e.io.rep = kind & 2;
        e.io.address_size = (uint8_t)(2u << kind / 4 % 3);
        e.io.segment = (uint8_t)(take(in, 1) % 6);
        return emulate_string_io(&g->v, &e);
    }
    e.kind = EXIT_TASK_SWITCH;
    e.vectoring = kind & 1;
    e.task.selector = (uint16_t)(take(in, 2) & (kind & 2 ? 0xff : 0xffff));
    e.task.source = kind / 4 % 4;
    g->v.event.exception_pending = g->v.event.exception_has_error = kind & 1;
    return emulate_task_switch(&g->v, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t ram[RAM_SIZE], device[4096], rom[4096];
    struct input in = {data, size, 1};
    struct guest g;
    guest_init(&g);
    random_vcpu(&in, &g);
    guest_add_memory(&g, 0, ram, sizeof(ram), false);
    guest_add_memory(&g, RAM_SIZE, rom, sizeof(rom), false)->read_only = true;
    guest_add_memory(&g, 0xfee00000, device, sizeof(device), true);
    if (take(&in, 1) & 1) {
        guest_map(&g, 0, 0x2000, 0);
        guest_map(&g, 0x2000, 0x2000, 0x2000);
        g.range[1].denied = take(&in, 1) & 7;
        g.range[1].user = take(&in, 1) & 1;
        guest_map(&g, 0xfee00000, 4096, RAM_SIZE);
    }
    for (unsigned i = 0; i < 64; i++)
        ram[(CODE + i) % RAM_SIZE] = (uint8_t)take(&in, 1);
    for (unsigned i = 0; i < 256; i++)
        ram[0x2000 + i] = (uint8_t)take(&in, 1);
    for (unsigned i = 0; i < 4; i++) {
        int r = serve(&in, &g, one_exit(&in, &g));
        require(r <= 1);
        g.v.complete = NULL;
    }
    guest_free(&g);
    return 0;
}
