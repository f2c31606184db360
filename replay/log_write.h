// Writing a log while the guest runs: records are collected in a chunk, compressed and written when the
// chunk is full or old, so that little is lost at a power cut and memory stays bounded.
#pragma once
#include <stdint.h>
#include "replay/log_format.h"

struct log_writer;

// Creates `path`, or overwrites a log there, and writes the header. NULL with a sentence in `error`: also where
// something else is at `path`.
struct log_writer *log_create(const char *path, const char *description,
                              const struct log_settings *settings, char error[256]);
// Appends a record (number and hash_bytes are ignored). 0, or -errno: the log ends with the last whole chunk.
int log_append(struct log_writer *w, const struct log_record *r);
// Writes the chunk so far to the medium. 0 or -errno.
int log_flush(struct log_writer *w);
// The same, and returns when it is there to stay, whatever happens to the machine.
int log_sync(struct log_writer *w);
// The last chunk, then the end. 0 or -errno.
int log_close(struct log_writer *w);

uint64_t log_writer_size(const struct log_writer *w); // bytes written so far
uint64_t log_writer_v(const struct log_writer *w);    // V after the last record
// Number of the next record.
uint64_t log_writer_records(const struct log_writer *w);
