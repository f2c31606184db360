// The state of a device, described once: one function visits every field by name, and from it come
// saving, loading, hashing and the comparison that names the first field that differs.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_visitor {
    // Called for each field: `data` is the device's own memory, read (save, hash) or written (load).
    // Returns false after an error in the input; visits may go on.
    bool (*field)(struct state_visitor *v, const char *name, void *data, size_t size);
    // Of which of several equal parts the fields are, "channel" 2; NULL: of the device itself.
    const char *part;
    unsigned part_number;
    bool loading; // fields are being written: rebuild what is derived from them afterwards
    bool failed;
};

// A field of a structure, by its own name: STATE(v, dev, irr). Fixed-size scalars and arrays only.
#define STATE(v, p, member) \
    ((v)->failed |= !(v)->field((v), #member, &(p)->member, sizeof((p)->member)))
// The fields that follow are of this part; STATE_WHOLE: of the device itself again.
#define STATE_PART(v, name, number) ((v)->part = (name), (v)->part_number = (number))
#define STATE_WHOLE(v)              ((v)->part = NULL)
// Memory of a size known before: buffers, RAM of a device.
#define STATE_BYTES(v, name, data, size) ((v)->failed |= !(v)->field((v), name, data, size))

struct machine;
struct device;

// "pit0.channel2.mode" for the field that is being visited.
void state_field_name(const struct state_visitor *v, const struct device *d, const char *field,
                      char *name, size_t size);

// What state.c makes of all devices of a machine, in the order of registration.
//
// Saves into a buffer that the caller frees; *size gets its length. NULL: no memory.
void *state_save(struct machine *m, size_t *size);
// Loads what state_save() of an equally configured machine gave. 0, or -EINVAL with a sentence that names
// the device and field; the machine is then unusable.
int state_load(struct machine *m, const void *data, size_t size, char *error, size_t error_size);
// Compares the machine with a saved state. True if equal, else the first difference, "pit0.count[1]", in
// `where`.
bool state_compare(struct machine *m, const void *data, size_t size, char *where,
                   size_t where_size);
