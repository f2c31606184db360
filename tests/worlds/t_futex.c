/* libs: -pthread */
// The futex call itself, private and shared. Same result under Linux.
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "asleep.h"
#include "check.h"

static long futex(uint32_t *a, int op, uint32_t v, const void *t, uint32_t *b, uint32_t v3) {
    return syscall(SYS_futex, a, op, v, t, b, v3);
}

static uint32_t word, word2, woken;
static int op_wait = FUTEX_WAIT_BITSET_PRIVATE;

static void *waiter(void *arg) {
    futex(&word, op_wait, 0, NULL, NULL, (uint32_t)(long)arg);
    __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

// Starts n waiters (bit i of the mask for the i-th); they sleep when it returns.
static void start(pthread_t *t, int n) {
    woken = 0;
    for (long i = 0; i < n; i++)
        pthread_create(&t[i], NULL, waiter, (void *)(1L << i));
    wait_asleep(getpid(), n);
}
static void join(pthread_t *t, int n) {
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

static void test_errors(void) {
    struct timespec t = {0, 10000000}, bad = {0, 1000000000}, now, end;
    CHECK_ERROR("value differs", futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
    CHECK_ERROR("relative timeout", futex(&word, FUTEX_WAIT, 0, &t, NULL, 0), ETIMEDOUT);
    CHECK_ERROR("bad timeout", futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0), EINVAL);
    CHECK_ERROR("misaligned", futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 0, &t, NULL, 0),
                EINVAL);
    CHECK_ERROR("bad address", futex(bad_memory, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    CHECK_ERROR("no bits", futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, 0), EINVAL);
    CHECK_ERROR("unknown operation", futex(&word, 99, 0, NULL, NULL, 0), ENOSYS);
    CHECK_EQUAL("nobody to wake", futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    end = now;
    end.tv_sec -= 1;
    CHECK_ERROR("absolute timeout in the past",
                futex(&word, FUTEX_WAIT_BITSET, 0, &end, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += 20000000;
    if (end.tv_nsec >= 1000000000)
        end.tv_sec++, end.tv_nsec -= 1000000000;
    CHECK_ERROR("absolute wall-clock timeout",
                futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &end, NULL,
                      FUTEX_BITSET_MATCH_ANY),
                ETIMEDOUT);
}

static void test_wake(void) {
    pthread_t t[4];
    start(t, 4);
    CHECK_EQUAL("wake by bits", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 4), 1);
    CHECK_EQUAL("wake two", futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0), 2);
    CHECK_EQUAL("wake the rest", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0), 1);
    join(t, 4);
    CHECK_EQUAL("all came back", woken, 4);
}

static void test_requeue(void) {
    pthread_t t[4];
    start(t, 4);
    CHECK_ERROR("CMP_REQUEUE, other value",
                futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9L, &word2, 5), EAGAIN);
    CHECK_EQUAL("CMP_REQUEUE", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9L, &word2, 0),
                4);
    CHECK_EQUAL("nobody left", futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 0);
    CHECK_EQUAL("moved ones", futex(&word2, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0), 3);
    join(t, 4);
    CHECK_EQUAL("all came back after requeue", woken, 4);
}

static void test_wake_op(void) {
    pthread_t t[2];
    start(t, 2);
    word2 = 5;
    uint32_t op = FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5);
    CHECK_EQUAL("WAKE_OP", futex(&word, FUTEX_WAKE_OP_PRIVATE, 9, (void *)9L, &word2, op), 2);
    CHECK_EQUAL("its addition", word2, 8);
    join(t, 2);
}

static void test_shared(void) {
    int status;
    uint32_t *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (!pid) {
        futex(m, FUTEX_WAIT, 0, NULL, NULL, 0);
        _exit(m[1] != 77);
    }
    wait_asleep(pid, 1);
    m[1] = 77;
    m[0] = 1;
    CHECK_EQUAL("wake in another process", futex(m, FUTEX_WAKE, 9, NULL, NULL, 0), 1);
    waitpid(pid, &status, 0);
    CHECK_EQUAL("its exit", status, 0);
}

static volatile sig_atomic_t interrupted;
static void on_signal(int sig) {
    interrupted = 1;
}

static void *signal_later(void *arg) {
    wait_asleep(getpid(), 1);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    while (!interrupted)
        usleep(1000);
    wait_asleep(getpid(), 1); // again, or in pthread_join()
    word = 1;
    futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return NULL;
}

static void test_signal(void) {
    pthread_t me = pthread_self(), t;
    struct timespec timeout = {600, 0};
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &a, NULL);
    pthread_create(&t, NULL, signal_later, &me);
    CHECK_ERROR("interrupted", futex(&word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0), EINTR);
    pthread_join(t, NULL);
    word = 0;
    interrupted = 0;
    a.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &a, NULL);
    pthread_create(&t, NULL, signal_later, &me);
    CHECK_EQUAL("restarted without a timeout", futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0),
                0);
    pthread_join(t, NULL);
}

int main(void) {
    test_errors();
    test_wake();
    test_requeue();
    test_wake_op();
    test_shared();
    test_signal();
    return check_end();
}
