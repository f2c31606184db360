// System-call fuzzer: `t_sysfuzz CALLS [SEED]`. Random numbers with random and half-valid arguments,
// in child processes that are replaced when they die or hang. The same seed makes the same calls.
// Nothing is checked but that the kernel lives and that the parent can go on: last line
// `end ok CALLS calls`.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH    200          // calls of one child at most
#define LAST     470          // numbers beyond the highest known one are tried too
#define SECONDS  2            // a child that takes longer hangs
#define WAVE     4            // children at a time
#define PATIENCE 20000        // us until a call that sleeps is interrupted
#define MEMORY   (64ul << 20) // bytes of address space beyond what a child begins with

static uint64_t state;
static long *made; // calls in all; shared with the children
static int alone;  // this is VMkernel, and nobody else needs it

static uint64_t next(void) { // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
}
static uint64_t below(uint64_t n) {
    return next() % n;
}

// Calls that would end the run instead of testing it: they reach beyond the child.
static int masked(long n, const uint64_t a[6]) {
    switch (n) {
    case SYS_reboot:
    case SYS_kexec_load:
    case SYS_init_module:
    case SYS_finit_module:
    case SYS_delete_module:
    case SYS_swapon:
    case SYS_swapoff:
    case SYS_sethostname:
    case SYS_setdomainname:
    case SYS_settimeofday:
    case SYS_clock_settime:
    case SYS_clock_adjtime:
    case SYS_adjtimex:
    case SYS_mount:
    case SYS_umount2:
    case SYS_pivot_root:
    case SYS_unshare:
    case SYS_setns:
    case SYS_vhangup:
    case SYS_acct:
    case SYS_ptrace:
    case SYS_process_vm_writev:
    case SYS_syslog:
    case SYS_setsid:
    case SYS_setpgid: // the parent cleans up by group
    case SYS_pidfd_send_signal: return 1;
    // On a computer that others use, too:
    case SYS_chroot:
    case SYS_unlink: // paths made of chance could name what the others need
    case SYS_unlinkat:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_rmdir:
    case SYS_truncate:
    case SYS_chmod:
    case SYS_chown:
    case SYS_lchown:
    case SYS_fchmodat:
    case SYS_fchownat:
    case SYS_sync: // slow
    case SYS_setrlimit:
    case SYS_sched_setscheduler: // a real-time child would hold the processor
    case SYS_sched_setattr:
    case SYS_sched_setparam:
    case SYS_vfork: // shares our stack
    case SYS_clone:
    case SYS_clone3: return !alone;
    case SYS_setpriority: return !alone || a[0] != PRIO_PROCESS || a[1] != 0;
    case SYS_prlimit64: return !alone || a[0] != 0;
    case SYS_kill: return (int)a[0] <= 0 || a[0] != (uint64_t)getpid();
    case SYS_tkill: return a[0] != (uint64_t)gettid();
    case SYS_tgkill: return a[0] != (uint64_t)getpid();
    case SYS_rt_sigqueueinfo: return a[0] != (uint64_t)getpid();
    case SYS_rt_tgsigqueueinfo: return a[0] != (uint64_t)getpid();
    case SYS_ioctl: return a[0] <= 2; // the terminal of the test
    case SYS_fcntl: return a[0] <= 2;
    }
    return 0;
}

// ---- arguments ----------------------------------------------------------------------------------

static char *memory; // readable and writable, 16 pages; a hole behind it
static char *read_only;

static void make_files(void) {
    int p[2];
    open("/dev/zero", O_RDWR);
    open("/dev/null", O_RDWR);
    open("/", O_RDONLY | O_DIRECTORY);
    open("/proc/self/stat", O_RDONLY);
    if (pipe(p) || socketpair(AF_UNIX, SOCK_STREAM, 0, p) || socketpair(AF_UNIX, SOCK_DGRAM, 0, p))
        _exit(0);
    socket(AF_UNIX, SOCK_STREAM, 0);
    epoll_create1(0);
    eventfd(1, 0);
    timerfd_create(CLOCK_MONOTONIC, 0);
    int m = memfd_create("fuzz", 0);
    if (m >= 0 && ftruncate(m, 65536))
        _exit(0);
}

static void make_memory(void) {
    memory = mmap(NULL, 32 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || read_only == MAP_FAILED)
        _exit(0);
    munmap(memory + 16 * 4096, 16 * 4096);
}

