/* linux: no */
/* vtx: yes */
// The extension of the KVM API: counts, steps, virtual time, traps, waking, clones, watches, breakpoints.
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/klog.h>
#include <sys/wait.h>
#include <x86intrin.h>
#include "kvm.h"
#include "../../vmm/extension.h"

GUEST64(loop, "xor %eax, %eax; 1: inc %rax; jmp 1b")
GUEST64(mixed, "1: inc %rax; cpuid; inc %rsi; jmp 1b")
GUEST64(time, "rdtsc; mov %rax, %rbx; nop; nop; rdtsc; hlt")
GUEST64(rand, "rdrand %rbx; setc %cl; rdseed %r9d; pause; hlt")
GUEST64(store, "mov $0x100000, %ebx; movl $1, (%rbx); mov 4(%rbx), %eax; movl $2, 8(%rbx); hlt")
GUEST64(device, "mov $0x3f000000, %ebx; mov $5, %eax; add %eax, (%rbx); hlt")
// From a device to memory; strings from a port and to one.
GUEST64(watched, "mov $0x3f000000, %esi; mov $0x100000, %edi; movsl; mov $2, %ecx; rep movsl;"
                 "mov $0x100100, %edi; mov $6, %ecx; mov $0x1f0, %dx; rep insw;"
                 "mov $0x100200, %esi; outsl; hlt")
GUEST64(write, "mov $0x20, %al; out %al, $0x80; movb $0x33, 0x100000; hlt")

static struct chrono_run *chrono(struct machine *m) {
    return (void *)((char *)m->run + CHRONO_RUN_OFFSET);
}

static int run_to(struct machine *m, uint64_t count) {
    chrono(m)->control |= CHRONO_STOP_AT;
    chrono(m)->stop_count = count;
    return run(m);
}

// Whether counts mean anything on this machine.
static int test_clock(void) {
    int kvm = open_kvm();
    struct chrono_clock c;
    CHECK_EQUAL("KVM_CAP_CHRONO", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_CHRONO), CHRONO_VERSION);
    CHECK_EQUAL("CHRONO_GET_CLOCK", ioctl(kvm, CHRONO_GET_CLOCK, &c), 0);
    check(c.exact || c.kind == CHRONO_CLOCK_NONE, "it is exact or there is none", "%s", c.why);
    close(kvm);
    return c.exact;
}

// A loop of two instructions: the count says where it stands.
static void test_counts(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    CHECK_EQUAL("stop at 1,000,001", run_to(&m, 1000001), KVM_EXIT_CHRONO_STOP);
    check(chrono(&m)->count == 1000001, "exactly there", "%llu", chrono(&m)->count);
    check(regs(&m).rax == 500000 && chrono(&m)->rip == CODE + 2, "registers", "%llu", regs(&m).rax);
    CHECK_EQUAL("host interrupts masked",
                (chrono(&m)->control |= CHRONO_MASK_IRQS, run_to(&m, 1500001)),
                KVM_EXIT_CHRONO_STOP);
    CHECK_EQUAL("exactly there, too", regs(&m).rax, 750000);
    chrono(&m)->control = CHRONO_STEP;
    uint64_t rip = regs(&m).rip;
    CHECK_EQUAL("one step", run(&m), KVM_EXIT_CHRONO_STOP);
    check(regs(&m).rip == rip + 3 && chrono(&m)->count == 1500002, "one instruction", "%llu",
          chrono(&m)->count);
    start64(&m, guest_mixed, guest_mixed_end);
    chrono(&m)->control = chrono(&m)->count = 0;
    uint64_t wrong = 0;
    static const unsigned places[] = {0, 3, 5, 8};
    for (unsigned i = 1; i < 200 && !wrong; i++)
        if (run_to(&m, i) != KVM_EXIT_CHRONO_STOP || chrono(&m)->rip != CODE + places[i % 4])
            wrong = i;
    CHECK_EQUAL("counts around an exiting instruction", wrong, 0);
    chrono(&m)->control = CHRONO_STEP;
    for (unsigned i = 200; i < 300 && !wrong; i++)
        if (run(&m) != KVM_EXIT_CHRONO_STOP || chrono(&m)->count != i ||
            chrono(&m)->rip != CODE + places[i % 4])
            wrong = i;
    CHECK_EQUAL("steps over it", wrong, 0);
    end_machine(&m);
}

