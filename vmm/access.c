// Guest memory and registers as an emulated instruction sees them: segmentation, paging, memory or device.
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "vmm/clock.h"
#include "vmm/emulate.h"
#include "vmm/emulation.h"
#include "vmm/fetch.h"
#include "vmm/operate.h"
#include "vmm/walk.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define PAGE_MASK 4095ull
#define MMIO_MAX  8 // bytes of kvm_run.mmio.data
#define CR0_AM    (1ull << 18)
#define RFLAGS_AC (1ull << 18)

// Descriptor types (SDM vol. 3, "Code- and Data-Segment Descriptor Types").
#define TYPE_CODE        8
#define TYPE_WRITABLE    2 // data
#define TYPE_READABLE    2 // code
#define TYPE_EXPAND_DOWN 4 // data

struct emulation *emulation_create(struct vcpu *v) {
    v->emulation = kzalloc(sizeof(*v->emulation));
    if (v->emulation)
        v->emulation->fetch = fetch_cache_create();
    return v->emulation;
}

int emulation_clone(struct vcpu *to, const struct vcpu *from) {
    const struct emulation *old = from->emulation;
    if (!old || !from->complete)
        return 0; // none is in progress
    struct emulation *new = emulation_create(to);
    if (!new)
        return -ENOMEM;
    struct fetch_cache *fetch = new->fetch;
    *new = *old;
    new->fetch = fetch;
    if (old->insn) // perhaps in the other one's cache
        new->decoded = *old->insn;
    new->insn = &new->decoded;
    return 0;
}

void emulation_free(struct vcpu *v) {
    if (v->emulation)
        fetch_cache_free(v->emulation->fetch);
    kfree(v->emulation);
    v->emulation = NULL;
}

// ---- registers ---------------------------------------------------------------------------------
void guest_set_gpr(struct vcpu *v, unsigned reg, bool high_byte, unsigned size, uint64_t value) {
    if (unlikely(reg == GPR_RSP))
        vcpu_sync(v, PART_RSP);
    uint64_t *r = &v->gpr[reg];
    if (high_byte)
        *r = (*r & ~0xff00ull) | (value & 0xff) << 8;
    else if (size >= 4)
        *r = truncate(value, size);
    else
        *r = (*r & ~truncate(~0ull, size)) | truncate(value, size);
    if (unlikely(reg == GPR_RSP))
        vcpu_changed(v, PART_RSP);
}

void guest_iterated(struct vcpu *v, uint64_t n) {
    clock_add_iterations(v, n);
    v->skipped = true; // as far as stepping goes, an iteration is an instruction
    vcpu_sync(v, PART_RFLAGS | PART_BLOCKING);
    if (v->interruptibility & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) {
        v->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
        vcpu_changed(v, PART_BLOCKING);
    }
    if (unlikely(v->rflags & RFLAGS_TF)) { // a trap after each iteration
        vcpu_sync(v, PART_ACTIVITY);
        v->pending_debug |= PENDING_DEBUG_BS;
        vcpu_changed(v, PART_ACTIVITY);
    }
}

// ---- segmentation ------------------------------------------------------------------------------
static bool canonical(const struct vcpu *v, uint64_t linear) {
    unsigned unused = v->cr4 & CR4_LA57 ? 64 - 57 : 64 - 48;
    return (int64_t)(linear << unused) >> unused == (int64_t)linear;
}

// Outside of 64-bit mode. SDM vol. 3, "Limit Checking" and "Type Checking".
static bool segment_allows(const struct vcpu *v, const struct kvm_segment *s, uint64_t offset,
                           unsigned size, bool write) {
    if (s->unusable || !s->present)
        return false;
    bool checked = (v->cr0 & CR0_PE) && !(v->rflags & RFLAGS_VM);
    if (checked && (s->type & TYPE_CODE) && (write || !(s->type & TYPE_READABLE)))
        return false;
    if (checked && !(s->type & TYPE_CODE) && write && !(s->type & TYPE_WRITABLE))
        return false;
    uint64_t last = offset + size - 1;
    if (!(s->type & TYPE_CODE) && (s->type & TYPE_EXPAND_DOWN))
        return offset > s->limit && last <= (s->db ? 0xffffffffull : 0xffffull);
    return last <= s->limit;
}

