// Arbitrary bytes as the records of a log whose header and checksums are right: what a fuzzer would never hit upon.
#pragma once
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include "replay/log_format.h"

#define WRAPPED_HZ          1000000ull
#define WRAPPED_DESCRIPTION "tick instruction\n"

// A log in memory that free() takes; *total gets its size. The bytes are cut into chunks of at most `part`.
static inline uint8_t *wrap_log(const uint8_t *data, size_t size, size_t part, size_t *total) {
    size_t used = sizeof(struct log_header) + strlen(WRAPPED_DESCRIPTION);
    uint8_t *log = malloc(used + (size / part + 1) * (sizeof(struct log_chunk) + 64) + 2 * size);
    struct log_header h = {
        .version = LOG_VERSION,
        .description_size = strlen(WRAPPED_DESCRIPTION),
        .settings = {WRAPPED_HZ, 0, 1000000, 50000, MEMORY_REGION, 0},
    };
    memcpy(h.magic, LOG_MAGIC, 8);
    h.checksum = log_checksum(&h, sizeof(h), WRAPPED_DESCRIPTION, h.description_size);
    memcpy(log, &h, sizeof(h));
    memcpy(log + sizeof(h), WRAPPED_DESCRIPTION, h.description_size);
    // Only the first chunk can know where it stands; the others are there to be refused, or to be first.
    for (uint32_t number = 0; size; number++) {
        size_t n = size < part ? size : part;
        uint8_t *body = log + used + sizeof(struct log_chunk);
        size_t stored = ZSTD_compress(body, ZSTD_compressBound(n), data, n, 1);
        struct log_chunk c = {.magic = LOG_CHUNK_MAGIC,
                              .number = number,
                              .records_size = (uint32_t)n,
                              .stored_size = (uint32_t)stored};
        c.checksum = log_checksum(&c, sizeof(c), body, stored);
        memcpy(log + used, &c, sizeof(c));
        used += sizeof(c) + stored;
        data += n;
        size -= n;
    }
    *total = used;
    return log;
}
