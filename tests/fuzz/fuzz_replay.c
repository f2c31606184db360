/* sources: replay/inputs.c replay/chaos.c replay/world.c replay/pass_through.c replay/record.c replay/replay.c replay/replay_sums.c replay/description.c replay/go_live.c replay/log_write.c replay/log_read.c replay/log_format.c replay/log_text.c replay/checks.c */
/* libs: -lzstd */
// The replayer with logs of any records, and a machine that asks everything a machine can ask. Whatever the log
// says, the run comes to an end, and a run that the log does not fit is stopped with a sentence.
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "replay/inputs.h"
#include "wrapped_log.h"

#define STOPS 200

struct toy {
    struct input_source source;
    uint64_t count, anchor, received;
    bool stopped;
};

static void check(void *opaque, struct state_check *c) { // as in a record of zeroes
    memset(c, 0, sizeof(*c));
}
static const struct memory_sum *sums(void *opaque, size_t *count) {
    static const struct memory_sum none[4];
    *count = 4;
    return none;
}
static void name_state(void *opaque, const struct state_check *recorded, char *buf, size_t n) {
    snprintf(buf, n, "state");
}
static void name_memory(void *opaque, size_t unit, const struct memory_sum *recorded, char *buf,
                        size_t n) {
    assert(unit < 4);
    snprintf(buf, n, "memory");
}
static void stop(void *opaque, bool failed, const char *reason) {
    assert(*reason);
    ((struct toy *)opaque)->stopped = true;
}
static void deliver(void *opaque, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((struct toy *)opaque)->received += data[i];
}

static void one_stop(struct inputs *in, struct toy *t, unsigned step) {
    struct landmark at = {.count = t->count};
    uint64_t before = t->anchor, random;
    int err = 0;
    t->anchor = inputs_anchor(in, &at, t->anchor);
    assert(t->anchor >= before);
    inputs_deliver(in, &at);
    assert(inputs_choose_cpu(in, &at, 0, 5) < 3);
    if (step % 5 == 0)
        t->anchor = inputs_idle(in, &at, t->anchor, t->anchor + t->count + 700, &err);
    if (step % 7 == 0)
        inputs_random(in, &random, sizeof(random));
    uint64_t next = inputs_next_stop(in, t->count);
    assert(next > t->count);
    t->count = next;
}

static void run(struct inputs *in, bool live) {
    struct toy t = {.source = {.name = "wire", .fd = -1, .deliver = deliver}};
    struct inputs_target target = {&t, check, sums, name_state, name_memory, stop};
    t.source.opaque = &t;
    inputs_set_target(in, &target);
    inputs_add_source(in, &t.source);
    inputs_wall_clock(in);
    for (unsigned i = 1; i < STOPS && !t.stopped; i++)
        one_stop(in, &t, i);
    struct landmark at = {.count = t.count};
    char text[512], error[256];
    inputs_describe(in, 0, 20, text, sizeof(text));
    if (live && inputs_go_live(in, "/dev/null", &at, error) == 0)
        for (unsigned i = 1; i < 5; i++)
            one_stop(in, &t, 5 * 7 * i + 1); // not idle: the world would have to wake it
    inputs_finish(in, &at, "powered off");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64], error[256] = "";
    if (!size)
        return 0;
    size_t total;
    uint8_t *log = wrap_log(data + 1, size - 1, 1u << 19, &total);
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, log, total) == (ssize_t)total);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct inputs *in = inputs_replay(path, WRAPPED_DESCRIPTION, WRAPPED_HZ, error);
    assert(in || *error);
    if (in)
        run(in, data[0] & 1);
    inputs_free(in);
    close(fd);
    free(log);
    return 0;
}
