// chrono-log stat and diff.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "replay/tools/tool.h"

int command_stat(struct log *l, int argc, char **argv) {
    uint64_t count[LOG_KINDS] = {0}, bytes[LOG_KINDS] = {0}, hashes[LOG_KINDS] = {0}, v = 0;
    uint64_t events = 0, event_bytes = 0, hash_bytes = 0, size = log_size(l->reader);
    struct log_record r;
    int got;
    while ((got = log_next(l->reader, &r)) > 0) {
        count[r.kind]++;
        bytes[r.kind] += r.encoded_size;
        hashes[r.kind] += r.hash_bytes;
        hash_bytes += r.hash_bytes;
        if (log_is_event(r.kind)) {
            events++;
            event_bytes += r.encoded_size - r.hash_bytes;
        }
        v = r.v;
    }
    uint64_t hz = log_header(l->reader)->settings.hz;
    printf("%-8s %10s %10s %10s %12s\n", "kind", "records", "bytes", "of hashes", "per second");
    for (unsigned k = LOG_ANCHOR; k < LOG_KINDS; k++)
        if (count[k])
            printf("%-8s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %12.2f\n", log_kind_name(k),
                   count[k], bytes[k], hashes[k],
                   v ? (double)count[k] * (double)hz / (double)v : 0.0);
    printf("events: %" PRIu64 ", %.2f bytes each without hashes\n", events,
           events ? (double)event_bytes / (double)events : 0.0);
    printf("file: %" PRIu64 " bytes (of them %" PRIu64 " of hashes) for %" PRIu64
           " ticks: %.4f bytes per 1000 ticks\n",
           size, hash_bytes, v, v ? 1000.0 * (double)size / (double)v : 0.0);
    return sound(l, got);
}

static bool same(const struct log_record *a, const struct log_record *b) {
    return a->kind == b->kind && a->v == b->v && a->value == b->value &&
           state_check_equal(&a->check, &b->check) && a->size == b->size &&
           (!a->size || !memcmp(a->data, b->data, a->size));
}

static int compare(struct log *a, struct log *b) {
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

int command_diff(struct log *l, int argc, char **argv) {
    if (argc != 1)
        return complain("diff needs a second log, and only that", argc ? argv[1] : "");
    struct log other;
    open_log(&other, argv[0]);
    int status = compare(l, &other);
    close_log(&other);
    return status;
}
