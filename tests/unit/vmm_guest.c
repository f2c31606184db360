// See vmm_guest.h.
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include "vmm_guest.h"
#include "mm/frame.h"
#include "vmm/clock.h"
#include "vmm/emulate.h"
#include "vmm/run.h"
#include "vmm/stage2.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define FPU_AREA 1024

static struct guest *guest_of(struct vcpu *v) {
    return container_of(v, struct guest, v);
}
static struct guest *guest_of_vm(struct vm *vm) {
    return container_of(vm, struct guest, vm);
}

static struct kvm_segment flat(uint8_t type, bool l) {
    return (struct kvm_segment){
        .limit = 0xffffffff, .type = type, .present = 1, .s = 1, .g = 1, .l = l, .db = !l};
}

void guest_init(struct guest *g) {
    memset(g, 0, sizeof(*g));
    struct vcpu *v = &g->v;
    v->vm = &g->vm;
    g->vm.space = &g->space;
    g->vm.stage2 = (struct stage2 *)g; // only this file looks at it
    v->run = calloc(1, 4096);
    v->pio_data = calloc(1, 4096);
    v->chrono = calloc(1, 4096);
    v->fpu = aligned_alloc(64, FPU_AREA);
    memset(v->fpu, 0, FPU_AREA);
    v->cr0 = CR0_PE | CR0_PG;
    v->efer = EFER_LMA;
    v->rflags = RFLAGS_FIXED;
    for (unsigned i = 0; i < 6; i++)
        v->seg[i] = flat(3, false);
    v->seg[SEG_CS] = flat(11, true);
    vmm_clock.rules = (struct clock_rules){1, 1, 1};
}

void guest_set_32(struct guest *g) {
    g->v.cr0 = CR0_PE;
    g->v.efer = 0;
    g->v.seg[SEG_CS] = flat(11, false);
}

void guest_set_real(struct guest *g) {
    g->v.cr0 = 0;
    g->v.efer = 0;
    for (unsigned i = 0; i < 6; i++)
        g->v.seg[i] = (struct kvm_segment){.limit = 0xffff, .type = 3, .present = 1, .s = 1};
}

void guest_free(struct guest *g) {
    emulation_free(&g->v);
    free(g->v.run);
    free(g->v.pio_data);
    free(g->v.chrono);
    free(g->v.fpu);
}

struct guest_memory *guest_add_memory(struct guest *g, uint64_t gpa, void *data, uint64_t size,
                                      bool device) {
    struct guest_memory *m = &g->memory[g->memories++];
    *m = (struct guest_memory){.gpa = gpa, .size = size, .data = data, .device = device};
    return m;
}

void guest_map(struct guest *g, uint64_t linear, uint64_t size, uint64_t gpa) {
    g->range[g->ranges++] = (struct guest_range){
        .linear = linear, .size = size, .gpa = gpa, .user = true};
}

static struct guest_memory *memory_at(struct guest *g, uint64_t gpa) {
    for (unsigned i = 0; i < g->memories; i++)
        if (gpa - g->memory[i].gpa < g->memory[i].size)
            return &g->memory[i];
    return NULL;
}

static int copy(struct guest *g, uint64_t gpa, uint8_t *buf, size_t n, bool write, bool device) {
    for (size_t i = 0; i < n; i++) {
        struct guest_memory *m = memory_at(g, gpa + i);
        if (!m || m->device != device || (write && m->read_only && !device))
            return -EFAULT;
        uint8_t *at = (uint8_t *)m->data + (gpa + i - m->gpa);
        if (write)
            *at = buf[i];
        else
            buf[i] = *at;
    }
    return 0;
}

// ---- what the emulator calls -----------------------------------------------------------------------
int vm_read(struct vm *vm, uint64_t gpa, void *buf, size_t n) {
    return copy(guest_of_vm(vm), gpa, buf, n, false, false);
}
int vm_write(struct vm *vm, uint64_t gpa, const void *buf, size_t n) {
    return copy(guest_of_vm(vm), gpa, (uint8_t *)buf, n, true, false);
}

int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    struct guest *g = guest_of(v);
    *gpa = gva;
    for (unsigned i = 0; i < g->ranges; i++) {
        const struct guest_range *r = &g->range[i];
        if (gva - r->linear >= r->size)
            continue;
        *gpa = r->gpa + gva - r->linear;
        *error = 1 | (access & ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0) |
                 (access & ACCESS_EXEC ? 16 : 0);
        return (access & r->denied) || (user && !r->user);
    }
    *error = (access & ACCESS_WRITE ? 2 : 0) | (user ? 4 : 0);
    return g->ranges != 0;
}

