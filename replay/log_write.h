// Writing a log while the guest runs: records are collected in a chunk, compressed and written when the
// chunk is full or old, so that little is lost at a power cut and memory stays bounded.
#pragma once
#include <stdint.h>
#include "replay/log_format.h"

struct log_writer;

// Creates `path` and writes the header. NULL with a sentence in `error`.
struct log_writer *log_create(const char *path, const char *description, uint64_t hz, uint64_t seed,
                              char error[256]);
// Appends a record (number is ignored). 0, or -errno: the log ends with the last whole chunk.
int log_append(struct log_writer *w, const struct log_record *r);
// Writes the chunk so far to the medium. 0 or -errno.
int log_flush(struct log_writer *w);
// The last chunk, then the end. 0 or -errno.
int log_close(struct log_writer *w);

// Bytes written so far, of them for hashes and checks (before compression), records by kind.
struct log_totals {
    uint64_t stored, records_size, hash_bytes, events, records[16];
};
const struct log_totals *log_writer_totals(const struct log_writer *w);
