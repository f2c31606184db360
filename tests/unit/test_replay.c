/* sources: replay/inputs.c replay/world.c replay/chaos.c replay/pass_through.c replay/record.c replay/replay.c replay/replay_sums.c replay/description.c replay/go_live.c replay/log_write.c replay/log_read.c replay/log_format.c replay/log_text.c replay/checks.c */
/* libs: -lzstd */
// Recording and replaying with a machine of a few lines: a counter that hashes what it is given and when.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "replay/inputs.h"
#include "replay/log_read.h"

#define HZ      1000000ull
#define STOPS   2000
#define LOG     "test_replay.log"
#define NEW_LOG "test_replay_new.log"

static const char description[] = "tick instruction\nmemory 1\nkernel 12 00ff vmlinuz\n";

struct toy {
    struct inputs *in;
    struct input_source source;
    uint64_t count, anchor, state, random;
    struct memory_sum memory;
    uint64_t timer; // V of the next timer
    unsigned steps;
    bool stopped, failed;
    char reason[256];
};

static uint64_t mix(uint64_t a, uint64_t b) {
    return (a ^ b) * 0x9e3779b97f4a7c15ull + (a >> 29);
}

static void check(void *opaque, struct state_check *c) {
    struct toy *t = opaque;
    struct state_adder registers = {0, 0, 0}, devices = {0, 0, 0};
    state_sum_add(&registers, 0, 0, state_hash(&t->state, sizeof(t->state)));
    state_sum_add(&registers, 0, 1, state_hash(&t->count, sizeof(t->count)));
    state_sum_add(&devices, 0, 0, state_hash(&t->timer, sizeof(t->timer)));
    *c = (struct state_check){state_sum_of(&registers), state_sum_of(&devices)};
}
static const struct memory_sum *sums(void *opaque, size_t *count) {
    *count = 1;
    return &((struct toy *)opaque)->memory;
}
static void name_state(void *opaque, const struct state_check *recorded, char *buf, size_t n) {
    struct state_check here;
    int group, field;
    check(opaque, &here);
    state_sum_locate(&here.registers, &recorded->registers, 1, 2, &group, &field);
    snprintf(buf, n, "register field %d", field);
}
static void name_memory(void *opaque, size_t unit, const struct memory_sum *recorded, char *buf,
                        size_t n) {
    snprintf(buf, n, "memory, unit %zu", unit);
}
static void stop(void *opaque, bool failed, const char *reason) {
    struct toy *t = opaque;
    t->stopped = true;
    t->failed = failed;
    snprintf(t->reason, sizeof(t->reason), "%s", reason);
}
static void deliver(void *opaque, const uint8_t *data, size_t n) {
    struct toy *t = opaque;
    for (size_t i = 0; i < n; i++)
        t->memory.full = t->memory.masked = mix(t->memory.full, data[i]);
    t->state = mix(t->state, t->count + t->anchor);
}

static struct landmark landmark(const struct toy *t) {
    return (struct landmark){.count = t->count, .rip = t->state};
}

static void one_stop(struct toy *t) {
    struct landmark at = landmark(t);
    t->anchor = inputs_anchor(t->in, &at, t->anchor);
    if (t->anchor + t->count >= t->timer) {
        t->state = mix(t->state, t->timer);
        t->timer = t->anchor + t->count + 700;
    }
    inputs_deliver(t->in, &at);
}

// Runs to the next stop; every eleventh time it waits for an event instead of running.
static void run(struct toy *t, unsigned stops) {
    for (unsigned i = 0; i < stops && !t->stopped; i++) {
        uint64_t until = inputs_next_stop(t->in, t->count), timer = t->timer - t->anchor;
        if (++t->steps % 11 == 0) {
            int err;
            struct landmark at = landmark(t);
            t->anchor = inputs_idle(t->in, &at, t->anchor, t->timer, &err);
        } else {
            t->count = timer > t->count && timer < until ? timer : until;
        }
        t->state = mix(t->state, t->anchor);
        one_stop(t);
    }
}

static void begin(struct toy *t, struct inputs *in, int fd) {
    assert_non_null(in);
    *t = (struct toy){
        .in = in, .timer = 500, .source = {.name = "wire", .fd = fd, .deliver = deliver}};
    t->source.opaque = t;
    struct inputs_target target = {t, check, sums, name_state, name_memory, stop};
    inputs_set_target(in, &target);
    inputs_add_source(in, &t->source);
    t->state = inputs_wall_clock(in);
    inputs_random(in, &t->random, sizeof(t->random));
    t->state = mix(t->state, t->random);
}

