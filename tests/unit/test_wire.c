/* sources: replay/wire.c replay/server.c replay/remote.c tests/unit/target_mock.c */
// Front and machine processes with real sockets, signals and forks: every operation, interrupts, copies, and what
// happens when one of the two vanishes.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "replay/remote.h"
#include "replay/server.h"
#include "replay/wire.h"
#include "target_mock.h"

#define LARGE (3 * WIRE_DATA_MAX + 1000) // bytes of memory beside the mock's

// ---- a machine process: the mock, with large memory and runs without end ------------------------------------
static uint8_t large[LARGE];
static volatile sig_atomic_t stop_run;
static bool forks_badly;

static void interrupt(void *target) {
    stop_run = 1;
}

// Until count 0 is reached: never, but an interrupt ends it.
static void run(void *target, const struct run_request *q, struct run_result *result) {
    if (q->until_count != 0) {
        mock_ops.run(target, q, result);
        return;
    }
    for (stop_run = 0; !stop_run;)
        usleep(1000);
    mock_where(target, &result->position);
    result->end = RAN_INTERRUPTED;
}

static long read_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    if (space == SPACE_LINEAR)
        return mock_ops.read_memory(target, cpu, space, address, buf, n);
    if (address >= LARGE)
        return -EFAULT;
    n = n < LARGE - address ? n : LARGE - address;
    memcpy(buf, large + address, n);
    return n;
}

static long write_memory(void *target, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n) {
    if (space == SPACE_LINEAR)
        return mock_ops.write_memory(target, cpu, space, address, buf, n);
    n = n < LARGE - address ? n : LARGE - address;
    memcpy(large + address, buf, n);
    return n;
}

static int after_fork(void *target) {
    return forks_badly ? -ENOSPC : 0;
}

static void serve(int socket) {
    static struct mock mock;
    struct target_ops ops = mock_ops;
    mock_init(&mock, 7, 2, 60);
    ops.interrupt = interrupt;
    ops.run = run;
    ops.read_memory = read_memory;
    ops.write_memory = write_memory;
    ops.after_fork = after_fork;
    server_run(socket, &ops, &mock);
    _exit(0);
}

static struct remote start(void) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        serve(ends[1]);
    }
    close(ends[1]);
    struct remote r = {ends[0], pid};
    struct target_info info;
    remote_info(&r, &info); // it answers: signals do not kill it now
    return r;
}

static void run_to(struct remote *r, uint64_t count, struct run_result *result) {
    struct run_request q = {.until_count = count};
    assert_false(remote_run(r, &q, NULL, result));
}

// ---- every operation ---------------------------------------------------------------------------------------
static void test_operations(void **state) {
    struct remote r = start();
    struct mock twin;
    mock_init(&twin, 7, 2, 60);
    struct target_info info;
    remote_info(&r, &info);
    assert_string_equal(info.name, "mock");
    assert_int_equal(info.cpus, 2);
    struct run_result result, here;
    run_to(&r, 100, &result);
    assert_int_equal(result.end, RAN_TO_PLACE);
    struct run_request q = {.until_count = 100};
    mock_ops.run(&twin, &q, &here);
    assert_memory_equal(&result.position, &here.position, sizeof(here.position));
    assert_int_equal(remote_hash(&r, true), mock_state(&twin));
    struct position p;
    remote_where(&r, &p);
    assert_memory_equal(&p, &here.position, sizeof(p));
    assert_int_equal(remote_event_v(&r, 3), mock_ops.event_v(&twin, 3));
    assert_int_equal(remote_event_v(&r, 60), UINT64_MAX);
    uint64_t physical;
    assert_int_equal(remote_translate(&r, 0, 8, &physical), 0);
    assert_int_equal(physical, 8);
    assert_int_equal(remote_translate(&r, 0, 1 << 20, &physical), -EFAULT);
    char text[40], error[256];
    remote_text(&r, TEXT_EVENTS, "some", text, sizeof(text));
    assert_string_equal(text, "text 2 of 'some'");
    remote_text(&r, TEXT_EVENTS, "some", text, 5);
    assert_string_equal(text, "text");
    struct target_registers regs, mine;
    assert_int_equal(remote_read_registers(&r, 1, &regs), 0);
    mock_ops.read_registers(&twin, 1, &mine);
    assert_memory_equal(&regs, &mine, sizeof(regs));
    assert_int_equal(remote_read_registers(&r, 2, &regs), -EINVAL);
    assert_int_equal(remote_write_registers(&r, 1, &mine), -EPERM);
    assert_int_equal(remote_go_live(&r, "/bad", error), -ENOENT);
    assert_string_equal(error, "/bad: no such folder");
    assert_int_equal(remote_go_live(&r, "", error), 0);
    mine.general[0] = 99;
    assert_int_equal(remote_write_registers(&r, 1, &mine), 0);
    assert_int_equal(remote_read_registers(&r, 1, &regs), 0);
    assert_int_equal(regs.general[0], 99);
    remote_close(&r);
}

