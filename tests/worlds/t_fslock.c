// flock, record locks, OFD locks: conflicts, ranges, waiting, release. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

static char path[] = "/tmp/t_fslockXXXXXX";

static int lock(int fd, int cmd, int type, off_t start, off_t len) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &l);
}

// What a child may lock: 0, or its errno.
static int child_locks(int type, off_t start, off_t len) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        _exit(lock(fd, F_SETLK, type, start, len) ? errno : 0);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void test_records(int fd) {
    CHECK_EQUAL("write lock", lock(fd, F_SETLK, F_WRLCK, 10, 10), 0);
    CHECK_EQUAL("child conflicts", child_locks(F_RDLCK, 15, 1), EAGAIN);
    CHECK_EQUAL("child before", child_locks(F_WRLCK, 0, 10), 0);
    CHECK_EQUAL("child behind", child_locks(F_WRLCK, 20, 0), 0);
    CHECK_EQUAL("unlock the middle", lock(fd, F_SETLK, F_UNLCK, 14, 2), 0);
    CHECK_EQUAL("middle is free", child_locks(F_WRLCK, 14, 2), 0);
    CHECK_EQUAL("left stays", child_locks(F_WRLCK, 13, 1), EAGAIN);
    CHECK_EQUAL("right stays", child_locks(F_WRLCK, 16, 1), EAGAIN);
    CHECK_EQUAL("downgrade", lock(fd, F_SETLK, F_RDLCK, 0, 0), 0);
    CHECK_EQUAL("readers share", child_locks(F_RDLCK, 0, 0), 0);
    CHECK_EQUAL("writer waits", child_locks(F_WRLCK, 1000, 1), EAGAIN);
    int other = open(path, O_RDONLY);
    CHECK_ERROR("write lock needs write", lock(other, F_SETLK, F_WRLCK, 0, 1), EBADF);
    close(other); // any close drops the process's locks
    CHECK_EQUAL("dropped by close", child_locks(F_WRLCK, 0, 0), 0);
    CHECK_ERROR("negative start", lock(fd, F_SETLK, F_RDLCK, -5, 2), EINVAL);
    CHECK_ERROR("bad type", lock(fd, F_SETLK, 77, 0, 1), EINVAL);
    CHECK_EQUAL("negative length", lock(fd, F_SETLK, F_WRLCK, 10, -5), 0);
    CHECK_EQUAL("from 5", child_locks(F_WRLCK, 5, 1), EAGAIN);
    CHECK_EQUAL("not 10", child_locks(F_WRLCK, 10, 1), 0);
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
}

static void test_getlk(int fd) {
    int to[2], from[2];
    char c = 0;
    pipe(to);
    pipe(from);
    pid_t pid = fork();
    if (pid == 0) {
        int mine = open(path, O_RDWR);
        lock(mine, F_SETLK, F_WRLCK, 100, 50);
        write(from[1], "l", 1);
        read(to[0], &c, 1);
        _exit(0);
    }
    read(from[0], &c, 1);
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    CHECK_EQUAL("F_GETLK", fcntl(fd, F_GETLK, &l), 0);
    CHECK_EQUAL("holder's type", l.l_type, F_WRLCK);
    CHECK_EQUAL("holder's pid", l.l_pid, pid);
    check(l.l_start == 100 && l.l_len == 50, "holder's range", "%ld %ld", (long)l.l_start,
          (long)l.l_len);
    l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};
    fcntl(fd, F_GETLK, &l);
    CHECK_EQUAL("free range", l.l_type, F_UNLCK);
    write(to[1], "x", 1);
    CHECK_EQUAL("wait for the child's end", lock(fd, F_SETLKW, F_WRLCK, 120, 1), 0);
    waitpid(pid, NULL, 0);
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
}

static void on_alarm(int sig) {
    (void)sig;
}

static void test_waiting(int fd) {
    struct itimerval often = {{0, 50000}, {0, 50000}}, off = {{0, 0}, {0, 0}};
    int ready[2], status;
    char c;
    pipe(ready);
    lock(fd, F_SETLK, F_WRLCK, 0, 1);
    pid_t pid = fork();
    if (pid == 0) {
        int mine = open(path, O_RDWR);
        struct sigaction sa = {.sa_handler = on_alarm};
        sigaction(SIGALRM, &sa, NULL);
        lock(mine, F_SETLK, F_WRLCK, 1, 1);
        write(ready[1], "r", 1);
        setitimer(ITIMER_REAL, &often, NULL); // the first may come before it waits
        if (lock(mine, F_SETLKW, F_WRLCK, 0, 1) != -1 || errno != EINTR)
            _exit(1);
        setitimer(ITIMER_REAL, &off, NULL);
        write(ready[1], "r", 1);
        if (lock(mine, F_SETLKW, F_WRLCK, 0, 1)) // now until it is free
            _exit(2);
        _exit(0);
    }
    read(ready[0], &c, 1);
    read(ready[0], &c, 1);
    wait_asleep(pid, 1);
    // The child holds byte 1 and waits for byte 0: waiting for byte 1 would be for ever.
    CHECK_ERROR("deadlock is found", lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    lock(fd, F_SETLK, F_UNLCK, 0, 1);
    waitpid(pid, &status, 0);
    CHECK_EQUAL("interrupted, then granted", WEXITSTATUS(status), 0);
}

static void test_flock(int fd) {
    int other = open(path, O_RDWR), copy = dup(fd), status;
    CHECK_EQUAL("flock", flock(fd, LOCK_EX), 0);
    CHECK_ERROR("other open file", flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    CHECK_EQUAL("same open file", flock(copy, LOCK_SH), 0);
    CHECK_EQUAL("shared", flock(other, LOCK_SH | LOCK_NB), 0);
    CHECK_ERROR("upgrade", flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    CHECK_EQUAL("independent of records", child_locks(F_WRLCK, 0, 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int mine = open(path, O_RDWR);
        _exit(flock(mine, LOCK_EX) ? 1 : 0);
    }
    flock(other, LOCK_UN);
    close(fd);
    close(copy); // the last one of this open file, but for the child's
    waitpid(pid, &status, WNOHANG);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CHECK_EQUAL("gone with the file", flock(other, LOCK_EX | LOCK_NB), 0);
    CHECK_ERROR("bad operation", flock(other, 0), EINVAL);
    close(other);
}

static void test_ofd(void) {
    int a = open(path, O_RDWR), b = open(path, O_RDWR);
    CHECK_EQUAL("OFD lock", lock(a, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
    CHECK_ERROR("other open file", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    CHECK_EQUAL("conflicts with records", child_locks(F_RDLCK, 0, 1), EAGAIN);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    fcntl(b, F_OFD_GETLK, &l);
    check(l.l_type == F_WRLCK && l.l_pid == -1, "OFD holder", "%d %d", l.l_type, l.l_pid);
    close(open(path, O_RDONLY));
    CHECK_ERROR("survives other closes", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    close(a);
    CHECK_EQUAL("gone with its file", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), 0);
    close(b);
}

int main(void) {
    int fd = mkstemp(path);
    test_records(fd);
    test_getlk(fd);
    test_waiting(fd);
    test_ofd();
    test_flock(fd);
    unlink(path);
    return check_end();
}
