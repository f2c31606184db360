// signalfd. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static int polled(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

int main(void) {
    struct signalfd_siginfo s[4];
    sigset_t set, usr2;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGRTMIN);
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigprocmask(SIG_BLOCK, &usr2, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    check(fd >= 0, "signalfd", "%d", fd);
    CHECK_ERROR("nothing", read(fd, s, sizeof(s)), EAGAIN);
    CHECK_EQUAL("poll nothing", polled(fd), 0);
    raise(SIGUSR2);
    CHECK_EQUAL("another signal", polled(fd), 0);
    raise(SIGUSR1);
    CHECK_EQUAL("poll", polled(fd), POLLIN);
    CHECK_ERROR("short read", read(fd, s, 100), EINVAL);
    CHECK_EQUAL("read", read(fd, s, sizeof(s)), 128);
    CHECK_EQUAL("signal", s[0].ssi_signo, SIGUSR1);
    CHECK_EQUAL("sender", s[0].ssi_pid, getpid());
    CHECK_ERROR("taken", read(fd, s, sizeof(s)), EAGAIN);
    union sigval v = {.sival_int = 42};
    sigqueue(getpid(), SIGRTMIN, v);
    v.sival_int = 43;
    sigqueue(getpid(), SIGRTMIN, v);
    CHECK_EQUAL("two records", read(fd, s, sizeof(s)), 256);
    CHECK_EQUAL("first value", s[0].ssi_int, 42);
    CHECK_EQUAL("second value", s[1].ssi_int, 43);
    CHECK_EQUAL("code", s[0].ssi_code, SI_QUEUE);
    int ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    CHECK_EQUAL("epoll add", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), 0);
    CHECK_EQUAL("epoll nothing", epoll_wait(ep, &e, 1, 0), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    CHECK_EQUAL("epoll wakes", epoll_wait(ep, &e, 1, -1), 1);
    CHECK_EQUAL("read SIGCHLD", read(fd, s, sizeof(s)), 128);
    CHECK_EQUAL("SIGCHLD", s[0].ssi_signo, SIGCHLD);
    CHECK_EQUAL("child", s[0].ssi_pid, child);
    CHECK_EQUAL("status", s[0].ssi_status, 7);
    CHECK_EQUAL("exited", s[0].ssi_code, CLD_EXITED);
    waitpid(child, NULL, 0);
    CHECK_EQUAL("change set", signalfd(fd, &usr2, 0), fd);
    CHECK_EQUAL("other signal now", read(fd, s, sizeof(s)), 128);
    CHECK_EQUAL("SIGUSR2", s[0].ssi_signo, SIGUSR2);
    CHECK_ERROR("not a signalfd", signalfd(ep, &set, 0), EINVAL);
    CHECK_ERROR("bad descriptor", signalfd(999, &set, 0), EBADF);
    CHECK_ERROR("bad flags", signalfd(-1, &set, 1 << 20), EINVAL);
    int blocking = signalfd(-1, &set, 0);
    pid_t parent = getpid();
    if ((child = fork()) == 0) {
        kill(parent, SIGUSR1);
        _exit(0);
    }
    CHECK_EQUAL("blocking read", read(blocking, s, 128), 128);
    check(s[0].ssi_signo == SIGUSR1 || s[0].ssi_signo == SIGCHLD, "its signal", "%u",
          s[0].ssi_signo);
    waitpid(child, NULL, 0);
    return check_end();
}
