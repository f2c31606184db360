#include "replay/log_write.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include "replay/varint.h"

#define COMPRESSION_LEVEL 3

struct log_writer {
    int fd, error;
    uint32_t chunk_number;
    struct log_settings settings;
    uint64_t first_v, v; // after the record before this chunk, after the last record
    uint64_t first_record, record_count, size; // size: bytes written
    size_t used;
    uint8_t records[LOG_CHUNK_MAX];
    uint8_t stored[ZSTD_COMPRESSBOUND(LOG_CHUNK_MAX)];
};

static int write_all(struct log_writer *w, const void *data, size_t n) {
    const char *p = data;
    w->size += n;
    while (n && !w->error) {
        ssize_t done = write(w->fd, p, n);
        if (done < 0 && errno != EINTR)
            w->error = -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return w->error;
}

// What keeps a file from being overwritten, NULL: nothing. It must be a log, or empty: a slip in a command line does
// not cost an image.
static const char *keeps(const char *path) {
    static const char zeros[sizeof(LOG_MAGIC) - 1];
    struct stat st;
    char magic[sizeof(LOG_MAGIC) - 1];
    if (stat(path, &st) || !S_ISREG(st.st_mode) || !st.st_size)
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof(magic));
    if (fd >= 0)
        close(fd);
    if (n > 0 && !memcmp(magic, LOG_MAGIC, (size_t)n))
        return NULL;
    return n > 0 && !memcmp(magic, zeros, (size_t)n)
               ? "begins with zeros: an empty disk image, or a log that a power cut left so. "
                 "It is not overwritten; remove it if nobody needs it"
               : "is there already and is no log: it is not overwritten";
}

struct log_writer *log_create(const char *path, const char *description,
                              const struct log_settings *settings, char error[256]) {
    struct log_writer *w = calloc(1, sizeof(*w));
    if (!w) {
        snprintf(error, 256, "out of memory for the log");
        return NULL;
    }
    const char *fault = keeps(path);
    if (fault) {
        snprintf(error, 256, "%s %s", path, fault);
        free(w);
        return NULL;
    }
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w->fd < 0) {
        snprintf(error, 256, "%s: %s", path, strerror(errno));
        free(w);
        return NULL;
    }
    w->settings = *settings;
    struct log_header h = {.version = LOG_VERSION,
                           .description_size = (uint32_t)strlen(description),
                           .settings = *settings};
    memcpy(h.magic, LOG_MAGIC, 8);
    h.checksum = log_checksum(&h, sizeof(h), description, h.description_size);
    // Whatever happens from now on, what is at `path` is a log.
    if (write_all(w, &h, sizeof(h)) || write_all(w, description, h.description_size) ||
        log_sync(w)) {
        snprintf(error, 256, "%s: %s", path, strerror(-w->error));
        close(w->fd);
        free(w);
        return NULL;
    }
    return w;
}

int log_flush(struct log_writer *w) {
    if (!w->used || w->error)
        return w->error;
    size_t n = ZSTD_compress(w->stored, sizeof(w->stored), w->records, w->used, COMPRESSION_LEVEL);
    if (ZSTD_isError(n))
        return w->error = -EIO;
    struct log_chunk c = {.magic = LOG_CHUNK_MAGIC,
                          .number = w->chunk_number++,
                          .first_v = w->first_v,
                          .first_record = w->first_record,
                          .records_size = (uint32_t)w->used,
                          .stored_size = (uint32_t)n};
    c.checksum = log_checksum(&c, sizeof(c), w->stored, n);
    w->used = 0;
    w->first_v = w->v;
    w->first_record = w->record_count;
    if (!write_all(w, &c, sizeof(c)))
        write_all(w, w->stored, n);
    return w->error;
}

int log_sync(struct log_writer *w) {
    if (!log_flush(w) && fsync(w->fd) < 0 && errno != EINVAL) // a pipe cannot be synchronised
        w->error = -errno;
    return w->error;
}

static void put_bytes(struct log_writer *w, const void *data, size_t n) {
    memcpy(w->records + w->used, data, n);
    w->used += n;
}
static void put_number(struct log_writer *w, uint64_t v) {
    w->used += varint_put(w->records + w->used, v);
}

int log_append(struct log_writer *w, const struct log_record *r) {
    if (r->size > LOG_CHUNK_MAX / 2)
        return -EMSGSIZE;
    if (w->used + r->size + 128 > LOG_CHUNK_MAX && log_flush(w))
        return w->error;
    w->records[w->used++] = (uint8_t)r->kind;
    if (r->kind != LOG_RESULT) {
        put_number(w, log_ticks_code(&w->settings, r->v - w->v));
        put_bytes(w, &r->check, sizeof(r->check));
        put_number(w, log_moves_anchor(r->kind) ? log_increase_code(&w->settings, r->v, r->value)
                                                : r->value);
        w->v = log_v_after(r);
    }
    if (r->kind == LOG_MEMORY) {
        put_number(w, r->sum_count);
        put_bytes(w, r->data, r->size);
    } else if (r->kind == LOG_INPUT || r->kind == LOG_RESULT || r->kind == LOG_END) {
        put_number(w, r->size);
        put_bytes(w, r->data, r->size);
    }
    w->record_count++;
    return w->used >= LOG_CHUNK_TARGET ? log_flush(w) : w->error;
}

int log_close(struct log_writer *w) {
    int err = log_flush(w);
    if (fsync(w->fd) < 0 && !err && errno != EINVAL) // a pipe or terminal cannot be synchronised
        err = -errno;
    if (close(w->fd) < 0 && !err)
        err = -errno;
    free(w);
    return err;
}

uint64_t log_writer_size(const struct log_writer *w) {
    return w->size;
}
uint64_t log_writer_v(const struct log_writer *w) {
    return w->v;
}
uint64_t log_writer_records(const struct log_writer *w) {
    return w->record_count;
}