// The vector of the exception that an access would raise; 0: none.
static uint8_t check_linear(struct vcpu *v, unsigned segment, uint64_t offset, unsigned size,
                            bool write, uint64_t *linear) {
    bool wide = vcpu_code_size(v) == 8;
    vcpu_sync(v, PART_CR | PART_RFLAGS | (wide && segment < SEG_FS ? 0 : PART_SEGMENTS));
    uint8_t vector = segment == SEG_SS ? VECTOR_SS : VECTOR_GP;
    const struct kvm_segment *s = &v->seg[segment];
    if (wide) {
        *linear = offset + (segment >= SEG_FS ? s->base : 0);
        if (!canonical(v, *linear) || !canonical(v, *linear + size - 1))
            return vector;
    } else {
        if (!segment_allows(v, s, offset, size, write))
            return vector;
        *linear = (uint32_t)(s->base + offset);
    }
    bool aligned_only = unlikely((v->cr0 & CR0_AM) && (v->rflags & RFLAGS_AC)) && vcpu_cpl(v) == 3;
    return aligned_only && (*linear & (MIN(size, 8u) - 1)) ? VECTOR_AC : 0;
}

bool guest_linear_allowed(struct vcpu *v, unsigned segment, uint64_t offset, unsigned size,
                          bool write, uint64_t *linear) {
    return check_linear(v, segment, offset, size, write, linear) == 0;
}

int guest_linear(struct vcpu *v, unsigned segment, uint64_t offset, unsigned size, bool write,
                 uint64_t *linear) {
    uint8_t vector = check_linear(v, segment, offset, size, write, linear);
    if (likely(vector == 0))
        return STEP_DONE;
    vcpu_inject_exception(v, vector, true, 0);
    return STEP_FAULT;
}

// ---- paging ------------------------------------------------------------------------------------
int guest_translate(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa) {
    uint32_t error;
    int r = vcpu_translate(v, linear, access, vcpu_cpl(v) == 3, gpa, &error);
    if (r > 0) {
        vcpu_inject_page_fault(v, linear, error);
        return STEP_FAULT;
    }
    return r < 0 ? r : STEP_DONE;
}

// Both pages are translated before anything is accessed.
static int begin_access(struct vcpu *v, struct memory_access *a, uint64_t linear, unsigned size,
                        unsigned access) {
    a->size = (uint8_t)size;
    a->progress = 0;
    a->split = (uint8_t)MIN(size, PAGE_MASK + 1 - (linear & PAGE_MASK));
    int r = guest_translate(v, linear, access, &a->gpa[0]);
    if (r != STEP_DONE || a->split == size)
        return r;
    uint64_t second = linear + a->split;
    if (vcpu_code_size(v) != 8)
        second = (uint32_t)second;
    return guest_translate(v, second, access, &a->gpa[1]);
}

// ---- memory or device --------------------------------------------------------------------------
static int complete_access(struct vcpu *v);

static int ask_user_space(struct vcpu *v, struct memory_access *a, uint64_t gpa, unsigned size) {
    struct kvm_run *run = v->run;
    a->asked = (uint8_t)MIN(size, (unsigned)MMIO_MAX);
    run->exit_reason = KVM_EXIT_MMIO;
    run->mmio.phys_addr = gpa;
    run->mmio.len = a->asked;
    run->mmio.is_write = a->write;
    memset(run->mmio.data, 0, sizeof(run->mmio.data));
    if (a->write)
        memcpy(run->mmio.data, a->data + a->progress, a->asked);
    v->complete = complete_access;
    v->emulation->user_space = true;
    return STEP_WAIT;
}

// Goes on with an access: all that is memory at once, what is not by user space.
static int continue_access(struct vcpu *v, struct memory_access *a) {
    while (a->progress < a->size) {
        bool second = a->progress >= a->split;
        uint64_t gpa = second ? a->gpa[1] + a->progress - a->split : a->gpa[0] + a->progress;
        unsigned n = (second ? a->size : a->split) - a->progress;
        uint8_t *data = a->data + a->progress;
        int r = a->write ? vm_write(v->vm, gpa, data, n) : vm_read(v->vm, gpa, data, n);
        if (r == -EFAULT)
            return ask_user_space(v, a, gpa, n);
        if (r < 0)
            return r;
        a->progress += n;
    }
    return STEP_DONE;
}