static void test_time(void) {
    with_random = 1;
    struct machine m = new_machine();
    start64(&m, guest_time, guest_time_end);
    chrono(&m)->control = CHRONO_VTIME;
    chrono(&m)->vtime_base = 1000000;
    CHECK_EQUAL("virtual time", run(&m), KVM_EXIT_HLT);
    check(regs(&m).rbx == 1000000 && regs(&m).rax == 1000004, "is base + count", "%llu %llu",
          regs(&m).rbx, regs(&m).rax);
    start64(&m, guest_time, guest_time_end);
    chrono(&m)->control = CHRONO_VTIME | CHRONO_TRAP_TSC;
    chrono(&m)->count = 0;
    CHECK_EQUAL("trapped and answered by the kernel", run(&m), KVM_EXIT_HLT);
    check(regs(&m).rbx == 1000000 && regs(&m).rax == 1000004, "the same", "%llu %llu", regs(&m).rbx,
          regs(&m).rax);
    start64(&m, guest_time, guest_time_end);
    chrono(&m)->control = CHRONO_TRAP_TSC;
    CHECK_EQUAL("trapped to user space", run(&m), KVM_EXIT_CHRONO_INSN);
    CHECK_EQUAL("RDTSC", chrono(&m)->insn, CHRONO_INSN_RDTSC);
    chrono(&m)->value = 0x123;
    CHECK_EQUAL("the second one", run(&m), KVM_EXIT_CHRONO_INSN);
    CHECK_EQUAL("the first one's answer", regs(&m).rbx, 0x123);
    start64(&m, guest_rand, guest_rand_end);
    chrono(&m)->control = CHRONO_TRAP_RAND | CHRONO_TRAP_PAUSE;
    CHECK_EQUAL("RDRAND", run(&m) == KVM_EXIT_CHRONO_INSN && chrono(&m)->insn == CHRONO_INSN_RDRAND,
                1);
    chrono(&m)->value = 0x1122334455667788;
    chrono(&m)->carry = 1;
    CHECK_EQUAL("RDSEED", run(&m) == KVM_EXIT_CHRONO_INSN && chrono(&m)->insn == CHRONO_INSN_RDSEED,
                1);
    chrono(&m)->value = 0x99;
    chrono(&m)->carry = 1;
    CHECK_EQUAL("PAUSE", run(&m) == KVM_EXIT_CHRONO_INSN && chrono(&m)->insn == CHRONO_INSN_PAUSE,
                1);
    CHECK_EQUAL("end", run(&m), KVM_EXIT_HLT);
    struct kvm_regs r = regs(&m);
    check(r.rbx == 0x1122334455667788 && (r.rcx & 1) && r.r9 == 0x99, "answers", "%llx %llx", r.rbx,
          r.r9);
    end_machine(&m);
}

static void test_without_counts(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    CHECK_EQUAL("no stop without a clock", run_to(&m, 1000), -EOPNOTSUPP);
    chrono(&m)->control = CHRONO_STEP;
    CHECK_EQUAL("a step, by the trap flag", run(&m), KVM_EXIT_CHRONO_STOP);
    CHECK_EQUAL("is one instruction", regs(&m).rip, CODE + 2);
    check(!(regs(&m).rflags & 0x100), "which leaves no trace", "%llx", regs(&m).rflags);
    end_machine(&m);
}

// The end of a run by the host's TSC, with or without an instruction clock; also of a guest that exits all the time.
static void test_host_time(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    chrono(&m)->control = CHRONO_STOP_TSC;
    chrono(&m)->stop_count = 0;
    CHECK_EQUAL("a time that is over", run(&m), KVM_EXIT_CHRONO_STOP);
    check(regs(&m).rax == 0 && regs(&m).rip == CODE, "nothing was executed", "%llx", regs(&m).rip);
    uint64_t stop = chrono(&m)->stop_count = __rdtsc() + 3000000;
    CHECK_EQUAL("a stop by the TSC", run(&m), KVM_EXIT_CHRONO_STOP);
    check(__rdtsc() >= stop && regs(&m).rax > 0, "not before its time", "%llu", regs(&m).rax);
    start64(&m, guest_mixed, guest_mixed_end);
    stop = chrono(&m)->stop_count = __rdtsc() + 300000;
    CHECK_EQUAL("the same among exits", run(&m), KVM_EXIT_CHRONO_STOP);
    check(__rdtsc() >= stop && regs(&m).rsi > 0, "not before its time", "%llu", regs(&m).rsi);
    chrono(&m)->control = CHRONO_STOP_TSC | CHRONO_STOP_AT;
    CHECK_EQUAL("two ends", run(&m), -EINVAL);
    chrono(&m)->control = CHRONO_STOP_TSC | CHRONO_MASK_IRQS;
    CHECK_EQUAL("masked, with no count", run(&m), -EINVAL);
    end_machine(&m);
}

