#include "vmm/machine/inject.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/config.h"
#include "vmm/machine/cpu.h"

static struct fault {
    struct machine *machine;
    struct vtimer timer;
    char kind[16], place[80];
    unsigned bit;
    bool done;
} * fault;

// ---- registers and memory -----------------------------------------------------------------------------
static void flip_register(struct fault *f) {
    static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
                                        "rsp", "rbp", "r8",  "r9",  "r10", "r11",
                                        "r12", "r13", "r14", "r15", "rip", "rflags"};
    struct kvm_regs regs; // in this order
    cpu_get_regs(f->machine->current, &regs);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], f->place))
            continue;
        ((__u64 *)&regs)[i] ^= 1ull << f->bit % 64;
        cpu_set_regs(f->machine->current, &regs);
        f->done = true;
    }
}

static void flip_memory(struct fault *f) {
    uint8_t *byte = guest_memory(f->machine, strtoull(f->place, NULL, 0), 1);
    if (byte)
        *byte ^= (uint8_t)(1u << f->bit % 8);
    f->done = byte;
}

// ---- devices ------------------------------------------------------------------------------------------
struct search {
    struct state_visitor visitor; // first: devices get this pointer
    struct fault *fault;
    const struct device *device;
};

static bool flip_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    struct search *s = (struct search *)v;
    char full[96];
    snprintf(full, sizeof(full), "%s%u.%s", s->device->ops->name, s->device->instance, name);
    if (!s->fault->done && !strcmp(full, s->fault->place) && s->fault->bit / 8 < size) {
        ((uint8_t *)data)[s->fault->bit / 8] ^= (uint8_t)(1u << s->fault->bit % 8);
        s->fault->done = true;
    }
    return true;
}

static void flip_device(struct fault *f) {
    struct search s = {.visitor.field = flip_field, .fault = f};
    for (struct device *d = f->machine->devices; d; d = d->next) {
        s.device = d;
        d->ops->state(d, &s.visitor);
    }
}

// ---- life ---------------------------------------------------------------------------------------------
static void fire(void *opaque) {
    struct fault *f = opaque;
    if (!strcmp(f->kind, "register"))
        flip_register(f);
    else if (!strcmp(f->kind, "memory"))
        flip_memory(f);
    else
        flip_device(f);
    machine_log(f->machine, "inject: bit %u of %s %s %s", f->bit, f->kind, f->place,
                f->done ? "is turned over" : "does not exist");
}

int inject_create(struct machine *m) {
    const char *text = m->config->inject;
    if (!text)
        return 0;
    struct fault *f = calloc(1, sizeof(*f));
    unsigned long long v;
    if (!f)
        return -ENOMEM;
    f->machine = m;
    if (sscanf(text, "%llu:%15[a-z]:%79[^:]:%u", &v, f->kind, f->place, &f->bit) != 4 ||
        (strcmp(f->kind, "register") && strcmp(f->kind, "memory") && strcmp(f->kind, "device"))) {
        machine_log(m,
                    "inject: must be V:register:NAME:BIT, V:memory:ADDRESS:BIT or "
                    "V:device:NAME.FIELD:BIT, not '%s'",
                    text);
        free(f);
        return -EINVAL;
    }
    vtimer_init(m, &f->timer, fire,
                f); // the last of the timers, so that no other changes its place
    vtimer_arm(&f->timer, v);
    fault = f;
    return 0;
}

void inject_nothing(struct machine *m) {
    if (fault && fault->machine == m)
        vtimer_cancel(&fault->timer);
}
