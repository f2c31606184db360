// The sum of a state's fields, kept from one check to the next. Most fields are what they were: to compare one costs
// less than to hash it, so each stays here with its bytes and its hash, and the sum has all of them.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "replay/checks.h"

struct known_fields;

// NULL: out of memory.
struct known_fields *known_fields_create(void);
void known_fields_free(struct known_fields *k);
// The state's field number `field` (from 0) is in `group` and has these bytes. Calls go through all fields in order;
// who knows that some are as they were may leave them out.
void known_field(struct known_fields *k, uint32_t group, uint32_t field, const void *data,
                 size_t size);
// The sum, of a state of `fields` fields.
struct state_sum known_fields_sum(struct known_fields *k, uint32_t fields);
