// epoll. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static int add(int ep, int fd, unsigned events) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}
static int mod(int ep, int fd, unsigned events) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}
// Events that hold for one descriptor now, 0: none.
static unsigned now(int ep) {
    struct epoll_event e = {0};
    return epoll_wait(ep, &e, 1, 0) == 1 ? e.events : 0;
}

static void test_level(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC), p[2];
    struct epoll_event e[4];
    char c;
    pipe(p);
    check(ep >= 0, "create", "%d", ep);
    CHECK_EQUAL("add", add(ep, p[0], EPOLLIN), 0);
    CHECK_ERROR("add twice", add(ep, p[0], EPOLLIN), EEXIST);
    CHECK_ERROR("mod of unknown", mod(ep, p[1], EPOLLIN), ENOENT);
    CHECK_ERROR("itself", add(ep, ep, EPOLLIN), EINVAL);
    CHECK_ERROR("bad descriptor", add(ep, 999, EPOLLIN), EBADF);
    CHECK_ERROR("not an epoll", add(p[0], p[1], EPOLLIN), EINVAL);
    int file = open("/", O_RDONLY);
    CHECK_ERROR("directory", add(ep, file, EPOLLIN), EPERM);
    close(file);
    CHECK_ERROR("no room", epoll_wait(ep, e, 0, 0), EINVAL);
    CHECK_EQUAL("nothing", epoll_wait(ep, e, 4, 0), 0);
    CHECK_EQUAL("time-out", epoll_wait(ep, e, 4, 20), 0);
    write(p[1], "ab", 2);
    CHECK_EQUAL("ready", epoll_wait(ep, e, 4, -1), 1);
    CHECK_EQUAL("event", e[0].events, EPOLLIN);
    CHECK_EQUAL("data", e[0].data.fd, p[0]);
    CHECK_EQUAL("level: still ready", now(ep), EPOLLIN);
    read(p[0], &c, 1);
    CHECK_EQUAL("level: a byte is left", now(ep), EPOLLIN);
    read(p[0], &c, 1);
    CHECK_EQUAL("level: empty", now(ep), 0);
    CHECK_EQUAL("delete", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), 0);
    CHECK_ERROR("delete again", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), ENOENT);
    write(p[1], "x", 1);
    CHECK_EQUAL("deleted is silent", now(ep), 0);
    CHECK_EQUAL("add when ready", add(ep, p[0], EPOLLIN), 0);
    CHECK_EQUAL("ready at once", now(ep), EPOLLIN);
    write(p[1], "y", 1);
    CHECK_ERROR("bad memory", syscall(SYS_epoll_wait, ep, bad_memory, 1, 0), EFAULT);
    CHECK_EQUAL("not lost by the fault", now(ep), EPOLLIN);
    close(p[1]);
    CHECK_EQUAL("hang-up", now(ep), EPOLLIN | EPOLLHUP);
    close(p[0]);
    CHECK_EQUAL("closed is gone", epoll_wait(ep, e, 4, 0), 0);
    close(ep);
}

static void test_modes(void) {
    int ep = epoll_create1(0), ev = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1, v;
    add(ep, ev, EPOLLIN | EPOLLET);
    CHECK_EQUAL("edge: nothing", now(ep), 0);
    write(ev, &one, 8);
    CHECK_EQUAL("edge: once", now(ep), EPOLLIN);
    CHECK_EQUAL("edge: not twice", now(ep), 0);
    write(ev, &one, 8);
    CHECK_EQUAL("edge: new event", now(ep), EPOLLIN);
    CHECK_EQUAL("edge: mod", mod(ep, ev, EPOLLIN | EPOLLET), 0);
    CHECK_EQUAL("edge: mod tells again", now(ep), EPOLLIN);
    CHECK_EQUAL("one-shot: mod", mod(ep, ev, EPOLLIN | EPOLLONESHOT), 0);
    CHECK_EQUAL("one-shot: fires", now(ep), EPOLLIN);
    write(ev, &one, 8);
    CHECK_EQUAL("one-shot: only once", now(ep), 0);
    mod(ep, ev, EPOLLIN | EPOLLOUT | EPOLLONESHOT);
    CHECK_EQUAL("one-shot: armed again", now(ep), EPOLLIN | EPOLLOUT);
    mod(ep, ev, 0);
    CHECK_EQUAL("no events", now(ep), 0);
    read(ev, &v, 8);
    int copy = dup(ev);
    mod(ep, ev, EPOLLIN);
    CHECK_EQUAL("same file, other number", add(ep, copy, EPOLLIN), 0);
    write(ev, &one, 8);
    struct epoll_event e[4];
    CHECK_EQUAL("both", epoll_wait(ep, e, 4, 0), 2);
    CHECK_EQUAL("room for one", epoll_wait(ep, e, 1, 0), 1);
    int first = e[0].data.fd;
    CHECK_EQUAL("then the other", epoll_wait(ep, e, 1, 0), 1);
    check(e[0].data.fd != first, "round robin", "same one twice");
    epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL);
    close(copy);
    CHECK_ERROR("exclusive needs add", mod(ep, ev, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL);
    CHECK_ERROR("exclusive and one-shot", add(ep, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT),
                EINVAL);
    CHECK_EQUAL("exclusive", add(ep, ev, EPOLLIN | EPOLLEXCLUSIVE), 0);
    CHECK_EQUAL("exclusive fires", now(ep), EPOLLIN);
    CHECK_ERROR("exclusive cannot change", mod(ep, ev, EPOLLIN), EINVAL);
    close(ev);
    close(ep);
}

