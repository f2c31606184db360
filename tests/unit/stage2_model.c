#include "stage2_model.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mm_host.h"
#include "mm/pagetable.h"
#include "mm/region.h"
#include "vmm/breakpoint.h"
#include "vmm/guest_memory.h"
#include "vmm/slots.h"
#include "vmm/watch.h"
#include "vmm/stage2_table.h"
#include "vmm_mock.h"

struct machine machines[VMS];
unsigned model_flushes;
static uint64_t next_value;

// ---- what watch.c asks of others ---------------------------------------------------------------
struct reach model_reach = {0, 8};
struct reach reach_of(struct vcpu *v, const struct vm_exit *e) {
    (void)v, (void)e;
    return model_reach;
}
unsigned reach_max(void) {
    return 512;
}
int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    (void)v, (void)access, (void)user, (void)error;
    *gpa = gva;
    return 0;
}

// Identity, by one table entry at the page before.
struct walk_path walked;
void vcpu_walk_path(struct vcpu *v, uint64_t gva, unsigned access, bool user, struct walk_path *p) {
    (void)v, (void)access, (void)user;
    walked.gpa = gva;
    *p = walked;
}

unsigned model_below(unsigned n) {
    return (unsigned)rand() % n;
}

uint64_t model_at(unsigned page) {
    return BASE + page * PAGE_SIZE;
}

static struct cached *tlb_slot(struct machine *m, uint64_t gpa) {
    return &m->tlb[(gpa >> PAGE_SHIFT) * 2654435761u >> 16 & (TLB - 1)];
}

void model_on_flush(struct vm *vm, paddr_t root) {
    struct machine *m = container_of(vm, struct machine, vm);
    assert_int_equal(root, vm->root);
    assert_false(spin_held(&tables_lock));
    for (unsigned i = 0; i < TLB; i++) {
        if (m->tlb[i].valid) {
            assert_int_not_equal(phys_frame(m->tlb[i].pa)->kind, FRAME_FREE);
            assert_true(phys_frame(m->tlb[i].pa)->refs > 0);
            model_flushes++;
        }
        m->tlb[i].valid = false;
    }
}

// As hardware walks: the leaf entry if all levels allow the access, which gets its A and D bits.
static uint64_t *walk(struct machine *m, uint64_t gpa, unsigned access, unsigned *level,
                      bool *writable) {
    uint64_t *table = phys_to_virt(m->vm.root), need = MOCK_READ;
    if (access & ACCESS_WRITE)
        need = MOCK_WRITE;
    else if (access & ACCESS_EXEC)
        need = MOCK_EXEC;
    *writable = true;
    for (*level = 4;; (*level)--) {
        uint64_t *e = &table[table_index(gpa, *level)];
        if (!(*e & need))
            return NULL;
        *writable &= !!(*e & MOCK_WRITE);
        if (*level == 1 || (*level == 2 && *e & MOCK_LARGE))
            return e;
        table = phys_to_virt(*e & MOCK_ADDRESS);
    }
}

// Translates, or returns false: an exit. Caches what it found.
static bool translate(struct machine *m, uint64_t gpa, unsigned access, paddr_t *pa) {
    struct cached *c = tlb_slot(m, gpa);
    bool write = access & ACCESS_WRITE, writable;
    unsigned level;
    gpa = ROUND_DOWN(gpa, PAGE_SIZE);
    if (!(c->valid && c->gpa == gpa && access != ACCESS_EXEC &&
          (!write || (c->write && (c->dirty || mock_lacks[ABILITY_DIRTY_BITS]))))) {
        uint64_t *e = walk(m, gpa, access, &level, &writable);
        if (!e)
            return false;
        if (!mock_lacks[ABILITY_DIRTY_BITS])
            *e |= MOCK_ACCESSED | (write ? MOCK_DIRTY : 0);
        paddr_t page = (*e & MOCK_ADDRESS) + (level == 2 ? gpa & (LARGE_PAGE_SIZE - 1) : 0);
        if (access == ACCESS_EXEC) {
            *pa = page;
            return true;
        }
        *c = (struct cached){true, writable, write, gpa, page};
    }
    *pa = c->pa;
    return true;
}