static uint64_t pointer(void) {
    static const uint64_t bad[] = {0,
                                   1,
                                   0xfff,
                                   0x7ffffffff000 - 8,
                                   0x7ffffffffff8,
                                   0x800000000000,
                                   0xffff800000000000,
                                   0xffff800000100000,
                                   0xffffffff80000000,
                                   0xffffffff80100000,
                                   UINT64_MAX - 7,
                                   UINT64_MAX};
    char *at = memory + below(16) * 4096 + below(4096);
    switch (below(8)) {
    case 0: return bad[below(sizeof(bad) / sizeof(bad[0]))];
    case 1: return (uint64_t)memory + 16 * 4096 - below(32); // crosses into the hole
    case 2: return (uint64_t)memory + 16 * 4096 + below(4096);
    case 3: return (uint64_t)read_only + below(4096);
    case 4: // something that looks like numbers or a structure
        at = memory + below(15) * 4096 + below(512) * 8;
        for (int i = 0; i < 8; i++)
            ((uint64_t *)at)[i] = below(2) ? below(64) : next();
        return (uint64_t)at;
    case 5: // a path
        strcpy(memory, below(2) ? "/dev/zero" : "/tmp/t_sysfuzz");
        return (uint64_t)memory;
    case 6: // an array of pieces that point into our memory
        at = memory + 4096 * 8;
        for (int i = 0; i < 4; i++) {
            ((uint64_t *)at)[2 * i] = (uint64_t)memory + below(65536);
            ((uint64_t *)at)[2 * i + 1] = below(8192);
        }
        return (uint64_t)at;
    }
    return (uint64_t)at;
}

static uint64_t number(void) {
    switch (below(6)) {
    case 0: return below(8);
    case 1: return 1ull << below(64);
    case 2: return (uint64_t) - (int64_t)below(256);
    case 3: return below(65536);
    case 4: return (1ull << below(64)) - 1;
    }
    return next();
}

static uint64_t argument(int position) {
    uint64_t kind = below(10);
    if (position == 0 && kind < 5)
        return 3 + below(20); // a descriptor, perhaps not open
    if (kind < 7)
        return pointer();
    return number();
}

// ---- a child ------------------------------------------------------------------------------------

static void limit(int what, uint64_t n) {
    struct rlimit l = {n, n};
    setrlimit(what, &l);
}

static void on_tick(int sig) {}

// Interrupts calls that sleep. The calls may have changed it, so it is set again now and then.
static void set_tick(void) {
    struct sigaction sa = {.sa_handler = on_tick};
    struct itimerval every = {{0, PATIENCE}, {0, PATIENCE}};
    sigset_t mask;
    sigaction(SIGVTALRM, &sa, NULL);
    sigaction(SIGALRM, &sa, NULL);
    sigemptyset(&mask);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static void run_child(uint64_t seed, int calls) {
    state = seed | 1;
    setpgid(0, 0);
    limit(RLIMIT_NPROC, 64);
    limit(RLIMIT_FSIZE, 1 << 20);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_AS, MEMORY + (256ul << 20));
    for (int fd = 0; fd < 3; fd++) // the output is the parent's
        dup2(open("/dev/null", O_RDWR), fd);
    make_files();
    make_memory();
    if (alone && (mkdir("/tmp/t_sysfuzz.d", 0777), chdir("/tmp/t_sysfuzz.d")))
        _exit(1);
    pid_t me = getpid();
    for (int i = 0; i < calls; i++) {
        if (i % 8 == 0)
            set_tick();
        long n = below(20) ? (long)below(LAST) : (long)number();
        uint64_t a[6];
        for (int k = 0; k < 6; k++)
            a[k] = argument(k);
        if (masked(n, a))
            continue;
        __atomic_fetch_add(made, 1, __ATOMIC_RELAXED);
        syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (getpid() != me) // the child of a fork()
            _exit(0);
    }
    _exit(0);
}

static volatile sig_atomic_t hung;
static void on_alarm(int sig) {
    hung = sig;
}

// Ends a child and what it started. True when it had to be killed.
static int finish(pid_t child) {
    int status = 0, killed = 0;
    hung = 0;
    alarm(SECONDS);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        if (hung)
            kill(-child, SIGKILL), kill(child, SIGKILL), killed = 1;
    }
    alarm(0);
    kill(-child, SIGKILL);
    while (waitpid(-child, NULL, WNOHANG) > 0)
        ;
    return killed || WIFSIGNALED(status);
}

// Starts WAVE children, waits for them and counts those that died; 0, or -1: fork() failed.
static int run_wave(long *died) {
    pid_t children[WAVE];
    int count = 0;
    for (; count < WAVE; count++) {
        uint64_t child_seed = next();
        children[count] = fork();
        if (children[count] < 0) {
            perror("fork");
            return -1;
        }
        if (children[count] == 0)
            run_child(child_seed, BATCH);
    }
    while (count)
        *died += finish(children[--count]);
    return 0;
}

int main(int argc, char **argv) {
    long calls = argc > 1 ? atol(argv[1]) : 10000, died = 0, shown = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    struct sigaction sa = {.sa_handler = on_alarm}; // no SA_RESTART: ends waitpid()
    sigaction(SIGALRM, &sa, NULL);
    signal(SIGTTOU, SIG_IGN);
    alone = access("/proc/pools", F_OK) == 0;
    printf("t_sysfuzz: %ld calls, seed %lu\n", calls, (unsigned long)seed);
    fflush(stdout);
    state = seed * 0x9e3779b97f4a7c15ull + 1;
    made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    while (*made < calls) {
        if (run_wave(&died))
            return 1;
        if (*made - shown >= calls / 10) {
            shown = *made;
            printf("%ld calls, %ld children died\n", *made, died);
            fflush(stdout);
        }
    }
    printf("end ok %ld calls\n", *made);
    return 0;
}
