#include "vmm/watch.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"
#include "vmm/breakpoint.h"
#include "vmm/reach.h"
#include "vmm/stage2_table.h"
#include "vmm/vendor.h"
#include "vmm/walk.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define WATCHES_MAX 256

// CHRONO_READ etc. are ACCESS_READ etc.
_Static_assert(CHRONO_READ == ACCESS_READ && CHRONO_WRITE == ACCESS_WRITE &&
                   CHRONO_EXECUTE == ACCESS_EXEC,
               "the same bits");
#define ACCESS_ALL (CHRONO_READ | CHRONO_WRITE | CHRONO_EXECUTE)

struct watch {
    struct list_node node; // in vm->watches
    uint32_t id, access;
    uint64_t gpa, len;
};

static inline bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
    return a < b + b_size && b < a + a_size;
}

bool watch_page_lifted(const struct vm *vm, uint64_t gpa) {
    for (unsigned i = 0; i < vm->lifted_count; i++)
        if (vm->lifted[i] == ROUND_DOWN(gpa, PAGE_SIZE))
            return true;
    return false;
}

unsigned watch_denied(const struct vm *vm, uint64_t gpa, uint64_t size) {
    unsigned denied = 0;
    struct watch *w;
    if (size == PAGE_SIZE && watch_page_lifted(vm, gpa))
        return 0;
    list_for_each (w, &vm->watches, node) {
        uint64_t first = ROUND_DOWN(w->gpa, PAGE_SIZE);
        if (overlap(gpa, size, first, ROUND_UP(w->gpa + w->len, PAGE_SIZE) - first))
            denied |= w->access;
    }
    // An entry cannot allow writing without reading; and fetching without reading only on some processors.
    if (denied & ACCESS_READ)
        denied |= ACCESS_WRITE | (vmm_vendor->has(ABILITY_EXECUTE_ONLY) ? 0 : ACCESS_EXEC);
    return denied;
}

// ---- the list ----------------------------------------------------------------------------------

static struct watch *watch_by_id(struct vm *vm, uint32_t id) {
    struct watch *w;
    list_for_each (w, &vm->watches, node)
        if (w->id == id)
            return w;
    return NULL;
}

// Takes the old watch out and puts the new one in, either may be NULL; its pages fault from now on.
static void replace(struct vm *vm, struct watch *old, struct watch *new) {
    struct stage2 *s = vm->stage2;
    spin_lock(&s->lock);
    if (old)
        list_remove(&old->node); // its pages stay restricted until they fault for the first time
    if (new) {
        list_add_tail(&vm->watches, &new->node);
        uint64_t first = ROUND_DOWN(new->gpa, PAGE_SIZE);
        stage2_zap_pages(s, first, ROUND_UP(new->gpa + new->len, PAGE_SIZE) - first);
    }
    vm->debugged = !list_empty(&vm->watches) || !list_empty(&vm->breakpoints);
    spin_unlock(&s->lock);
    stage2_flush(s);
    kfree(old);
}

int stage2_set_watch(struct vm *vm, const struct chrono_watch *w) {
    ASSERT(mutex_held(&vm->lock));
    struct watch *old = watch_by_id(vm, w->id);
    if (!w->access) {
        replace(vm, old, NULL);
        return 0;
    }
    if (w->access & ~ACCESS_ALL || !w->len || w->gpa > UINT64_MAX - 2 * PAGE_SIZE - w->len ||
        w->len > UINT64_MAX - 2 * PAGE_SIZE)
        return -EINVAL;
    if (!old && list_count(&vm->watches) >= WATCHES_MAX)
        return -ENOSPC;
    struct watch *new = kmalloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    *new = (struct watch){.id = w->id, .access = w->access, .gpa = w->gpa, .len = w->len};
    replace(vm, old, new);
    return 0;
}

int stage2_clone(struct vm *to, struct vm *from) {
    struct watch *w;
    list_for_each (w, &from->watches, node) {
        struct chrono_watch copy = {.id = w->id, .access = w->access, .gpa = w->gpa, .len = w->len};
        int err = stage2_set_watch(to, &copy);
        if (err)
            return err;
    }
    return breakpoints_clone(to, from);
}

void debugger_free(struct vm *vm) {
    while (!list_empty(&vm->watches)) {
        struct watch *w = list_entry(vm->watches.next, struct watch, node);
        list_remove(&w->node);
        kfree(w);
    }
    breakpoints_free(vm);
}

// ---- hits --------------------------------------------------------------------------------------

// With accessed and dirty bits in second-level entries every walk of the guest's tables is reported as a
// write. It is one when it sets the accessed bit. (That it may set a dirty bit cannot be seen.)
static unsigned walk_access(struct vcpu *v, const struct vm_exit *e) {
    uint32_t entry = 0;
    bool known = vm_read(v->vm, e->memory.gpa, &entry, sizeof(entry)) == 0;
    return ACCESS_READ |
           (known && entry & PTE_PRESENT && !(entry & PTE_ACCESSED) ? ACCESS_WRITE : 0);
}

