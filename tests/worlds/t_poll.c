// poll, ppoll, select, pselect6. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t got_signal;
static void on_signal(int sig) {
    got_signal = sig;
}

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void test_poll(void) {
    int p[2], q[2];
    pipe(p);
    pipe(q);
    struct pollfd f[4] = {{p[0], POLLIN, 0}, {q[1], POLLOUT, 0}, {-1, POLLIN, 7}, {999, POLLIN, 0}};
    CHECK_EQUAL("two ready", poll(f, 4, -1), 2);
    CHECK_EQUAL("empty pipe", f[0].revents, 0);
    CHECK_EQUAL("writable pipe", f[1].revents, POLLOUT);
    CHECK_EQUAL("negative is skipped", f[2].revents, 0);
    CHECK_EQUAL("bad descriptor", f[3].revents, POLLNVAL);
    long long begin = now_ms();
    CHECK_EQUAL("time-out", poll(f, 1, 50), 0);
    check(now_ms() - begin >= 49, "time-out takes its time", "%lld ms", now_ms() - begin);
    CHECK_EQUAL("no descriptors", poll(NULL, 0, 1), 0);
    CHECK_ERROR("bad memory", poll(bad_memory, 1, 0), EFAULT);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK_ERROR("too many", poll(f, limit.rlim_cur + 1, 0), EINVAL);
    int file = open("/dev/zero", O_RDWR);
    struct pollfd z = {file, POLLIN | POLLOUT, 0};
    CHECK_EQUAL("device", poll(&z, 1, 0), 1);
    CHECK_EQUAL("device events", z.revents, POLLIN | POLLOUT);
    close(file);
    pid_t child = fork();
    if (child == 0) {
        write(p[1], "x", 1);
        _exit(0);
    }
    CHECK_EQUAL("woken by another process", poll(f, 1, -1), 1);
    CHECK_EQUAL("woken for reading", f[0].revents, POLLIN);
    waitpid(child, NULL, 0);
    struct pollfd many[100];
    for (int i = 0; i < 100; i++)
        many[i] = (struct pollfd){i == 77 ? p[0] : q[0], POLLIN, 0};
    CHECK_EQUAL("hundred entries", poll(many, 100, -1), 1);
    CHECK_EQUAL("the right one", many[77].revents, POLLIN);
    for (int i = 0; i < 2; i++)
        close(p[i]), close(q[i]);
}

static void test_ppoll(void) {
    int p[2];
    pipe(p);
    struct pollfd f = {p[0], POLLIN, 0};
    struct sigaction sa = {.sa_handler = on_signal};
    sigset_t block, none, old;
    sigaction(SIGUSR1, &sa, NULL);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &old);
    raise(SIGUSR1);
    got_signal = 0;
    struct timespec limit = {10, 0};
    CHECK_ERROR("ppoll: pending signal let in", ppoll(&f, 1, &limit, &none), EINTR);
    CHECK_EQUAL("ppoll: handler ran", got_signal, SIGUSR1);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    check(sigismember(&now, SIGUSR1), "ppoll: mask restored", "not blocked");
    raise(SIGUSR1);
    got_signal = 0;
    limit = (struct timespec){0, 1000000};
    CHECK_EQUAL("ppoll: blocked signal stays out", ppoll(&f, 1, &limit, NULL), 0);
    CHECK_EQUAL("ppoll: no handler", got_signal, 0);
    sigset_t all;
    sigfillset(&all);
    write(p[1], "x", 1);
    CHECK_EQUAL("ppoll: ready", ppoll(&f, 1, NULL, &all), 1);
    limit = (struct timespec){100, 0};
    CHECK_EQUAL("raw ppoll", syscall(SYS_ppoll, &f, 1, &limit, NULL, 8), 1);
    check(limit.tv_sec >= 90 && limit.tv_sec < 100, "rest of the time", "%ld s",
          (long)limit.tv_sec);
    limit = (struct timespec){0, 1000000000};
    CHECK_ERROR("bad time", syscall(SYS_ppoll, &f, 1, &limit, NULL, 8), EINVAL);
    CHECK_ERROR("bad mask size", syscall(SYS_ppoll, &f, 1, NULL, &all, 4), EINVAL);
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK_EQUAL("pending signal arrives", got_signal, SIGUSR1);
    close(p[0]);
    close(p[1]);
}

static void test_select(void) {
    int p[2];
    pipe(p);
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval limit = {100, 0};
    CHECK_EQUAL("select", select(p[1] + 1, &r, &w, NULL, &limit), 1);
    check(!FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w), "select: the right bits", "wrong");
    check(limit.tv_sec >= 90 && limit.tv_sec < 100, "select: rest of the time", "%ld s",
          (long)limit.tv_sec);
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    limit = (struct timeval){0, 20000};
    CHECK_EQUAL("select: time-out", select(p[0] + 1, &r, NULL, NULL, &limit), 0);
    check(!FD_ISSET(p[0], &r), "select: cleared", "still set");
    check(limit.tv_sec == 0 && limit.tv_usec == 0, "select: no time left", "%ld",
          (long)limit.tv_usec);
    FD_SET(p[0], &r);
    close(p[1]);
    CHECK_EQUAL("select: end of file is readable", select(p[0] + 1, &r, NULL, NULL, NULL), 1);
    FD_ZERO(&r);
    FD_SET(60, &r);
    CHECK_ERROR("select: bad descriptor", select(61, &r, NULL, NULL, NULL), EBADF);
    CHECK_ERROR("select: negative", select(-1, NULL, NULL, NULL, NULL), EINVAL);
    limit = (struct timeval){0, 1000};
    CHECK_EQUAL("select: only time", select(0, NULL, NULL, NULL, &limit), 0);
    struct timespec ts = {0, 1000000};
    sigset_t none;
    sigemptyset(&none);
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    CHECK_EQUAL("pselect", pselect(p[0] + 1, &r, NULL, NULL, &ts, &none), 1);
    close(p[0]);
    int s[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    FD_ZERO(&r);
    FD_SET(s[0], &r);
    FD_ZERO(&w);
    FD_SET(s[0], &w);
    write(s[1], "x", 1);
    CHECK_EQUAL("select: two bits of one", select(s[0] + 1, &r, &w, NULL, NULL), 2);
    close(s[0]);
    close(s[1]);
}

int main(void) {
    test_poll();
    test_ppoll();
    test_select();
    return check_end();
}