static struct slot_model *model_slot(struct machine *m, uint64_t gpa) {
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->slots[i].there && gpa - m->slots[i].gpa < m->slots[i].pages * PAGE_SIZE)
            return &m->slots[i];
    return NULL;
}

int model_access(struct machine *m, uint64_t gpa, unsigned access, uint64_t *value) {
    paddr_t pa;
    for (unsigned tries = 0; !translate(m, gpa, access, &pa); tries++) {
        assert_true(tries < 8);
        int r = stage2_fault(m->vm.stage2, gpa, access);
        if (r)
            return r;
    }
    uint64_t *p = (uint64_t *)((char *)phys_to_virt(pa) + (gpa & (PAGE_SIZE - 1)));
    if (access & ACCESS_WRITE)
        *p = *value;
    else
        *value = *p;
    return 0;
}

void model_check_access(struct machine *m, uint64_t gpa, bool write) {
    struct slot_model *s = model_slot(m, gpa);
    uint64_t value = write ? ++next_value : 0;
    int r = model_access(m, gpa, write ? ACCESS_WRITE : ACCESS_READ, &value);
    if (!s || (write && s->read_only)) {
        assert_int_equal(r, s ? 3 : 1);
        return;
    }
    unsigned index = (gpa - s->gpa) / PAGE_SIZE;
    struct page *p = &m->pages[s->first + index];
    int need = write ? PROT_WRITE : PROT_READ | PROT_WRITE;
    if (!p->mapped || !(p->prot & need)) {
        assert_int_equal(r, -EFAULT);
        return;
    }
    assert_int_equal(r, 0);
    if (write) {
        p->value = value;
        s->dirty[index] = true;
    } else {
        assert_int_equal(value, p->value);
    }
}

uint64_t model_some_gpa(struct machine *m) {
    struct slot_model *s = &m->slots[model_below(SLOTS)];
    if (!s->there || !model_below(20))
        return model_below(8000) * PAGE_SIZE;
    return s->gpa + model_below(s->pages) * PAGE_SIZE;
}

// What the processor has cached is what the process's page tables say.
void model_check_tlb(struct machine *m) {
    for (unsigned i = 0; i < TLB; i++) {
        const struct cached *c = &m->tlb[i];
        struct slot_model *s = c->valid ? model_slot(m, c->gpa) : NULL;
        if (!c->valid)
            continue;
        assert_non_null(s);
        uint64_t hva = model_at(s->first) + (c->gpa - s->gpa);
        struct space_view view;
        spin_lock(&tables_lock);
        space_peek(m->vm.space, hva, &view);
        spin_unlock(&tables_lock);
        assert_int_equal(view.entry & PTE_ADDR, c->pa);
        assert_true(!c->write || (view.entry & PTE_WRITE && !s->read_only));
    }
    assert_false(m->vm.stage2->flush_due);
    assert_true(list_empty(&m->vm.stage2->doomed));
}

void model_set_slot(struct machine *m, unsigned id, uint64_t gpa, unsigned pages, unsigned first,
                    uint32_t flags) {
    struct kvm_userspace_memory_region r = {id, flags, gpa, pages * PAGE_SIZE, model_at(first)};
    assert_int_equal(slots_set(&m->vm, &r), 0);
}

void model_collect(struct machine *m) {
    for (unsigned id = 0; id < SLOTS; id++) {
        struct slot_model *s = &m->slots[id];
        uint64_t bitmap[(PAGES + 63) / 64];
        struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = bitmap};
        int err = slots_get_dirty(&m->vm, &log);
        assert_int_equal(err, s->there && s->logged ? 0 : -ENOENT);
        for (unsigned i = 0; !err && i < s->pages; i++)
            assert_int_equal(bitmap[i / 64] >> i % 64 & 1, s->dirty[i]);
        if (!err)
            memset(s->dirty, 0, sizeof(s->dirty));
    }
}

