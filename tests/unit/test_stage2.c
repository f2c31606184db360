/* sources: kernel/lib/tree.c kernel/mm/buddy.c kernel/mm/frame.c kernel/mm/heap.c kernel/mm/rmap.c kernel/mm/pagetable.c kernel/mm/region.c kernel/mm/space.c kernel/mm/remap.c kernel/mm/fork.c kernel/mm/fault.c kernel/mm/notify.c vmm/stage2.c vmm/stage2_table.c vmm/stage2_dirty.c vmm/slots.c vmm/watch.c vmm/breakpoint.c vmm/guest_memory.c tests/unit/mm_host.c tests/unit/vmm_mock.c */
// Random operations on processes and their VMs against a model. The guest's accesses go through a model
// of a processor that caches translations until it is told to flush: what it still has cached after an
// operation must be true, and no frame may be free that it has cached at the moment of a flush.
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
#include "vmm/decode.h"
#include "vmm/guest_memory.h"
#include "vmm/slots.h"
#include "vmm/stage2_table.h"
#include "vmm/walk.h"
#include "vmm/watch.h"
#include "vmm_mock.h"

#define PAGES 1700 // of the process; not a multiple of 512
#define BASE  (0x40000000ull - 100 * PAGE_SIZE)
#define VMS   4
#define SLOTS 3
#define TLB   64

struct page {
    bool mapped;
    int prot;
    uint64_t value;
};
struct slot_model {
    bool there, read_only, logged;
    uint64_t gpa;
    unsigned first, pages; // of the process's memory
    bool dirty[PAGES];     // written since the last collection
};
struct cached { // a translation that the processor model has
    bool valid, write, dirty;
    uint64_t gpa;
    paddr_t pa;
};
struct machine {
    bool used;
    struct vm vm;
    struct vcpu cpu;
    struct page pages[PAGES];
    struct slot_model slots[SLOTS];
    struct cached tlb[TLB];
    struct kvm_run run;
    struct chrono_run chrono;
};

static struct machine machines[VMS];
static uint64_t next_value;
static unsigned flushes_checked;

// ---- what watch.c asks of others ---------------------------------------------------------------
int decode(const uint8_t *bytes, size_t n, enum decode_mode mode, struct instruction *out) {
    (void)bytes, (void)n, (void)mode;
    out->size = 8;
    return 0;
}
int vcpu_translate(struct vcpu *v, uint64_t gva, unsigned access, bool user, uint64_t *gpa,
                   uint32_t *error) {
    (void)v, (void)access, (void)user, (void)error;
    *gpa = gva;
    return 0;
}

// Identity, by one table entry at the page before.
static struct walk_path walked;
void vcpu_walk_path(struct vcpu *v, uint64_t gva, unsigned access, bool user, struct walk_path *p) {
    (void)v, (void)access, (void)user;
    walked.gpa = gva;
    *p = walked;
}

static unsigned below(unsigned n) {
    return (unsigned)rand() % n;
}
static uint64_t at(unsigned page) {
    return BASE + page * PAGE_SIZE;
}

// ---- the processor -----------------------------------------------------------------------------

static struct cached *tlb_slot(struct machine *m, uint64_t gpa) {
    return &m->tlb[(gpa >> PAGE_SHIFT) * 2654435761u >> 16 & (TLB - 1)];
}

