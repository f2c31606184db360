// chrono-log control: the same log without its events. Its replay must end with a difference; if it did not, the
// replayer would pay no attention to its log.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "replay/log_write.h"
#include "replay/tools/tool.h"

static int copy_without_events(struct log *l, struct log_writer *w, uint64_t *left_out) {
    struct log_record r;
    int got, error = 0;
    while (!error && (got = log_next(l->reader, &r)) > 0)
        if (log_is_event(r.kind))
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
    if (argc != 1)
        return complain("control needs the name of a log to write, and only that",
                        argc ? argv[1] : "");
    char error[256];
    struct log_writer *w = log_create(argv[0], log_description(l->reader),
                                      &log_header(l->reader)->settings, error);
    if (!w) {
        fprintf(stderr, "chrono-log: %s\n", error);
        return 1;
    }
    uint64_t left_out = 0;
    int status = copy_without_events(l, w, &left_out);
    if (log_close(w))
        status = 1;
    if (!status)
        printf("%s: %" PRIu64 " events left out\n", argv[0], left_out);
    return status;
}
