/* boot: cpus=2 */
/* libs: -pthread */
// Memory calls: rights, copies after fork(), shared memory, moving, stacks, and threads that map, fault
// and fork at once.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define PAGE 4096ul
#define MB   (1024 * 1024ul)

static sigjmp_buf escape;
static volatile uintptr_t fault_address;

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)context;
    fault_address = (uintptr_t)info->si_addr;
    siglongjmp(escape, sig);
}

// The signal that touching the byte raises, 0: none.
static int touch(volatile char *p, int write) {
    int sig = sigsetjmp(escape, 1);
    if (sig)
        return fault_address == (uintptr_t)p ? sig : -1;
    if (write)
        *p = 1;
    else
        (void)*p;
    return 0;
}

static char *anonymous(size_t n, int flags) {
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void test_rights(void) {
    char *p = anonymous(4 * PAGE, MAP_PRIVATE);
    check(p && touch(p, 1) == 0, "map and write", "cannot");
    CHECK_EQUAL("read-only", mprotect(p, PAGE, PROT_READ), 0);
    CHECK_EQUAL("read-only is readable", touch(p, 0), 0);
    CHECK_EQUAL("read-only is not writable", touch(p, 1), SIGSEGV);
    CHECK_EQUAL("no rights", mprotect(p, PAGE, PROT_NONE), 0);
    CHECK_EQUAL("no rights: not readable", touch(p, 0), SIGSEGV);
    CHECK_ERROR("no rights: EFAULT", write(1, p, 1), EFAULT);
    CHECK_EQUAL("rights come back", mprotect(p, PAGE, PROT_READ | PROT_WRITE), 0);
    check(*p == 1, "content stayed", "%d", *p);
    CHECK_EQUAL("unmap", munmap(p + PAGE, PAGE), 0);
    CHECK_EQUAL("unmapped", touch(p + PAGE, 0), SIGSEGV);
    CHECK_ERROR("protect a hole", mprotect(p, 4 * PAGE, PROT_READ), ENOMEM);
    CHECK_EQUAL("unmap with a hole", munmap(p, 4 * PAGE), 0);
}

// Runs fn in a child; its exit status.
static int in_child(int (*fn)(void *), void *arg) {
    pid_t child = fork();
    if (child == 0)
        _exit(fn(arg));
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int change_all(void *arg) {
    unsigned char *p = arg;
    for (size_t i = 0; i < 8 * MB; i += PAGE) {
        if (p[i] != (i / PAGE) % 251)
            return 1;
        p[i] = 255;
    }
    return 0;
}

static void test_fork(int advice, const char *name) {
    char *p = anonymous(8 * MB, MAP_PRIVATE);
    madvise(p, 8 * MB, advice);
    for (size_t i = 0; i < 8 * MB; i += PAGE)
        p[i] = i / PAGE % 251;
    CHECK_EQUAL(name, in_child(change_all, p), 0);
    size_t bad = 0;
    for (size_t i = 0; i < 8 * MB; i += PAGE)
        bad += (unsigned char)p[i] != i / PAGE % 251;
    check(bad == 0, "parent's memory is its own", "%zu pages changed", bad);
    munmap(p, 8 * MB);
}

static int add_one(void *arg) {
    ++*(volatile int *)arg;
    return 0;
}

static void test_shared(void) {
    int *p = (int *)anonymous(PAGE, MAP_SHARED);
    for (int i = 0; p && i < 3; i++)
        in_child(add_one, p);
    check(p && *p == 3, "shared memory", "%d", p ? *p : -1);
    munmap(p, PAGE);
}

static void test_remap(void) {
    char *p = anonymous(4 * MB, MAP_PRIVATE);
    for (size_t i = 0; i < 4 * MB; i += PAGE)
        p[i] = i / PAGE % 251;
    char *q = mremap(p, 4 * MB, 9 * MB, MREMAP_MAYMOVE);
    size_t bad = q == MAP_FAILED;
    for (size_t i = 0; !bad && i < 9 * MB; i += PAGE)
        bad += (unsigned char)q[i] != (i < 4 * MB ? i / PAGE % 251 : 0);
    check(bad == 0, "mremap keeps what was there", "%zu pages differ", bad);
    CHECK_EQUAL("madvise(MADV_DONTNEED)", madvise(q, MB, MADV_DONTNEED), 0);
    check(q[5 * PAGE] == 0, "is zero again", "%d", q[5 * PAGE]);
    munmap(q, 9 * MB);
}

static int recurse(int depth) {
    volatile char frame[2000];
    frame[0] = depth;
    return depth ? recurse(depth - 1) + frame[0] - frame[0] : 1;
}

static void test_stack(void) {
    check(recurse(2000) == 1, "4 MB of stack", "no");
    struct rlimit small = {MB, MB}, old;
    getrlimit(RLIMIT_AS, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_AS, &small);
    CHECK_ERROR("RLIMIT_AS",
                (long)mmap(NULL, 64 * MB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    setrlimit(RLIMIT_AS, &old);
}

static int touch_heap(void *arg) {
    char *p = malloc(100000);
    memset(p, 1, 100000);
    return *(int *)arg < 0;
}

static void *hammer(void *arg) {
    long id = (long)arg, bad = 0;
    unsigned random = id + 1;
    for (long k = 0; k < 40; k++) {
        random = random * 1103515245 + 12345;
        size_t n = (2 + (random >> 16) % 300) * PAGE, middle = n / 2 / PAGE * PAGE;
        char *p = anonymous(n, MAP_PRIVATE);
        if (!p)
            return (void *)1;
        for (size_t i = 0; i < n; i += PAGE)
            *(long *)(p + i) = id << 32 | k;
        for (size_t i = 0; i < n; i += PAGE)
            bad += *(long *)(p + i) != (id << 32 | k);
        mprotect(p, PAGE, PROT_READ);
        madvise(p + middle, PAGE, MADV_DONTNEED);
        bad += *(long *)(p + middle) != 0;
        if (k % 10 == id)
            bad += in_child(touch_heap, &(int){0}) != 0;
        munmap(p, n);
    }
    return (void *)bad;
}

static void test_threads(void) {
    pthread_t threads[4];
    long bad = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)i);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (long)result;
    }
    check(bad == 0, "threads that map, fault and fork", "%ld mistakes", bad);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    test_rights();
    test_fork(MADV_NOHUGEPAGE, "fork with small pages");
    test_fork(MADV_HUGEPAGE, "fork with 2 MB pages");
    test_shared();
    test_remap();
    test_stack();
    test_threads();
    return check_end();
}
