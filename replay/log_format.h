// The log of a recorded run (docs/log-format.md is the specification).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "replay/checks.h"

#define LOG_MAGIC        "CHRONLOG"
#define LOG_VERSION      2u
#define LOG_CHUNK_MAGIC  0x4b4e4843u // "CHNK"
#define LOG_CHUNK_MAX    (1u << 20)  // of a chunk's records, before compression
#define LOG_CHUNK_TARGET (32u << 10) // a chunk is closed when it holds this much
#define LOG_HEADER_MAX   (64u << 10) // of the description
#define LOG_SUMS_MAX     8192u       // of units of memory in one record

// How a run is recorded and must be replayed, besides what its description says.
struct log_settings {
    uint64_t hz;             // ticks per second of virtual time
    uint64_t seed;           // of jitter or chaos, 0: none
    uint64_t sum_interval;   // ticks executed between two sums of memory
    uint64_t check_interval; // and between two checks where no event comes
    uint32_t sum_unit;       // bytes: MEMORY_PAGE or MEMORY_REGION
    uint32_t chaos;          // 1: slices end where chaos_slice_end() says; 0: at each ms
};

// All numbers little-endian.
struct log_header {
    char magic[8];
    uint32_t version;
    uint32_t description_size; // bytes of text that follow: "key value" lines
    struct log_settings settings;
    uint64_t checksum; // XXH3 of this structure with checksum 0, then of the description
};
struct log_chunk {
    uint32_t magic;
    uint32_t number;                    // from 0
    uint64_t first_v;                   // V after the record before the first of this chunk
    uint64_t first_record;              // number of the first record
    uint32_t records_size, stored_size; // before and after compression (zstd)
    uint64_t checksum; // XXH3 of this structure with checksum 0, then of the stored bytes
};
_Static_assert(sizeof(struct log_header) == 64 && sizeof(struct log_chunk) == 40, "as documented");

// A record: one byte with the kind in its low four bits, then varints. `step` is the virtual time V since the record
// before, as it was after that (V orders all that happens: the count stands still while the guest is idle). `check`
// is a struct state_check of registers and devices at that landmark, before the event. Steps and increases are
// coded as log_ticks_code() does.
enum log_kind {
    LOG_ANCHOR = 1, // step, check, increase of the anchor
    LOG_INPUT = 2,  // step, check, source, size, bytes
    LOG_RESULT = 3, // size, bytes: answers in order, no landmark
    LOG_SWITCH = 4, // step, check, vCPU
    LOG_WAKE =
        5, // step, check, increase of the anchor: something ended an idle time before its timer
    LOG_MEMORY =
        6, // step, check, 1 if the next record continues this one else 0, number of sums, sums
    LOG_END = 7,   // step, check, 0, size, word: how the run ended
    LOG_CHECK = 8, // step, check, 0
};
#define LOG_KINDS 9

struct log_record {
    enum log_kind kind;
    uint64_t number; // of the record in the log, from 0
    uint64_t v;      // virtual time of the landmark; for results, of the record before
    struct state_check check;
    uint64_t value; // increase, source, vCPU, or whether sums go on
    // Of inputs, results and the end's word; of memory the sums (log_sum_next()). Valid until the next record.
    const uint8_t *data;
    size_t size;
    uint64_t sum_count;
    size_t encoded_size,
        hash_bytes; // in the log before compression: in all, and of these checks and sums
};
// The latter, of a record that is being made.
static inline size_t log_hash_bytes(const struct log_record *r) {
    return r->kind == LOG_RESULT ? 0 : sizeof(r->check) + r->sum_count * sizeof(struct memory_sum);
}
// Whether a kind is something that happened to the guest.
static inline bool log_is_event(enum log_kind kind) {
    return kind == LOG_ANCHOR || kind == LOG_INPUT || kind == LOG_SWITCH || kind == LOG_WAKE;
}

// Sums of the units of memory that changed since the record before: index less that of the sum before (the
// first: index), then struct memory_sum.
struct log_sums {
    const uint8_t *at, *end;
    uint64_t left, index;
};
static inline struct log_sums log_sums_of(const struct log_record *r) {
    const uint8_t *end = r->data ? r->data + r->size : NULL; // many records have no data
    return (struct log_sums){r->data, end, r->sum_count, 0};
}
// The next unit's index and sum; false at the end.
bool log_sum_next(struct log_sums *s, uint64_t *index, struct memory_sum *sum);
// Writes one (at most LOG_SUM_MAX bytes); *last is the index of the one before, 0 at first. Returns the bytes.
#define LOG_SUM_MAX (10 + sizeof(struct memory_sum))
size_t log_sum_put(uint8_t *to, uint64_t *last, uint64_t index, const struct memory_sum *sum);

// Ticks, of which many are multiples of a millisecond of V: twice the multiple and 1, else twice the ticks. False
// where the code has no meaning.
uint64_t log_ticks_code(const struct log_settings *s, uint64_t ticks);
bool log_ticks_of(const struct log_settings *s, uint64_t code, uint64_t *ticks);
// An increase of V from `v` on: the ticks from the millisecond before `v`.
uint64_t log_increase_code(const struct log_settings *s, uint64_t v, uint64_t increase);
bool log_increase_of(const struct log_settings *s, uint64_t code, uint64_t v, uint64_t *increase);
static inline bool log_moves_anchor(enum log_kind kind) {
    return kind == LOG_ANCHOR || kind == LOG_WAKE;
}
// V as it is after a record.
static inline uint64_t log_v_after(const struct log_record *r) {
    return log_moves_anchor(r->kind) ? r->v + r->value : r->v;
}

// XXH3 of a head (with its checksum field 0) followed by a body.
uint64_t log_checksum(const void *head, size_t head_size, const void *body, size_t body_size);
// "anchor", "input", ...; never NULL.
const char *log_kind_name(enum log_kind kind);