static unsigned access_of(struct vcpu *v, const struct vm_exit *e) {
    if (e->memory.page_walk)
        return walk_access(v, e);
    return (e->memory.read ? ACCESS_READ : 0) | (e->memory.write ? ACCESS_WRITE : 0) |
           (e->memory.execute ? ACCESS_EXEC : 0);
}

static const struct watch *find_hit(struct vm *vm, uint64_t gpa, struct reach r, unsigned access) {
    struct watch *w;
    list_for_each (w, &vm->watches, node)
        if (w->access & access && overlap(gpa - r.before, r.before + r.size, w->gpa, w->len))
            return w;
    return NULL;
}

// Whether the access is to be reported; then chrono_run says what it is.
static bool report_hit(struct vcpu *v, uint64_t gpa, uint64_t gva, struct reach r,
                       unsigned access) {
    spin_lock(&v->vm->stage2->lock);
    const struct watch *w = find_hit(v->vm, gpa, r, access);
    if (w) {
        v->chrono->watch_gpa = gpa;
        v->chrono->watch_gva = gva;
        v->chrono->watch_access = access;
        v->chrono->watch_id = w->id;
        v->run->exit_reason = KVM_EXIT_CHRONO_WATCH;
    }
    spin_unlock(&v->vm->stage2->lock);
    return w;
}

// Most accesses to a watched page are to something else on it: they need no decoding.
static bool near_a_watch(struct vm *vm, uint64_t gpa) {
    unsigned before = MIN(REACH_BEFORE_MAX, (unsigned)(gpa % PAGE_SIZE));
    spin_lock(&vm->stage2->lock);
    bool near = find_hit(vm, gpa, (struct reach){before, reach_max()}, ACCESS_ALL);
    spin_unlock(&vm->stage2->lock);
    return near;
}

int watch_hit(struct vcpu *v, const struct vm_exit *e) {
    if (v->control & CHRONO_WATCHES && near_a_watch(v->vm, e->memory.gpa) &&
        report_hit(v, e->memory.gpa, e->memory.gva_valid ? e->memory.gva : 0, reach_of(v, e),
                   access_of(v, e)))
        return 0;
    watch_lift(v, e->memory.gpa);
    return 1;
}

// Within one page.
static bool page_catches(struct vcpu *v, uint64_t linear, unsigned size, unsigned access,
                         bool user) {
    struct walk_path path;
    struct memory_slot slot;
    vcpu_walk_path(v, linear, access, user, &path);
    for (unsigned i = 0; i < path.looked; i++)
        if (report_hit(v, path.at[i], linear, (struct reach){0, path.entry_size},
                       ACCESS_READ | (path.sets[i] ? ACCESS_WRITE : 0)))
            return true;
    return path.allowed && stage2_find_slot(v->vm->stage2, path.gpa, &slot) &&
           report_hit(v, path.gpa, linear, (struct reach){0, size}, access & ACCESS_ALL);
}

bool watch_catches(struct vcpu *v, uint64_t linear, uint64_t size, unsigned access, bool user) {
    while (size) {
        unsigned n = (unsigned)MIN(size, PAGE_SIZE - linear % PAGE_SIZE);
        if (page_catches(v, linear, n, access, user))
            return true;
        linear += n;
        size -= n;
    }
    return false;
}

// ---- one instruction with a page open ----------------------------------------------------------

// What is mapped at the page may be a breakpoint's copy, or lack rights: away with it.
static void zap_page(struct stage2 *s, uint64_t page) {
    stage2_zap_pages(s, page, PAGE_SIZE);
}

void watch_lift(struct vcpu *v, uint64_t gpa) {
    struct vm *vm = v->vm;
    struct stage2 *s = vm->stage2;
    uint64_t page = ROUND_DOWN(gpa, PAGE_SIZE);
    spin_lock(&s->lock);
    if (!watch_page_lifted(vm, page)) {
        if (vm->lifted_count == VM_MAX_LIFTED) { // no instruction needs as many: others' leftovers
            vm->lifted_count--;
            zap_page(s, vm->lifted[0]);
            memmove(vm->lifted, vm->lifted + 1, vm->lifted_count * sizeof(vm->lifted[0]));
        }
        vm->lifted[vm->lifted_count++] = page;
        zap_page(s, page);
    }
    spin_unlock(&s->lock);
    stage2_flush(s);
    v->step_over = true;
    v->attention = true;
}

void watch_close(struct vcpu *v) {
    struct vm *vm = v->vm;
    struct stage2 *s = vm->stage2;
    v->step_over = false;
    spin_lock(&s->lock);
    while (vm->lifted_count)
        zap_page(s, vm->lifted[--vm->lifted_count]);
    spin_unlock(&s->lock);
    stage2_flush(s);
}
