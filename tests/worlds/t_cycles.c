// Many fork/exec/exit cycles (argument: how many, default 200); the pages that are free afterwards
// must be those that were free before, give or take what the system itself keeps.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static long free_pages(void) {
    struct sysinfo s;
    sysinfo(&s);
    return (long)(s.freeram * s.mem_unit / 4096);
}

static int cycle(int i) {
    int status = -1;
    pid_t pid = i % 2 ? vfork() : fork();
    if (!pid) {
        execl("/proc/self/exe", "t_cycles", "child", (char *)NULL);
        _exit(99);
    }
    return pid < 0 || waitpid(pid, &status, 0) != pid || status != 5 << 8;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child"))
        return 5;
    int n = argc > 1 ? atoi(argv[1]) : 200, failed = 0;
    for (int i = 0; i < 10; i++) // fills caches
        failed += cycle(i);
    long before = free_pages();
    for (int i = 0; i < n; i++)
        failed += cycle(i);
    long lost = before - free_pages();
    for (int i = 0; i < 100 && lost >= 32; i++) { // the last ones give their memory back
        usleep(100000);
        lost = before - free_pages();
    }
    CHECK_EQUAL("cycles", failed, 0);
    printf("# %d cycles, %ld pages fewer\n", n, lost);
    // Under Linux other programs use memory, too.
    check(access("/proc/pools", F_OK) != 0 || lost < 32, "no page lost", "%ld pages in %d cycles",
          lost, n);
    return check_end();
}