static void test_large_memory(void **state) {
    struct remote r = start();
    uint8_t *bytes = malloc(LARGE + 10), *back = malloc(LARGE + 10);
    for (unsigned i = 0; i < LARGE + 10; i++)
        bytes[i] = i * 7 + i / 256;
    assert_int_equal(remote_write_memory(&r, 0, SPACE_PHYSICAL, 0, bytes, LARGE + 10), LARGE);
    assert_int_equal(remote_read_memory(&r, 0, SPACE_PHYSICAL, 0, back, LARGE + 10), LARGE);
    assert_memory_equal(bytes, back, LARGE);
    assert_int_equal(remote_read_memory(&r, 0, SPACE_PHYSICAL, LARGE - 3, back, 10), 3);
    assert_int_equal(remote_read_memory(&r, 0, SPACE_PHYSICAL, LARGE, back, 10), -EFAULT);
    assert_int_equal(remote_write_memory(&r, 0, SPACE_LINEAR, 0, bytes, 8), -EPERM);
    free(bytes);
    free(back);
    remote_close(&r);
}

static void test_breakpoints(void **state) {
    struct remote r = start();
    struct breakpoint all[BREAKPOINTS_MAX];
    for (unsigned i = 0; i < BREAKPOINTS_MAX; i++)
        all[i] = (struct breakpoint){BREAK_SOFTWARE, 0, 0x100000 + i, ANY_CR3};
    all[BREAKPOINTS_MAX - 1].address = MOCK_CODE + MOCK_MAIN;
    struct run_request q = {.until_count = UINT64_MAX,
                            .until_v = UINT64_MAX,
                            .breakpoint_count = BREAKPOINTS_MAX,
                            .breakpoints = all};
    struct run_result result;
    remote_run(&r, &q, NULL, &result);
    assert_int_equal(result.end, RAN_TO_BREAKPOINT);
    assert_int_equal(result.hit.which, BREAKPOINTS_MAX - 1);
    assert_int_equal(result.position.rip, MOCK_CODE + MOCK_MAIN);
    remote_close(&r);
}

// ---- copies ---------------------------------------------------------------------------------------------------
static void test_copies(void **state) {
    struct remote r = start(), copies[5];
    struct run_result result;
    uint64_t hash[5];
    for (unsigned i = 0; i < 5; i++) { // each a copy of a copy
        struct remote *from = i ? &copies[i - 1] : &r;
        run_to(from, 100 * i + 1, &result);
        hash[i] = remote_hash(from, true);
        assert_int_equal(remote_fork(from, &copies[i]), 0);
    }
    remote_close(&copies[2]); // the next ones live on
    run_to(&r, 400, &result);
    for (unsigned i = 0; i < 5; i++)
        if (i != 2) {
            run_to(&copies[i], 300 + 100 * i, &result);
            assert_int_equal(result.end, RAN_TO_PLACE);
        }
    assert_int_equal(remote_hash(&copies[1], true), remote_hash(&r, true));
    assert_int_not_equal(remote_hash(&r, true), hash[0]);
    remote_close(&r);
    remote_close(&copies[0]);
    remote_where(&copies[4], &result.position);
    assert_int_equal(result.position.count, 700);
    remote_close(&copies[1]);
    remote_close(&copies[3]);
    remote_close(&copies[4]);
}

static void test_copy_fails(void **state) {
    forks_badly = true;
    struct remote r = start(), copy;
    forks_badly = false;
    assert_int_equal(remote_fork(&r, &copy), -ENOSPC);
    struct run_result result;
    run_to(&r, 50, &result); // it is as before
    assert_int_equal(result.position.count, 50);
    remote_close(&r);
}

// ---- interrupts --------------------------------------------------------------------------------------------------
static bool read_byte(void *opaque) {
    char c;
    return read(*(int *)opaque, &c, 1) <= 0 || c == 3;
}

