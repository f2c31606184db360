/* boot: cpus=2 */
/* libs: -pthread */
// Threads hammering mutexes, condition variables and malloc. Argument: rounds per thread (default
// 2000; some 60,000 instructions each). Same result under Linux.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define THREADS 8

static long rounds = 2000;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counter;

// A queue of bounded size between producers and consumers.
#define SLOTS 16
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static long queue[SLOTS], put_at, take_at;
static long sums[THREADS], heap_errors;
static pthread_barrier_t barrier;
static __thread long own;

static void put(long value) {
    pthread_mutex_lock(&queue_lock);
    while (put_at - take_at == SLOTS)
        pthread_cond_wait(&not_full, &queue_lock);
    queue[put_at++ % SLOTS] = value;
    pthread_cond_signal(&not_empty);
    pthread_mutex_unlock(&queue_lock);
}

static long take(void) {
    pthread_mutex_lock(&queue_lock);
    while (put_at == take_at)
        pthread_cond_wait(&not_empty, &queue_lock);
    long value = queue[take_at++ % SLOTS];
    pthread_cond_broadcast(&not_full);
    pthread_mutex_unlock(&queue_lock);
    return value;
}

// Allocates, fills, checks and frees blocks of many sizes.
static void use_heap(uint32_t *seed) {
    unsigned char *blocks[8];
    size_t sizes[8];
    for (int i = 0; i < 8; i++) {
        *seed = *seed * 1664525 + 1013904223;
        sizes[i] = 1 + (*seed >> 8) % (i == 7 ? 20000 : 600);
        blocks[i] = malloc(sizes[i]);
        memset(blocks[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < 8; i++) {
        if (blocks[i][0] != i + 1 || blocks[i][sizes[i] - 1] != i + 1)
            __atomic_fetch_add(&heap_errors, 1, __ATOMIC_RELAXED);
        free(blocks[i]);
    }
}

static void *work(void *arg) {
    long me = (long)arg;
    uint32_t seed = (uint32_t)me + 1;
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < rounds; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        use_heap(&seed);
        if (me % 2 == 0)
            put(i);
        else
            sums[me] += take();
        own++;
    }
    return (void *)own;
}

static void hammer(void) {
    pthread_t threads[THREADS];
    long own_total = 0, sum = 0;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (long i = 0; i < THREADS; i++)
        check(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "thread made", "not");
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        own_total += (long)result;
        sum += sums[i];
    }
    CHECK_EQUAL("mutex", counter, THREADS * rounds);
    CHECK_EQUAL("thread-local storage", own_total, THREADS * rounds);
    CHECK_EQUAL("condition variables", sum, THREADS / 2 * (rounds * (rounds - 1) / 2));
    CHECK_EQUAL("queue is empty", put_at - take_at, 0);
    CHECK_EQUAL("heap", heap_errors, 0);
}

static void *nothing(void *arg) {
    return arg;
}
static void *forever(void *arg) {
    for (;;)
        pause();
    return NULL;
}

static void churn(void) {
    long failed = 0;
    for (int i = 0; i < 200; i++) {
        pthread_t t;
        void *result = NULL;
        if (pthread_create(&t, NULL, nothing, (void *)7L) || pthread_join(t, &result) ||
            result != (void *)7L)
            failed++;
    }
    CHECK_EQUAL("200 threads made and joined", failed, 0);
}

static void *exit_group_here(void *arg) {
    usleep(10000);
    exit(42);
}
static void *exec_here(void *arg) {
    usleep(10000);
    execl("/proc/self/exe", "t_thread", "exec", (char *)NULL);
    _exit(1);
}

static void endings(void) {
    int status;
    pthread_t t;
    pid_t pid = fork();
    if (!pid) {
        pthread_create(&t, NULL, forever, NULL);
        pthread_create(&t, NULL, exit_group_here, NULL);
        forever(NULL);
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("exit ends all threads", status, 42 << 8);
    pid = fork();
    if (!pid) {
        pthread_create(&t, NULL, forever, NULL);
        pthread_create(&t, NULL, exec_here, NULL);
        forever(NULL);
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("exec by another thread", status, 43 << 8);
    pid = fork();
    if (!pid) {
        pthread_create(&t, NULL, exit_group_here, NULL);
        pthread_exit(NULL); // the first thread goes, the process stays
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("first thread ends first", status, 42 << 8);
}

static void *die_holding(void *arg) {
    pthread_mutex_lock(arg);
    return NULL;
}

static void robust(void) {
    pthread_mutex_t m;
    pthread_mutexattr_t a;
    pthread_t t;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&m, &a);
    pthread_create(&t, NULL, die_holding, &m);
    pthread_join(t, NULL);
    CHECK_EQUAL("robust mutex of a dead thread", pthread_mutex_lock(&m), EOWNERDEAD);
    CHECK_EQUAL("made consistent", pthread_mutex_consistent(&m), 0);
    pthread_mutex_unlock(&m);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "exec")) // tid and pid agree after execve by a thread
        return syscall(SYS_gettid) == getpid() ? 43 : 1;
    if (argc > 1)
        rounds = atol(argv[1]);
    unsigned long long start = __builtin_ia32_rdtsc();
    hammer();
    churn();
    endings();
    robust();
    printf("# %llu million ticks\n", (__builtin_ia32_rdtsc() - start) / 1000000);
    return check_end();
}
