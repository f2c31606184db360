// What the kernel log gets to know about an exit that this VMM cannot handle: enough to find the reason.
// The VM stops; the host goes on.
#include "lib/errno.h"
#include "cpu/x86.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "proc/process.h"
#include "sched/world.h"
#include "vmm/run.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

static void report_registers(struct vcpu *v) {
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"};
    for (unsigned i = 0; i < 16; i += 4)
        log_error("vmm:   %s %016llx  %s %016llx  %s %016llx  %s %016llx", names[i],
                  (unsigned long long)v->gpr[i], names[i + 1], (unsigned long long)v->gpr[i + 1],
                  names[i + 2], (unsigned long long)v->gpr[i + 2], names[i + 3],
                  (unsigned long long)v->gpr[i + 3]);
    log_error(
        "vmm:   rip %016llx  rflags %08llx  cr0 %08llx  cr2 %llx  cr3 %llx  cr4 %llx  efer %llx",
        (unsigned long long)v->rip, (unsigned long long)v->rflags, (unsigned long long)v->cr0,
        (unsigned long long)v->cr2, (unsigned long long)v->cr3, (unsigned long long)v->cr4,
        (unsigned long long)v->efer);
}

static void report_segments(struct vcpu *v) {
    static const char *const names[SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct kvm_segment *s = &v->seg[i];
        log_error(
            "vmm:   %-4s %04x base %016llx limit %08x type %x s %u dpl %u p %u l %u db %u g %u%s",
            names[i], s->selector, (unsigned long long)s->base, s->limit, s->type, s->s, s->dpl,
            s->present, s->l, s->db, s->g, s->unusable ? " unusable" : "");
    }
    log_error("vmm:   gdtr %016llx limit %04x  idtr %016llx limit %04x",
              (unsigned long long)v->gdt.base, v->gdt.limit, (unsigned long long)v->idt.base,
              v->idt.limit);
}

static void report_instruction(struct vcpu *v) {
    bool wide = (v->efer & EFER_LMA) && v->seg[SEG_CS].l;
    uint64_t linear = wide ? v->rip : (uint32_t)(v->seg[SEG_CS].base + v->rip), gpa;
    uint32_t error;
    uint8_t bytes[15];
    char text[3 * sizeof(bytes) + 1];
    size_t n = MIN(sizeof(bytes), PAGE_SIZE - linear % PAGE_SIZE), used = 0;
    if (vcpu_translate(v, linear, ACCESS_READ, false, &gpa, &error) ||
        vm_read(v->vm, gpa, bytes, n)) {
        log_error("vmm:   instruction at %llx: not readable", (unsigned long long)linear);
        return;
    }
    for (size_t i = 0; i < n; i++)
        used += scnprintf(text + used, sizeof(text) - used, " %02x", bytes[i]);
    log_error("vmm:   instruction at %llx:%s", (unsigned long long)linear, text);
}

static void report_recent(struct vcpu *v) {
    const struct vm_exit *e = v->last;
    for (unsigned i = ARRAY_SIZE(v->recent); i-- > 0;) {
        e = e->next; // the oldest first
        if (e->kind == EXIT_HOST)
            continue; // there were fewer
        log_error("vmm:   exit -%u: %s, qualification %llx, rip %llx, count %llu", i,
                  exit_name(e->kind), (unsigned long long)e->qualification,
                  (unsigned long long)e->rip, (unsigned long long)e->count);
    }
}

// One for each VM: its process may let a guest that fails run again as often as it likes. False: it has had that.
static bool report(struct vcpu *v, const struct vm_exit *e) {
    if (__atomic_exchange_n(&v->vm->reported, true, __ATOMIC_RELAXED))
        return false;
    vcpu_sync(v, PART_ALL);
    struct process *p = current->process;
    log_error("vmm: vCPU %u of process %d stops: %s, hardware reason %#x, qualification %#llx",
              v->id, p ? p->pid : 0, exit_name(e->kind), e->raw_reason,
              (unsigned long long)e->qualification);
    report_registers(v);
    report_segments(v);
    log_error(
        "vmm:   interruptibility %x activity %x pending debug %llx, exception %d/%u interrupt %d/%u",
        v->interruptibility, v->activity, (unsigned long long)v->pending_debug,
        v->event.exception_pending, v->event.exception_vector, v->event.interrupt_pending,
        v->event.interrupt_vector);
    report_instruction(v);
    report_recent(v);
    return true;
}

int vcpu_report_unknown(struct vcpu *v, const struct vm_exit *e) {
    report(v, e);
    struct kvm_run *r = v->run;
    r->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    r->internal.suberror = e->kind == EXIT_MEMORY || e->kind == EXIT_IO ||
                                   e->kind == EXIT_TASK_SWITCH
                               ? KVM_INTERNAL_ERROR_EMULATION
                               : KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
    r->internal.ndata = 2;
    r->internal.data[0] = e->raw_reason;
    r->internal.data[1] = e->qualification;
    return 0;
}

void vcpu_report_entry_failure(struct vcpu *v, const struct vm_exit *e) {
    char why[512] = "";
    if (!report(v, e))
        return;
    vcpu_bring_here(v);
    vmm_vendor->explain(v, why, sizeof(why));
    irq_enable();
    log_error("vmm: VM entry refused: %s", why[0] ? why : "no rule of the manual is broken");
}
