/* libs: -pthread */
// Signals: handlers, masks, queues, stacks, restarts. Same result under Linux.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t count, last, values[8], value_count;
static siginfo_t info;
static sigjmp_buf jump;

static void on_signal(int sig) {
    count++;
    last = sig;
}
static void on_info(int sig, siginfo_t *i, void *context) {
    info = *i;
    count++;
    if (value_count < 8)
        values[value_count++] = i->si_value.sival_int;
}
static void install(int sig, void (*fn)(int), int flags) {
    struct sigaction a = {.sa_handler = fn, .sa_flags = flags};
    sigaction(sig, &a, NULL);
}
static void install_info(int sig, void (*fn)(int, siginfo_t *, void *), int flags) {
    struct sigaction a = {.sa_sigaction = fn, .sa_flags = flags | SA_SIGINFO};
    sigaction(sig, &a, NULL);
}

static void test_handlers(void) {
    install(SIGUSR1, on_signal, 0);
    count = 0;
    raise(SIGUSR1);
    CHECK_EQUAL("handler ran", count, 1);
    CHECK_EQUAL("handler's signal", last, SIGUSR1);
    install(SIGUSR1, on_signal, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction a;
    sigaction(SIGUSR1, NULL, &a);
    check(a.sa_handler == SIG_DFL, "SA_RESETHAND", "handler is still there");
    install_info(SIGUSR1, on_info, 0);
    kill(getpid(), SIGUSR1);
    CHECK_EQUAL("si_code of kill", info.si_code, SI_USER);
    CHECK_EQUAL("si_pid of kill", info.si_pid, getpid());
    CHECK_ERROR("no handler for SIGKILL", sigaction(SIGKILL, &a, NULL), EINVAL);
    CHECK_ERROR("kill of nobody", kill(NOBODY, 0), ESRCH);
    CHECK_ERROR("bad signal", kill(getpid(), 65), EINVAL);
}

static void test_masks(void) {
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    install(SIGUSR1, on_signal, 0);
    count = 0;
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK_EQUAL("blocked", count, 0);
    sigpending(&pending);
    CHECK_EQUAL("sigpending", sigismember(&pending, SIGUSR1), 1);
    sigset_t wait_mask = old;
    sigdelset(&wait_mask, SIGUSR1);
    CHECK_ERROR("sigsuspend", sigsuspend(&wait_mask), EINTR);
    CHECK_EQUAL("one of two standard signals", count, 1);
    sigprocmask(SIG_SETMASK, NULL, &pending);
    CHECK_EQUAL("mask is back", sigismember(&pending, SIGUSR1), 1);
    raise(SIGUSR1);
    install(SIGUSR1, SIG_IGN, 0);
    sigpending(&pending);
    CHECK_EQUAL("ignoring drops", sigismember(&pending, SIGUSR1), 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void test_queue(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 3; i++)
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 10 + i});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
    siginfo_t got;
    struct timespec none = {0, 0}, some = {0, 20000000};
    CHECK_EQUAL("lowest real-time signal first", sigtimedwait(&set, &got, &none), SIGRTMIN);
    CHECK_EQUAL("its value", got.si_value.sival_int, 5);
    install_info(SIGRTMIN + 1, on_info, 0);
    value_count = 0;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK_EQUAL("all queued arrive", value_count, 3);
    check(values[0] == 10 && values[1] == 11 && values[2] == 12, "in order", "%d %d %d", values[0],
          values[1], values[2]);
    CHECK_EQUAL("si_code of sigqueue", info.si_code, SI_QUEUE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_ERROR("sigtimedwait times out", sigtimedwait(&set, &got, &some), EAGAIN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static char alt[65536];
static volatile int on_alt, nested;
static void on_stack(int sig) {
    char here;
    on_alt = &here >= alt && &here < alt + sizeof(alt);
    stack_t st;
    sigaltstack(NULL, &st);
    nested = st.ss_flags & SS_ONSTACK;
}
static void on_fault(int sig, siginfo_t *i, void *context) {
    info = *i;
    siglongjmp(jump, 1);
}

static void test_stacks_and_faults(void) {
    stack_t st = {.ss_sp = alt, .ss_size = sizeof(alt)};
    CHECK_EQUAL("sigaltstack", sigaltstack(&st, NULL), 0);
    install(SIGUSR2, on_stack, SA_ONSTACK);
    raise(SIGUSR2);
    check(on_alt, "SA_ONSTACK", "another stack");
    check(nested, "SS_ONSTACK shows", "it does not");
    stack_t small = {.ss_sp = alt, .ss_size = 100};
    CHECK_ERROR("small stack refused", sigaltstack(&small, NULL), ENOMEM);
    install_info(SIGSEGV, on_fault, SA_ONSTACK);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile int *)bad_memory = 1;
    check(info.si_addr == bad_memory, "si_addr of SIGSEGV", "%p", info.si_addr);
    CHECK_EQUAL("SEGV_MAPERR", info.si_code, SEGV_MAPERR);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile char *)page = 1;
    CHECK_EQUAL("SEGV_ACCERR", info.si_code, SEGV_ACCERR);
    install_info(SIGFPE, on_fault, 0);
    volatile int zero = 0, one = 1;
    if (sigsetjmp(jump, 1) == 0)
        zero = one / zero;
    CHECK_EQUAL("FPE_INTDIV", info.si_code, FPE_INTDIV);
    install_info(SIGILL, on_fault, 0);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("ud2");
    CHECK_EQUAL("SIGILL", info.si_signo, SIGILL);
    install(SIGSEGV, SIG_DFL, 0);
}

// The handler changes registers in the context, and the FPU's, which must come back.
static void on_context(int sig, siginfo_t *i, void *context) {
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RAX] = 4711;
    u->uc_mcontext.gregs[REG_EFL] |= 0x3000; // IOPL: not the program's to set
    __asm__ volatile("pcmpeqd %%xmm7, %%xmm7" ::: "xmm7");
}

