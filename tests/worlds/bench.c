/* test: none */
/* libs: -Wl,--entry=first_instruction */
// Costs of the basic operations in TSC ticks: `R name value` for each, the median of several runs
// after a warm-up. In Bochs with `clock: sync=none` a tick is one instruction. `bench NAME...`: only
// those whose name begins so. Runs under Linux as well, for comparison. First it prints `start` and
// the TSC at its first instruction: as the first program of a boot it thus tells how long that took.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define RUNS 7

static const char *self; // this program's path

static inline uint64_t ticks(void) {
    uint32_t lo, hi;
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return (uint64_t)hi << 32 | lo;
}

// Where the program starts: RDX is an argument of _start, RCX is free (System V ABI, 3.4.1).
uint64_t start_ticks;
__asm__(".globl first_instruction\n"
        "first_instruction:\n"
        "    mov %rdx, %rcx\n"
        "    rdtsc\n"
        "    shl $32, %rdx\n"
        "    or %rdx, %rax\n"
        "    mov %rax, start_ticks(%rip)\n"
        "    mov %rcx, %rdx\n"
        "    jmp _start\n");

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// ---- system calls -------------------------------------------------------------------------------

static inline long raw_call(long number) {
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(number) : "rcx", "r11", "memory");
    return ret;
}

static uint64_t run_getppid(void) {
    enum { N = 1000 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        raw_call(SYS_getppid);
    return (ticks() - t) / N;
}

static uint64_t run_read_zero(void) {
    enum { N = 1000 };
    int fd = open("/dev/zero", O_RDONLY);
    char c;
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        if (read(fd, &c, 1) != 1)
            fail("/dev/zero");
    t = ticks() - t;
    close(fd);
    return t / N;
}

static uint64_t run_open_close(void) {
    enum { N = 300 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        close(open("/dev/null", O_RDONLY));
    return (ticks() - t) / N;
}

static uint64_t run_stat(void) {
    enum { N = 300 };
    struct stat st;
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        stat("/dev/null", &st);
    return (ticks() - t) / N;
}

static uint64_t run_epoll(void) {
    enum { N = 500 };
    int ep = epoll_create1(0), ev = eventfd(1, 0);
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e);
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        if (epoll_wait(ep, &e, 1, -1) != 1)
            fail("epoll_wait");
    t = ticks() - t;
    close(ev);
    close(ep);
    return t / N;
}

static void on_signal(int sig) {
    (void)sig;
}

static uint64_t run_signal(void) {
    enum { N = 300 };
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    pid_t pid = getpid(), tid = gettid();
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        syscall(SYS_tgkill, pid, tid, SIGUSR1);
    return (ticks() - t) / N;
}

// ---- switching ----------------------------------------------------------------------------------

static uint64_t run_pipe(void) {
    enum { N = 500 };
    int there[2], back[2];
    char c = 'x';
    if (pipe(there) || pipe(back))
        fail("pipe");
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
            ;
        _exit(0);
    }
    uint64_t t = 0;
    for (int i = -10; i < N; i++) {
        if (i == 0)
            t = ticks();
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            fail("ping-pong");
    }
    t = ticks() - t;
    close(there[0]);
    close(there[1]);
    close(back[0]);
    close(back[1]);
    waitpid(child, NULL, 0);
    return t / (2 * N);
}

static long futex(uint32_t *word, int op, uint32_t value) {
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static uint32_t turn; // even: the main thread's

static void wait_turn(uint32_t wanted) {
    uint32_t seen;
    while ((seen = __atomic_load_n(&turn, __ATOMIC_ACQUIRE)) != wanted)
        futex(&turn, FUTEX_WAIT, seen);
}
static void pass_turn(uint32_t next) {
    __atomic_store_n(&turn, next, __ATOMIC_RELEASE);
    futex(&turn, FUTEX_WAKE, 1);
}

#define TURNS 500u
static void *futex_partner(void *arg) {
    for (uint32_t i = 0; i < TURNS; i++) {
        wait_turn(2 * i + 1);
        pass_turn(2 * i + 2);
    }
    return arg;
}

static uint64_t run_futex(void) {
    pthread_t thread;
    turn = 0;
    pthread_create(&thread, NULL, futex_partner, NULL);
    uint64_t t = ticks();
    for (uint32_t i = 0; i < TURNS; i++) {
        pass_turn(2 * i + 1);
        wait_turn(2 * i + 2);
    }
    t = ticks() - t;
    pthread_join(thread, NULL);
    return t / (2 * TURNS);
}

static void *nothing(void *arg) {
    return arg;
}

static uint64_t run_thread(void) {
    enum { N = 50 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL))
            fail("pthread_create");
        pthread_join(thread, NULL);
    }
    return (ticks() - t) / N;
}

// ---- memory -------------------------------------------------------------------------------------

#define PAGES 4096ul
#define PAGE  4096ul

