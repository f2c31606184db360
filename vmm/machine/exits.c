#include "vmm/machine/exits.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "vmm/machine/machine.h"

#define LINE_MAX 128

static const char *exit_name(const struct exit_note *e) {
    switch (e->reason) {
    case KVM_EXIT_IO: return e->write ? "out" : "in";
    case KVM_EXIT_MMIO: return e->write ? "store" : "load";
    case KVM_EXIT_HLT: return "hlt";
    case KVM_EXIT_IRQ_WINDOW_OPEN: return "window";
    case KVM_EXIT_SHUTDOWN: return "shutdown";
    case KVM_EXIT_SET_TPR: return "cr8";
    case KVM_EXIT_X86_RDMSR: return "rdmsr";
    case KVM_EXIT_X86_WRMSR: return "wrmsr";
    case KVM_EXIT_CHRONO_STOP: return "stop";
    case KVM_EXIT_CHRONO_INSN: return "instruction";
    default: return "other";
    }
}

static void note_port(struct exit_note *e, const struct kvm_run *run) {
    e->place = run->io.port;
    e->size = run->io.size;
    e->write = run->io.direction == KVM_EXIT_IO_OUT;
    if (e->write && e->size <= sizeof(e->value))
        memcpy(&e->value, (const uint8_t *)run + run->io.data_offset, e->size);
}

static void note_memory(struct exit_note *e, const struct kvm_run *run) {
    e->place = run->mmio.phys_addr;
    e->size = (uint8_t)run->mmio.len;
    e->write = run->mmio.is_write;
    if (e->write && e->size <= sizeof(e->value))
        memcpy(&e->value, run->mmio.data, e->size);
}

static int line(const struct exit_note *e, char *buf, size_t n) {
    int length = snprintf(buf, n, "%" PRIu64 " %" PRIu64 " %u %s 0x%" PRIx64, e->v, e->count,
                          e->cpu, exit_name(e), e->rip);
    if (e->size && length > 0 && (size_t)length < n)
        length += snprintf(buf + length, n - (size_t)length,
                           e->write ? " %" PRIx64 "/%u = %" PRIx64 : " %" PRIx64 "/%u", e->place,
                           e->size, e->value);
    return length;
}

void exits_note(struct cpu *c) {
    struct machine *m = c->machine;
    const struct kvm_run *run = c->run;
    struct exit_note *e = &m->exits.last[m->exits.total++ % EXITS_KEPT];
    e->v = vtime_now(m);
    e->count = m->count;
    e->rip = c->chrono ? c->chrono->rip : 0;
    e->reason = run->exit_reason;
    e->cpu = (uint8_t)c->index;
    e->size = 0;
    if (e->reason == KVM_EXIT_IO) {
        note_port(e, run);
    } else if (e->reason == KVM_EXIT_MMIO) {
        note_memory(e, run);
    } else if (e->reason == KVM_EXIT_X86_RDMSR || e->reason == KVM_EXIT_X86_WRMSR) {
        e->place = run->msr.index;
        e->size = 8;
        e->write = e->reason == KVM_EXIT_X86_WRMSR;
        e->value = e->write ? run->msr.data : 0;
    }
    if (m->trace) {
        char text[LINE_MAX];
        line(e, text, sizeof(text));
        fprintf(m->trace, "%s\n", text);
    }
}

void exits_text(const struct machine *m, char *buf, size_t n) {
    uint64_t total = m->exits.total, first = total > EXITS_KEPT ? total - EXITS_KEPT : 0;
    size_t used = (size_t)snprintf(buf, n, "V count vCPU what RIP place/size = value\n");
    if (used >= n)
        return;
    for (uint64_t i = first; i < total; i++) {
        char text[LINE_MAX];
        line(&m->exits.last[i % EXITS_KEPT], text, sizeof(text));
        int length = snprintf(buf + used, n - used, "%s\n", text);
        if (length < 0 || (size_t)length >= n - used)
            return;
        used += (size_t)length;
    }
}

int exits_trace(struct machine *m, const char *path) {
    m->trace = fopen(path, "we");
    return m->trace ? 0 : -errno;
}
