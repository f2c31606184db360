#include "vmm/machine/known_fields.h"
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 65536 // as many as a sum takes
#define SHORT      16

struct field {
    uint32_t group, hash;
    size_t size; // 0: not there, or nothing is known of it
    union {
        uint64_t word[2]; // of SHORT bytes at most, filled up with zeroes
        uint8_t *copy;    // of more
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

// At most SHORT bytes as numbers. (The usual sizes without a call.)
static inline void load(uint64_t word[2], const void *data, size_t size) {
    word[0] = word[1] = 0;
    switch (size) {
    case 1: memcpy(word, data, 1); break;
    case 2: memcpy(word, data, 2); break;
    case 4: memcpy(word, data, 4); break;
    case 8: memcpy(word, data, 8); break;
    case 16: memcpy(word, data, 16); break;
    default: memcpy(word, data, size);
    }
}

static void learn(struct known_fields *k, struct field *f, uint32_t group, const void *data,
                  size_t size) {
    uint32_t number = (uint32_t)(f - k->field);
    state_sum_take(&k->sum, f->group, number, f->hash);
    forget_bytes(f);
    f->group = group;
    f->hash = state_hash(data, size);
    state_sum_add(&k->sum, group, number, f->hash);
    if (size <= SHORT) {
        load(f->word, data, size);
        f->size = size;
    } else if ((f->copy = malloc(size))) { // without memory it is hashed each time
        memcpy(f->copy, data, size);
        f->size = size;
    }
}

void known_field(struct known_fields *k, uint32_t group, uint32_t field, const void *data,
                 size_t size) {
    struct field *f = &k->field[field % FIELDS_MAX];
    uint64_t word[2];
    bool same = f->size == size && f->group == group && field < k->count;
    if (same && size <= SHORT) {
        load(word, data, size);
        same = f->word[0] == word[0] && f->word[1] == word[1];
    } else if (same) {
        same = !memcmp(f->copy, data, size);
    }
    if (!same)
        learn(k, f, group, data, size);
    if (field >= k->count)
        k->count = field + 1;
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
