// eventfd. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static short polled(int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    poll(&p, 1, 0);
    return p.revents;
}

int main(void) {
    uint64_t v = 0, one = 1, most = UINT64_MAX - 1, bad = UINT64_MAX;
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    check(fd >= 0, "eventfd", "%d", fd);
    CHECK_EQUAL("read", read(fd, &v, 8), 8);
    CHECK_EQUAL("value", v, 3);
    CHECK_ERROR("zero", read(fd, &v, 8), EAGAIN);
    CHECK_EQUAL("poll zero", polled(fd), POLLOUT);
    CHECK_ERROR("short read", read(fd, &v, 7), EINVAL);
    CHECK_ERROR("short write", write(fd, &v, 4), EINVAL);
    CHECK_ERROR("too much", write(fd, &bad, 8), EINVAL);
    CHECK_EQUAL("add", write(fd, &one, 8), 8);
    CHECK_EQUAL("add again", write(fd, &one, 8), 8);
    CHECK_EQUAL("poll", polled(fd), POLLIN | POLLOUT);
    read(fd, &v, 8);
    CHECK_EQUAL("sum", v, 2);
    CHECK_EQUAL("most", write(fd, &most, 8), 8);
    CHECK_EQUAL("poll full", polled(fd), POLLIN);
    CHECK_ERROR("full", write(fd, &one, 8), EAGAIN);
    close(fd);
    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    read(fd, &v, 8);
    CHECK_EQUAL("semaphore", v, 1);
    read(fd, &v, 8);
    CHECK_EQUAL("semaphore again", v, 1);
    CHECK_ERROR("semaphore empty", read(fd, &v, 8), EAGAIN);
    close(fd);
    CHECK_ERROR("bad flags", eventfd(0, 1 << 20), EINVAL);
    int there = eventfd(0, 0), back = eventfd(0, 0);
    if (fork() == 0) {
        for (uint64_t i = 1; i <= 100; i++) {
            read(there, &v, 8);
            v *= 2;
            write(back, &v, 8);
        }
        _exit(0);
    }
    uint64_t sum = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        write(there, &i, 8);
        read(back, &v, 8);
        sum += v;
    }
    wait(NULL);
    CHECK_EQUAL("between processes", sum, 10100);
    return check_end();
}
