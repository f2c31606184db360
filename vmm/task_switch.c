// Hardware task switches: in VMX operation they always exit, before anything is changed (SDM vol. 3, chapter
// "Task Management"; "Treatment of Task Switches"). Teaching kernels handle double faults with them.
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/clock.h"
#include "vmm/cr.h"
#include "vmm/emulate.h"
#include "vmm/emulation.h"
#include "vmm/operate.h"
#include "vmm/segment.h"
#include "vmm/walk.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define RFLAGS_NT (1ull << 14)
#define DR7_LOCAL 0x155ull // L0..L3 and LE
#define LIMIT_32  0x67
#define LIMIT_16  0x2b
#define TRAP_FLAG 1 // struct tss_32.trap

enum source { BY_CALL, BY_IRET, BY_JMP, BY_GATE }; // vm_exit.task.source

// SDM vol. 3, figures "32-Bit Task-State Segment (TSS)" and "16-Bit TSS Format".
struct tss_32 {
    uint16_t link, reserved0;
    uint32_t stacks[6];
    uint32_t cr3, eip, eflags;
    uint32_t gpr[8]; // in the order of GPR_*
    struct {
        uint16_t selector, reserved;
    } seg[6]; // in the order of SEG_*
    uint16_t ldt, reserved1;
    uint16_t trap, io_map;
} packed;
struct tss_16 {
    uint16_t link, stacks[6];
    uint16_t ip, flags;
    uint16_t gpr[8];
    uint16_t seg[4];
    uint16_t ldt;
} packed;
_Static_assert(sizeof(struct tss_32) == LIMIT_32 + 1 && sizeof(struct tss_16) == LIMIT_16 + 1,
               "manual's sizes");

// What a task's state holds, of either format.
struct task {
    uint32_t cr3, eip, eflags, gpr[8];
    uint16_t seg[6], ldt, link;
    bool trap;
};

static bool is_32(const struct kvm_segment *tss) {
    return tss->type & 8;
}

static unsigned tss_size(const struct kvm_segment *tss) {
    return is_32(tss) ? sizeof(struct tss_32) : sizeof(struct tss_16);
}

// ---- task state in memory ----------------------------------------------------------------------
// Saves the registers in the current task's state segment; only the fields that a switch saves.
static int save_task(struct vcpu *v, uint32_t eip, uint32_t eflags) {
    const struct kvm_segment *tr = &v->seg[SEG_TR];
    union {
        struct tss_32 t32;
        struct tss_16 t16;
    } u;
    int r = system_read(v, tr->base, &u, tss_size(tr));
    if (r)
        return r;
    if (is_32(tr)) {
        u.t32.eip = eip;
        u.t32.eflags = eflags;
        for (unsigned i = 0; i < 8; i++)
            u.t32.gpr[i] = (uint32_t)v->gpr[i];
        for (unsigned i = 0; i < 6; i++)
            u.t32.seg[i].selector = v->seg[i].selector;
        unsigned first = offsetof(struct tss_32, eip), end = offsetof(struct tss_32, ldt);
        return system_write(v, tr->base + first, (uint8_t *)&u + first, end - first);
    }
    u.t16.ip = (uint16_t)eip;
    u.t16.flags = (uint16_t)eflags;
    for (unsigned i = 0; i < 8; i++)
        u.t16.gpr[i] = (uint16_t)v->gpr[i];
    for (unsigned i = 0; i < 4; i++)
        u.t16.seg[i] = v->seg[i].selector;
    unsigned first = offsetof(struct tss_16, ip), end = offsetof(struct tss_16, ldt);
    return system_write(v, tr->base + first, (uint8_t *)&u + first, end - first);
}

