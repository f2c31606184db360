#include "replay/log_read.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include "replay/varint.h"

struct log_reader {
    char name[64];
    int fd;              // -1: the log is in `data`
    const uint8_t *data; // in memory
    uint64_t size;
    struct log_header header;
    char *description;
    uint64_t next_chunk;    // offset in the file
    struct log_chunk chunk; // the one being read
    uint64_t chunk_offset;
    size_t at;          // in records
    uint64_t v, number; // after the last record, of the next one
    bool ended;         // LOG_END was read
    char error[256];
    uint8_t records[LOG_CHUNK_MAX];
    uint8_t stored[ZSTD_COMPRESSBOUND(LOG_CHUNK_MAX)];
};

// Whole, or false.
static bool read_at(struct log_reader *r, uint64_t offset, void *to, size_t n) {
    if (offset > r->size || n > r->size - offset)
        return false;
    if (r->fd < 0) {
        memcpy(to, r->data + offset, n);
        return true;
    }
    while (n) {
        ssize_t got = pread(r->fd, to, n, (off_t)offset);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        if (got > 0) {
            to = (char *)to + got;
            offset += (uint64_t)got;
            n -= (size_t)got;
        }
    }
    return true;
}

// ---- opening -----------------------------------------------------------------------------------------
static bool is_log(struct log_reader *r, char error[256]) {
    struct log_header *h = &r->header;
    if (!read_at(r, 0, h, offsetof(struct log_header, settings)) || memcmp(h->magic, LOG_MAGIC, 8))
        snprintf(error, 256, "%s is no log of Chronovisor: it does not begin with \"%s\"", r->name,
                 LOG_MAGIC);
    else if (h->version != LOG_VERSION)
        snprintf(error, 256, "%s has version %u of the format; this program knows version %u%s",
                 r->name, h->version, LOG_VERSION,
                 h->version < LOG_VERSION ? ": use the one that recorded it" : "");
    else
        return true;
    return false;
}

static bool settings_are_sound(const struct log_settings *s) {
    return s->hz && s->sum_interval && s->check_interval && s->chaos <= 1 &&
           (s->sum_unit == MEMORY_PAGE || s->sum_unit == MEMORY_REGION);
}

static bool read_header(struct log_reader *r, char error[256]) {
    struct log_header *h = &r->header;
    const char *fault = "";
    if (!is_log(r, error))
        return false;
    if (!read_at(r, 0, h, sizeof(*h)) || h->description_size > LOG_HEADER_MAX ||
        !(r->description = calloc(1, h->description_size + 1)) ||
        !read_at(r, sizeof(*h), r->description, h->description_size)) {
        fault = "the header is damaged or cut off";
    } else {
        struct log_header zeroed = *h;
        zeroed.checksum = 0;
        if (log_checksum(&zeroed, sizeof(zeroed), r->description, h->description_size) !=
            h->checksum)
            fault = "the header's checksum is wrong";
        else if (!settings_are_sound(&h->settings))
            fault = "the header has impossible values";
    }
    if (*fault)
        snprintf(error, 256, "%s: %s: nothing of it is usable", r->name, fault);
    return !*fault;
}

static struct log_reader *open_reader(const char *name, int fd, const uint8_t *data, uint64_t size,
                                      char error[256]) {
    struct log_reader *r = calloc(1, sizeof(*r));
    if (!r) {
        snprintf(error, 256, "%s: out of memory", name);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    snprintf(r->name, sizeof(r->name), "%s", name);
    r->fd = fd;
    r->data = data;
    r->size = size;
    if (read_header(r, error)) {
        log_rewind(r);
        return r;
    }
    log_reader_free(r);
    return NULL;
}

struct log_reader *log_open_memory(const char *name, const uint8_t *data, size_t size,
                                   char error[256]) {
    return open_reader(name, -1, data, size, error);
}

struct log_reader *log_open(const char *path, char error[256]) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0)
        return open_reader(path, fd, NULL, (uint64_t)st.st_size, error);
    snprintf(error, 256, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return NULL;
}

void log_reader_free(struct log_reader *r) {
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    free(r->description);
    free(r);
}

const struct log_header *log_header(const struct log_reader *r) {
    return &r->header;
}
const char *log_description(const struct log_reader *r) {
    return r->description;
}
const char *log_error(const struct log_reader *r) {
    return r->error;
}
uint32_t log_chunk_number(const struct log_reader *r) {
    return r->chunk.number;
}
uint64_t log_chunk_offset(const struct log_reader *r) {
    return r->chunk_offset;
}
uint64_t log_size(const struct log_reader *r) {
    return r->size;
}

