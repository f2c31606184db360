// Waiting until others sleep in the kernel: who is to be woken or interrupted there must be there first.
#pragma once
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

// How many threads of a process sleep, as /proc says.
static int threads_asleep(pid_t pid) {
    char path[300], text[512];
    int count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    for (struct dirent *e; threads && (e = readdir(threads));) {
        snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int)pid, e->d_name);
        FILE *stat = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (!stat)
            continue;
        text[fread(text, 1, sizeof(text) - 1, stat)] = 0;
        const char *name_end = strrchr(text, ')');
        count += name_end && strncmp(name_end, ") S", 3) == 0;
        fclose(stat);
    }
    if (threads)
        closedir(threads);
    return count;
}

// Returns when so many of them do. The caller is not asleep itself.
__attribute__((unused)) static void wait_asleep(pid_t pid, int threads) {
    while (threads_asleep(pid) < threads)
        usleep(1000);
}
