// Processor exceptions of a program become the right signals, with the right si_code, and nothing that
// a program does to its registers harms the kernel. Runs under Linux as well.
#define _GNU_SOURCE
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

static sigjmp_buf back;
static volatile int got_signal, got_code;
static void *volatile got_address;

static void handler(int sig, siginfo_t *info, void *context) {
    got_signal = sig;
    got_code = info->si_code;
    got_address = info->si_addr;
    siglongjmp(back, 1);
}

static void expect(const char *what, void (*fn)(void), int sig, int code) {
    got_signal = got_code = 0;
    if (!sigsetjmp(back, 1))
        fn();
    check(got_signal == sig && got_code == code, what, "signal %d code %d, wanted %d %d",
          got_signal, got_code, sig, code);
}

static void divide(void) {
    __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx");
}
static void invalid(void) {
    __asm__ volatile("ud2");
}
static void breakpoint(void) {
    __asm__ volatile("int3");
}
static void privileged(void) {
    __asm__ volatile("hlt");
}
static void port(void) {
    __asm__ volatile("inb $0x80, %%al" ::: "eax");
}
static void control(void) {
    __asm__ volatile("mov %%cr0, %%rax" ::: "rax");
}
static void non_canonical(void) {
    *(volatile char *)0x8000000000000000 = 1;
}
static void null(void) {
    *(volatile char *)bad_memory = 1;
}
static void kernel_address(void) {
    (void)*(volatile char *)0xffffffff80100000;
}
static void no_interrupt(void) {
    __asm__ volatile("int $0x30");
}
static void jump_away(void) { // RET loads RIP; some processors fault before, some after
    __asm__ volatile("movabs $0x8000000000000000, %%rax; push %%rax; ret" ::: "rax", "memory");
}
static void execute_data(void) {
    static char data[16] = {(char)0xc3};
    void (*fn)(void) = (void (*)(void))data;
    fn();
}
static void read_only(void) {
    *(volatile char *)(uintptr_t)invalid = 0;
}
static void simd(void) {
    unsigned mxcsr = 0x1f80 & ~(1u << 9); // division by zero unmasked
    float zero = 0, one = 1;
    __asm__ volatile("ldmxcsr %0; divss %1, %2" ::"m"(mxcsr), "x"(zero), "x"(one));
}
static void x87(void) {
    unsigned short control = 0x37f & ~4; // the same for the x87
    __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(control));
}
static void single_step(void) {
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop" ::: "memory", "cc");
}
// SYSCALL with the trap flag set, and after MOV SS: entries that have broken kernels.
static void step_over_syscall(void) {
    __asm__ volatile("mov $39, %%eax; pushfq; orq $0x100, (%%rsp); popfq; syscall; nop" ::
                         : "rax", "rcx", "r11", "memory", "cc");
}
static void mov_ss_syscall(void) {
    __asm__ volatile("mov %%ss, %%edx; mov $39, %%eax; pushfq; orq $0x100, (%%rsp); popfq;"
                     "mov %%edx, %%ss; syscall; nop" ::
                         : "rax", "rcx", "rdx", "r11", "memory", "cc");
}

// A handler that makes its own return impossible: the kernel must fail the program, not itself.
static void bad_rip(int sig, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    u->uc_mcontext.gregs[REG_RIP] = (greg_t)0x8000000000000000;
}

static int status_of(void (*child)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        child();
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void return_nowhere(void) {
    struct sigaction a = {.sa_sigaction = bad_rip, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
}

// Segment registers, direction and alignment flags that a program leaves odd.
static void odd_registers(void) {
    __asm__ volatile("xor %%eax, %%eax; mov %%eax, %%gs; mov %%eax, %%ds; mov %%eax, %%es; std;"
                     "mov $39, %%eax; syscall; cld" ::
                         : "rax", "rcx", "r11", "memory", "cc");
    __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; mov $39, %%eax; syscall;"
                     "pushfq; andq $~0x40000, (%%rsp); popfq" ::
                         : "rax", "rcx", "r11", "memory", "cc");
}

// QEMU's software CPU never raises #XM.
static int has_simd_exceptions(void) {
    char brand[16] = "";
    return !__get_cpuid(0x80000002, (unsigned *)brand, (unsigned *)brand + 1, (unsigned *)brand + 2,
                        (unsigned *)brand + 3) ||
           memcmp(brand, "QEMU", 4) != 0;
}

int main(void) {
    struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    static const int signals[] = {SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS};
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &a, NULL);

    expect("#DE", divide, SIGFPE, FPE_INTDIV);
    expect("#UD", invalid, SIGILL, ILL_ILLOPN);
    expect("#BP", breakpoint, SIGTRAP, SI_KERNEL);
    expect("HLT", privileged, SIGSEGV, SI_KERNEL);
    expect("IN", port, SIGSEGV, SI_KERNEL);
    expect("MOV from CR0", control, SIGSEGV, SI_KERNEL);
    expect("INT 0x30", no_interrupt, SIGSEGV, SI_KERNEL);
    expect("non-canonical", non_canonical, SIGSEGV, SI_KERNEL);
    expect("NULL", null, SIGSEGV, SEGV_MAPERR);
    CHECK_EQUAL("si_addr", got_address, 8);
    expect("kernel address", kernel_address, SIGSEGV, SEGV_MAPERR);
    expect("read-only", read_only, SIGSEGV, SEGV_ACCERR);
    expect("execute data", execute_data, SIGSEGV, SEGV_ACCERR);
    if (has_simd_exceptions())
        expect("#XM", simd, SIGFPE, FPE_FLTDIV);
    expect("#MF", x87, SIGFPE, FPE_FLTDIV);
    expect("single step", single_step, SIGTRAP, TRAP_TRACE);
    expect("step over SYSCALL", step_over_syscall, SIGTRAP, TRAP_TRACE);
    expect("MOV SS, SYSCALL", mov_ss_syscall, SIGTRAP, TRAP_TRACE);

    got_signal = 0;
    if (!sigsetjmp(back, 1))
        jump_away();
    CHECK_EQUAL("jump to nowhere", got_signal, SIGSEGV);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        signal(signals[i], SIG_DFL);
    int status = status_of(return_nowhere);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "return to nowhere", "status %#x",
          status);
    status = status_of(odd_registers);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "odd registers", "status %#x", status);
    status = status_of(privileged);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "default action", "status %#x",
          status);
    return check_end();
}