bool log_is_at(const struct log_reader *r, const char *path) {
    struct stat here, there;
    return r->fd >= 0 && !fstat(r->fd, &here) && !stat(path, &there) &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

void log_rewind(struct log_reader *r) {
    r->next_chunk = sizeof(r->header) + r->header.description_size;
    r->chunk = (struct log_chunk){.number = UINT32_MAX};
    r->at = 0;
    r->v = r->number = 0;
    r->ended = false;
    r->error[0] = 0;
}

static int broken(struct log_reader *r, uint64_t offset, const char *why) {
    uint32_t good = r->chunk.number + 1;
    snprintf(r->error, sizeof(r->error),
             "%s: %s at 0x%llx: %u chunk%s (%.3f s, %llu ticks) before it are usable", r->name, why,
             (unsigned long long)offset, good, good == 1 ? "" : "s",
             (double)r->v / (double)r->header.settings.hz, (unsigned long long)r->v);
    return -1;
}

// What is wrong with the chunk at r->next_chunk, NULL: nothing, it is in c and r->stored.
static const char *chunk_fault(struct log_reader *r, struct log_chunk *c) {
    uint64_t offset = r->next_chunk;
    if (!read_at(r, offset, c, sizeof(*c)))
        return "is cut off in its head";
    if (c->magic != LOG_CHUNK_MAGIC)
        return "has no chunk mark";
    if (c->records_size > LOG_CHUNK_MAX || c->stored_size > sizeof(r->stored))
        return "claims an impossible size";
    if (!read_at(r, offset + sizeof(*c), r->stored, c->stored_size))
        return "is cut off";
    struct log_chunk zeroed = *c;
    zeroed.checksum = 0;
    if (log_checksum(&zeroed, sizeof(zeroed), r->stored, c->stored_size) != c->checksum)
        return "has a wrong checksum";
    if (c->number != r->chunk.number + 1 || c->first_record != r->number || c->first_v != r->v)
        return "is out of order";
    if (ZSTD_decompress(r->records, sizeof(r->records), r->stored, c->stored_size) !=
        c->records_size)
        return "cannot be decompressed";
    return NULL;
}

// 1: r->records holds the next chunk; 0: the file ends here.
static int next_chunk(struct log_reader *r) {
    struct log_chunk c;
    uint64_t offset = r->next_chunk;
    if (offset == r->size)
        return r->ended ? 0
                        : broken(r, offset,
                                 "the log ends without its end record (the recording was cut off)");
    const char *fault = chunk_fault(r, &c);
    if (fault) {
        char why[96];
        snprintf(why, sizeof(why), "chunk %u %s", r->chunk.number + 1, fault);
        return broken(r, offset, why);
    }
    r->chunk = c;
    r->chunk_offset = offset;
    r->next_chunk = offset + sizeof(c) + c.stored_size;
    r->at = 0;
    return 1;
}

static bool get_number(struct log_reader *r, uint64_t *v) {
    return varint_get(r->records, r->chunk.records_size, &r->at, v);
}

static bool get_bytes(struct log_reader *r, void *to, size_t n) {
    if (n > r->chunk.records_size - r->at)
        return false;
    memcpy(to, r->records + r->at, n);
    r->at += n;
    return true;
}

// The bytes that follow, as they are in the chunk.
static bool get_data(struct log_reader *r, struct log_record *out, uint64_t size) {
    if (size > r->chunk.records_size - r->at)
        return false;
    out->data = r->records + r->at;
    out->size = size;
    r->at += size;
    return true;
}

static bool parse_sums(struct log_reader *r, struct log_record *out) {
    struct memory_sum sum;
    uint64_t index;
    if (!get_number(r, &out->sum_count) || out->sum_count > LOG_SUMS_MAX)
        return false;
    const uint8_t *start = r->records + r->at;
    struct log_sums s = {start, r->records + r->chunk.records_size, out->sum_count, 0};
    while (log_sum_next(&s, &index, &sum))
        ;
    out->hash_bytes += out->sum_count * sizeof(sum);
    return !s.left && get_data(r, out, (uint64_t)(s.at - start));
}

// Step, check and value.
static bool parse_event(struct log_reader *r, struct log_record *out) {
    const struct log_settings *s = &r->header.settings;
    uint64_t code, step;
    if (!get_number(r, &code) || !get_bytes(r, &out->check, sizeof(out->check)) ||
        !get_number(r, &out->value) || !log_ticks_of(s, code, &step) ||
        __builtin_add_overflow(r->v, step, &out->v))
        return false;
    out->hash_bytes = sizeof(out->check);
    return !log_moves_anchor(out->kind) ||
           (log_increase_of(s, out->value, out->v, &out->value) && log_v_after(out) >= out->v);
}

static bool parse(struct log_reader *r, struct log_record *out) {
    uint8_t kind = r->records[r->at++];
    uint64_t size = 0;
    *out = (struct log_record){.kind = kind & 15, .number = r->number, .v = r->v};
    if (out->kind < LOG_ANCHOR || out->kind > LOG_CHECK || kind & 0xf0)
        return false;
    if (out->kind != LOG_RESULT && !parse_event(r, out))
        return false;
    if (out->kind == LOG_MEMORY)
        return parse_sums(r, out);
    if (out->kind == LOG_INPUT || out->kind == LOG_RESULT || out->kind == LOG_END)
        return get_number(r, &size) && get_data(r, out, size);
    return true;
}

int log_next(struct log_reader *r, struct log_record *out) {
    if (r->error[0])
        return -1;
    while (r->at >= r->chunk.records_size) {
        int more = next_chunk(r);
        if (more <= 0)
            return more;
    }
    size_t start = r->at;
    if (!parse(r, out)) {
        char why[64];
        snprintf(why, sizeof(why), "record %llu is malformed", (unsigned long long)r->number);
        return broken(r, r->chunk_offset, why);
    }
    out->encoded_size = r->at - start;
    r->v = log_v_after(out);
    r->number++;
    r->ended = out->kind == LOG_END;
    return 1;
}