// Records a run with input at arbitrary moments; what came out is in *t.
static void record(struct toy *t, uint64_t seed) {
    char error[256];
    int wire[2];
    assert_int_equal(pipe2(wire, O_NONBLOCK), 0);
    const struct record_options options = {.seed = seed, .chaos = seed % 2, .sum_interval = 100000};
    begin(t, inputs_record(LOG, description, HZ, &options, error), wire[0]);
    for (unsigned i = 0; i < STOPS / 10; i++) {
        if (i % 3 == 0)
            assert_int_equal(write(wire[1], "hello, world", 1 + i % 12), 1 + i % 12);
        run(t, 10);
    }
    struct landmark at = landmark(t);
    assert_false(t->stopped);
    assert_int_equal(inputs_finish(t->in, &at, "powered off"), 0);
    inputs_free(t->in);
    close(wire[0]);
    close(wire[1]);
}

static void replay(struct toy *t) {
    char error[256] = "";
    begin(t, inputs_replay(LOG, description, HZ, error), -1);
    run(t, STOPS);
}

static void end(struct toy *t) {
    struct landmark at = landmark(t);
    if (inputs_finish(t->in, &at, "powered off") < 0)
        t->failed = true;
    inputs_free(t->in);
}

static void same_again(void **state) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct toy a, b;
        record(&a, seed);
        replay(&b);
        end(&b);
        assert_false(b.failed);
        assert_int_equal(a.state, b.state);
        assert_int_equal(a.memory.full, b.memory.full);
        assert_int_equal(a.count, b.count);
        assert_int_equal(a.anchor, b.anchor);
    }
}

// The control: a guest that does something else is noticed, at the next event.
static void other_guest(void **state) {
    struct toy a, b;
    record(&a, 1);
    char error[256];
    begin(&b, inputs_replay(LOG, description, HZ, error), -1);
    run(&b, 100);
    b.state ^= 1;
    run(&b, STOPS - 100);
    end(&b);
    assert_true(b.failed);
    assert_non_null(strstr(b.reason, "register field 0"));
}

static void memory_byte(void **state) {
    struct toy a, b;
    record(&a, 1);
    char error[256];
    begin(&b, inputs_replay(LOG, description, HZ, error), -1);
    run(&b, 100);
    b.memory.full ^= 4;
    b.memory.masked ^= 4;
    run(&b, STOPS - 100);
    end(&b);
    assert_true(b.failed);
    assert_non_null(strstr(b.reason, "memory, unit 0"));
}

static void other_machine(void **state) {
    struct toy a;
    char error[256];
    record(&a, 0);
    assert_null(
        inputs_replay(LOG, "tick instruction\nmemory 2\nkernel 12 00ff vmlinuz\n", HZ, error));
    assert_non_null(strstr(error, "recorded \"memory 1\", here \"memory 2\""));
}

// A name that slipped in a command line: what is not a log stays as it is.
static void other_files_are_not_overwritten(void **state) {
    struct toy a;
    char error[256] = "", text[16] = "";
    unlink(LOG);
    FILE *f = fopen(LOG, "w");
    fputs("a disk's image", f);
    fclose(f);
    assert_null(inputs_record(LOG, description, HZ, &(struct record_options){0}, error));
    assert_non_null(strstr(error, "is no log"));
    f = fopen(LOG, "r");
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_string_equal(text, "a disk's image");
    f = fopen(LOG, "w");
    fwrite((const char[4096]){0}, 4096, 1, f);
    fclose(f);
    assert_null(inputs_record(LOG, description, HZ, &(struct record_options){0}, error));
    assert_non_null(strstr(error, "power cut left so. It is not overwritten; remove it"));
    unlink(LOG);
    record(&a, 0);
    record(&a, 0); // a log may be
}

// Left in the middle and recorded on: the new log has both parts, and needs nothing of the old one.
static void left_and_recorded_on(void **state) {
    struct toy a, b, c;
    char error[256] = "";
    record(&a, 2);
    begin(&b, inputs_replay(LOG, description, HZ, error), -1);
    run(&b, 700);
    struct landmark at = landmark(&b);
    assert_int_equal(inputs_go_live(b.in, LOG, &at, error), -EINVAL); // it is being read
    unlink(NEW_LOG);
    assert_int_equal(symlink(LOG, NEW_LOG), 0);
    assert_int_equal(inputs_go_live(b.in, NEW_LOG, &at, error), -EINVAL); // under another name
    unlink(NEW_LOG);
    assert_int_equal(inputs_go_live(b.in, NEW_LOG, &at, error), 0);
    assert_false(inputs_replaying(b.in));
    run(&b, 300);
    at = landmark(&b);
    assert_int_equal(inputs_finish(b.in, &at, "powered off"), 0);
    inputs_free(b.in);
    begin(&c, inputs_replay(NEW_LOG, description, HZ, error), -1);
    while (!c.stopped && c.anchor + c.count < b.anchor + b.count)
        run(&c, 1);
    end(&c);
    if (c.failed)
        fail_msg("%s", c.reason);
    assert_int_equal(c.state, b.state);
    assert_int_equal(c.memory.full, b.memory.full);
    unlink(NEW_LOG);
}

