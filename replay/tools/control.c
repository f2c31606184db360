// chrono-log control: the same log without its events, or without one record. Its replay must end with a difference;
// if it did not, the replayer would pay no attention to its log.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/log_write.h"
#include "replay/tools/tool.h"

// `only`: the record to leave out, UINT64_MAX: all events.
static int copy_the_rest(struct log *l, struct log_writer *w, uint64_t only, uint64_t *left_out) {
    struct log_record r;
    int got, error = 0;
    while (!error && (got = log_next(l->reader, &r)) > 0)
        if (only == UINT64_MAX ? log_is_event(r.kind) : r.number == only)
            (*left_out)++;
        else
            error = log_append(w, &r);
    if (error) {
        fprintf(stderr, "chrono-log: the log cannot be written: %s\n", strerror(-error));
        return 1;
    }
    return sound(l, got);
}

int command_control(struct log *l, int argc, char **argv) {
    char error[256], *end = NULL;
    uint64_t only = argc > 1 ? strtoull(argv[1], &end, 10) : UINT64_MAX;
    if (argc < 1 || argc > 2 || (end && (*end || end == argv[1])))
        return complain(
            "control needs the name of a log to write, and at most the number of a record",
            argc > 1 ? argv[1] : "");
    if (log_is_at(l->reader, argv[0])) {
        fprintf(stderr, "chrono-log: %s is the log itself: name another file for the rest of it\n",
                argv[0]);
        return 2;
    }
    struct log_writer *w = log_create(argv[0], log_description(l->reader),
                                      &log_header(l->reader)->settings, error);
    if (!w) {
        fprintf(stderr, "chrono-log: %s\n", error);
        return 1;
    }
    uint64_t left_out = 0;
    int status = copy_the_rest(l, w, only, &left_out);
    if (log_close(w))
        status = 1;
    if (!status)
        printf("%s: %" PRIu64 " records left out\n", argv[0], left_out);
    return status;
}
