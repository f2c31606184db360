// What the debugger's `monitor` commands show of a machine.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "replay/inputs.h"
#include "replay/text.h"
#include "vmm/machine/debug_internal.h"

#define FIELD_MAX     64 // bytes of a long field that are shown
#define EVENTS_AROUND 10

// ---- devices -------------------------------------------------------------------------------------------
struct printer {
    struct state_visitor visitor; // first: fields get this pointer
    const struct device *device;
    struct text *text;
};

static bool print_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    const struct printer *p = (struct printer *)v;
    uint64_t value = 0;
    char full[80];
    state_field_name(v, p->device, name, full, sizeof(full));
    text_add(p->text, "%s =", full);
    if (size == 1 || size == 2 || size == 4 || size == 8) {
        memcpy(&value, data, size);
        text_add(p->text, " 0x%" PRIx64 "\n", value);
        return true;
    }
    for (size_t i = 0; i < size && i < FIELD_MAX; i++)
        text_add(p->text, "%s%02x", i % 4 ? "" : " ", ((const uint8_t *)data)[i]);
    text_add(p->text, size > FIELD_MAX ? " ... (%zu bytes)\n" : "\n", size);
    return true;
}

// "pit", "uart1": with or without the number of the device.
static bool is_named(const struct device *d, const char *name) {
    char full[64];
    snprintf(full, sizeof(full), "%s%u", d->ops->name, d->instance);
    return !*name || !strcmp(name, d->ops->name) || !strcmp(name, full);
}

static void devices(struct machine *m, const char *name, struct text *t) {
    for (struct device *d = m->devices; d; d = d->next) {
        struct printer p = {.visitor.field = print_field, .device = d, .text = t};
        if (is_named(d, name))
            d->ops->state(d, &p.visitor);
    }
    if (t->used)
        return;
    text_add(t, "There is no device '%s'. The devices are:", name);
    for (const struct device *d = m->devices; d; d = d->next)
        text_add(t, " %s%u", d->ops->name, d->instance);
    text_add(t, "\n");
}

// ---- processors ----------------------------------------------------------------------------------------
static const char *mode_name(const struct kvm_sregs *s) {
    if (s->efer & 1 << 10)
        return s->cs.l ? "64-bit" : s->cs.db ? "32-bit (compatibility)" : "16-bit (compatibility)";
    if (!(s->cr0 & 1))
        return "real mode";
    return s->cs.db ? "32-bit" : "16-bit (protected)";
}

// The name of the instruction at RIP if no step ends between it and the one behind it, else NULL (docs/timeline.md,
// "Places").
static const char *casts_shadow(struct cpu *c, const struct kvm_sregs *s) {
    struct kvm_regs regs = {0};
    struct space space = debug_space(c);
    uint8_t code[2] = {0};
    if (c->machine->steps_in_shadow)
        return NULL;
    cpu_get_regs(c, &regs);
    uint64_t linear = s->cs.l ? regs.rip : (uint32_t)(s->cs.base + regs.rip);
    debug_read(c->machine, &space, linear, code, sizeof(code));
    if (code[0] == 0x8e && (code[1] & 0x38) == 0x10)
        return "MOV SS";
    if (code[0] == 0x17 && !s->cs.l)
        return "POP SS";
    return code[0] == 0xfb && !c->run->if_flag ? "STI" : NULL;
}

static void processor(struct cpu *c, struct text *t) {
    struct kvm_sregs s = {0};
    struct kvm_vcpu_events e = {0};
    cpu_get_sregs(c, &s);
    const char *shadow = casts_shadow(c, &s);
    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &e);
    text_add(t, "vCPU %u: %s, CPL %u, paging %s", c->index, mode_name(&s), s.ss.dpl,
             s.cr0 & 1u << 31 ? "on" : "off");
    text_add(t, ", %s",
             c->waiting_for_sipi ? "waits for its start-up"
             : c->halted         ? "halted"
                                 : "active");
    text_add(t, "%s", c == c->machine->current ? ", its turn" : "");
    text_add(t, ", interrupts %s", c->run->if_flag ? "on" : "off");
    if (e.interrupt.shadow & KVM_X86_SHADOW_INT_STI)
        text_add(t, ", in the shadow of STI");
    if (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS)
        text_add(t, ", in the shadow of MOV SS");
    if (shadow)
        text_add(t, ", at %s, which is one step with the instruction behind it", shadow);
    if (e.nmi.masked)
        text_add(t, ", in an NMI");
    if (e.interrupt.injected)
        text_add(t, ", interrupt 0x%x is being delivered", e.interrupt.nr);
    else if (irq_pending(c))
        text_add(t, ", an interrupt is pending");
    if (e.exception.injected)
        text_add(t, ", exception %u is being delivered", e.exception.nr);
    text_add(t, "\n");
}

static void processors(struct machine *m, const char *argument, struct text *t) {
    for (unsigned i = 0; i < m->cpu_count; i++)
        if (!*argument || strtoul(argument, NULL, 10) == i)
            processor(&m->cpus[i], t);
}

// ---- log -----------------------------------------------------------------------------------------------
static void events(struct machine *m, const char *argument, struct text *t) {
    uint64_t total = inputs_events(m->inputs);
    uint64_t at = *argument ? strtoull(argument, NULL, 10) : inputs_event(m->inputs);
    if (!total) {
        text_add(t, "Only a replay has a log to look into.\n");
        return;
    }
    if (*argument && at >= total) {
        text_add(t, "The log has events 0 to %" PRIu64 ".\n", total - 1);
        return;
    }
    inputs_describe(m->inputs, at > EVENTS_AROUND ? at - EVENTS_AROUND : 0,
                    at + EVENTS_AROUND < total ? at + EVENTS_AROUND : total - 1, t->buf + t->used,
                    t->size - t->used);
}

void debug_text(void *target, enum target_text what, const char *argument, char *buf, size_t n) {
    struct machine *m = target;
    struct text t = {.buf = buf, .size = n};
    buf[0] = 0;
    switch (what) {
    case TEXT_DEVICES: devices(m, argument, &t); break;
    case TEXT_EXITS: exits_text(m, buf, n); break;
    case TEXT_EVENTS: events(m, argument, &t); break;
    case TEXT_CPU: processors(m, argument, &t); break;
    }
}