// ---- a source that takes something else than what is typed ------------------------------------------------
static struct input_source typed_source;
static char received[64];

// Letters grow; '<' belongs to the letter behind it, which stays as it is, and alone it becomes '!'.
static size_t translate(void *opaque, const uint8_t *typed, size_t n, uint8_t *to, size_t size) {
    size_t used = 0;
    assert_true(size > n);
    if (!n)
        to[used++] = '!';
    for (size_t i = 0; i < n; i++) {
        bool small = i ? typed[i - 1] == '<' : typed_source.unfinished;
        if (typed[i] != '<')
            to[used++] = small ? typed[i] : (uint8_t)(typed[i] - 32);
    }
    typed_source.unfinished = n && typed[n - 1] == '<';
    return used;
}

static size_t room_for_three(void *opaque) {
    return 3;
}

static void receive(void *opaque, const uint8_t *data, size_t n) {
    assert_true(n <= 3);
    strncat(received, (const char *)data, n);
}

static void what_is_typed_is_translated(void **state) {
    int wire[2], err = 0;
    const struct landmark at = {0};
    struct inputs *in = inputs_pass_through(HZ);
    assert_int_equal(pipe2(wire, O_NONBLOCK), 0);
    typed_source = (struct input_source){.name = "keys",
                                         .fd = wire[0],
                                         .room = room_for_three,
                                         .deliver = receive,
                                         .translate = translate};
    received[0] = 0;
    inputs_add_source(in, &typed_source);
    assert_int_equal(write(wire[1], "abcd<", 5), 5);
    inputs_deliver(in, &at);
    assert_string_equal(received, "ABC"); // as the device has room
    assert_int_equal(write(wire[1], "x<", 2), 2);
    inputs_deliver(in, &at);
    assert_string_equal(received, "ABCDx");
    // Idle without any deadline: what is unfinished does not wait for the next key.
    inputs_idle(in, &at, 0, UINT64_MAX, &err);
    assert_int_equal(err, 0);
    inputs_deliver(in, &at);
    assert_string_equal(received, "ABCDx!");
    assert_int_equal(write(wire[1], "<", 1), 1);
    close(wire[1]);
    for (unsigned i = 0; i < 3; i++)
        inputs_deliver(in, &at);
    assert_string_equal(received, "ABCDx!!"); // nor does it at the end of the wire
    inputs_free(in);
    close(wire[0]);
}

// Reads all records; returns log_next()'s last result, the error in `error`.
static int read_all(const uint8_t *data, size_t size, char error[256], uint64_t *records) {
    error[0] = 0;
    struct log_reader *r = log_open_memory("x.log", data, size, error);
    if (!r)
        return -1;
    struct log_record record;
    int got;
    *records = 0;
    while ((got = log_next(r, &record)) > 0)
        ++*records;
    snprintf(error, 256, "%s", log_error(r));
    log_reader_free(r);
    return got;
}

static uint8_t *read_log(size_t *size) {
    FILE *f = fopen(LOG, "rb");
    uint8_t *data = malloc(1 << 20);
    assert_true(f && data);
    *size = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void damage(void **state) {
    struct toy a;
    record(&a, 3);
    char error[256];
    size_t size;
    uint64_t records, all;
    uint8_t *data = read_log(&size);
    assert_int_equal(read_all(data, size, error, &all), 0);
    assert_true(all > 50);
    for (size_t i = 0; i < size; i++) { // every byte in turn
        data[i] ^= 0x10;
        assert_int_equal(read_all(data, size, error, &records), -1);
        assert_true(error[0]);
        data[i] ^= 0x10;
    }
    for (size_t n = 0; n < size; n++) { // cut anywhere
        assert_int_equal(read_all(data, n, error, &records), -1);
        assert_true(error[0]);
    }
    data[8] = 99;
    assert_int_equal(read_all(data, size, error, &records), -1);
    assert_non_null(strstr(error, "version 99"));
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_again),
        cmocka_unit_test(other_guest),
        cmocka_unit_test(memory_byte),
        cmocka_unit_test(other_machine),
        cmocka_unit_test(damage),
        cmocka_unit_test(left_and_recorded_on),
        cmocka_unit_test(other_files_are_not_overwritten),
        cmocka_unit_test(what_is_typed_is_translated),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(LOG);
    return failed;
}