static char *map(size_t size, int advice) {
    // Aligned to 2 MB inside of a larger mapping, so that huge pages are possible.
    size_t large = 2ul << 20;
    char *p = mmap(NULL, size + large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fail("mmap");
    char *aligned = (char *)(((uintptr_t)p + large - 1) & ~(large - 1));
    if (aligned > p)
        munmap(p, aligned - p);
    if (p + large > aligned) // the rest behind it
        munmap(aligned + size, p + large - aligned);
    madvise(aligned, size, advice);
    return aligned;
}

static uint64_t touch(char *p, size_t pages) {
    uint64_t t = ticks();
    for (size_t i = 0; i < pages; i++)
        *(volatile char *)(p + i * PAGE) = 1;
    return ticks() - t;
}

static uint64_t touch_fresh(int advice) {
    char *p = map(PAGES * PAGE, advice);
    uint64_t t = touch(p, PAGES);
    munmap(p, PAGES * PAGE);
    return t / PAGES;
}
static uint64_t run_fault(void) {
    return touch_fresh(MADV_NOHUGEPAGE);
}
static uint64_t run_fault_huge(void) {
    return touch_fresh(MADV_HUGEPAGE);
}

static uint64_t run_fault_file(void) {
    enum { N = 1024 };
    int fd = memfd_create("bench", 0);
    if (fd < 0)
        fail("memfd_create");
    static char page[PAGE];
    for (int i = 0; i < N; i++)
        if (write(fd, page, PAGE) != (ssize_t)PAGE)
            fail("write");
    char *p = mmap(NULL, N * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        fail("mmap");
    char sum = 0;
    uint64_t t = ticks();
    for (int i = 0; i < N; i++)
        sum += *(volatile char *)(p + i * PAGE);
    t = ticks() - t;
    munmap(p, N * PAGE);
    close(fd);
    return t / N + (sum != 0);
}

static uint64_t run_mmap(void) {
    enum { N = 300 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++) {
        void *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p, 16 * PAGE);
    }
    return (ticks() - t) / N;
}

// ---- processes ----------------------------------------------------------------------------------

static uint64_t run_fork_exit(void) {
    enum { N = 20 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    return (ticks() - t) / N;
}

static void exec_nothing(void) {
    execl(self, "bench", "--nothing", NULL);
    _exit(127);
}

static pid_t spawn_fork(void) {
    pid_t child = fork();
    if (child == 0)
        exec_nothing();
    return child;
}

static __attribute__((noinline)) pid_t spawn_vfork(void) {
    pid_t child = vfork();
    if (child == 0)
        exec_nothing();
    return child;
}

static uint64_t run_exec(pid_t (*spawn)(void)) {
    enum { N = 10 };
    uint64_t t = ticks();
    for (int i = 0; i < N; i++) {
        int status = -1;
        waitpid(spawn(), &status, 0);
        if (status)
            fail("exec of itself");
    }
    return (ticks() - t) / N;
}
static uint64_t run_fork_exec(void) {
    return run_exec(spawn_fork);
}
static uint64_t run_vfork_exec(void) {
    return run_exec(spawn_vfork);
}

// fork() alone, as the parent sees it, with 256 MB of touched 4 KB pages.
static uint64_t run_fork_256(void) {
    static char *memory;
    size_t size = 256ul << 20;
    if (!memory) {
        memory = map(size, MADV_NOHUGEPAGE);
        touch(memory, size / PAGE);
    }
    uint64_t t = ticks();
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    t = ticks() - t;
    if (child < 0)
        fail("fork");
    waitpid(child, NULL, 0);
    return t;
}

// ---- the table ----------------------------------------------------------------------------------

static const struct {
    const char *name;
    uint64_t (*run)(void);
} benches[] = {
    {"getppid", run_getppid},
    {"read-zero-1", run_read_zero},
    {"pipe-switch", run_pipe},
    {"page-fault", run_fault},
    {"page-fault-huge", run_fault_huge},
    {"page-fault-file", run_fault_file},
    {"fork-exit-wait", run_fork_exit},
    {"fork-exec-exit-wait", run_fork_exec},
    {"vfork-exec-exit-wait", run_vfork_exec},
    {"thread-create-join", run_thread},
    {"futex-switch", run_futex},
    {"mmap-munmap", run_mmap},
    {"open-close", run_open_close},
    {"stat", run_stat},
    {"signal-handler", run_signal},
    {"epoll-wait-1", run_epoll},
    {"fork-256M", run_fork_256}, // last: its memory stays
};

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t median(uint64_t (*run)(void)) {
    uint64_t v[RUNS];
    run(); // warm-up
    for (int i = 0; i < RUNS; i++)
        v[i] = run();
    qsort(v, RUNS, sizeof(v[0]), by_value);
    return v[RUNS / 2];
}

static int chosen(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (!strncmp(name, argv[i], strlen(argv[i])))
            return 1;
    return argc == 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--nothing"))
        return 0;
    mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)); // a bare Linux has but /dev/console
    mknod("/dev/zero", S_IFCHR | 0666, makedev(1, 5));
    printf("start %lu\n", (unsigned long)start_ticks);
    self = argv[0][0] == '/' ? argv[0] : "/proc/self/exe";
    for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
        if (!chosen(argc, argv, benches[i].name))
            continue;
        printf("R %s %lu\n", benches[i].name, (unsigned long)median(benches[i].run));
        fflush(stdout);
    }
    printf("end\n");
    fflush(stdout);
    tcdrain(STDOUT_FILENO); // as the first program: what follows is the kernel's
    return 0;
}
