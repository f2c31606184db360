// The log of a recorded run (docs/log-format.md is the specification).
#pragma once
#include <stddef.h>
#include <stdint.h>

#define LOG_MAGIC        "CHRONLOG"
#define LOG_VERSION      1
#define LOG_CHUNK_MAGIC  0x4b4e4843u // "CHNK"
#define LOG_CHUNK_MAX    (1u << 20)  // of a chunk's records, before compression
#define LOG_CHUNK_TARGET (32u << 10) // a chunk is closed when it holds this much
#define LOG_HEADER_MAX   (64u << 10) // of the description

// All numbers little-endian.
struct log_header {
    char magic[8];
    uint32_t version;
    uint32_t description_size; // bytes of text that follow: "key value" lines
    uint64_t hz;               // ticks per second of virtual time
    uint64_t seed;             // of the jitter, 0: none
    uint64_t checksum;         // XXH3 of this structure with checksum 0, then of the description
};
struct log_chunk {
    uint32_t magic;
    uint32_t number;                    // from 0
    uint64_t first_v;                   // V of the record before the first of this chunk
    uint32_t records_size, stored_size; // before and after compression (zstd)
    uint64_t checksum; // XXH3 of this structure with checksum 0, then of the stored bytes
};
_Static_assert(sizeof(struct log_header) == 40 && sizeof(struct log_chunk) == 32, "as documented");

// A record: one byte with the kind in its low four bits, then varints. `step` is the virtual
// time V since the record before (V orders all that happens: the count stands still while the guest is idle); a check of 32 bits is the low half of the XXH3 of registers and devices at that landmark.
enum log_kind {
    LOG_ANCHOR = 1, // step, check, increase of the anchor
    LOG_INPUT = 2,  // step, check, source, size, bytes
    LOG_RESULT = 3, // size, bytes: answers in order, no landmark
    LOG_SWITCH = 4, // step, check, vCPU
    LOG_WAKE =
        5, // step, check, increase of the anchor: something ended an idle time before its timer
    LOG_MEMORY = 6, // step, XXH3 of guest memory (8 bytes), of registers and devices (8 bytes)
    LOG_END = 7,    // step, XXH3 of memory, of registers and devices, size, word: how the run ended
};
#define LOG_CHECK_SIZE 4
#define LOG_HASH_SIZE  8

struct log_record {
    enum log_kind kind;
    uint64_t number; // of the record in the log, from 0
    uint64_t v;      // virtual time of the landmark; for results, of the record before
    uint32_t check;
    uint64_t value; // increase, source or vCPU
    uint64_t memory_hash, state_hash;
    const uint8_t *data; // of inputs, results and the end's word; valid until the next record
    size_t size;
};

// XXH3 of a head (with its checksum field 0) followed by a body.
uint64_t log_checksum(const void *head, size_t head_size, const void *body, size_t body_size);
// "anchor", "input", ...; never NULL.
const char *log_kind_name(enum log_kind kind);
