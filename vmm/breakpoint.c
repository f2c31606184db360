#include "vmm/breakpoint.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "vmm/slots.h"
#include "vmm/stage2_table.h"
#include "vmm/vendor.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define INT3           0xcc
#define CODE_PAGES_MAX 1024

// A page with breakpoints.
struct code_page {
    struct list_node node; // in vm->breakpoints
    uint64_t gpa;
    struct frame *copy;
    unsigned count;
    uint64_t set[PAGE_SIZE / 64]; // bit per byte
};

static struct code_page *code_page_of(const struct vm *vm, uint64_t gpa) {
    struct code_page *p;
    list_for_each (p, &vm->breakpoints, node)
        if (p->gpa == ROUND_DOWN(gpa, PAGE_SIZE))
            return p;
    return NULL;
}

bool breakpoint_in(const struct vm *vm, uint64_t gpa, uint64_t size) {
    struct code_page *p;
    list_for_each (p, &vm->breakpoints, node)
        if (p->gpa - gpa < size)
            return true;
    return false;
}

struct frame *breakpoint_shadow(const struct vm *vm, uint64_t gpa) {
    const struct code_page *p = code_page_of(vm, gpa);
    return p && !watch_page_lifted(vm, gpa) ? p->copy : NULL;
}

void breakpoint_refresh(struct vm *vm, uint64_t gpa, const void *original) {
    const struct code_page *p = code_page_of(vm, gpa);
    uint8_t *copy = frame_virt(p->copy);
    page_copy(copy, original);
    for (unsigned i = 0; i < ARRAY_SIZE(p->set); i++)
        for (uint64_t left = p->set[i]; left; left &= left - 1)
            copy[i * 64 + __builtin_ctzll(left)] = INT3;
}

// ---- placing -----------------------------------------------------------------------------------

static void free_page(struct code_page *p) {
    if (p->copy)
        frame_put(p->copy);
    kfree(p);
}

static struct code_page *new_page(uint64_t gpa) {
    struct code_page *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->gpa = ROUND_DOWN(gpa, PAGE_SIZE);
    p->copy = frame_alloc(0, 0, FRAME_KERNEL);
    if (!p->copy) {
        kfree(p);
        return NULL;
    }
    return p;
}

// The page's next fetch finds a copy made anew, or the original when no breakpoint is left.
static void update(struct vm *vm, struct code_page *p) {
    struct stage2 *s = vm->stage2;
    spin_lock(&s->lock);
    if (p->count && list_unlinked(&p->node))
        list_add_tail(&vm->breakpoints, &p->node);
    else if (!p->count)
        list_remove(&p->node);
    stage2_zap_pages(s, p->gpa, PAGE_SIZE);
    vm->debugged = !list_empty(&vm->watches) || !list_empty(&vm->breakpoints);
    spin_unlock(&s->lock);
    stage2_flush(s);
    if (!p->count)
        free_page(p);
}

static int place(struct vm *vm, uint64_t gpa) {
    if (!slot_find(vm, gpa))
        return -EINVAL;
    struct code_page *p = code_page_of(vm, gpa);
    if (!p) {
        if (list_count(&vm->breakpoints) >= CODE_PAGES_MAX)
            return -ENOSPC;
        p = new_page(gpa);
        if (!p)
            return -ENOMEM;
        list_init(&p->node);
    }
    unsigned byte = gpa % PAGE_SIZE;
    if (!(p->set[byte / 64] & BIT(byte % 64))) {
        p->set[byte / 64] |= BIT(byte % 64);
        p->count++;
    }
    update(vm, p);
    return 0;
}

static int take_away(struct vm *vm, uint64_t gpa) {
    struct code_page *p = code_page_of(vm, gpa);
    unsigned byte = gpa % PAGE_SIZE;
    if (!p || !(p->set[byte / 64] & BIT(byte % 64)))
        return -ENOENT;
    p->set[byte / 64] &= ~BIT(byte % 64);
    p->count--;
    update(vm, p);
    return 0;
}

int stage2_set_breakpoint(struct vm *vm, const struct chrono_breakpoint *b) {
    ASSERT(mutex_held(&vm->lock));
    if (b->set > 1)
        return -EINVAL;
    if (!vmm_vendor->has(ABILITY_EXECUTE_ONLY))
        return -EOPNOTSUPP;
    return b->set ? place(vm, b->gpa) : take_away(vm, b->gpa);
}

int breakpoints_clone(struct vm *to, const struct vm *from) {
    struct code_page *p;
    list_for_each (p, &from->breakpoints, node) {
        struct code_page *copy = new_page(p->gpa);
        if (!copy)
            return -ENOMEM;
        list_init(&copy->node);
        memcpy(copy->set, p->set, sizeof(p->set));
        copy->count = p->count;
        update(to, copy);
    }
    return 0;
}

void breakpoints_free(struct vm *vm) {
    while (!list_empty(&vm->breakpoints)) {
        struct code_page *p = list_entry(vm->breakpoints.next, struct code_page, node);
        list_remove(&p->node);
        free_page(p);
    }
}

// ---- while the guest runs ------------------------------------------------------------------------

static bool is_set(struct vm *vm, uint64_t gpa) {
    spin_lock(&vm->stage2->lock);
    const struct code_page *p = code_page_of(vm, gpa);
    unsigned byte = gpa % PAGE_SIZE;
    bool set = p && p->set[byte / 64] & BIT(byte % 64);
    spin_unlock(&vm->stage2->lock);
    return set;
}

int breakpoint_hit(struct vcpu *v) {
    uint64_t gpa;
    uint32_t error;
    if (!v->vm->debugged)
        return 0;
    vcpu_sync(v, PART_RIP | PART_SEGMENTS | PART_CR);
    bool long_mode = v->efer & EFER_LMA && v->seg[SEG_CS].l;
    uint64_t linear = long_mode ? v->rip : (uint32_t)(v->rip + v->seg[SEG_CS].base);
    if (vcpu_translate(v, linear, ACCESS_EXEC, vcpu_cpl(v) == 3, &gpa, &error) ||
        !is_set(v->vm, gpa))
        return 0;
    if (!(v->control & CHRONO_STEP))
        return 2;
    watch_lift(v, gpa);
    return 1;
}

void breakpoint_enter(struct vcpu *v) {
    if (v->control & CHRONO_MEMORY_KEPT)
        return;
    struct stage2 *s = v->vm->stage2;
    struct code_page *p;
    spin_lock(&s->lock);
    list_for_each (p, &v->vm->breakpoints, node)
        stage2_zap_pages(s, p->gpa, PAGE_SIZE);
    spin_unlock(&s->lock);
    stage2_flush(s);
}
