#include "vmm/machine/known_fields.h"
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 65536 // as many as a sum takes
#define SHORT      16

struct field {
    uint32_t group, hash;
    size_t size; // 0: not there, or nothing is known of it
    union {
        uint8_t bytes[SHORT];
        uint8_t *copy; // of more
    };
};

struct known_fields {
    struct state_adder sum;
    uint32_t count;
    struct field field[FIELDS_MAX]; // only those in use take memory
};

struct known_fields *known_fields_create(void) {
    return calloc(1, sizeof(struct known_fields));
}

static void forget_bytes(struct field *f) {
    if (f->size > SHORT)
        free(f->copy);
    f->size = 0;
}

void known_fields_free(struct known_fields *k) {
    if (!k)
        return;
    for (uint32_t i = 0; i < k->count; i++)
        forget_bytes(&k->field[i]);
    free(k);
}

static __attribute__((noinline)) void learn(struct known_fields *k, uint32_t group, uint32_t number,
                                            const void *data, size_t size) {
    struct field *f = &k->field[number];
    state_sum_take(&k->sum, f->group, number, f->hash);
    forget_bytes(f);
    f->group = group;
    f->hash = state_hash(data, size);
    state_sum_add(&k->sum, group, number, f->hash);
    if (number >= k->count)
        k->count = number + 1;
    if (size > SHORT && !(f->copy = malloc(size)))
        return; // without memory it is hashed each time
    memcpy(size > SHORT ? f->copy : f->bytes, data, size);
    f->size = size;
}

static __attribute__((noinline)) void compare(struct known_fields *k, uint32_t group,
                                              uint32_t number, const void *data, size_t size) {
    const struct field *f = &k->field[number];
    if (memcmp(size > SHORT ? f->copy : f->bytes, data, size))
        learn(k, group, number, data, size);
}

// Called for each field at each event of a recording: the usual sizes are compared without a call.
void known_field(struct known_fields *k, uint32_t group, uint32_t field, const void *data,
                 size_t size) {
    uint32_t number = field % FIELDS_MAX;
    const struct field *f = &k->field[number];
    bool equal = false;
    if (f->size == size && f->group == group) {
        switch (size) {
        case 1: equal = !memcmp(f->bytes, data, 1); break;
        case 2: equal = !memcmp(f->bytes, data, 2); break;
        case 4: equal = !memcmp(f->bytes, data, 4); break;
        case 8: equal = !memcmp(f->bytes, data, 8); break;
        case 16: equal = !memcmp(f->bytes, data, 16); break;
        default: compare(k, group, number, data, size); return;
        }
    }
    if (!equal)
        learn(k, group, number, data, size);
}

struct state_sum known_fields_sum(struct known_fields *k, uint32_t fields) {
    for (; k->count > fields; k->count--) { // there were more of them
        struct field *f = &k->field[k->count - 1];
        state_sum_take(&k->sum, f->group, k->count - 1, f->hash);
        forget_bytes(f);
        f->hash = 0;
    }
    return state_sum_of(&k->sum);
}
