// chrono-log: looks into logs of recorded runs, on a workstation or as a UserWorld.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/log_read.h"

static const char usage[] =
    "usage: chrono-log COMMAND LOG [ARGUMENT]\n"
    "  info LOG          what was recorded, on what, how long\n"
    "  dump LOG [KIND]   every record (or those of one kind) as a line of text\n"
    "  stat LOG          records, bytes and rates by kind\n"
    "  verify LOG        reads all of it; says how much is usable\n"
    "  diff LOG LOG      the first difference of two recordings\n"
    "A log contains everything that was typed into the machine while it was recorded.\n";

struct log {
    uint8_t *data;
    size_t size;
    struct log_reader *reader;
};

static void open_log(struct log *l, const char *path) {
    char error[256];
    l->data = log_read_file(path, &l->size, error);
    l->reader = l->data ? log_open(path, l->data, l->size, error) : NULL;
    if (!l->reader) {
        fprintf(stderr, "chrono-log: %s\n", error);
        exit(1);
    }
}

static void close_log(struct log *l) {
    log_reader_free(l->reader);
    free(l->data);
}

// 0, or 1 after the reader's sentence when the log is damaged.
static int sound(const struct log *l, int got) {
    if (got < 0)
        fprintf(stderr, "chrono-log: %s\n", log_error(l->reader));
    return got < 0;
}

static void print_bytes(const uint8_t *data, size_t n) {
    putchar('"');
    for (size_t i = 0; i < n && i < 48; i++)
        if (data[i] >= ' ' && data[i] < 127 && data[i] != '"' && data[i] != '\\')
            putchar(data[i]);
        else
            printf("\\x%02x", data[i]);
    printf(n > 48 ? "\"...(%zu bytes)" : "\"", n);
}

static void print_record(const struct log_record *r) {
    printf("%8" PRIu64 "  V %-14" PRIu64 " %-7s", r->number, r->v, log_kind_name(r->kind));
    switch (r->kind) {
    case LOG_ANCHOR:
    case LOG_WAKE: printf("+%" PRIu64 "  check %08x", r->value, r->check); break;
    case LOG_SWITCH: printf("to vCPU %" PRIu64 "  check %08x", r->value, r->check); break;
    case LOG_INPUT:
        printf("source %" PRIu64 "  check %08x  ", r->value, r->check);
        print_bytes(r->data, r->size);
        break;
    case LOG_RESULT: print_bytes(r->data, r->size); break;
    case LOG_END:
        print_bytes(r->data, r->size);
        printf("  ");
        // fall through
    case LOG_MEMORY:
        printf("memory %016" PRIx64 "  state %016" PRIx64, r->memory_hash, r->state_hash);
        break;
    }
    putchar('\n');
}

static int dump(struct log *l, const char *kind) {
    struct log_record r;
    int got;
    while ((got = log_next(l->reader, &r)) > 0)
        if (!kind || !strcmp(kind, log_kind_name(r.kind)))
            print_record(&r);
    return sound(l, got);
}

static int info(struct log *l) {
    const struct log_header *h = log_header(l->reader);
    printf("format %u\nhz %" PRIu64 "\nseed %" PRIu64 "\n%s", h->version, h->hz, h->seed,
           log_description(l->reader));
    struct log_record r;
    uint64_t records = 0, v = 0;
    int got;
    while ((got = log_next(l->reader, &r)) > 0) {
        records++;
        v = r.v;
        if (r.kind == LOG_END) {
            printf("ended ");
            print_bytes(r.data, r.size);
            printf("\nmemory_hash %016" PRIx64 "\nstate_hash %016" PRIx64 "\n", r.memory_hash,
                   r.state_hash);
        }
    }
    printf("records %" PRIu64 "\nvirtual_time %.6f s (%" PRIu64 " ticks)\nbytes %zu\n", records,
           (double)v / (double)h->hz, v, l->size);
    return sound(l, got);
}

static int stat_log(struct log *l) {
    uint64_t count[16] = {0}, payload[16] = {0}, v = 0;
    struct log_record r;
    int got;
    while ((got = log_next(l->reader, &r)) > 0) {
        count[r.kind]++;
        payload[r.kind] += r.size;
        v = r.v;
    }
    printf("%-8s %10s %10s %12s\n", "kind", "records", "payload", "per second");
    for (unsigned k = LOG_ANCHOR; k <= LOG_END; k++)
        if (count[k])
            printf("%-8s %10" PRIu64 " %10" PRIu64 " %12.2f\n", log_kind_name(k), count[k],
                   payload[k],
                   v ? (double)count[k] * (double)log_header(l->reader)->hz / (double)v : 0.0);
    printf("file: %zu bytes for %" PRIu64 " ticks: %.4f bytes per 1000 ticks\n", l->size, v,
           v ? 1000.0 * (double)l->size / (double)v : 0.0);
    return sound(l, got);
}

static int verify(struct log *l) {
    struct log_record r;
    int got;
    uint64_t records = 0;
    while ((got = log_next(l->reader, &r)) > 0)
        records++;
    if (!sound(l, got))
        printf("sound: %" PRIu64 " records in %u chunks\n", records,
               log_chunk_number(l->reader) + 1);
    return got < 0;
}

static bool same(const struct log_record *a, const struct log_record *b) {
    return a->kind == b->kind && a->v == b->v && a->check == b->check && a->value == b->value &&
           a->memory_hash == b->memory_hash && a->state_hash == b->state_hash &&
           a->size == b->size && (!a->size || !memcmp(a->data, b->data, a->size));
}

static int diff(struct log *a, struct log *b) {
    if (strcmp(log_description(a->reader), log_description(b->reader)))
        printf("the recordings began differently: compare their `info`\n");
    struct log_record x, y;
    for (;;) {
        int gx = log_next(a->reader, &x), gy = log_next(b->reader, &y);
        if (gx < 0 || gy < 0)
            return sound(a, gx) | sound(b, gy);
        if (gx == 0 && gy == 0) {
            printf("no difference\n");
            return 0;
        }
        if (gx && gy && same(&x, &y))
            continue;
        printf("first difference:\n");
        if (gx)
            print_record(&x);
        if (gy)
            print_record(&y);
        return 1;
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || !strcmp(argv[1], "--help")) {
        fputs(usage, argc < 2 || strcmp(argv[1], "--help") ? stderr : stdout);
        return argc < 2 || strcmp(argv[1], "--help") ? 2 : 0;
    }
    struct log l, other;
    int status = 2;
    open_log(&l, argv[2]);
    if (!strcmp(argv[1], "info"))
        status = info(&l);
    else if (!strcmp(argv[1], "dump"))
        status = dump(&l, argc > 3 ? argv[3] : NULL);
    else if (!strcmp(argv[1], "stat"))
        status = stat_log(&l);
    else if (!strcmp(argv[1], "verify"))
        status = verify(&l);
    else if (!strcmp(argv[1], "diff") && argc > 3) {
        open_log(&other, argv[3]);
        status = diff(&l, &other);
        close_log(&other);
    } else
        fputs(usage, stderr);
    close_log(&l);
    return status;
}