static void on_flush(struct vm *vm, paddr_t root) {
    struct machine *m = container_of(vm, struct machine, vm);
    assert_int_equal(root, vm->root);
    assert_false(spin_held(&tables_lock));
    for (unsigned i = 0; i < TLB; i++) {
        if (m->tlb[i].valid) {
            assert_int_not_equal(phys_frame(m->tlb[i].pa)->kind, FRAME_FREE);
            assert_true(phys_frame(m->tlb[i].pa)->refs > 0);
            flushes_checked++;
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

// ---- the model ---------------------------------------------------------------------------------

static struct slot_model *model_slot(struct machine *m, uint64_t gpa) {
    for (unsigned i = 0; i < SLOTS; i++)
        if (m->slots[i].there && gpa - m->slots[i].gpa < m->slots[i].pages * PAGE_SIZE)
            return &m->slots[i];
    return NULL;
}

// An access of the guest as the VMM and the processor carry it out. Result of stage2_fault(), or 0.
static int guest_access(struct machine *m, uint64_t gpa, unsigned access, uint64_t *value) {
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

static void check_access(struct machine *m, uint64_t gpa, bool write) {
    struct slot_model *s = model_slot(m, gpa);
    uint64_t value = write ? ++next_value : 0;
    int r = guest_access(m, gpa, write ? ACCESS_WRITE : ACCESS_READ, &value);
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

static uint64_t some_gpa(struct machine *m) {
    struct slot_model *s = &m->slots[below(SLOTS)];
    if (!s->there || !below(20))
        return below(8000) * PAGE_SIZE;
    return s->gpa + below(s->pages) * PAGE_SIZE;
}

// What the processor has cached is what the process's page tables say.
static void check_tlb(struct machine *m) {
    for (unsigned i = 0; i < TLB; i++) {
        const struct cached *c = &m->tlb[i];
        struct slot_model *s = c->valid ? model_slot(m, c->gpa) : NULL;
        if (!c->valid)
            continue;
        assert_non_null(s);
        uint64_t hva = at(s->first) + (c->gpa - s->gpa);
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

// ---- operations --------------------------------------------------------------------------------

static void set_slot(struct machine *m, unsigned id, uint64_t gpa, unsigned pages, unsigned first,
                     uint32_t flags) {
    struct kvm_userspace_memory_region r = {id, flags, gpa, pages * PAGE_SIZE, at(first)};
    assert_int_equal(slots_set(&m->vm, &r), 0);
}

// Creates or deletes a slot, moves it, or turns its log on or off.
static void change_slot(struct machine *m) {
    unsigned id = below(SLOTS);
    struct slot_model *s = &m->slots[id];
    uint64_t gpa = id * 2000 * PAGE_SIZE + below(3) * 100 * PAGE_SIZE;
    if (!s->there) {
        // The first is congruent with the process's addresses modulo 2 MB, the others share memory with it.
        *s = (struct slot_model){.there = true, .read_only = id == 2, .logged = below(2)};
        s->first = id == 0 ? 100 : below(100);
        s->pages = id == 0 ? PAGES - 100 : 1 + below(1500);
        s->gpa = id == 0 ? 0 : gpa;
    } else if (!below(3)) {
        set_slot(m, id, s->gpa, 0, s->first, 0);
        s->there = false;
        return;
    } else if (below(2) && id) {
        s->gpa = gpa;
    } else {
        s->logged = !s->logged;
        memset(s->dirty, 0, sizeof(s->dirty));
    }
    set_slot(m, id, s->gpa, s->pages, s->first,
             (s->read_only ? KVM_MEM_READONLY : 0) | (s->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0));
}

static void collect(struct machine *m) {
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

static void map_pages(struct machine *m, unsigned first, unsigned n, int prot) {
    long r = space_map(m->vm.space, at(first), n * PAGE_SIZE, prot,
                       MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
    assert_int_equal(r, at(first));
    for (unsigned i = first; i < first + n; i++)
        m->pages[i] = (struct page){.mapped = true, .prot = prot};
}

static void protect(struct machine *m, unsigned first, unsigned n, int prot) {
    bool whole = true;
    for (unsigned i = first; i < first + n; i++)
        whole &= m->pages[i].mapped;
    if (space_protect(m->vm.space, at(first), n * PAGE_SIZE, prot))
        assert_false(whole);
    for (unsigned i = first; whole && i < first + n; i++)
        m->pages[i].prot = prot;
}

static void host_write(struct machine *m, unsigned i) {
    uint64_t v = ++next_value;
    long n = space_copy(m->vm.space, at(i), &v, sizeof(v), true);
    bool ok = m->pages[i].mapped && m->pages[i].prot & PROT_WRITE;
    assert_int_equal(n, ok ? (long)sizeof(v) : -EFAULT);
    if (ok)
        m->pages[i].value = v;
}

static void vmm_write(struct machine *m, uint64_t gpa) {
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

static void begin(struct machine *m, struct space *space) {
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

static void end(struct machine *m) {
    stage2_free(m->vm.stage2);
    slots_free(&m->vm);
    space_put(m->vm.space);
    m->used = false;
}

// fork() and CHRONO_CLONE.
static void clone(struct machine *m) {
    struct machine *to = machines;
    while (to < machines + VMS && to->used)
        to++;
    if (to == machines + VMS)
        return;
    struct space *space = space_fork(m->vm.space);
    assert_false(IS_ERR(space));
    begin(to, space);
    memcpy(to->pages, m->pages, sizeof(m->pages));
    memcpy(to->slots, m->slots, sizeof(m->slots));
    mutex_lock(&to->vm.lock);
    assert_int_equal(slots_clone(&to->vm, &m->vm), 0);
    assert_int_equal(stage2_clone(&to->vm, &m->vm), 0);
    mutex_unlock(&to->vm.lock);
}

// As reclaim and sharing by content will.
static void disturb(struct machine *m, unsigned i) {
    struct frame *f;
    bool writable;
    uint64_t size;
    if (space_get_frame(m->vm.space, at(i), ACCESS_READ, &f, &writable, &size))
        return;
    assert_true(rmap_write_protect(f));
    frame_put(f);
}

static void step(void) {
    static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                 PROT_READ | PROT_WRITE};
    struct machine *m = &machines[below(VMS)];
    if (!m->used)
        return;
    unsigned first = below(PAGES), n = 1 + below(below(4) ? 20 : 700);
    n = MIN(n, PAGES - first);
    switch (below(24)) {
    case 0: map_pages(m, first, n, rights[below(4)]); break;
    case 1:
        assert_int_equal(space_unmap(m->vm.space, at(first), n * PAGE_SIZE), 0);
        memset(&m->pages[first], 0, n * sizeof(m->pages[0]));
        break;
    case 2: protect(m, first, n, rights[below(4)]); break;
    case 3:
        space_advise(m->vm.space, at(first), n * PAGE_SIZE, MADV_DONTNEED);
        for (unsigned i = first; i < first + n; i++)
            m->pages[i].value = 0;
        break;
    case 4: clone(m); break;
    case 5:
        if (m != machines)
            end(m);
        break;
    case 6: disturb(m, first); break;
    case 7: map_pages(m, 100, 1024, PROT_READ | PROT_WRITE); break; // two 2 MB pages
    case 8: change_slot(m); break;
    case 9: collect(m); break;
    case 10: stage2_write_protect_all(m->vm.stage2); break;
    case 11: stage2_unmap(m->vm.stage2, some_gpa(m), n * PAGE_SIZE); break;
    case 12: vmm_write(m, some_gpa(m)); break;
    case 13:
    case 14: host_write(m, first); break;
    default:
        for (unsigned i = 0; i < 30; i++)
            check_access(m, some_gpa(m), below(2));
    }
}

static void run_seed(unsigned seed, unsigned steps) {
    struct memory_stats before;
    host_memory_init();
    memory_stats(&before);
    srand(seed);
    memset(machines, 0, sizeof(machines));
    mock_on_flush = on_flush;
    mock_lacks[ABILITY_DIRTY_BITS] = seed % 3 == 0;
    begin(machines, space_create());
    map_pages(machines, 0, PAGES, PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < steps; i++) {
        step();
        for (unsigned k = 0; k < VMS; k++)
            if (machines[k].used) {
                check_tlb(&machines[k]);
                check_access(&machines[k], some_gpa(&machines[k]), false);
            }
    }
    for (unsigned k = 0; k < VMS; k++) {
        if (!machines[k].used)
            continue;
        for (uint64_t gpa = 0; gpa < 6500 * PAGE_SIZE; gpa += PAGE_SIZE)
            check_access(&machines[k], gpa, false);
        end(&machines[k]);
    }
    mock_lacks[ABILITY_DIRTY_BITS] = false;
    host_assert_no_leak(&before);
}

static void test_random(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 12; seed++)
        run_seed(seed, 1500);
    assert_true(flushes_checked > 1000); // the check did see something
}

// ---- single cases ------------------------------------------------------------------------------

static struct machine *simple_machine(void) {
    struct machine *m = &machines[0];
    host_memory_init();
    memset(machines, 0, sizeof(machines));
    mock_on_flush = on_flush;
    begin(m, space_create());
    map_pages(m, 0, PAGES, PROT_READ | PROT_WRITE);
    m->slots[0] = (struct slot_model){.there = true, .first = 100, .pages = PAGES - 100};
    set_slot(m, 0, 0, PAGES - 100, 100, 0);
    return m;
}

static void test_large_pages(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    unsigned level;
    check_access(m, 0x5000, true);
    assert_non_null(stage2_lookup(m->vm.stage2, 0x5000, &level));
    assert_int_equal(level, 2);
    unsigned flushes = mock_stage2_flushes;
    for (uint64_t gpa = 0; gpa < LARGE_PAGE_SIZE; gpa += PAGE_SIZE)
        assert_non_null(stage2_lookup(m->vm.stage2, gpa, &level));
    assert_int_equal(flushes, mock_stage2_flushes); // filling needs none
    // One page of it goes: the others stay mapped.
    space_advise(m->vm.space, at(100 + 7), PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    assert_null(stage2_lookup(m->vm.stage2, 7 * PAGE_SIZE, &level));
    assert_non_null(stage2_lookup(m->vm.stage2, 8 * PAGE_SIZE, &level));
    assert_int_equal(level, 1);
    // Memory that no slot shows changes without any flush.
    space_advise(m->vm.space, at(3), PAGE_SIZE, MADV_DONTNEED);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    end(m);
}

static void test_neighbours(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    unsigned level;
    space_advise(m->vm.space, at(0), PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < 64; i++)
        host_write(m, 100 + i);
    check_access(m, 20 * PAGE_SIZE, false);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t *e = stage2_lookup(m->vm.stage2, i * PAGE_SIZE, &level);
        assert_int_equal(e != NULL, i / 16 == 1);
        if (e && !mock_lacks[ABILITY_DIRTY_BITS])
            assert_int_equal(!!(*e & MOCK_ACCESSED), i == 20);
    }
    end(m);
}

// fork: one flush, and only what is written afterwards is copied.
static void test_checkpoint(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    for (unsigned i = 0; i < 1024; i++)
        check_access(m, i * PAGE_SIZE, true);
    unsigned flushes = mock_stage2_flushes;
    clone(m);
    assert_int_equal(mock_stage2_flushes, flushes + 1);
    struct memory_stats before, after;
    memory_stats(&before);
    check_access(m, 5 * PAGE_SIZE, true);
    check_access(m, 700 * PAGE_SIZE, true);
    memory_stats(&after);
    assert_int_equal(after.anon, before.anon + 2);
    for (unsigned i = 0; i < 1024; i++) {
        check_access(&machines[1], i * PAGE_SIZE, false);
        check_access(m, i * PAGE_SIZE, false);
    }
    end(&machines[1]);
    for (unsigned i = 0; i < 1024; i++)
        check_access(m, i * PAGE_SIZE, true);
    end(m);
}

static struct vm_exit violation(uint64_t gpa, unsigned access) {
    return (struct vm_exit){.kind = EXIT_MEMORY,
                            .memory = {.gpa = gpa,
                                       .read = access & ACCESS_READ,
                                       .write = access & ACCESS_WRITE,
                                       .execute = access & ACCESS_EXEC}};
}

static void set_watch(struct machine *m, uint32_t id, unsigned access, uint64_t gpa, uint64_t len) {
    struct chrono_watch w = {.id = id, .access = access, .gpa = gpa, .len = len};
    mutex_lock(&m->vm.lock);
    assert_int_equal(stage2_set_watch(&m->vm, &w), 0);
    mutex_unlock(&m->vm.lock);
}

static void test_watch(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    uint64_t value = 1;
    check_access(m, 0x3000, true);
    set_watch(m, 5, CHRONO_WRITE, 0x3100, 4);
    m->chrono.control = CHRONO_WATCHES;
    assert_int_equal(guest_access(m, 0x3000, ACCESS_READ, &value), 0);
    // A write beside the watched bytes: stepped over, then closed again.
    assert_int_equal(guest_access(m, 0x3200, ACCESS_WRITE, &value), 2);
    struct vm_exit e = violation(0x3200, ACCESS_WRITE);
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_true(m->cpu.step_over);
    assert_int_equal(guest_access(m, 0x3200, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    assert_false(m->cpu.step_over);
    assert_int_equal(guest_access(m, 0x3200, ACCESS_WRITE, &value), 2);
    // A write that touches them: reported; without CHRONO_WATCHES stepped over.
    e = violation(0x30fc, ACCESS_WRITE);
    assert_int_equal(watch_hit(&m->cpu, &e), 0);
    assert_int_equal(m->run.exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(m->chrono.watch_gpa, 0x30fc);
    assert_int_equal(m->chrono.watch_id, 5);
    m->chrono.control = 0;
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_int_equal(guest_access(m, 0x30f8, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    // Removed: nothing is denied any more.
    set_watch(m, 5, 0, 0, 0);
    assert_false(m->vm.debugged);
    assert_int_equal(guest_access(m, 0x3100, ACCESS_WRITE, &value), 0);
    end(m);
}

static bool catches(struct machine *m, uint64_t linear, uint64_t size, unsigned access) {
    return watch_stops(&m->cpu, linear, size, access, false);
}

// What the VMM accesses for an instruction: the bytes, and entries of the guest's tables on the way.
static void test_watch_catches(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    walked = (struct walk_path){.looked = 2,
                                .entry_size = 8,
                                .at = {0x5000, 0x6008},
                                .sets = {false, true},
                                .allowed = true};
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_READ)); // nothing is watched
    set_watch(m, 5, CHRONO_WRITE, 0x4100, 4);
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_WRITE)); // without CHRONO_WATCHES
    m->chrono.control = CHRONO_WATCHES;
    assert_false(catches(m, 0x3000, 0x3000, ACCESS_READ));
    assert_false(catches(m, 0x40fe, 2, ACCESS_WRITE));
    assert_false(catches(m, 0x4104, 4, ACCESS_WRITE));
    assert_true(catches(m, 0x3ffe, 0x200, ACCESS_READ | ACCESS_WRITE)); // on its second page
    assert_int_equal(m->run.exit_reason, KVM_EXIT_CHRONO_WATCH);
    assert_int_equal(m->chrono.watch_gpa, 0x4000);
    assert_int_equal(m->chrono.watch_gva, 0x4000);
    assert_int_equal(m->chrono.watch_id, 5);
    assert_int_equal(m->chrono.watch_access, ACCESS_READ | ACCESS_WRITE);
    walked.allowed = false; // a page fault comes first
    assert_false(catches(m, 0x4100, 4, ACCESS_WRITE));
    set_watch(m, 6, CHRONO_READ, 0x5004, 4); // of the first entry, eight bytes long
    assert_true(catches(m, 0x3000, 1, ACCESS_READ));
    assert_int_equal(m->chrono.watch_gpa, 0x5000);
    assert_int_equal(m->chrono.watch_gva, 0x3000);
    set_watch(m, 6, CHRONO_WRITE, 0x5000, 8); // whose bits are set already
    assert_false(catches(m, 0x3000, 1, ACCESS_READ));
    set_watch(m, 6, CHRONO_WRITE, 0x6008, 8);
    assert_true(catches(m, 0x3000, 1, ACCESS_READ));
    // What is no memory is a device's.
    walked = (struct walk_path){.allowed = true};
    set_watch(m, 5, CHRONO_WRITE, 0x7fff00000000, 8);
    assert_false(catches(m, 0x7fff00000000, 8, ACCESS_WRITE));
    end(m);
}

static void test_read_watch_takes_all(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    uint64_t value;
    set_watch(m, 1, CHRONO_READ, 0x3000, 1);
    assert_int_equal(guest_access(m, 0x3000, ACCESS_READ, &value), 2);
    assert_int_equal(guest_access(m, 0x3000, ACCESS_WRITE, &value), 2);
    assert_int_equal(guest_access(m, 0x3000, ACCESS_EXEC, &value), 0);
    mock_lacks[ABILITY_EXECUTE_ONLY] = true;
    set_watch(m, 1, CHRONO_READ, 0x3000, 1);
    assert_int_equal(guest_access(m, 0x3000, ACCESS_EXEC, &value), 2);
    mock_lacks[ABILITY_EXECUTE_ONLY] = false;
    end(m);
}

static int set_breakpoint(struct machine *m, uint64_t gpa, bool set) {
    struct chrono_breakpoint b = {.gpa = gpa, .set = set};
    mutex_lock(&m->vm.lock);
    int err = stage2_set_breakpoint(&m->vm, &b);
    mutex_unlock(&m->vm.lock);
    return err;
}

static void test_breakpoint(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    uint64_t value = 0x1122334455667788;
    assert_int_equal(guest_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    assert_int_equal(set_breakpoint(m, 0x4001, true), 0);
    assert_int_equal(set_breakpoint(m, 0x4003, false), -ENOENT);
    assert_int_equal(set_breakpoint(m, 0x100000000, true), -EINVAL);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0x112233445566cc88);
    // Reads see the original, one instruction at a time.
    assert_int_equal(guest_access(m, 0x4000, ACCESS_READ, &value), 2);
    struct vm_exit e = violation(0x4000, ACCESS_READ);
    m->chrono.control = CHRONO_WATCHES;
    assert_int_equal(watch_hit(&m->cpu, &e), 1);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_READ, &value), 0);
    assert_int_equal(value, 0x1122334455667788);
    // A write in such a step is in the next copy.
    value = 0x99;
    assert_int_equal(guest_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    watch_step_done(&m->cpu);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0xcc99);
    // So is what the VMM and the process write.
    value = 0x77;
    assert_int_equal(vm_write(&m->vm, 0x4000, &value, 8), 0);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, 0xcc77);
    host_write(m, 104);
    breakpoint_enter(&m->cpu);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, (m->pages[104].value & ~0xff00ull) | 0xcc00);
    // The exit.
    m->cpu.rip = 0x4001;
    assert_int_equal(breakpoint_hit(&m->cpu), 2);
    m->chrono.control = CHRONO_STEP;
    assert_int_equal(breakpoint_hit(&m->cpu), 1);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_EXEC, &value), 0);
    assert_int_equal(value, m->pages[104].value);
    watch_step_done(&m->cpu);
    m->cpu.rip = 0x4000;
    assert_int_equal(breakpoint_hit(&m->cpu), 0);
    assert_int_equal(set_breakpoint(m, 0x4001, false), 0);
    assert_int_equal(guest_access(m, 0x4000, ACCESS_WRITE, &value), 0);
    end(m);
}

static void test_compare_exchange(void **state) {
    (void)state;
    struct machine *m = simple_machine();
    uint64_t value = 0x1234567890;
    assert_int_equal(vm_write(&m->vm, 0x8, &value, 8), 0);
    assert_int_equal(vm_compare_exchange(&m->vm, 8, 8, 1, 2), -EAGAIN);
    assert_int_equal(vm_compare_exchange(&m->vm, 8, 8, value, 7), 0);
    assert_int_equal(vm_compare_exchange(&m->vm, 12, 4, 0, 9), 0);
    assert_int_equal(vm_read(&m->vm, 8, &value, 8), 0);
    assert_int_equal(value, 0x900000007);
    assert_int_equal(vm_compare_exchange(&m->vm, 1ull << 40, 8, 0, 0), -EFAULT);
    struct memory_slot last = {0};
    assert_int_equal(vm_read_near(&m->vm, &last, 8, &value, 8), 0);
    assert_int_equal(value, 0x900000007);
    assert_int_equal(vm_read_near(&m->vm, &last, 1ull << 40, &value, 8), -EFAULT);
    end(m);
}

int main(int argc, char **argv) {
    if (argc > 2) { // a longer run: SEED STEPS
        run_seed(atoi(argv[1]), atoi(argv[2]));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_pages),   cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_checkpoint),    cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_catches), cmocka_unit_test(test_read_watch_takes_all),
        cmocka_unit_test(test_breakpoint),    cmocka_unit_test(test_compare_exchange),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
