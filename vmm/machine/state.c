// Saving, loading and comparing: three visitors of the same descriptions.
//
// The saved form is a sequence of records: name ("pit0.mode"), size, bytes. Names are kept so that a state
// of another version is refused with a sentence rather than loaded askew.
#include "vmm/machine/state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/machine.h"

struct walk {
    struct state_visitor visitor; // first: fields get this pointer
    const struct device *device;
    char *out; // saving
    size_t used, capacity;
    const uint8_t *in; // loading, comparing
    size_t left;
    char *text; // where the first error or difference goes
    size_t text_size;
};

void state_field_name(const struct state_visitor *v, const struct device *d, const char *field,
                      char *name, size_t size) {
    if (v->part)
        snprintf(name, size, "%s%u.%s%u.%s", d->ops->name, d->instance, v->part, v->part_number,
                 field);
    else
        snprintf(name, size, "%s%u.%s", d->ops->name, d->instance, field);
}

static void full_name(const struct walk *w, const char *field, char *name, size_t size) {
    state_field_name(&w->visitor, w->device, field, name, size);
}

static void visit_all(struct machine *m, struct walk *w) {
    for (struct device *d = m->devices; d; d = d->next) {
        w->device = d;
        STATE_WHOLE(&w->visitor);
        d->ops->state(d, &w->visitor);
    }
}

// ---- saving ------------------------------------------------------------------------------------
static bool put(struct walk *w, const void *data, size_t size) {
    if (w->capacity - w->used < size) {
        size_t capacity = (w->used + size) * 2;
        char *out = realloc(w->out, capacity);
        if (!out)
            return false;
        w->out = out;
        w->capacity = capacity;
    }
    memcpy(w->out + w->used, data, size);
    w->used += size;
    return true;
}

static bool save_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    struct walk *w = (struct walk *)v;
    char full[80];
    full_name(w, name, full, sizeof(full));
    uint8_t length = (uint8_t)strlen(full);
    uint64_t size64 = size;
    return put(w, &length, 1) && put(w, full, length) && put(w, &size64, 8) && put(w, data, size);
}

void *state_save(struct machine *m, size_t *size) {
    struct walk w = {.visitor.field = save_field};
    visit_all(m, &w);
    if (w.visitor.failed) {
        free(w.out);
        return NULL;
    }
    *size = w.used;
    return w.out;
}

// ---- loading and comparing ---------------------------------------------------------------------
// The next record, which must have this name and size. NULL, with a text, if it has not.
static const void *next_record(struct walk *w, const char *name, size_t size) {
    char full[80];
    full_name(w, name, full, sizeof(full));
    uint8_t length = (uint8_t)strlen(full);
    uint64_t stored_size;
    const uint8_t *p = w->in;
    if (w->left < 9u + length || p[0] != length || memcmp(p + 1, full, length)) {
        snprintf(w->text, w->text_size, "%s: the saved state has something else here", full);
        return NULL;
    }
    memcpy(&stored_size, p + 1 + length, 8);
    if (stored_size != size || w->left - 9 - length < size) {
        snprintf(w->text, w->text_size, "%s: the saved state has another size", full);
        return NULL;
    }
    w->in += 9 + length + size;
    w->left -= 9 + length + size;
    return p + 9 + length;
}

static bool load_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    struct walk *w = (struct walk *)v;
    const void *saved = v->failed ? NULL : next_record(w, name, size);
    if (saved)
        memcpy(data, saved, size);
    return saved;
}

int state_load(struct machine *m, const void *data, size_t size, char *error, size_t error_size) {
    struct walk w = {.visitor = {.field = load_field, .loading = true},
                     .in = data,
                     .left = size,
                     .text = error,
                     .text_size = error_size};
    m->timers = NULL; // each device puts its own back
    visit_all(m, &w);
    if (!w.visitor.failed && w.left) {
        snprintf(error, error_size, "the saved state has more devices than this machine");
        w.visitor.failed = true;
    }
    if (w.visitor.failed)
        return -EINVAL;
    for (struct device *d = m->devices; d; d = d->next)
        if (d->ops->loaded)
            d->ops->loaded(d);
    return 0;
}

static bool compare_field(struct state_visitor *v, const char *name, void *data, size_t size) {
    struct walk *w = (struct walk *)v;
    const uint8_t *saved = v->failed ? NULL : next_record(w, name, size);
    if (!saved)
        return false;
    const uint8_t *now = data;
    size_t i = 0;
    while (i < size && saved[i] == now[i])
        i++;
    if (i == size)
        return true;
    char full[80];
    full_name(w, name, full, sizeof(full));
    snprintf(w->text, w->text_size, "%s: byte %zu of %zu is 0x%02x, was 0x%02x", full, i, size,
             now[i], saved[i]);
    return false;
}

bool state_compare(struct machine *m, const void *data, size_t size, char *where,
                   size_t where_size) {
    struct walk w = {.visitor.field = compare_field,
                     .in = data,
                     .left = size,
                     .text = where,
                     .text_size = where_size};
    visit_all(m, &w);
    return !w.visitor.failed;
}
