// A walk over the fields of a machine's state: sums them, or looks a name up. Private to hash*.c.
#pragma once
#include "vmm/machine/known_fields.h"
#include "vmm/machine/machine.h"

struct walk {
    struct state_visitor visitor; // first: devices get this pointer
    struct known_fields *known;   // summing
    unsigned groups, fields;      // so far
    const char *owner, *kind;
    unsigned instance;
    // Looking for these numbers (-1: none), and where the name goes; NULL: summing.
    int wanted_group, wanted_field;
    char *name;
    size_t name_size;
};

// The fields that follow belong together: registers of a `kind` of a vCPU, or a device's (kind NULL).
void walk_group(struct walk *w, const char *owner, unsigned instance, const char *kind);
void walk_name_field(struct walk *w, const char *name);
static inline void walk_field(struct walk *w, const char *name, const void *data, size_t size) {
    if (__builtin_expect(!w->name, 1))
        known_field(w->known, w->groups - 1, w->fields, data, size);
    else
        walk_name_field(w, name);
    w->fields++;
}
// hash_registers.c: all registers of a vCPU.
void walk_cpu(struct walk *w, struct cpu *c);
