#include "vmm/machine/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/hash_walk.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

void walk_group(struct walk *w, const char *owner, unsigned instance, const char *kind) {
    w->owner = owner;
    w->instance = instance;
    w->kind = kind;
    if (w->name && (int)w->groups == w->wanted_group) {
        if (kind)
            snprintf(w->name, w->name_size, "several %s of vCPU %u", kind, instance);
        else
            snprintf(w->name, w->name_size, "several fields of device %s%u", owner, instance);
    }
    w->groups++;
}

void walk_field(struct walk *w, const char *name, const void *data, size_t size) {
    if (!w->name) {
        state_sum_add(&w->sum, w->groups - 1, w->fields, data, size);
    } else if ((int)w->fields == w->wanted_field) {
        if (w->kind)
            snprintf(w->name, w->name_size, "register %s of vCPU %u", name, w->instance);
        else
            snprintf(w->name, w->name_size, "device %s%u, field %s", w->owner, w->instance, name);
    }
    w->fields++;
}

// ---- registers -----------------------------------------------------------------------------------------
// A processor that has not run has the registers that it had: with several that saves most of the work.
struct cpu_sum {
    uint64_t at; // c->changes when it was made
    struct state_adder sum;
    unsigned groups, fields; // that it consists of
};

static void sum_cpu(struct walk *w, struct cpu *c) {
    struct cpu_sum *known = c->sum;
    if (known->at != c->changes) {
        struct walk own = {.groups = w->groups, .fields = w->fields};
        walk_cpu(&own, c);
        *known = (struct cpu_sum){c->changes, own.sum, own.groups - w->groups,
                                  own.fields - w->fields};
    }
    w->sum.sum += known->sum.sum;
    w->sum.group += known->sum.group;
    w->sum.field += known->sum.field;
    w->groups += known->groups;
    w->fields += known->fields;
}

static void walk_registers(struct walk *w, struct machine *m) {
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct cpu *c = &m->cpus[i];
        if (!c->sum)
            c->sum = calloc(1, sizeof(*c->sum));
        if (w->name || !c->sum)
            walk_cpu(w, c);
        else
            sum_cpu(w, c);
    }
}

// ---- devices -------------------------------------------------------------------------------------------
static bool device_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    walk_field((struct walk *)v, name, data, size);
    return true;
}

static void walk_devices(struct walk *w, struct machine *m) {
    w->visitor.field = device_field;
    for (struct device *d = m->devices; d; d = d->next) {
        walk_group(w, d->ops->name, d->instance, NULL);
        d->ops->state(d, &w->visitor);
    }
}

// ---- checks --------------------------------------------------------------------------------------------
typedef void (*walk_all)(struct walk *w, struct machine *m);

static struct walk summed(struct machine *m, walk_all all) {
    struct walk w = {.groups = 0};
    all(&w, m);
    return w;
}

void machine_check(struct machine *m, struct state_check *check) {
    struct walk registers = summed(m, walk_registers), devices = summed(m, walk_devices);
    check->registers = state_sum_of(&registers.sum);
    check->devices = state_sum_of(&devices.sum);
}

uint64_t machine_hash_state(struct machine *m) {
    struct state_check check;
    machine_check(m, &check);
    return XXH3_64bits(&check, sizeof(check));
}

// ---- naming --------------------------------------------------------------------------------------------
// What differs in one of the two lists; `otherwise` where that cannot be told. Returns what snprintf() does.
static int name_one(struct machine *m, walk_all all, const struct state_sum *recorded,
                    const char *otherwise, char *buf, size_t n) {
    struct walk w = summed(m, all), names = {.name = buf, .name_size = n};
    struct state_sum here = state_sum_of(&w.sum);
    if (state_sum_equal(&here, recorded))
        return snprintf(buf, n, "%s", "");
    int used = snprintf(buf, n, "%s", otherwise);
    state_sum_locate(&here, recorded, w.groups, w.fields, &names.wanted_group, &names.wanted_field);
    if (names.wanted_group < 0)
        return used;
    all(&names, m);
    return (int)strlen(buf);
}

void machine_name_difference(struct machine *m, const struct state_check *recorded, char *buf,
                             size_t n) {
    char registers[160], devices[160];
    int some = name_one(m, walk_registers, &recorded->registers, "registers of several kinds",
                        registers, sizeof(registers));
    int more = name_one(m, walk_devices, &recorded->devices, "several devices", devices,
                        sizeof(devices));
    snprintf(buf, n, "%s%s%s", registers, some && more ? "; " : "", devices);
}