static int read_task(struct vcpu *v, const struct kvm_segment *tss, struct task *t) {
    union {
        struct tss_32 t32;
        struct tss_16 t16;
    } u;
    int r = system_read(v, tss->base, &u, tss_size(tss));
    if (r)
        return r;
    *t = (struct task){0};
    if (is_32(tss)) {
        t->cr3 = u.t32.cr3;
        t->eip = u.t32.eip;
        t->eflags = u.t32.eflags;
        for (unsigned i = 0; i < 8; i++)
            t->gpr[i] = u.t32.gpr[i];
        for (unsigned i = 0; i < 6; i++)
            t->seg[i] = u.t32.seg[i].selector;
        t->ldt = u.t32.ldt;
        t->link = u.t32.link;
        t->trap = u.t32.trap & TRAP_FLAG;
        return 0;
    }
    t->cr3 = (uint32_t)v->cr3; // a 16-bit task stays in its address space
    t->eip = u.t16.ip;
    t->eflags = u.t16.flags;
    for (unsigned i = 0; i < 8; i++) // the upper halves become all ones
        t->gpr[i] = 0xffff0000u | u.t16.gpr[i];
    for (unsigned i = 0; i < 4; i++)
        t->seg[i] = u.t16.seg[i];
    t->ldt = u.t16.ldt;
    t->link = u.t16.link;
    return 0;
}

// ---- checks ------------------------------------------------------------------------------------
// The descriptor of the new task. The processor has checked type and presence before the exit.
static int find_task(struct vcpu *v, uint16_t selector, enum source source, struct descriptor *d) {
    uint8_t vector = source == BY_IRET ? VECTOR_TS : VECTOR_GP;
    int r = (selector & 4) ? selector_fault(v, vector, selector)
                           : descriptor_read(v, selector, vector, d);
    if (r)
        return r;
    uint8_t available = d->segment.type & (uint8_t)~TYPE_TSS_BUSY;
    bool busy = d->segment.type & TYPE_TSS_BUSY;
    if (d->segment.s || (available != TYPE_TSS_16 && available != TYPE_TSS_32) ||
        busy != (source == BY_IRET))
        return selector_fault(v, vector, selector);
    if (!d->segment.present)
        return selector_fault(v, VECTOR_NP, selector);
    if (d->segment.limit < (is_32(&d->segment) ? LIMIT_32 : LIMIT_16))
        return selector_fault(v, VECTOR_TS, selector);
    return 0;
}

// ---- loading the new task ----------------------------------------------------------------------
static void load_registers(struct vcpu *v, const struct task *t, uint32_t eflags) {
    for (unsigned i = 0; i < 8; i++)
        v->gpr[i] = t->gpr[i];
    v->rip = t->eip;
    v->rflags = (eflags & RFLAGS_KNOWN) | RFLAGS_FIXED;
    vcpu_changed(v, PART_RIP | PART_RSP | PART_RFLAGS);
}

static void load_selectors(struct vcpu *v, const struct task *t) {
    // What cannot be loaded below keeps its selector and may not be used.
    for (unsigned i = 0; i < 6; i++)
        v->seg[i] = (struct kvm_segment){.selector = t->seg[i],
                                         .unusable = i != SEG_CS,
                                         .dpl = v->seg[i].dpl,
                                         .type = 3,
                                         .s = 1,
                                         .present = 1,
                                         .limit = 0xffff};
    v->seg[SEG_CS].type = 11;
    v->seg[SEG_CS].dpl = v->seg[SEG_SS].dpl = t->seg[SEG_CS] & 3;
    v->seg[SEG_SS].unusable = 0;
    vcpu_changed(v, PART_SEGMENTS);
}

// A task in virtual-8086 mode (SDM vol. 3, "Virtual-8086 Mode").
static void load_8086_segments(struct vcpu *v, const struct task *t) {
    for (unsigned i = 0; i < 6; i++)
        v->seg[i] = (struct kvm_segment){.selector = t->seg[i],
                                         .base = (uint32_t)t->seg[i] << 4,
                                         .limit = 0xffff,
                                         .type = 3,
                                         .s = 1,
                                         .dpl = 3,
                                         .present = 1};
    vcpu_changed(v, PART_SEGMENTS);
}

