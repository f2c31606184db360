// Pipes and FIFOs. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t got_signal;
static void on_signal(int sig) {
    got_signal = sig;
}

static short polled(int fd, short events) {
    struct pollfd p = {fd, events, 0};
    poll(&p, 1, 0);
    return p.revents;
}

static void test_basic(void) {
    int p[2];
    char buf[16];
    CHECK_EQUAL("pipe", pipe(p), 0);
    CHECK_EQUAL("write", write(p[1], "hello", 5), 5);
    int n = 0;
    CHECK_EQUAL("FIONREAD", ioctl(p[0], FIONREAD, &n), 0);
    CHECK_EQUAL("FIONREAD value", n, 5);
    CHECK_EQUAL("read part", read(p[0], buf, 2), 2);
    CHECK_EQUAL("read rest", read(p[0], buf + 2, 14), 3);
    CHECK_EQUAL("contents", memcmp(buf, "hello", 5), 0);
    CHECK_EQUAL("read of nothing", read(p[0], buf, 0), 0);
    CHECK_ERROR("read from write end", read(p[1], buf, 1), EBADF);
    CHECK_ERROR("write to read end", write(p[0], buf, 1), EBADF);
    CHECK_ERROR("lseek", lseek(p[0], 0, SEEK_SET), ESPIPE);
    CHECK_ERROR("pread", pread(p[0], buf, 1, 0), ESPIPE);
    struct stat st;
    CHECK_EQUAL("fstat", fstat(p[0], &st), 0);
    check(S_ISFIFO(st.st_mode), "is a FIFO", "mode %o", st.st_mode);
    CHECK_ERROR("write from bad memory", write(p[1], bad_memory, 1), EFAULT);
    CHECK_ERROR("pipe into bad memory", pipe(bad_memory), EFAULT);
    CHECK_ERROR("pipe2 bad flags", pipe2(p, 1 << 30), EINVAL);
    close(p[1]);
    CHECK_EQUAL("end of file", read(p[0], buf, 1), 0);
    CHECK_EQUAL("poll at end", polled(p[0], POLLIN), POLLHUP);
    close(p[0]);
}