static void test_context(void) {
    install_info(SIGUSR1, on_context, 0);
    long rax = SYS_getpid, flags;
    double in = 3.25, out;
    pid_t pid = getpid();
    __asm__ volatile("movsd %3, %%xmm7\n\t"
                     "mov %4, %%edi\n\t"
                     "mov %5, %%esi\n\t"
                     "mov %6, %%eax\n\t"
                     "syscall\n\t"
                     "pushfq\n\tpopq %2\n\t"
                     "movsd %%xmm7, %1"
                     : "=&a"(rax), "=m"(out), "=&r"(flags)
                     : "m"(in), "r"(pid), "i"(SIGUSR1), "i"(SYS_kill)
                     : "rcx", "r11", "rdi", "rsi", "xmm7", "memory");
    CHECK_EQUAL("register changed by handler", rax, 4711);
    CHECK_EQUAL("IOPL unchanged", flags & 0x3000, 0);
    check(out == in, "FPU state restored", "%d/1000", (int)(out * 1000));
}

// SIGALRM in 20 ms, and each 20 ms after that with again: the first may come before the call that it is to
// interrupt.
static void arm(int again) {
    struct itimerval t = {{0, again ? 20000 : 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &t, NULL);
}
static void disarm(void) {
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
}

static void *write_later(void *arg) {
    while (!count)
        usleep(1000);
    if (write(*(int *)arg, "x", 1) != 1)
        abort();
    return NULL;
}

static void test_restart(void) {
    int p[2];
    char c;
    pthread_t t;
    sigset_t set, old;
    if (pipe(p) != 0)
        abort();
    install(SIGALRM, on_signal, 0);
    arm(1);
    CHECK_ERROR("read without SA_RESTART", read(p[0], &c, 1), EINTR);
    disarm();
    install(SIGALRM, on_signal, SA_RESTART);
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, &old); // for the helper thread
    count = 0;
    pthread_create(&t, NULL, write_later, &p[1]);
    sigprocmask(SIG_SETMASK, &old, NULL);
    arm(0);
    CHECK_EQUAL("read with SA_RESTART", read(p[0], &c, 1), 1);
    CHECK_EQUAL("the signal came", count, 1);
    pthread_join(t, NULL);
    struct timespec long_time = {100, 0}, rest = {0, 0};
    arm(1);
    CHECK_ERROR("nanosleep interrupted", nanosleep(&long_time, &rest), EINTR);
    check(rest.tv_sec >= 90 && rest.tv_sec < 100, "remaining time", "%ld s", (long)rest.tv_sec);
    CHECK_ERROR("pause", pause(), EINTR);
    disarm();
}

static pthread_t thread;
static volatile pthread_t handled_by;
static void on_thread(int sig) {
    handled_by = pthread_self();
}
static void *sleeper(void *arg) {
    usleep(50000);
    while (!handled_by)
        usleep(1000);
    return NULL;
}

static void test_threads(void) {
    install(SIGUSR1, on_thread, 0);
    pthread_create(&thread, NULL, sleeper, NULL);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    check(pthread_equal(handled_by, thread), "signal to a thread", "another one took it");
    handled_by = 0;
    pthread_create(&thread, NULL, sleeper, NULL);
    sigset_t set, old;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    kill(getpid(), SIGUSR1);
    pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    check(pthread_equal(handled_by, thread), "who does not block takes it", "another one took it");
}

static void test_deaths(void) {
    const int signals[] = {SIGTERM, SIGKILL, SIGHUP, SIGRTMIN};
    int status;
    for (unsigned i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (!pid) {
            for (;;)
                pause();
        }
        kill(pid, signals[i]);
        waitpid(pid, &status, 0);
        check(WIFSIGNALED(status) && WTERMSIG(status) == signals[i], "death by signal", "%x",
              status);
    }
    pid_t pid = fork();
    if (!pid) {
        *(volatile int *)bad_memory = 1;
        _exit(0);
    }
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "death by fault", "%x", status);
    pid = fork();
    if (!pid) { // a handler whose stack is gone: SIGSEGV, not a loop
        install(SIGUSR1, on_signal, 0);
        __asm__ volatile("mov $16, %%rsp\n\tmov %0, %%edi\n\tmov $10, %%esi\n\tmov $62, %%eax\n\t"
                         "syscall\n\thlt" ::"r"(getpid())
                         : "memory");
    }
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "handler without a stack", "%x",
          status);
    pid = fork();
    if (!pid) { // nonsense for rt_sigreturn
        __asm__ volatile("mov $8, %%rsp\n\tmov $15, %%eax\n\tsyscall\n\thlt" ::: "memory");
    }
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "bad sigreturn", "%x", status);
}

int main(void) {
    test_handlers();
    test_masks();
    test_queue();
    test_stacks_and_faults();
    test_context();
    test_restart();
    test_threads();
    test_deaths();
    return check_end();
}
