// timerfd. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define MS 1000000L

static int polled(int fd, int timeout) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, timeout);
}

static int set(int fd, int flags, long value_ns, long interval_ns) {
    struct itimerspec t = {{interval_ns / 1000000000, interval_ns % 1000000000},
                           {value_ns / 1000000000, value_ns % 1000000000}};
    return timerfd_settime(fd, flags, &t, NULL);
}

static void test_clock(int clock, const char *name) {
    char text[64];
    uint64_t n = 0;
    int fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
    snprintf(text, sizeof(text), "%s: create", name);
    check(fd >= 0, text, "%d", fd);
    snprintf(text, sizeof(text), "%s: not armed", name);
    CHECK_ERROR(text, read(fd, &n, 8), EAGAIN);
    struct timespec now;
    clock_gettime(clock, &now);
    struct itimerspec t = {{0, 0}, now};
    t.it_value.tv_nsec += 10 * MS;
    if (t.it_value.tv_nsec >= 1000000000) {
        t.it_value.tv_sec++;
        t.it_value.tv_nsec -= 1000000000;
    }
    snprintf(text, sizeof(text), "%s: absolute", name);
    CHECK_EQUAL(text, timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL), 0);
    snprintf(text, sizeof(text), "%s: expires", name);
    CHECK_EQUAL(text, polled(fd, -1), 1);
    struct timespec then;
    clock_gettime(clock, &then);
    snprintf(text, sizeof(text), "%s: not early", name);
    long ns = (then.tv_sec - t.it_value.tv_sec) * 1000000000 + then.tv_nsec - t.it_value.tv_nsec;
    check(ns >= 0, text, "%ld ns", ns);
    snprintf(text, sizeof(text), "%s: count", name);
    read(fd, &n, 8);
    CHECK_EQUAL(text, n, 1);
    close(fd);
}

int main(void) {
    uint64_t n = 0;
    test_clock(CLOCK_MONOTONIC, "monotonic");
    test_clock(CLOCK_REALTIME, "realtime");
    test_clock(CLOCK_BOOTTIME, "boottime");
    CHECK_ERROR("bad clock", timerfd_create(99, 0), EINVAL);
    CHECK_ERROR("bad flags", timerfd_create(CLOCK_MONOTONIC, 1 << 25), EINVAL);
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), p[2];
    CHECK_ERROR("short read", read(fd, &n, 4), EINVAL);
    struct itimerspec t = {{0, 0}, {0, 1000000000}};
    CHECK_ERROR("bad time", timerfd_settime(fd, 0, &t, NULL), EINVAL);
    CHECK_ERROR("bad settime flags", timerfd_settime(fd, 1 << 10, &t, NULL), EINVAL);
    pipe(p);
    CHECK_ERROR("not a timer", timerfd_gettime(p[0], &t), EINVAL);
    CHECK_ERROR("bad descriptor", timerfd_gettime(999, &t), EBADF);
    CHECK_EQUAL("relative", set(fd, 0, 5 * MS, 0), 0);
    CHECK_EQUAL("blocking read", read(fd, &n, 8), 8);
    CHECK_EQUAL("one expiry", n, 1);
    CHECK_EQUAL("in the past", set(fd, TFD_TIMER_ABSTIME, 1, 0), 0);
    read(fd, &n, 8);
    CHECK_EQUAL("fires at once", n, 1);
    uint64_t total = 0;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    CHECK_EQUAL("interval", set(fd, 0, 2 * MS, 2 * MS), 0);
    for (int i = 0; i < 5; i++) {
        read(fd, &n, 8);
        total += n;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    long ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / MS;
    check(total >= 5 && (long)total <= ms / 2 + 2, "periods match the time", "%ld in %ld ms",
          (long)total, ms);
    set(fd, 0, MS, MS);
    polled(fd, -1);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do // nobody reads: expiries add up
        clock_gettime(CLOCK_MONOTONIC, &end);
    while ((end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec < 10 * MS);
    read(fd, &n, 8);
    check(n >= 10, "expiries add up", "%ld", (long)n);
    timerfd_gettime(fd, &t);
    check(t.it_interval.tv_nsec == MS && t.it_value.tv_nsec > 0 && t.it_value.tv_nsec <= MS,
          "gettime", "%ld left", t.it_value.tv_nsec);
    struct itimerspec off = {{0, 0}, {0, 0}};
    CHECK_EQUAL("disarm", timerfd_settime(fd, 0, &off, &t), 0);
    CHECK_EQUAL("old interval", t.it_interval.tv_nsec, MS);
    CHECK_EQUAL("disarmed", polled(fd, 5), 0);
    timerfd_gettime(fd, &t);
    CHECK_EQUAL("no time left", t.it_value.tv_sec + t.it_value.tv_nsec, 0);
    return check_end();
}