static void test_nonblock(void) {
    int p[2];
    char block[4096] = {0};
    CHECK_EQUAL("pipe2", pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQUAL("cloexec", fcntl(p[0], F_GETFD), FD_CLOEXEC);
    CHECK_ERROR("empty", read(p[0], block, 1), EAGAIN);
    CHECK_EQUAL("poll empty", polled(p[0], POLLIN), 0);
    CHECK_EQUAL("poll writable", polled(p[1], POLLOUT), POLLOUT);
    long total = 0, n;
    while ((n = write(p[1], block, sizeof(block))) > 0)
        total += n;
    CHECK_EQUAL("capacity", total, 65536);
    CHECK_ERROR("full", write(p[1], block, 1), EAGAIN);
    CHECK_EQUAL("poll full", polled(p[1], POLLOUT), 0);
    CHECK_EQUAL("poll readable", polled(p[0], POLLIN), POLLIN);
    CHECK_EQUAL("make room", read(p[0], block, 4096), 4096);
    CHECK_EQUAL("poll room", polled(p[1], POLLOUT), POLLOUT);
    CHECK_EQUAL("atomic write", write(p[1], block, 4096), 4096);
    CHECK_EQUAL("size", fcntl(p[0], F_GETPIPE_SZ), 65536);
    CHECK_ERROR("shrink below contents", fcntl(p[0], F_SETPIPE_SZ, 4096), EBUSY);
    CHECK_EQUAL("grow", fcntl(p[0], F_SETPIPE_SZ, 100000), 131072);
    CHECK_EQUAL("still full of what it had", read(p[0], block, 4096), 4096);
    close(p[0]);
    close(p[1]);
}

static void test_broken(void) {
    int p[2];
    pipe(p);
    close(p[0]);
    signal(SIGPIPE, on_signal);
    got_signal = 0;
    CHECK_ERROR("broken pipe", write(p[1], "x", 1), EPIPE);
    CHECK_EQUAL("SIGPIPE", got_signal, SIGPIPE);
    check(polled(p[1], POLLOUT) & POLLERR, "poll broken", "no POLLERR");
    close(p[1]);
}

// A megabyte through a pipe, in odd pieces, must come out as it went in.
static void test_bulk(void) {
    int p[2];
    pipe(p);
    pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        unsigned char buf[7919];
        long at = 0;
        while (at < 1000000) {
            long n = 1000000 - at < (long)sizeof(buf) ? 1000000 - at : (long)sizeof(buf);
            for (long i = 0; i < n; i++)
                buf[i] = (unsigned char)((at + i) * 31 >> 3);
            if (write(p[1], buf, n) != n)
                _exit(1);
            at += n;
        }
        _exit(0);
    }
    close(p[1]);
    unsigned char buf[10007];
    long at = 0, n, wrong = 0;
    while ((n = read(p[0], buf, sizeof(buf))) > 0) {
        for (long i = 0; i < n; i++)
            wrong += buf[i] != (unsigned char)((at + i) * 31 >> 3);
        at += n;
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL("bulk length", at, 1000000);
    CHECK_EQUAL("bulk contents", wrong, 0);
    CHECK_EQUAL("bulk writer", status, 0);
    close(p[0]);
}

// Records of writers that compete are never mixed when they are no longer than PIPE_BUF.
static void test_atomic(void) {
    enum { WRITERS = 4, RECORDS = 100, SIZE = 3000 };
    int p[2];
    pipe(p);
    for (int w = 0; w < WRITERS; w++) {
        if (fork() == 0) {
            char record[SIZE];
            memset(record, 'a' + w, SIZE);
            for (int i = 0; i < RECORDS; i++)
                if (write(p[1], record, SIZE) != SIZE)
                    _exit(1);
            _exit(0);
        }
    }
    close(p[1]);
    int mixed = 0, count = 0;
    char record[SIZE];
    for (;;) {
        int have = 0, n;
        while (have < SIZE && (n = read(p[0], record + have, SIZE - have)) > 0)
            have += n;
        if (have < SIZE)
            break;
        count++;
        for (int i = 1; i < SIZE; i++)
            if (record[i] != record[0]) {
                mixed++;
                break;
            }
    }
    for (int w = 0; w < WRITERS; w++)
        wait(NULL);
    CHECK_EQUAL("records", count, WRITERS * RECORDS);
    CHECK_EQUAL("records not mixed", mixed, 0);
    close(p[0]);
}

static void test_interrupt(void) {
    int p[2], ready[2];
    pipe(p);
    pipe(ready);
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    pid_t parent = getpid(), child = fork();
    if (child == 0) { // repeats until the parent is done: it may not be asleep yet
        while (polled(ready[0], POLLIN) == 0 && kill(parent, SIGUSR1) == 0)
            poll(NULL, 0, 1);
        _exit(0);
    }
    char c;
    CHECK_ERROR("read interrupted", read(p[0], &c, 1), EINTR);
    sa.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &sa, NULL);
    write(ready[1], "x", 1);
    waitpid(child, NULL, 0);
    for (int i = 0; i < 2; i++)
        close(p[i]), close(ready[i]);
}

static void test_fifo(void) {
    char dir[] = "/tmp/fifoXXXXXX", path[64], c = 0;
    mkdtemp(dir);
    snprintf(path, sizeof(path), "%s/f", dir);
    CHECK_EQUAL("mkfifo", mkfifo(path, 0600), 0);
    CHECK_ERROR("no reader", open(path, O_WRONLY | O_NONBLOCK), ENXIO);
    int r = open(path, O_RDONLY | O_NONBLOCK);
    check(r >= 0, "reader without writer", "%d", r);
    CHECK_EQUAL("no writer yet: no hang-up", polled(r, POLLIN), 0);
    CHECK_EQUAL("no writer: end of file", read(r, &c, 1), 0);
    int w = open(path, O_WRONLY | O_NONBLOCK);
    check(w >= 0, "writer", "%d", w);
    CHECK_ERROR("empty", read(r, &c, 1), EAGAIN);
    CHECK_EQUAL("write", write(w, "z", 1), 1);
    CHECK_EQUAL("read", read(r, &c, 1), 1);
    close(w);
    CHECK_EQUAL("hang-up after writer", polled(r, POLLIN), POLLHUP);
    close(r);
    int both = open(path, O_RDWR);
    check(both >= 0, "O_RDWR does not wait", "%d", both);
    CHECK_EQUAL("to itself", write(both, "y", 1), 1);
    CHECK_EQUAL("from itself", read(both, &c, 1), 1);
    close(both);
    pid_t child = fork();
    if (child == 0) { // both wait for each other
        int fd = open(path, O_WRONLY);
        _exit(fd < 0 || write(fd, "meet", 4) != 4);
    }
    r = open(path, O_RDONLY);
    char buf[8];
    CHECK_EQUAL("meeting", read(r, buf, 4), 4);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL("met", status, 0);
    close(r);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    test_basic();
    test_nonblock();
    test_broken();
    test_bulk();
    test_atomic();
    test_interrupt();
    test_fifo();
    return check_end();
}
