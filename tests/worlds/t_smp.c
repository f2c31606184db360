/* libs: -pthread */
/* run: 3 */
/* boot: cpus=4 emu=qemu */
/* limit: 120 */
/* cost: 12 */
// Everything at once on several processors, for races: each worker is a process that does one thing
// over and over and checks its results. Argument: seconds (default 5). Same result under Linux.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define THREADS 4
#define PAGE    4096

static double deadline;
static char self[] = "/proc/self/exe";

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int going_on(void) {
    return now() < deadline;
}

static uint32_t next_random(uint32_t *seed) {
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

// A worker ends with 0 or with the line of what did not hold.
#define MUST(condition)      \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

// Runs fn in THREADS threads; the first result that is not 0.
static int in_threads(void *(*fn)(void *)) {
    pthread_t threads[THREADS];
    long first = 0;
    for (long i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, fn, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        first = first ? first : (long)result;
    }
    return (int)first;
}

// ---- workers ----------------------------------------------------------------------------------

static int pipes(void) {
    int to[2], from[2];
    MUST(pipe(to) == 0 && pipe(from) == 0);
    pid_t pid = fork();
    MUST(pid >= 0);
    if (!pid) { // sends back what comes, until there is no more
        char buf[5000];
        ssize_t n;
        close(to[1]);
        while ((n = read(to[0], buf, sizeof(buf))) > 0)
            if (write(from[1], buf, (size_t)n) != n)
                _exit(1);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    uint32_t seed = (uint32_t)getpid();
    unsigned char out[4000], in[4000];
    while (going_on()) {
        size_t n = 1 + next_random(&seed) % sizeof(out), got = 0;
        memset(out, (int)(seed >> 24), n);
        MUST(write(to[1], out, n) == (ssize_t)n);
        while (got < n) {
            ssize_t part = read(from[0], in + got, n - got);
            MUST(part > 0);
            got += (size_t)part;
        }
        MUST(memcmp(in, out, n) == 0);
    }
    close(to[1]);
    int status;
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

static int processes(void) {
    char *args[] = {"t_smp", "child", NULL}, *none[] = {NULL};
    for (int i = 0; going_on(); i++) {
        pid_t pid;
        int status;
        if (i % 3 == 0) {
            MUST(posix_spawn(&pid, self, NULL, NULL, args, none) == 0);
        } else {
            pid = fork();
            MUST(pid >= 0);
            if (!pid && i % 3 == 1)
                _exit(7);
            if (!pid)
                execve(self, args, none);
        }
        MUST(waitpid(pid, &status, 0) == pid && status == 7 << 8);
    }
    return 0;
}

static void *map_thread(void *number) {
    uint32_t seed = (uint32_t)(long)number;
    while (going_on()) {
        size_t pages = 1 + next_random(&seed) % 700;
        unsigned char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return (void *)__LINE__;
        for (size_t i = 0; i < pages; i += 3)
            p[i * PAGE] = (unsigned char)(i + (size_t)number);
        size_t half = pages / 2 * PAGE;
        if (half && mprotect(p, half, PROT_READ))
            return (void *)__LINE__;
        for (size_t i = 0; i < pages; i++)
            if (p[i * PAGE] != (i % 3 ? 0 : (unsigned char)(i + (size_t)number)))
                return (void *)__LINE__;
        if (munmap(p + half, pages * PAGE - half) || (half && munmap(p, half)))
            return (void *)__LINE__;
    }
    return NULL;
}

static int mappings(void) {
    return in_threads(map_thread);
}

// Copy on write: children see what was there at fork(), whatever the threads go on writing.
static volatile uint64_t *shared_words;

static void *write_thread(void *number) {
    uint64_t mine = (uint64_t)(long)number;
    for (uint64_t value = 1; going_on(); value++)
        for (uint64_t page = mine; page < 256; page += THREADS)
            shared_words[page * (PAGE / 8)] = shared_words[page * (PAGE / 8) + 1] = value;
    return NULL;
}

static int child_checks_copies(void) {
    for (int round = 0; round < 3; round++) {
        for (int page = 0; page < 256; page++) {
            volatile uint64_t *w = shared_words + page * (PAGE / 8);
            uint64_t second = w[1], first = w[0];
            if (round) {
                if (first != w[2] || second != w[3])
                    return 1;
            }
            w[2] = first;
            w[3] = second;
        }
    }
    return 0;
}

static int copies(void) {
    pthread_t threads[THREADS];
    shared_words = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0);
    MUST(shared_words != MAP_FAILED);
    for (long i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, write_thread, (void *)i) == 0);
    while (going_on()) {
        int status;
        pid_t pid = fork();
        MUST(pid >= 0);
        if (!pid)
            _exit(child_checks_copies());
        MUST(waitpid(pid, &status, 0) == pid && status == 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static volatile sig_atomic_t received;

static void count(int sig, siginfo_t *info, void *context) {
    if (info->si_value.sival_int == 4711)
        received++;
}

// Queued signals: none is lost, none comes twice.
static int queued_signals(void) {
    struct sigaction a = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN, &a, NULL);
    while (going_on()) {
        int status;
        pid_t parent = getpid();
        received = 0;
        pid_t pid = fork();
        MUST(pid >= 0);
        if (!pid) {
            union sigval value = {.sival_int = 4711};
            for (int i = 0; i < 200; i++)
                while (sigqueue(parent, SIGRTMIN, value))
                    usleep(100);
            _exit(0);
        }
        while (waitpid(pid, &status, 0) != pid)
            MUST(errno == EINTR);
        MUST(status == 0);
        MUST(received == 200);
    }
    return 0;
}

static int stopping(void) {
    while (going_on()) {
        int status;
        pid_t pid = fork();
        MUST(pid >= 0);
        while (!pid)
            getppid();
        for (int i = 0; i < 20; i++) {
            kill(pid, SIGSTOP);
            MUST(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
            kill(pid, SIGCONT);
            MUST(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
        }
        kill(pid, SIGKILL);
        MUST(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    return 0;
}

static void *spin_thread(void *unused) {
    for (;;)
        getppid();
    return NULL;
}

static void *exec_thread(void *unused) {
    char *args[] = {"t_smp", "child", NULL};
    execv(self, args);
    return NULL;
}

// A process with running threads ends, is killed, or executes a program from one of them.
static int endings(void) {
    for (int i = 0; going_on(); i++) {
        int status;
        pid_t pid = fork();
        MUST(pid >= 0);
        if (!pid) {
            pthread_t t;
            for (int k = 0; k < THREADS; k++)
                pthread_create(&t, NULL, spin_thread, NULL);
            if (i % 3 == 0)
                _exit(7);
            if (i % 3 == 1)
                kill(getpid(), SIGKILL);
            pthread_create(&t, NULL, exec_thread, NULL);
            spin_thread(NULL);
        }
        MUST(waitpid(pid, &status, 0) == pid && status == (i % 3 == 1 ? SIGKILL : 7 << 8));
    }
    return 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turn = 1, turns;

static void *turn_thread(void *number) {
    pthread_mutex_lock(&lock);
    while (going_on() || !turns) { // a slow machine may come here when the time is over
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 50000000;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        if (turn != (long)number) {
            pthread_cond_timedwait(&changed, &lock, &t);
            continue;
        }
        turn = turn % THREADS + 1;
        turns++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static int taking_turns(void) {
    return in_threads(turn_thread);
}

static int sockets(void) {
    while (going_on()) {
        int pair[2], status;
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
        pid_t pid = fork();
        MUST(pid >= 0);
        char space[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0}, byte = 'x';
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = space,
                                 .msg_controllen = sizeof(space)};
        if (!pid) { // a pipe's end travels; the byte comes back through it
            int ends[2];
            char got = 0;
            if (pipe(ends))
                _exit(1);
            struct cmsghdr *c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
            if (sendmsg(pair[1], &message, 0) != 1)
                _exit(2);
            close(ends[1]);
            _exit(read(ends[0], &got, 1) == 1 && got == 'y' && read(ends[0], &got, 1) == 0 ? 0 : 3);
        }
        close(pair[1]);
        MUST(recvmsg(pair[0], &message, 0) == 1);
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
        MUST(write(fd, "y", 1) == 1);
        close(fd);
        close(pair[0]);
        MUST(waitpid(pid, &status, 0) == pid && status == 0);
    }
    return 0;
}

static char folder[64];

static void *file_thread(void *number) {
    char name[100], other[100], buf[6000], back[6000];
    uint32_t seed = (uint32_t)(long)number;
    while (going_on()) {
        size_t n = 1 + next_random(&seed) % sizeof(buf);
        snprintf(name, sizeof(name), "%s/%ld", folder, (long)number);
        snprintf(other, sizeof(other), "%s/%u", folder, 10 + next_random(&seed) % 6);
        memset(buf, (int)(seed >> 24), n);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || write(fd, buf, n) != (ssize_t)n || rename(name, other) ||
            pread(fd, back, n, 0) != (ssize_t)n || memcmp(buf, back, n))
            return (void *)__LINE__;
        close(fd);
        DIR *d = opendir(folder);
        struct dirent *e;
        while (d && (e = readdir(d)))
            if (strlen(e->d_name) > 2)
                return (void *)__LINE__;
        if (!d || closedir(d))
            return (void *)__LINE__;
        unlink(other); // perhaps somebody else's by now, or gone
    }
    return NULL;
}

static int files(void) {
    char command[100];
    snprintf(folder, sizeof(folder), "/tmp/t_smp.%d", getpid());
    MUST(mkdir(folder, 0700) == 0);
    int result = in_threads(file_thread);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    MUST(system(command) == 0);
    return result;
}

static void on_alarm(int sig) {
    received++;
}

static int timers(void) {
    struct itimerval every = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
    signal(SIGALRM, on_alarm);
    MUST(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (going_on() || !received) { // as above
        struct timespec t = {0, 3000000}, left;
        double start = now();
        while (nanosleep(&t, &left))
            t = left;
        MUST(now() - start >= 0.0029);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    return 0;
}

// Looks at all processes while they come and go.
static int looking(void) {
    while (going_on()) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        MUST(d);
        while ((e = readdir(d))) {
            static const char *const texts[] = {"stat", "status", "maps", "cmdline", "fd/0"};
            for (unsigned i = 0; e->d_name[0] >= '0' && e->d_name[0] <= '9' && i < 5; i++) {
                char path[300], text[4096];
                snprintf(path, sizeof(path), "/proc/%s/%s", e->d_name, texts[i]);
                if (i == 4) {
                    (void)!readlink(path, text, sizeof(text));
                    continue;
                }
                int fd = open(path, O_RDONLY);
                if (fd < 0)
                    continue;
                while (read(fd, text, sizeof(text)) > 0)
                    ;
                close(fd);
            }
        }
        closedir(d);
    }
    return 0;
}

static const struct worker {
    const char *name;
    int (*run)(void);
} workers[] = {
    {"pipes", pipes},     {"processes", processes},    {"mappings", mappings},
    {"copies", copies},   {"signals", queued_signals}, {"stopping", stopping},
    {"endings", endings}, {"turns", taking_turns},     {"sockets", sockets},
    {"files", files},     {"timers", timers},          {"looking", looking},
};
#define WORKERS (sizeof(workers) / sizeof(workers[0]))

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child"))
        return 7;
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    pid_t pids[WORKERS];
    deadline = now() + seconds;
    for (unsigned i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            alarm((unsigned)seconds * 10 + 60); // a worker that hangs ends by this
            int line = workers[i].run();
            if (line)
                fprintf(stderr, "# %s: line %d, errno %d\n", workers[i].name, line, errno);
            _exit(line != 0);
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        check(status == 0, workers[i].name, "status %#x", (unsigned)status);
    }
    return check_end();
}
