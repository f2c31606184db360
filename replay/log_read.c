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
    const uint8_t *data;
    size_t size;
    struct log_header header;
    char *description;
    size_t next_chunk;      // offset in the file
    struct log_chunk chunk; // the one being read
    uint64_t chunk_offset;
    size_t at;          // in records
    uint64_t v, number; // of the last record
    bool ended;         // LOG_END was read
    char error[256];
    uint8_t records[LOG_CHUNK_MAX];
};

static bool header_is_sound(struct log_reader *r, char error[256]) {
    struct log_header *h = &r->header;
    if (r->size < sizeof(*h) || memcmp(r->data, LOG_MAGIC, 8)) {
        snprintf(error, 256, "%s is no log of Chronovisor: it does not begin with \"%s\"", r->name,
                 LOG_MAGIC);
        return false;
    }
    memcpy(h, r->data, sizeof(*h));
    if (h->version > LOG_VERSION) {
        snprintf(error, 256,
                 "%s has version %u of the format; this program knows versions up to %u", r->name,
                 h->version, LOG_VERSION);
        return false;
    }
    if (h->description_size > LOG_HEADER_MAX || h->description_size > r->size - sizeof(*h)) {
        snprintf(error, 256, "%s: the header is damaged or cut off: nothing of it is usable",
                 r->name);
        return false;
    }
    struct log_header zeroed = *h;
    zeroed.checksum = 0;
    if (log_checksum(&zeroed, sizeof(zeroed), r->data + sizeof(*h), h->description_size) !=
            h->checksum ||
        !h->hz) {
        snprintf(error, 256, "%s: the header's checksum is wrong: nothing of it is usable",
                 r->name);
        return false;
    }
    return true;
}

struct log_reader *log_open(const char *name, const uint8_t *data, size_t size, char error[256]) {
    struct log_reader *r = calloc(1, sizeof(*r));
    if (!r) {
        snprintf(error, 256, "out of memory");
        return NULL;
    }
    snprintf(r->name, sizeof(r->name), "%s", name);
    r->data = data;
    r->size = size;
    if (header_is_sound(r, error))
        r->description = strndup((const char *)data + sizeof(r->header),
                                 r->header.description_size);
    if (!r->description) {
        free(r);
        return NULL;
    }
    log_rewind(r);
    return r;
}

void log_reader_free(struct log_reader *r) {
    if (r)
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
             (double)r->v / (double)r->header.hz, (unsigned long long)r->v);
    return -1;
}

// 1: r->records holds the next chunk; 0: the file ends here.
static int next_chunk(struct log_reader *r) {
    struct log_chunk c;
    uint64_t offset = r->next_chunk;
    char why[96];
    if (offset == r->size)
        return r->ended ? 0
                        : broken(r, offset,
                                 "the log ends without its end record (the recording was cut off)");
    if (r->size - offset < sizeof(c))
        return broken(r, offset, "the log is cut off in the head of a chunk");
    memcpy(&c, r->data + offset, sizeof(c));
    snprintf(why, sizeof(why), "chunk %u", r->chunk.number + 1);
    size_t used = strlen(why);
    const uint8_t *body = r->data + offset + sizeof(c);
    struct log_chunk zeroed = c;
    zeroed.checksum = 0;
    const char *fault = NULL;
    if (c.magic != LOG_CHUNK_MAGIC)
        fault = "has no chunk mark";
    else if (c.records_size > LOG_CHUNK_MAX)
        fault = "claims an impossible size";
    else if (c.stored_size > r->size - offset - sizeof(c))
        fault = "is cut off";
    else if (log_checksum(&zeroed, sizeof(zeroed), body, c.stored_size) != c.checksum)
        fault = "has a wrong checksum";
    else if (c.number != r->chunk.number + 1)
        fault = "is out of order";
    else if (ZSTD_decompress(r->records, sizeof(r->records), body, c.stored_size) != c.records_size)
        fault = "cannot be decompressed";
    if (fault) {
        snprintf(why + used, sizeof(why) - used, " %s", fault);
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

static bool parse(struct log_reader *r, struct log_record *out) {
    uint8_t kind = r->records[r->at++];
    uint64_t step = 0, size = 0;
    *out = (struct log_record){.kind = kind & 15, .number = r->number};
    if (out->kind < LOG_ANCHOR || out->kind > LOG_END || kind & 0xf0)
        return false;
    if (out->kind != LOG_RESULT && (!get_number(r, &step) || step > UINT64_MAX - r->v))
        return false;
    out->v = r->v + step;
    if (out->kind == LOG_MEMORY || out->kind == LOG_END) {
        if (!get_bytes(r, &out->memory_hash, LOG_HASH_SIZE) ||
            !get_bytes(r, &out->state_hash, LOG_HASH_SIZE))
            return false;
    } else if (out->kind != LOG_RESULT) {
        if (!get_bytes(r, &out->check, LOG_CHECK_SIZE) || !get_number(r, &out->value))
            return false;
    }
    if (out->kind == LOG_INPUT || out->kind == LOG_RESULT || out->kind == LOG_END) {
        if (!get_number(r, &size) || size > r->chunk.records_size - r->at)
            return false;
        out->data = r->records + r->at;
        out->size = size;
        r->at += size;
    }
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
    if (!parse(r, out)) {
        char why[64];
        snprintf(why, sizeof(why), "record %llu is malformed", (unsigned long long)r->number);
        return broken(r, r->chunk_offset, why);
    }
    r->v = out->v;
    r->number++;
    r->ended = out->kind == LOG_END;
    return 1;
}

uint8_t *log_read_file(const char *path, size_t *size, char error[256]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *data = NULL;
    size_t done = 0;
    if (fd < 0 || fstat(fd, &st) < 0 || !(data = malloc((size_t)st.st_size + 1)))
        goto failed;
    while (done < (size_t)st.st_size) {
        ssize_t n = read(fd, data + done, (size_t)st.st_size - done);
        if (n < 0 && errno != EINTR)
            goto failed;
        if (n == 0)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    *size = done;
    return data;
failed:
    snprintf(error, 256, "%s: %s", path, strerror(errno));
    free(data);
    if (fd >= 0)
        close(fd);
    return NULL;
}