static void test_interrupt(void **state) {
    struct remote r = start();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct remote_attention attention = {ends[0], read_byte, &ends[0]};
    struct run_request forever = {.until_count = 0};
    struct run_result result;
    for (unsigned i = 0; i < 20; i++) { // also when it comes before the run
        assert_int_equal(write(ends[1], "ab\3", 3), 3);
        assert_true(remote_run(&r, &forever, &attention, &result));
        assert_int_equal(result.end, RAN_INTERRUPTED);
        run_to(&r, i + 1, &result); // none is left over
        assert_int_equal(result.end, RAN_TO_PLACE);
    }
    close(ends[1]); // whoever wanted the run is gone
    assert_true(remote_run(&r, &forever, &attention, &result));
    close(ends[0]);
    remote_close(&r);
}

// ---- somebody vanishes -----------------------------------------------------------------------------------------------
static void test_machine_dies(void **state) {
    struct remote r = start(), copy;
    assert_int_equal(remote_fork(&r, &copy), 0);
    kill(copy.pid, SIGKILL);
    struct run_request q = {.until_count = 10};
    struct run_result result;
    remote_run(&copy, &q, NULL, &result);
    assert_int_equal(result.end, RAN_INTO_DIFFERENCE);
    assert_string_equal(result.text, "the machine's process has ended unexpectedly");
    assert_int_equal(copy.socket, -1);
    struct target_registers regs;
    char error[256];
    assert_int_equal(remote_read_registers(&copy, 0, &regs), -EPIPE);
    assert_int_equal(remote_read_memory(&copy, 0, SPACE_LINEAR, 0, &regs, 8), -EPIPE);
    assert_int_equal(remote_write_memory(&copy, 0, SPACE_LINEAR, 0, &regs, 8), -EPIPE);
    assert_int_equal(remote_event_v(&copy, 0), UINT64_MAX);
    assert_int_equal(remote_go_live(&copy, "", error), -EPIPE);
    assert_string_equal(error, "the machine's process is gone");
    struct remote another;
    assert_int_equal(remote_fork(&copy, &another), -EPIPE);
    remote_close(&copy);
    remote_run(&r, &q, NULL, &result); // the other one is well
    assert_int_equal(result.end, RAN_TO_PLACE);
    remote_close(&r);
}

static void expect_end(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_front_dies(void **state) {
    struct remote idle = start(), busy = start();
    struct wire_request q = {.op = WIRE_RUN, .size = sizeof(struct run_request)};
    struct run_request forever = {.until_count = 0};
    assert_int_equal(wire_send(busy.socket, &q, sizeof(q), &forever, sizeof(forever), -1), 0);
    close(idle.socket);
    close(busy.socket);
    expect_end(idle.pid);
    expect_end(busy.pid);
}

static void test_close_while_running(void **state) {
    struct remote r = start();
    struct wire_request q = {.op = WIRE_RUN, .size = sizeof(struct run_request)};
    struct run_request forever = {.until_count = 0};
    assert_int_equal(wire_send(r.socket, &q, sizeof(q), &forever, sizeof(forever), -1), 0);
    remote_close(&r);
    assert_int_equal(waitpid(r.pid, NULL, WNOHANG), -1);
}

// Requests that no front makes end the machine, nothing worse.
static void test_bad_requests(void **state) {
    static const struct wire_request bad[] = {{.op = WIRE_OPS},
                                              {.op = WIRE_INFO, .size = WIRE_DATA_MAX + 1}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct remote r = start();
        assert_int_equal(wire_send(r.socket, &bad[i], sizeof(bad[i]), NULL, 0, -1), 0);
        expect_end(r.pid);
        close(r.socket);
    }
    struct remote r = start();
    struct run_request too_many = {.breakpoint_count = BREAKPOINTS_MAX + 1};
    struct wire_request q = {.op = WIRE_RUN, .size = sizeof(too_many)};
    struct wire_answer a;
    assert_int_equal(wire_send(r.socket, &q, sizeof(q), &too_many, sizeof(too_many), -1), 0);
    assert_int_equal(wire_receive(r.socket, &a, sizeof(a), NULL), 0);
    assert_int_equal(a.result, -EINVAL);
    q = (struct wire_request){.op = WIRE_READ_MEMORY, .length = WIRE_DATA_MAX + 1};
    assert_int_equal(wire_send(r.socket, &q, sizeof(q), NULL, 0, -1), 0);
    assert_int_equal(wire_receive(r.socket, &a, sizeof(a), NULL), 0);
    assert_int_equal(a.result, -EINVAL);
    remote_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operations),          cmocka_unit_test(test_large_memory),
        cmocka_unit_test(test_breakpoints),         cmocka_unit_test(test_copies),
        cmocka_unit_test(test_copy_fails),          cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_machine_dies),        cmocka_unit_test(test_front_dies),
        cmocka_unit_test(test_close_while_running), cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