static void test_wake(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    int fd = eventfd(0, EFD_NONBLOCK), bad = 999;
    CHECK_EQUAL("CHRONO_SET_WAKE_FD", ioctl(m.vcpu, CHRONO_SET_WAKE_FD, &fd), 0);
    CHECK_ERROR("of no file", ioctl(m.vcpu, CHRONO_SET_WAKE_FD, &bad), EBADF);
    if (!fork()) {
        usleep(50000);
        _exit(write(fd, "\1\0\0\0\0\0\0\0", 8) != 8);
    }
    CHECK_EQUAL("a write wakes it", run(&m), -EINTR);
    CHECK_EQUAL("readable: not entered", run(&m), -EINTR);
    wait(NULL);
    end_machine(&m);
    close(fd);
}

static void test_state(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    run_to(&m, 1000);
    struct chrono_vcpu_state s;
    CHECK_EQUAL("CHRONO_GET_STATE", ioctl(m.vcpu, CHRONO_GET_STATE, &s), 0);
    check(s.count == 1000 && !s.activity && !s.vectoring_info, "count", "%llu", s.count);
    s.count = 5;
    CHECK_EQUAL("CHRONO_SET_STATE", ioctl(m.vcpu, CHRONO_SET_STATE, &s), 0);
    struct chrono_vcpu_state waits = s;
    waits.activity = 3; // for a SIPI: the processor would never come back
    CHECK_ERROR("a state without a way out", ioctl(m.vcpu, CHRONO_SET_STATE, &waits), EINVAL);
    CHECK_EQUAL("goes on from there", run_to(&m, 10), KVM_EXIT_CHRONO_STOP);
    struct chrono_costs c;
    CHECK_EQUAL("CHRONO_GET_COSTS", ioctl(m.vcpu, CHRONO_GET_COSTS, &c), 0);
    check(c.exits > 0 && c.vmreads > 0 && c.user_exits >= 2, "they are counted", "%llu", c.exits);
    end_machine(&m);
}

// In the child: the clone goes on where the parent stands, in memory of its own.
static int check_clone(struct machine *m, int counts) {
    struct chrono_clone c = {.vcpu_count = 64};
    if (ioctl(m->vm, CHRONO_CLONE, &c) || c.vcpu_count != 1)
        return 1;
    struct machine n = *m;
    n.vm = c.vm_fd;
    n.vcpu = c.vcpu_fds[0];
    n.run = mmap(0, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, n.vcpu, 0);
    if (n.run == MAP_FAILED || regs(&n).rip != regs(&n).rip)
        return 2;
    if (run(&n) != KVM_EXIT_HLT ||
        n.mem[0x100000] != 0x33) // completes the OUT of the parent, then stores
        return 3;
    return !counts || chrono(&n)->count == 4 ? 0 : 4;
}

// ADD to a device reads and writes. The parent stands between the two; in the child it reads 37.
static int check_clone_within(struct machine *m) {
    struct chrono_clone c = {.vcpu_count = 64};
    if (ioctl(m->vm, CHRONO_CLONE, &c) || c.vcpu_count != 1)
        return 1;
    struct machine n = *m;
    n.vm = c.vm_fd;
    n.vcpu = c.vcpu_fds[0];
    n.run = mmap(0, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, n.vcpu, 0);
    if (n.run == MAP_FAILED || n.run->exit_reason != KVM_EXIT_MMIO)
        return 2;
    *(uint32_t *)n.run->mmio.data = 37;
    if (run(&n) != KVM_EXIT_MMIO || !n.run->mmio.is_write || *(uint32_t *)n.run->mmio.data != 42)
        return 3;
    return run(&n) == KVM_EXIT_HLT ? 0 : 4;
}

