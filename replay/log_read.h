// Reading a log, safe against any bytes. Of the file only the chunk at hand is in memory.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "replay/log_format.h"

struct log_reader;

// Opens a file and checks the header. NULL with a sentence in `error`: no log, another version, damaged header.
struct log_reader *log_open(const char *path, char error[256]);
// The same with a log in memory: `data` must stay until log_reader_free(). `name` is for messages.
struct log_reader *log_open_memory(const char *name, const uint8_t *data, size_t size,
                                   char error[256]);
void log_reader_free(struct log_reader *r);
// The header, and the description (terminated).
const struct log_header *log_header(const struct log_reader *r);
const char *log_description(const struct log_reader *r);
// The next record. 1; 0 at the end of the log; -1 where it is damaged or cut: log_error() names the place
// and how much before it is usable.
int log_next(struct log_reader *r, struct log_record *out);
const char *log_error(const struct log_reader *r);
// Starts again at the first record.
void log_rewind(struct log_reader *r);
// The chunk that the last record came from, and its offset in the file.
uint32_t log_chunk_number(const struct log_reader *r);
uint64_t log_chunk_offset(const struct log_reader *r);
uint64_t log_size(const struct log_reader *r); // bytes of the whole log
// Whether `path` is this log's file, whatever it is called.
bool log_is_at(const struct log_reader *r, const char *path);