// At the next KVM_RUN. What user space left in kvm_run is data, nothing else of it is believed.
static int complete_access(struct vcpu *v) {
    struct emulation *em = v->emulation;
    struct memory_access *a = &em->access[em->done];
    if (!a->write)
        memcpy(a->data + a->progress, v->run->mmio.data, a->asked);
    a->progress += a->asked;
    int r = continue_access(v, a);
    if (r == STEP_WAIT)
        return USER_SPACE;
    if (r < 0)
        return r;
    em->done++;
    em->next = 0;
    return em->resume(v, em);
}

// The access that a watch stopped is the next thing that happens.
static int complete_watched(struct vcpu *v) {
    struct emulation *em = v->emulation;
    em->next = 0;
    return em->resume(v, em);
}

// Is the access to be stopped for a watch? What the instruction has done to devices is not repeated then.
static bool stopped_by_watch(struct vcpu *v, struct emulation *em, uint64_t linear, unsigned size,
                             unsigned access) {
    if (likely(!watch_stops(v, linear, size, access, vcpu_cpl(v) == 3)))
        return false;
    if (em->user_space)
        v->complete = complete_watched;
    return true;
}

int guest_read(struct vcpu *v, struct emulation *em, uint64_t linear, void *buf, unsigned size,
               bool will_write) {
    ASSERT(em->next < MAX_ACCESSES && size <= sizeof(em->access[0].data));
    struct memory_access *a = &em->access[em->next++];
    if (em->next > em->done) {
        a->write = false;
        if (stopped_by_watch(v, em, linear, size, ACCESS_READ | (will_write ? ACCESS_WRITE : 0)))
            return STEP_WAIT;
        int r = begin_access(v, a, linear, size, will_write ? ACCESS_WRITE : ACCESS_READ);
        if (r == STEP_DONE)
            r = continue_access(v, a);
        if (r != STEP_DONE)
            return r;
        em->done++;
    }
    memcpy(buf, a->data, size);
    return STEP_DONE;
}

int guest_write(struct vcpu *v, struct emulation *em, uint64_t linear, const void *buf,
                unsigned size) {
    ASSERT(em->next < MAX_ACCESSES && size <= sizeof(em->access[0].data));
    struct memory_access *a = &em->access[em->next++];
    if (em->next <= em->done)
        return STEP_DONE;
    if (stopped_by_watch(v, em, linear, size, ACCESS_WRITE))
        return STEP_WAIT;
    a->write = true;
    memcpy(a->data, buf, size);
    int r = begin_access(v, a, linear, size, ACCESS_WRITE);
    if (r == STEP_DONE)
        r = continue_access(v, a);
    if (r == STEP_DONE)
        em->done++;
    return r;
}

// ---- the processor's own tables ----------------------------------------------------------------
// Page by page: checks, and copies unless buf is NULL.
static int system_access(struct vcpu *v, uint64_t linear, void *buf, unsigned size,
                         unsigned access) {
    for (unsigned done = 0; done < size;) {
        uint64_t at = linear + done, gpa;
        uint32_t error;
        unsigned n = (unsigned)MIN(size - done, PAGE_MASK + 1 - (at & PAGE_MASK));
        int r = vcpu_translate(v, at, access | ACCESS_IMPLICIT, false, &gpa, &error);
        if (r > 0)
            vcpu_inject_page_fault(v, at, error);
        else if (r == 0 && buf)
            r = access == ACCESS_WRITE ? vm_write(v->vm, gpa, (uint8_t *)buf + done, n)
                                       : vm_read(v->vm, gpa, (uint8_t *)buf + done, n);
        if (r)
            return r;
        done += n;
    }
    return 0;
}

int system_check(struct vcpu *v, uint64_t linear, unsigned size, unsigned access) {
    return system_access(v, linear, NULL, size, access);
}

int system_read(struct vcpu *v, uint64_t linear, void *buf, unsigned size) {
    return system_access(v, linear, buf, size, ACCESS_READ);
}

int system_write(struct vcpu *v, uint64_t linear, const void *buf, unsigned size) {
    int r = system_check(v, linear, size, ACCESS_WRITE);
    return r ? r : system_access(v, linear, (void *)buf, size, ACCESS_WRITE);
}
