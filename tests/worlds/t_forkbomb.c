// A fork bomb inside limits: what is outside goes on, and what is inside can be ended. With
// /proc/pools the limits are a pool's, under Linux RLIMIT_NPROC's for a user of our own.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define PROCESSES 40

static int pools(const char *command) {
    int fd = open("/proc/pools", O_WRONLY);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, command, strlen(command));
    close(fd);
    return n == (ssize_t)strlen(command) ? 0 : -1;
}

// Takes memory and forks, and its children do the same, until nothing goes any more.
static void bomb(void) {
    for (;;) {
        volatile char *p = malloc(1 << 20);
        for (int i = 0; p && i < 1 << 20; i += 4096)
            p[i] = 1;
        if (fork() < 0)
            usleep(1000);
    }
}

static void confine(int have_pools) {
    struct rlimit limit = {PROCESSES, PROCESSES};
    if (have_pools) {
        if (pools("move bomb"))
            _exit(1);
    } else {
        if (setuid(54321))
            _exit(1);
        setrlimit(RLIMIT_NPROC, &limit);
        limit.rlim_cur = limit.rlim_max = 64 << 20;
        setrlimit(RLIMIT_AS, &limit);
    }
}

int main(void) {
    int have_pools = access("/proc/pools", F_OK) == 0, status;
    if (have_pools)
        CHECK_EQUAL("pool", pools("create bomb memory=24M processes=40 weight=256"), 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = fork();
    if (!pid) {
        setpgid(0, 0);
        confine(have_pools);
        bomb();
    }
    setpgid(pid, pid);
    struct timespec second = {1, 0};
    nanosleep(&second, NULL);
    pid_t other = fork();
    if (!other)
        _exit(6);
    CHECK_EQUAL("others can fork", waitpid(other, &status, 0), other);
    CHECK_EQUAL("and end", status, 6 << 8);
    int ended = 0, members = 0;
    for (int i = 0; i < 1000 && !ended; i++) { // forks may slip between two signals
        kill(-pid, SIGKILL);
        while ((other = waitpid(-pid, &status, WNOHANG)) > 0)
            members++;
        ended = other == -1 && errno == ECHILD;
        usleep(20000);
    }
    check(ended, "the bomb ends", "%d members ended", members);
    check(members >= 1, "it had members", "%d", members);
    if (have_pools) {
        int deleted = -1;
        for (int i = 0; i < 100 && deleted; i++) {
            usleep(100000);
            deleted = pools("delete bomb");
        }
        CHECK_EQUAL("nothing stays in the pool", deleted, 0);
    }
    return check_end();
}