static void test_clone_within(void) {
    struct machine m = new_machine();
    start64(&m, guest_device, guest_device_end);
    CHECK_EQUAL("the parent stands in a read of a device", run(&m), KVM_EXIT_MMIO);
    pid_t child = fork();
    if (!child)
        _exit(check_clone_within(&m));
    int status;
    waitpid(child, &status, 0);
    CHECK_EQUAL("a clone finishes the instruction", status, 0);
    *(uint32_t *)m.run->mmio.data = 2;
    CHECK_EQUAL("the parent, too", run(&m), KVM_EXIT_MMIO);
    CHECK_EQUAL("with its own answer", *(uint32_t *)m.run->mmio.data, 7);
    CHECK_EQUAL("and goes on", run(&m), KVM_EXIT_HLT);
    end_machine(&m);
}

static void test_clone(int counts) {
    struct machine m = new_machine();
    start64(&m, guest_write, guest_write_end);
    CHECK_EQUAL("the parent stands in an OUT", run(&m), KVM_EXIT_IO);
    pid_t child = fork();
    if (!child)
        _exit(check_clone(&m, counts));
    int status;
    waitpid(child, &status, 0);
    CHECK_EQUAL("a clone goes on", status, 0);
    CHECK_EQUAL("not in the parent's memory", m.mem[0x100000], 0);
    CHECK_EQUAL("the parent goes on", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("in its own", m.mem[0x100000], 0x33);
    end_machine(&m);
}

static void test_watches(void) {
    struct machine m = new_machine();
    start64(&m, guest_store, guest_store_end);
    struct chrono_watch w = {.id = 7, .access = CHRONO_READ, .gpa = 0x100004, .len = 4};
    CHECK_EQUAL("CHRONO_SET_WATCH", ioctl(m.vm, CHRONO_SET_WATCH, &w), 0);
    chrono(&m)->control = CHRONO_WATCHES;
    CHECK_EQUAL("stops before the read", run(&m), KVM_EXIT_CHRONO_WATCH);
    check(chrono(&m)->watch_id == 7 && chrono(&m)->watch_gpa == 0x100004 &&
              *(int *)(m.mem + 0x100000) == 1,
          "there", "%llx", chrono(&m)->watch_gpa);
    chrono(&m)->control = CHRONO_STEP;
    CHECK_EQUAL("steps over it", run(&m), KVM_EXIT_CHRONO_STOP);
    chrono(&m)->control = CHRONO_WATCHES;
    CHECK_EQUAL("to the end", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("with the store after it", *(int *)(m.mem + 0x100008), 2);
    start64(&m, guest_store, guest_store_end);
    chrono(&m)->control = 0;
    struct chrono_breakpoint b = {.gpa = CODE + 5, .set = 1};
    CHECK_EQUAL("CHRONO_SET_BREAKPOINT", ioctl(m.vm, CHRONO_SET_BREAKPOINT, &b), 0);
    CHECK_EQUAL("hits", run(&m), KVM_EXIT_DEBUG);
    check(m.run->debug.arch.pc == CODE + 5 && (unsigned char)m.mem[CODE + 5] != 0xcc,
          "and is not in memory", "%llx", m.run->debug.arch.pc);
    b.set = 0;
    CHECK_EQUAL("taken away", ioctl(m.vm, CHRONO_SET_BREAKPOINT, &b), 0);
    CHECK_EQUAL("the end", run(&m), KVM_EXIT_HLT);
    end_machine(&m);
}

static void watch_bytes(struct machine *m, unsigned access, uint64_t gpa, uint64_t len) {
    struct chrono_watch w = {.id = 1, .access = access, .gpa = gpa, .len = len};
    CHECK_EQUAL("CHRONO_SET_WATCH", ioctl(m->vm, CHRONO_SET_WATCH, &w), 0);
    chrono(m)->control = CHRONO_WATCHES;
}

static int device_answers(struct machine *m, uint32_t value) {
    *(uint32_t *)m->run->mmio.data = value;
    return run(m);
}

static int pending(struct machine *m) {
    struct chrono_vcpu_state s;
    ioctl(m->vcpu, CHRONO_GET_STATE, &s);
    return s.pending_completion;
}

// Accesses that the VMM makes for the guest stop like the guest's own.
static void test_watches_of_emulation(int counts) {
    struct machine m = new_machine();
    start64(&m, guest_watched, guest_watched_end);
    watch_bytes(&m, CHRONO_WRITE, 0x100003, 1);
    CHECK_EQUAL("MOVS reads the device", run(&m), KVM_EXIT_MMIO);
    CHECK_EQUAL("stops before the store", device_answers(&m, 0x11223344), KVM_EXIT_CHRONO_WATCH);
    check(chrono(&m)->watch_gpa == 0x100000 && chrono(&m)->watch_access == CHRONO_WRITE, "names it",
          "%llx", chrono(&m)->watch_gpa);
    CHECK_EQUAL("which has not happened", *(int *)(m.mem + 0x100000), 0);
    CHECK_EQUAL("the instruction has begun", pending(&m), 1);
    CHECK_EQUAL("stops again", run(&m), KVM_EXIT_CHRONO_WATCH);
    chrono(&m)->control = counts ? CHRONO_STEP : 0;
    if (counts) {
        CHECK_EQUAL("steps over it", run(&m), KVM_EXIT_CHRONO_STOP);
        CHECK_EQUAL("the device is not asked again", *(int *)(m.mem + 0x100000), 0x11223344);
        CHECK_EQUAL("one instruction", regs(&m).rip, CODE + 11);
    }
    watch_bytes(&m, CHRONO_WRITE, 0x100008, 4);
    CHECK_EQUAL("REP MOVS reads the device", run(&m), KVM_EXIT_MMIO);
    CHECK_EQUAL("and again", device_answers(&m, 5), KVM_EXIT_MMIO);
    CHECK_EQUAL("stops in the second iteration", device_answers(&m, 6), KVM_EXIT_CHRONO_WATCH);
    check(regs(&m).rcx == 1 && *(int *)(m.mem + 0x100004) == 5, "the first one is done", "%llu",
          regs(&m).rcx);
    watch_bytes(&m, CHRONO_WRITE, 0x100105, 1);
    CHECK_EQUAL("REP INS asks the port", run(&m), KVM_EXIT_IO);
    CHECK_EQUAL("for what lies before the watch", m.run->io.count, 2);
    memset(port_data(&m), 0x77, 12);
    CHECK_EQUAL("stops there", run(&m), KVM_EXIT_CHRONO_WATCH);
    check(regs(&m).rcx == 4 && *(int *)(m.mem + 0x100104) == 0, "before the port is asked", "%llu",
          regs(&m).rcx);
    CHECK_EQUAL("nothing has begun", pending(&m), 0);
    watch_bytes(&m, CHRONO_READ, 0x100200, 1);
    CHECK_EQUAL("the rest", run(&m), KVM_EXIT_IO);
    memset(port_data(&m), 0x78, 8);
    CHECK_EQUAL("stops before OUTS", run(&m), KVM_EXIT_CHRONO_WATCH);
    CHECK_EQUAL("what INS stored", *(int *)(m.mem + 0x100104), 0x78787878);
    chrono(&m)->control = 0;
    CHECK_EQUAL("OUTS", run(&m), KVM_EXIT_IO);
    CHECK_EQUAL("the end", run(&m), KVM_EXIT_HLT);
    end_machine(&m);
}

// How often the kernel's log has these words.
static int logged(const char *words) {
    enum { READ_ALL = 3, SIZE = 10 };
    int size = klogctl(SIZE, NULL, 0), times = 0;
    char *log = calloc(1, (size_t)size + 1);
    klogctl(READ_ALL, log, size);
    for (const char *at = log; (at = strstr(at, words)); at++)
        times++;
    free(log);
    return times;
}

#define REFUSED "VM entry refused: invalid guest state; GUEST_TR_RIGHTS"

// A process that goes on with a VM that has failed learns so each time; the log has it once.
static void test_reports(void) {
    struct machine m = new_machine();
    start64(&m, guest_loop, guest_loop_end);
    struct kvm_sregs s;
    ioctl(m.vcpu, KVM_GET_SREGS, &s);
    s.tr.type = 9;
    CHECK_EQUAL("a TSS that is not busy", ioctl(m.vcpu, KVM_SET_SREGS, &s), 0);
    int before = logged(REFUSED);
    for (int i = 0; i < 3; i++)
        CHECK_EQUAL("the entry fails", run(&m), KVM_EXIT_FAIL_ENTRY);
    CHECK_EQUAL("one report", logged(REFUSED) - before, 1);
    end_machine(&m);
}

int main(void) {
    int counts = test_clock();
    if (counts) {
        test_counts();
        test_time();
        test_state();
    } else {
        test_without_counts();
    }
    test_host_time();
    test_wake();
    test_clone(counts);
    test_clone_within();
    test_watches();
    test_watches_of_emulation(counts);
    test_reports();
    return check_end();
}