// Faults here are the new task's.
static int load_segments(struct vcpu *v, const struct task *t) {
    static const uint8_t order[] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    load_selectors(v, t);
    int r = segment_load_ldt(v, t->ldt, VECTOR_TS);
    if (r)
        return r;
    if (v->rflags & RFLAGS_VM) {
        load_8086_segments(v, t);
        return 0;
    }
    unsigned cpl = t->seg[SEG_CS] & 3;
    for (unsigned i = 0; i < ARRAY_SIZE(order) && r == 0; i++)
        r = segment_load_for_task(v, order[i], t->seg[order[i]], cpl);
    return r;
}

static int load_address_space(struct vcpu *v, const struct task *t) {
    if (!(v->cr0 & CR0_PG) || t->cr3 == (uint32_t)v->cr3)
        return 0;
    if (cr_set_cr3(v, t->cr3))
        return selector_fault(v, VECTOR_TS, v->seg[SEG_TR].selector);
    return 0;
}

static int push_error_code(struct vcpu *v, uint32_t error, bool wide) {
    unsigned size = wide ? 4 : 2, stack = v->seg[SEG_SS].db ? 4 : 2;
    uint64_t rsp = truncate(v->gpr[GPR_RSP] - size, stack), linear, gpa, last;
    int r = guest_linear(v, SEG_SS, rsp, size, true, &linear);
    if (r == STEP_DONE)
        r = guest_translate(v, linear, ACCESS_WRITE, &gpa);
    if (r == STEP_DONE)
        r = guest_translate(v, linear + size - 1, ACCESS_WRITE, &last);
    if (r != STEP_DONE)
        return r == STEP_FAULT ? 1 : r;
    unsigned first = (unsigned)MIN(size, PAGE_SIZE - gpa % PAGE_SIZE);
    r = vm_write(v->vm, gpa, &error, first);
    if (r == 0 && first < size)
        r = vm_write(v->vm, last & ~(uint64_t)(PAGE_SIZE - 1), (uint8_t *)&error + first,
                     size - first);
    if (r == 0)
        guest_set_gpr(v, GPR_RSP, false, stack, rsp);
    return r;
}

// ---- watches -----------------------------------------------------------------------------------
// Of what a switch touches, before it has begun: both tasks' states and descriptors. Tables that are not there, or
// have no such descriptor, are left for the switch itself to refuse.
static bool stopped_by_watch(struct vcpu *v, uint16_t selector, enum source source) {
    const struct kvm_segment *tr = &v->seg[SEG_TR];
    unsigned read = ACCESS_READ | ACCESS_IMPLICIT, both = read | ACCESS_WRITE;
    bool nested = source == BY_CALL || source == BY_GATE;
    uint64_t from = v->gdt.base + (tr->selector & ~7u), to = v->gdt.base + (selector & ~7u), gpa;
    uint32_t error;
    struct descriptor d;
    if (likely(!v->vm->debugged) || (selector | 7u) > v->gdt.limit)
        return false;
    if (watch_stops(v, to, sizeof(d.raw), both, false) ||
        watch_stops(v, from, sizeof(d.raw), nested ? read : both, false) ||
        watch_stops(v, tr->base, tss_size(tr), both, false))
        return true;
    if (vcpu_translate(v, to, read, false, &gpa, &error) ||
        vm_read(v->vm, gpa, &d.raw, sizeof(d.raw)))
        return false;
    d.segment = descriptor_unpack(selector, d.raw);
    return watch_stops(v, d.segment.base, tss_size(&d.segment), nested ? both : read, false);
}

// ---- the switch --------------------------------------------------------------------------------
struct switch_event {
    bool software, has_error, nmi; // software: INT n, INT3, INTO: the saved EIP is behind it
    uint32_t error;
};

// The event whose delivery through a task gate is this switch: it counts as delivered.
static struct switch_event take_event(struct vcpu *v, const struct vm_exit *e) {
    struct switch_event event = {0};
    if (e->task.source != BY_GATE || !e->vectoring)
        return event;
    if (v->event.exception_pending) {
        event.software = v->event.soft_length != 0; // INT3, INTO
        event.has_error = v->event.exception_has_error;
        event.error =
            v->event
                .exception_error; // pending until it is certain: a fault may make it a double one
        return event;
    } else if (v->event.nmi_injected) {
        event.nmi = true;
        v->event.nmi_injected = false;
    } else {
        event.software = v->event.interrupt_soft;
        v->event.interrupt_pending = v->event.interrupt_soft = false;
    }
    v->event.soft_length = 0;
    return event;
}

