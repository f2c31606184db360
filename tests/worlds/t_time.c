// Clocks, sleeping, interval timers, POSIX timers. Same result under Linux.
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

static long long now(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
static volatile sig_atomic_t ticks, value, code;
static void on_tick(int sig) {
    ticks++;
}
static void on_info(int sig, siginfo_t *i, void *context) {
    ticks++;
    value = i->si_value.sival_int;
    code = i->si_code;
}
// Uses so much processor time, nearly all of it in user mode.
static void burn(long long ns) {
    long long end = now(CLOCK_PROCESS_CPUTIME_ID) + ns;
    while (now(CLOCK_PROCESS_CPUTIME_ID) < end) {
        for (volatile int i = 0; i < 20000; i++)
            ;
    }
}

static void test_clocks(void) {
    static const int clocks[] = {
        CLOCK_REALTIME,         CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,      CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,  CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    struct timespec t;
    for (unsigned i = 0; i < sizeof(clocks) / sizeof(*clocks); i++) {
        long long a = now(clocks[i]), b = now(clocks[i]);
        check(b >= a && a >= 0, "clock goes on", "clock %d: %lld %lld", clocks[i], a, b);
        CHECK_EQUAL("resolution", clock_getres(clocks[i], &t), 0);
    }
    CHECK_ERROR("no such clock", syscall(SYS_clock_gettime, 55, &t), EINVAL);
    CHECK_ERROR("bad pointer", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad_memory), EFAULT);
    struct timeval tv;
    time_t first = now(CLOCK_REALTIME) / 1000000000;
    gettimeofday(&tv, NULL);
    time_t seconds = time(NULL), last = now(CLOCK_REALTIME) / 1000000000;
    check(first <= tv.tv_sec && tv.tv_sec <= last, "gettimeofday agrees", "%ld", (long)tv.tv_sec);
    check(first - 1 <= seconds && seconds <= last, "time agrees", "%ld", (long)seconds);
    long long least = 1000000000;
    for (int i = 0; i < 20 && least >= 30000000; i++) { // an emulator's pauses count as used time
        long long before = now(CLOCK_PROCESS_CPUTIME_ID);
        usleep(50000);
        long long used = now(CLOCK_PROCESS_CPUTIME_ID) - before;
        least = used < least ? used : least;
    }
    check(least < 30000000, "sleeping costs no time", "%lld ns", least);
    struct tms tms;
    burn(30000000);
    check(times(&tms) > 0 && tms.tms_utime + tms.tms_stime >= 1, "times", "%ld",
          (long)(tms.tms_utime + tms.tms_stime));
}

static void test_sleep(void) {
    struct timespec t = {0, 20000000}, bad = {0, -1};
    long long start = now(CLOCK_MONOTONIC);
    CHECK_EQUAL("nanosleep", nanosleep(&t, NULL), 0);
    long long took = now(CLOCK_MONOTONIC) - start;
    check(took >= 20000000 && took < 5000000000, "its length", "%lld ns", took);
    CHECK_ERROR("bad time", nanosleep(&bad, NULL), EINVAL);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 20000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    CHECK_EQUAL("absolute", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec -= 5;
    CHECK_EQUAL("absolute, past", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL), 0);
}

static void test_itimers(void) {
    struct itimerval t = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}}, old;
    signal(SIGALRM, on_tick);
    ticks = 0;
    CHECK_EQUAL("setitimer", setitimer(ITIMER_REAL, &t, NULL), 0);
    for (int i = 0; i < 500 && ticks < 5; i++)
        usleep(10000);
    check(ticks >= 5, "ITIMER_REAL repeats", "%d", ticks);
    setitimer(ITIMER_REAL, &off, &old);
    CHECK_EQUAL("old interval", old.it_interval.tv_usec, 10000);
    alarm(100);
    long left = alarm(0);
    check(left >= 90 && left <= 100, "alarm", "%ld", left);
    signal(SIGVTALRM, on_tick);
    ticks = 0;
    setitimer(ITIMER_VIRTUAL, &t, NULL);
    burn(200000000);
    setitimer(ITIMER_VIRTUAL, &off, NULL);
    check(ticks >= 1, "ITIMER_VIRTUAL", "%d", ticks);
    signal(SIGPROF, on_tick);
    ticks = 0;
    setitimer(ITIMER_PROF, &t, NULL);
    burn(200000000);
    setitimer(ITIMER_PROF, &off, NULL);
    check(ticks >= 1, "ITIMER_PROF", "%d", ticks);
    CHECK_ERROR("no such itimer", setitimer(7, &off, NULL), EINVAL);
}

static void test_posix_timers(void) {
    struct sigaction a = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO};
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec t = {{0, 5000000}, {0, 5000000}}, got;
    timer_t id;
    e.sigev_value.sival_int = 1234;
    sigaction(SIGRTMIN, &a, NULL);
    ticks = 0;
    CHECK_EQUAL("timer_create", timer_create(CLOCK_MONOTONIC, &e, &id), 0);
    CHECK_EQUAL("timer_settime", timer_settime(id, 0, &t, NULL), 0);
    for (int i = 0; i < 500 && ticks < 5; i++)
        usleep(10000);
    check(ticks >= 5, "it repeats", "%d", ticks);
    CHECK_EQUAL("si_value", value, 1234);
    CHECK_EQUAL("si_code", code, SI_TIMER);
    CHECK_EQUAL("timer_gettime", timer_gettime(id, &got), 0);
    CHECK_EQUAL("interval", got.it_interval.tv_nsec, 5000000);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    usleep(100000);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    check(timer_getoverrun(id) >= 5, "overruns", "%d", timer_getoverrun(id));
    CHECK_EQUAL("timer_delete", timer_delete(id), 0);
    ticks = 0;
    usleep(30000);
    CHECK_EQUAL("silent after deletion", ticks, 0);
    e.sigev_signo = 70;
    CHECK_ERROR("bad signal", timer_create(CLOCK_MONOTONIC, &e, &id), EINVAL);
}

int main(void) {
    test_clocks();
    test_sleep();
    test_itimers();
    test_posix_timers();
    return check_end();
}
