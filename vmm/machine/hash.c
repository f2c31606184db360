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

void walk_name_field(struct walk *w, const char *name) {
    if ((int)w->fields != w->wanted_field)
        return;
    if (w->kind)
        snprintf(w->name, w->name_size, "register %s of vCPU %u", name, w->instance);
    else
        snprintf(w->name, w->name_size, "device %s%u, field %s", w->owner, w->instance, name);
}

// ---- registers -----------------------------------------------------------------------------------------
struct state_known {
    struct known_fields *registers, *devices;
    unsigned cpu_groups, cpu_fields;     // of each vCPU
    uint64_t changes[MACHINE_MAX_VCPUS]; // of a vCPU, when its registers were looked at
};

// A processor that has not run has the registers that it had: with several that saves most of the work.
static void walk_registers(struct walk *w, struct machine *m) {
    struct state_known *k = m->known;
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct cpu *c = &m->cpus[i];
        if (!w->name && k->changes[i] == c->changes) {
            w->groups += k->cpu_groups;
            w->fields += k->cpu_fields;
            continue;
        }
        walk_cpu(w, c);
        k->changes[i] = c->changes;
        k->cpu_groups = w->groups / (i + 1);
        k->cpu_fields = w->fields / (i + 1);
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

// What is known of the state; made when it is first asked for. False: no memory, and the machine is stopped.
static bool know(struct machine *m) {
    struct state_known *k = m->known;
    if (!k && (k = m->known = calloc(1, sizeof(*k)))) {
        k->registers = known_fields_create();
        k->devices = known_fields_create();
    }
    if (k && k->registers && k->devices)
        return true;
    machine_stop(m, MACHINE_FAILED, "out of memory for the sums of the machine's state");
    return false;
}

void machine_forget_state(struct machine *m) {
    if (!m->known)
        return;
    known_fields_free(m->known->registers);
    known_fields_free(m->known->devices);
    free(m->known);
    m->known = NULL;
}

static struct walk summed(struct machine *m, walk_all all, struct known_fields *known,
                          struct state_sum *sum) {
    struct walk w = {.known = known};
    all(&w, m);
    *sum = known_fields_sum(known, w.fields);
    return w;
}

void machine_check(struct machine *m, struct state_check *check) {
    *check = (struct state_check){0};
    if (!know(m))
        return;
    summed(m, walk_registers, m->known->registers, &check->registers);
    summed(m, walk_devices, m->known->devices, &check->devices);
}

uint64_t machine_hash_state(struct machine *m) {
    struct state_check check;
    machine_check(m, &check);
    return XXH3_64bits(&check, sizeof(check));
}

// ---- naming --------------------------------------------------------------------------------------------
// What differs in one of the two lists; `otherwise` where that cannot be told. Returns what snprintf() does.
static int name_one(struct machine *m, walk_all all, struct known_fields *known,
                    const struct state_sum *recorded, const char *otherwise, char *buf, size_t n) {
    struct state_sum here;
    struct walk w = summed(m, all, known, &here), names = {.name = buf, .name_size = n};
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
    snprintf(buf, n, "something");
    if (!know(m))
        return;
    int some = name_one(m, walk_registers, m->known->registers, &recorded->registers,
                        "registers of several kinds", registers, sizeof(registers));
    int more = name_one(m, walk_devices, m->known->devices, &recorded->devices, "several devices",
                        devices, sizeof(devices));
    snprintf(buf, n, "%s%s%s", registers, some && more ? "; " : "", devices);
}
