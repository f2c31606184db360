// Sums of guest memory, kept up to date at little cost: only pages that were written since the last sum are
// looked at again. The guest's writes are known from KVM's dirty log, our own from guest_memory().
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "replay/checks.h"

struct machine;
struct sums;

// One sum for each `unit` bytes (MEMORY_PAGE or MEMORY_REGION). Memory is all zero, and its slots are logged.
// NULL: out of memory.
struct sums *sums_create(struct machine *m, uint32_t unit);
void sums_free(struct sums *s);
// [offset, offset + n) of RAM may be written by us before the next sum.
void sums_note(struct sums *s, uint64_t offset, uint64_t n);
// All memory became zero.
void sums_note_cleared(struct sums *s);
// The sums as memory is now; valid until the next call. The machine is stopped when the log fails.
const struct memory_sum *sums_now(struct sums *s, size_t *count);
// Compares them with sums of all memory made anew; the machine is stopped where one differs.
void sums_verify(struct sums *s);
// Whether one of the two stopped the machine, or would have if it had not ended (at its end the last sums are made).
bool sums_failed(const struct sums *s);
// The sums of all pages, as of sums_now(). Valid until the next call of that.
const struct page_sum *sums_pages(const struct sums *s, uint64_t *count);
// A few words on where a unit differs from what was recorded.
void sums_name_difference(struct sums *s, size_t unit, const struct memory_sum *recorded, char *buf,
                          size_t n);
