// chrono-log stat and diff.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "replay/tools/tool.h"

int command_stat(struct log *l, int argc, char **argv) {
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

static bool same(const struct log_record *a, const struct log_record *b) {
    return a->kind == b->kind && a->v == b->v && a->check == b->check && a->value == b->value &&
           a->memory_hash == b->memory_hash && a->state_hash == b->state_hash &&
           a->size == b->size && (!a->size || !memcmp(a->data, b->data, a->size));
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