static void test_nested(void) {
    int a = epoll_create1(0), b = epoll_create1(0), ev = eventfd(0, 0);
    uint64_t one = 1;
    CHECK_EQUAL("nest", add(a, b, EPOLLIN), 0);
    CHECK_ERROR("loop", add(b, a, EPOLLIN), ELOOP);
    add(b, ev, EPOLLIN);
    CHECK_EQUAL("nested: nothing", now(a), 0);
    write(ev, &one, 8);
    CHECK_EQUAL("nested: ready", now(a), EPOLLIN);
    CHECK_EQUAL("inner: ready", now(b), EPOLLIN);
    CHECK_EQUAL("nested: still", now(a), EPOLLIN);
    read(ev, &one, 8);
    CHECK_EQUAL("nested: no more", now(a), 0);
    int chain[8], made = 0;
    for (int i = 0; i < 8; i++)
        chain[i] = epoll_create1(0);
    while (made < 7 && add(chain[made + 1], chain[made], EPOLLIN) == 0)
        made++;
    check(made >= 4 && made < 7, "long chain refused", "%d links", made);
    for (int i = 0; i < 8; i++)
        close(chain[i]);
    close(a);
    close(b);
    close(ev);
}

static volatile sig_atomic_t got;
static void on_signal(int sig) {
    got = sig;
}

static void test_pwait(void) {
    int ep = epoll_create1(0);
    struct epoll_event e;
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t block, none;
    sigaction(SIGUSR1, &sa, NULL);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    CHECK_EQUAL("blocked signal", epoll_wait(ep, &e, 1, 1), 0);
    CHECK_ERROR("pwait lets it in, never restarts", epoll_pwait(ep, &e, 1, -1, &none), EINTR);
    CHECK_EQUAL("handler ran", got, SIGUSR1);
    struct timespec ts = {0, 1000000};
    CHECK_EQUAL("pwait2", syscall(SYS_epoll_pwait2, ep, &e, 1, &ts, NULL, 0), 0);
    ts.tv_nsec = -1;
    CHECK_ERROR("pwait2 bad time", syscall(SYS_epoll_pwait2, ep, &e, 1, &ts, NULL, 0), EINVAL);
    close(ep);
}

struct job {
    int ep, taken;
};
static void *taker(void *arg) {
    struct job *j = arg;
    struct epoll_event e;
    while (epoll_wait(j->ep, &e, 1, -1) == 1) {
        if (e.data.fd < 0)
            break;
        char c;
        if (read(e.data.fd, &c, 1) == 1)
            __atomic_fetch_add(&j->taken, 1, __ATOMIC_SEQ_CST);
        mod(j->ep, e.data.fd, EPOLLIN | EPOLLONESHOT);
    }
    return NULL;
}

// Threads that share a set: every byte is taken exactly once, and nobody sleeps through one.
static void test_threads(void) {
    enum { PIPES = 8, BYTES = 200 };
    struct job j = {epoll_create1(0), 0};
    int p[PIPES][2], quit = eventfd(0, 0);
    uint64_t one = 1;
    for (int i = 0; i < PIPES; i++) {
        pipe2(p[i], O_NONBLOCK);
        add(j.ep, p[i][0], EPOLLIN | EPOLLONESHOT);
    }
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, taker, &j);
    for (int n = 0; n < BYTES; n++)
        for (int i = 0; i < PIPES; i++)
            write(p[i][1], "x", 1);
    while (__atomic_load_n(&j.taken, __ATOMIC_SEQ_CST) < PIPES * BYTES)
        sched_yield();
    struct epoll_event e = {.events = EPOLLIN, .data.fd = -1};
    epoll_ctl(j.ep, EPOLL_CTL_ADD, quit, &e);
    write(quit, &one, 8);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    CHECK_EQUAL("threads: every byte once", j.taken, PIPES * BYTES);
    for (int i = 0; i < PIPES; i++)
        close(p[i][0]), close(p[i][1]);
    close(quit);
    close(j.ep);
}

static void test_many(void) {
    enum { N = 300 };
    int ep = epoll_create1(0), ev[N];
    uint64_t one = 1;
    struct epoll_event e[N];
    for (int i = 0; i < N; i++) {
        ev[i] = eventfd(0, 0);
        add(ep, ev[i], EPOLLIN);
    }
    for (int i = 0; i < N; i += 3)
        write(ev[i], &one, 8);
    CHECK_EQUAL("a third is ready", epoll_wait(ep, e, N, -1), N / 3);
    for (int i = 0; i < N; i++)
        close(ev[i]);
    CHECK_EQUAL("all closed", epoll_wait(ep, e, N, 0), 0);
    close(ep);
}

int main(void) {
    test_level();
    test_modes();
    test_nested();
    test_pwait();
    test_threads();
    test_many();
    return check_end();
}