void model_map(struct machine *m, unsigned first, unsigned n, int prot) {
    long r = space_map(m->vm.space, model_at(first), n * PAGE_SIZE, prot,
                       MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
    assert_int_equal(r, model_at(first));
    for (unsigned i = first; i < first + n; i++)
        m->pages[i] = (struct page){.mapped = true, .prot = prot};
}

void model_protect(struct machine *m, unsigned first, unsigned n, int prot) {
    bool whole = true;
    for (unsigned i = first; i < first + n; i++)
        whole &= m->pages[i].mapped;
    if (space_protect(m->vm.space, model_at(first), n * PAGE_SIZE, prot))
        assert_false(whole);
    for (unsigned i = first; whole && i < first + n; i++)
        m->pages[i].prot = prot;
}

void model_host_write(struct machine *m, unsigned i) {
    uint64_t v = ++next_value;
    long n = space_copy(m->vm.space, model_at(i), &v, sizeof(v), true);
    bool ok = m->pages[i].mapped && m->pages[i].prot & PROT_WRITE;
    assert_int_equal(n, ok ? (long)sizeof(v) : -EFAULT);
    if (ok)
        m->pages[i].value = v;
}

void model_vmm_write(struct machine *m, uint64_t gpa) {
    struct slot_model *s = model_slot(m, gpa);
    uint64_t v = ++next_value;
    int err = vm_write(&m->vm, gpa, &v, sizeof(v));
    unsigned i = s ? (gpa - s->gpa) / PAGE_SIZE : 0;
    struct page *p = s ? &m->pages[s->first + i] : NULL;
    bool ok = s && !s->read_only && p->mapped && p->prot & PROT_WRITE;
    assert_int_equal(err, ok ? 0 : -EFAULT);
    if (ok) {
        p->value = v;
        s->dirty[i] = true;
    }
}

void model_begin(struct machine *m, struct space *space) {
    memset(&m->vm, 0, sizeof(m->vm));
    memset(m->tlb, 0, sizeof(m->tlb));
    m->used = true;
    m->vm.space = space;
    mutex_init(&m->vm.lock);
    list_init(&m->vm.watches);
    list_init(&m->vm.breakpoints);
    m->cpu = (struct vcpu){.vm = &m->vm, .run = &m->run, .chrono = &m->chrono};
    assert_non_null(stage2_create(&m->vm));
}

void model_end(struct machine *m) {
    stage2_free(m->vm.stage2);
    slots_free(&m->vm);
    space_put(m->vm.space);
    m->used = false;
}

void model_clone(struct machine *m) {
    struct machine *to = machines;
    while (to < machines + VMS && to->used)
        to++;
    if (to == machines + VMS)
        return;
    struct space *space = space_fork(m->vm.space);
    assert_false(IS_ERR(space));
    model_begin(to, space);
    memcpy(to->pages, m->pages, sizeof(m->pages));
    memcpy(to->slots, m->slots, sizeof(m->slots));
    mutex_lock(&to->vm.lock);
    assert_int_equal(slots_clone(&to->vm, &m->vm), 0);
    assert_int_equal(stage2_clone(&to->vm, &m->vm), 0);
    mutex_unlock(&to->vm.lock);
}

struct machine *model_machine(void) {
    struct machine *m = &machines[0];
    host_memory_init();
    memset(machines, 0, sizeof(machines));
    mock_on_flush = model_on_flush;
    model_begin(m, space_create());
    model_map(m, 0, PAGES, PROT_READ | PROT_WRITE);
    m->slots[0] = (struct slot_model){.there = true, .first = 100, .pages = PAGES - 100};
    model_set_slot(m, 0, 0, PAGES - 100, 100, 0);
    return m;
}
