// Shootdown: the sender writes its request, marks itself in the inbox of each processor concerned
// and sends VECTOR_TLB; each receiver serves all senders in its inbox and counts itself off. While a
// sender waits it serves its own inbox, so that two that wait for each other both go on even where
// interrupts are off.
#include "mm/tlb.h"
#include "cpu/irq.h"
#include "cpu/msr.h"
#include "cpu/smp.h"
#include "mm/kernel_map.h"
#include "mm/notify.h"
#include "mm/space.h"

#define FLUSH_ALL_PAGES 32 // from so many pages on, everything is flushed

enum request_kind { FLUSH_RANGE, FLUSH_USER, ABANDON_SPACE, FLUSH_GLOBAL };
static struct {
    enum request_kind kind;
    struct space *space;
    uint64_t start, end;
    uint64_t pending;                // processors that have not done it yet; atomic
} aligned_to(64) requests[MAX_CPUS]; // by sender
static uint64_t inboxes[MAX_CPUS];   // bit per sender; atomic

static void flush_local(uint64_t start, uint64_t end) {
    if (end - start > FLUSH_ALL_PAGES * PAGE_SIZE)
        write_cr3(read_cr3());
    else
        for (uint64_t va = start; va < end; va += PAGE_SIZE)
            invlpg(va);
}

static void flush_global_local(void) {
    write_cr4(read_cr4() & ~CR4_PGE);
    write_cr4(read_cr4() | CR4_PGE);
}

// On the processor concerned, interrupts off.
static void leave_space(struct space *s) {
    struct cpu *c = this_cpu();
    if (c->active_space == s) {
        write_cr3(kernel_root);
        c->active_space = NULL;
    }
    __atomic_fetch_and(&s->cpus_active, ~BIT(c->id), __ATOMIC_SEQ_CST);
}

static void perform(unsigned sender) {
    __typeof__(&requests[0]) r = &requests[sender];
    if (r->kind == FLUSH_RANGE) {
        if (this_cpu()->active_space == r->space)
            flush_local(r->start, r->end);
    } else if (r->kind == FLUSH_USER) {
        write_cr3(read_cr3());
    } else if (r->kind == ABANDON_SPACE) {
        leave_space(r->space);
    } else {
        flush_global_local();
    }
    __atomic_fetch_and(&r->pending, ~BIT(this_cpu()->id), __ATOMIC_RELEASE);
}

static void serve_inbox(void *arg) {
    (void)arg;
    uint64_t senders = __atomic_exchange_n(&inboxes[this_cpu()->id], 0, __ATOMIC_ACQUIRE);
    for (; senders; senders &= senders - 1)
        perform(__builtin_ctzll(senders));
}

// Has the request done by all processors in `mask` (not this one).
static void ask(enum request_kind kind, struct space *s, uint64_t start, uint64_t end,
                uint64_t mask) {
    unsigned self = this_cpu()->id;
    __typeof__(&requests[0]) r = &requests[self];
    r->kind = kind;
    r->space = s;
    r->start = start;
    r->end = end;
    __atomic_store_n(&r->pending, mask, __ATOMIC_RELEASE);
    for (uint64_t m = mask; m; m &= m - 1) {
        unsigned cpu = __builtin_ctzll(m);
        __atomic_fetch_or(&inboxes[cpu], BIT(self), __ATOMIC_RELEASE);
        smp_send(cpu, VECTOR_TLB);
    }
    while (__atomic_load_n(&r->pending, __ATOMIC_ACQUIRE)) {
        bool on = irq_enabled();
        irq_disable();
        serve_inbox(NULL);
        if (on)
            irq_enable();
        cpu_relax();
    }
}

void tlb_flush(struct space *s, uint64_t start, uint64_t end) {
    // The tables were written before; a processor that sets its bit later reads them later.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t active = READ_ONCE(s->cpus_active), self = BIT(this_cpu()->id);
    if (active & self)
        flush_local(start, end);
    if (active & ~self)
        ask(FLUSH_RANGE, s, start, end, active & ~self);
    notify_flush(s);
}

void tlb_flush_cpus(uint64_t mask) {
    uint64_t self = BIT(this_cpu()->id);
    if (mask & self)
        write_cr3(read_cr3());
    if (mask & ~self)
        ask(FLUSH_USER, NULL, 0, 0, mask & ~self);
    notify_flush(NULL);
}

void tlb_abandon(struct space *s) {
    bool on = irq_enabled();
    irq_disable();
    leave_space(s);
    uint64_t active = READ_ONCE(s->cpus_active);
    if (active)
        ask(ABANDON_SPACE, s, 0, 0, active);
    if (on)
        irq_enable();
}

void tlb_flush_kernel(void) {
    uint64_t others = 0;
    for (unsigned cpu = 0; cpu < MAX_CPUS; cpu++)
        if (cpus[cpu] && cpus[cpu]->online && cpu != this_cpu()->id)
            others |= BIT(cpu);
    flush_global_local();
    if (others)
        ask(FLUSH_GLOBAL, NULL, 0, 0, others);
}

void space_activate(struct space *s) {
    struct cpu *c = this_cpu();
    struct space *old = c->active_space;
    if (!s || s == old)
        return;
    __atomic_fetch_or(&s->cpus_active, BIT(c->id), __ATOMIC_SEQ_CST);
    c->active_space = s;
    write_cr3(s->root);
    if (old)
        __atomic_fetch_and(&old->cpus_active, ~BIT(c->id), __ATOMIC_SEQ_CST);
}

void tlb_init(void) {
    irq_set_vector(VECTOR_TLB, "TLB shootdown", serve_inbox, NULL);
}