static void set_blocking(struct vcpu *v, enum source source, bool nmi) {
    v->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    if (nmi)
        v->interruptibility |= BLOCKED_BY_NMI;
    if (source == BY_IRET)
        v->interruptibility &= ~BLOCKED_BY_NMI;
    vcpu_changed(v, PART_BLOCKING);
}

// The old task's state and busy bits, up to the point of no return. 0, 1 (fault in the old task), errno.
static int leave_task(struct vcpu *v, enum source source, uint32_t eip, struct descriptor *to) {
    struct kvm_segment *tr = &v->seg[SEG_TR];
    bool nested = source == BY_CALL || source == BY_GATE;
    struct descriptor from;
    int r = system_check(v, to->segment.base, tss_size(&to->segment),
                         nested ? ACCESS_WRITE : ACCESS_READ);
    if (r == 0)
        r = system_check(v, tr->base, tss_size(tr), ACCESS_WRITE);
    if (r == 0)
        r = descriptor_read(v, tr->selector, VECTOR_TS, &from);
    if (r == 0 && !nested)
        r = descriptor_set_type(v, &from, from.segment.type & (uint8_t)~TYPE_TSS_BUSY);
    if (r == 0)
        r = save_task(v, eip, (uint32_t)(source == BY_IRET ? v->rflags & ~RFLAGS_NT : v->rflags));
    if (r == 0 && nested)
        r = system_write(v, to->segment.base, &tr->selector, sizeof(tr->selector));
    if (r == 0)
        r = descriptor_set_type(v, to, to->segment.type | TYPE_TSS_BUSY);
    return r;
}

static int enter_task(struct vcpu *v, enum source source, const struct descriptor *to,
                      const struct task *t) {
    bool nested = source == BY_CALL || source == BY_GATE;
    v->seg[SEG_TR] = to->segment;
    v->cr0 |= CR0_TS;
    vcpu_changed(v, PART_SEGMENTS | PART_CR);
    load_registers(v, t, t->eflags | (nested ? (uint32_t)RFLAGS_NT : 0));
    v->dr7 &= ~DR7_LOCAL;
    vcpu_debug_changed(v);
    int r = load_address_space(v, t);
    if (r == 0)
        r = load_segments(v, t);
    if (r == 0 && t->eip > v->seg[SEG_CS].limit)
        r = selector_fault(v, VECTOR_GP, 0);
    return r;
}

int emulate_task_switch(struct vcpu *v, const struct vm_exit *e) {
    enum source source = e->task.source;
    struct descriptor to;
    struct task task;
    vcpu_sync(v, PART_ALL);
    if (stopped_by_watch(v, e->task.selector, source))
        return USER_SPACE;
    struct switch_event event = take_event(v, e);
    bool instruction = source != BY_GATE || event.software;
    uint32_t eip = (uint32_t)(v->rip + (instruction ? e->length : 0));
    if (!e->vectoring) {
        clock_add_skipped(v);
        v->skipped = true;
    }
    int r = find_task(v, e->task.selector, source, &to);
    if (r == 0)
        r = leave_task(v, source, eip, &to);
    if (r == 0)
        r = read_task(v, &to.segment, &task);
    if (r)
        return r < 0 ? r : GO_ON;
    v->event.exception_pending = false;
    set_blocking(v, source, event.nmi);
    r = enter_task(v, source, &to, &task);
    if (r == 0 && event.has_error)
        r = push_error_code(v, event.error, is_32(&to.segment));
    if (r == 0 && task.trap) {
        v->dr6 |= DR6_BT;
        vcpu_inject_exception(v, VECTOR_DB, false, 0);
    }
    return r < 0 ? r : GO_ON;
}
