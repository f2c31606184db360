#include "proc/pid.h"
#include "lib/assert.h"
#include "lib/errno.h"

#define PID_RESERVED 300 // after the first round, low numbers are left to long-lived programs

static uint16_t users[PID_MAX];
static int last;

int pid_alloc(void) {
    for (int tries = 0, pid = last; tries < PID_MAX; tries++) {
        if (++pid >= PID_MAX)
            pid = PID_RESERVED;
        if (users[pid] == 0) {
            users[pid] = 1;
            return last = pid;
        }
    }
    return -EAGAIN;
}

void pid_hold(int pid) {
    ASSERT(pid > 0 && pid < PID_MAX && users[pid] > 0);
    users[pid]++;
}

void pid_drop(int pid) {
    ASSERT(pid > 0 && pid < PID_MAX && users[pid] > 0);
    users[pid]--;
}

int pid_last(void) {
    return last;
}