bool watch_catches(struct vcpu *v, uint64_t linear, uint64_t size, unsigned access, bool user) {
    const struct guest_watch *w = &guest_of(v)->watch;
    if (!(w->access & access) || linear >= w->linear + w->size || w->linear >= linear + size)
        return false;
    v->run->exit_reason = KVM_EXIT_CHRONO_WATCH;
    return true;
}

void vcpu_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error) {
    struct guest *g = guest_of(v);
    g->exceptions++;
    g->vector = vector;
    g->error = has_error ? error : 0;
}
void vcpu_inject_page_fault(struct vcpu *v, uint64_t address, uint32_t error) {
    v->cr2 = address;
    vcpu_inject_exception(v, VECTOR_PF, true, error);
}
void vcpu_skip_slow(struct vcpu *v, uint64_t before) {
    if (vcpu_code_size(v) != 8)
        v->rip = (uint32_t)v->rip;
    v->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    v->rflags &= ~RFLAGS_RF;
    if (v->rflags & RFLAGS_TF)
        v->pending_debug |= PENDING_DEBUG_BS;
}
void vcpu_debug_changed(struct vcpu *v) {
    v->hw_dr7 = v->dr7;
}
int vcpu_report_unknown(struct vcpu *v, const struct vm_exit *e) {
    guest_of(v)->reports++;
    v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    return 0;
}
bool vcpu_attention(const struct vcpu *v) {
    return container_of(v, struct guest, v)->attention;
}

struct vmm_clock vmm_clock;
size_t fpu_area_size(void) {
    return FPU_AREA;
}
void fpu_save(void *area) {}
void fpu_load(const void *area) {}

// Frames for the fetch cache: pages of test_direct_map, when a test has one.
static struct frame frames[GUEST_FRAMES];
struct frame *test_frame_table = frames;
char *test_direct_map;

bool stage2_find_slot(struct stage2 *s, uint64_t gpa, struct memory_slot *slot) {
    struct guest *g = (struct guest *)s;
    struct guest_memory *m = memory_at(g, gpa);
    if (!m || m->device)
        return false;
    *slot = (struct memory_slot){.gpa = m->gpa,
                                 .size = m->size,
                                 .hva = (uint64_t)m->data,
                                 .flags = m->read_only ? KVM_MEM_READONLY : 0};
    return true;
}
int space_get_frame(struct space *s, uint64_t addr, unsigned access, struct frame **frame,
                    bool *writable, uint64_t *size) {
    uint64_t offset = addr - (uint64_t)test_direct_map;
    if (!test_direct_map || offset >= sizeof(frames) / sizeof(frames[0]) * PAGE_SIZE)
        return -EFAULT;
    *frame = &frames[offset / PAGE_SIZE];
    return 0;
}
void frame_put(struct frame *f) {}
__attribute__((weak)) int cr_set_cr3(struct vcpu *v, uint64_t value) {
    v->cr3 = value;
    return 0;
}

// ---- user space ------------------------------------------------------------------------------------
static void serve_mmio(struct guest *g) {
    struct kvm_run *run = g->v.run;
    g->mmio_exits++;
    for (unsigned i = 0; i < run->mmio.len; i++) {
        uint64_t gpa = run->mmio.phys_addr + i;
        if (copy(g, gpa, &run->mmio.data[i], 1, run->mmio.is_write, true)) {
            struct guest_memory *m = memory_at(g, gpa);
            if (m && m->read_only && run->mmio.is_write) // a write to ROM: user space ignores it
                continue;
            if (!run->mmio.is_write)
                run->mmio.data[i] = 0xff;
        }
    }
}

int guest_serve(struct guest *g, int result) {
    struct vcpu *v = &g->v;
    while (result == 0 && v->complete) {
        if (v->run->exit_reason == KVM_EXIT_MMIO) {
            serve_mmio(g);
        } else if (v->run->exit_reason == KVM_EXIT_IO) {
            g->io_exits++;
            if (g->on_io)
                g->on_io(g);
        }
        int (*complete)(struct vcpu *) = v->complete;
        v->complete = NULL;
        result = complete(v);
    }
    return result;
}

int guest_mmio(struct guest *g, uint64_t linear, bool write) {
    struct vm_exit e = {.kind = EXIT_MEMORY};
    uint64_t gpa = linear;
    uint32_t error;
    vcpu_translate(&g->v, linear, 0, false, &gpa, &error);
    e.memory.gva = linear;
    e.memory.gpa = gpa;
    e.memory.gva_valid = true;
    e.memory.write = write;
    e.memory.read = !write;
    return guest_serve(g, emulate_mmio(&g->v, &e));
}
