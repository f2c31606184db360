/* linux: no */
/* vtx: yes */
/* libs: -pthread */
// Guest memory follows the process's memory: taking pages away, fork() and clones, read-only slots,
// aliases, dirty logs over changes, watches and breakpoints on pages that change.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include "kvm.h"
#include "../../vmm/extension.h"

#define COUNTER 0x100000
#define LARGE   (2ul << 20)

// Counts in memory; out after each round, with the count in RBX.
GUEST64(count, "1: incq 0x100000; mov 0x100000, %rbx; out %al, $0x80; jmp 1b")
GUEST64(spin, "1: incq 0x100000; incq 0x180000; jmp 1b")
// Adds up one quadword of each of the 512 pages from 2 MB on, and writes to each.
GUEST64(sweep, "1: mov $0x200000, %rcx; xor %ebx, %ebx; 2: add (%rcx), %rbx; incq 8(%rcx);"
               "add $0x1000, %rcx; cmp $0x400000, %rcx; jb 2b; out %al, $0x80; jmp 1b")
// Reads its own code at `3:`, changes the constant in it, and executes it.
GUEST64(code, "1: mov 3f(%rip), %rbx; incl 3f+1(%rip); jmp 3f; .global guest_target;"
              "guest_target: 3: mov $7, %ecx; out %al, $0x80; jmp 1b")
extern const char guest_target[];
#define CODE_TARGET (CODE + (guest_target - guest_code))

static struct chrono_run *chrono(struct machine *m) {
    return (void *)((char *)m->run + CHRONO_RUN_OFFSET);
}

// Runs to the next port access; RBX there.
static long round_of(struct machine *m) {
    int reason = run(m);
    return reason == KVM_EXIT_IO ? (long)regs(m).rbx : -1000 - reason;
}

static void test_taking_away(void) {
    struct machine m = new_machine();
    start64(&m, guest_count, guest_count_end);
    round_of(&m);
    CHECK_EQUAL("counts", round_of(&m), 2);
    madvise(m.mem + COUNTER, 4096, MADV_DONTNEED);
    CHECK_EQUAL("a page is dropped", round_of(&m), 1);
    *(uint64_t *)(m.mem + COUNTER) = 40;
    CHECK_EQUAL("the process writes", round_of(&m), 41);
    char *other = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(uint64_t *)other = 70;
    mremap(other, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, m.mem + COUNTER);
    CHECK_EQUAL("another page is moved there", round_of(&m), 71);
    mprotect(m.mem + COUNTER, 4096, PROT_READ);
    CHECK_EQUAL("write to a read-only page", run(&m), -EFAULT);
    mprotect(m.mem + COUNTER, 4096, PROT_READ | PROT_WRITE);
    CHECK_EQUAL("writable again", round_of(&m), 72);
    munmap(m.mem + COUNTER, 4096);
    CHECK_EQUAL("no memory there", run(&m), -EFAULT);
    end_machine(&m);
}

static void test_fork_alone(void) {
    struct machine m = new_machine();
    start64(&m, guest_count, guest_count_end);
    round_of(&m);
    int status, go[2];
    char byte;
    if (pipe(go))
        exit(1);
    pid_t child = fork();
    if (child == 0) { // the child's copy stays as it was while the parent's guest goes on
        if (read(go[0], &byte, 1) != 1)
            _exit(2);
        _exit(*(uint64_t *)(m.mem + COUNTER) == 1 && run(&m) == -EIO ? 0 : 1);
    }
    for (int i = 2; i < 50; i++)
        round_of(&m);
    CHECK_EQUAL("the parent's guest goes on", round_of(&m), 50);
    check(write(go[1], "", 1) == 1, "pipe", "-");
    waitpid(child, &status, 0);
    CHECK_EQUAL("the child has the memory of fork()", status, 0);
    CHECK_EQUAL("after it ended", round_of(&m), 51);
    end_machine(&m);
}

static volatile int stop_guest;
static void on_signal(int sig) {
    (void)sig;
}
static void *run_guest(void *arg) {
    while (!stop_guest)
        run(arg);
    return NULL;
}

// While the guest writes to them all the time, its pages are shared by fork(), dropped and protected.
static void test_running(void) {
    struct machine m = new_machine();
    start64(&m, guest_spin, guest_spin_end);
    volatile uint64_t *counter = (void *)(m.mem + COUNTER), *second = (void *)(m.mem + 0x180000);
    pthread_t thread;
    int moving = 0, drops = 0, progress = 0;
    signal(SIGUSR1, on_signal);
    pthread_create(&thread, NULL, run_guest, &m);
    for (int i = 0; i < 30; i++) {
        int status;
        uint64_t before = *counter;
        while (*counter == before)
            usleep(1000);
        progress++;
        pid_t child = fork();
        if (child == 0) {
            uint64_t first = *counter, other = *second;
            for (int k = 0; k < 200; k++) {
                if (*counter != first || *second != other)
                    _exit(1);
                usleep(10);
            }
            _exit(0);
        }
        waitpid(child, &status, 0);
        moving += status != 0;
        madvise(m.mem + 0x180000, 4096, MADV_DONTNEED);
        drops += *second > *counter;
        mprotect(m.mem + 0x181000, 8 * 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
    }
    stop_guest = 1;
    m.run->immediate_exit = 1;
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    CHECK_EQUAL("the guest goes on all the time", progress, 30);
    CHECK_EQUAL("pages that went begin at zero", drops, 0);
    CHECK_EQUAL("children see a memory that stands still", moving, 0);
    end_machine(&m);
}

// A 2 MB slot with 2 MB pages: checkpoints of it are children that go on with the guest.
static int sweep_child(struct machine *m, long wanted) {
    struct chrono_clone c = {.vcpu_count = 64};
    if (ioctl(m->vm, CHRONO_CLONE, &c))
        return 1;
    struct machine own = *m;
    own.vm = c.vm_fd;
    own.vcpu = c.vcpu_fds[0];
    own.run = mmap(0, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, own.vcpu, 0);
    for (int i = 0; i < 3; i++)
        if (round_of(&own) != wanted)
            return 2;
    return 0;
}

static void test_large(void) {
    struct machine m = new_machine();
    char *area = mmap(0, 2 * LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *large = (char *)(((uintptr_t)area + LARGE - 1) & ~(LARGE - 1));
    madvise(large, LARGE, MADV_HUGEPAGE);
    for (unsigned i = 0; i < 512; i++)
        *(uint64_t *)(large + i * 4096) = 1;
    CHECK_EQUAL("slot of 2 MB", set_memory(m.vm, 1, 0, LARGE, LARGE, large), 0);
    start64(&m, guest_sweep, guest_sweep_end);
    CHECK_EQUAL("sum of 512 pages", round_of(&m), 512);
    for (int n = 0; n < 5; n++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(sweep_child(&m, 512 + n));
        *(uint64_t *)(large + n * 4096) = 2;
        CHECK_EQUAL("the parent's sum", round_of(&m), 513 + n);
        waitpid(child, &status, 0);
        CHECK_EQUAL("a clone's sum", status, 0);
    }
    uint64_t written = 0;
    for (unsigned i = 0; i < 512; i++)
        written += *(uint64_t *)(large + i * 4096 + 8);
    CHECK_EQUAL("the guest wrote to all pages", written, 6 * 512);
    madvise(large + 5 * 4096, 4096, MADV_DONTNEED);
    CHECK_EQUAL("one page of them goes", round_of(&m), 516);
    end_machine(&m);
    munmap(area, 2 * LARGE);
}

static void test_slots(void) {
    struct machine m = new_machine();
    start64(&m, guest_sweep, guest_sweep_end);
    char *page = mmap(0, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(uint64_t *)page = 5;
    set_memory(m.vm, 1, KVM_MEM_READONLY, LARGE, LARGE, page);
    CHECK_EQUAL("write to a read-only slot", run(&m), KVM_EXIT_MMIO);
    check(m.run->mmio.is_write && m.run->mmio.phys_addr == LARGE + 8, "as MMIO", "%llx",
          m.run->mmio.phys_addr);
    set_memory(m.vm, 1, 0, LARGE, 0, page);
    set_memory(m.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, LARGE, LARGE, page);
    round_of(&m); // the rest of the round
    uint64_t map[8], all = ~0ull;
    struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = map};
    CHECK_EQUAL("dirty log", ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    for (int i = 1; i < 8; i++)
        all &= map[i];
    CHECK_EQUAL("all dirty but the first", all & (map[0] | 1), ~0ull);
    CHECK_EQUAL("a second slot of the same memory", set_memory(m.vm, 2, 0, 4 * LARGE, LARGE, page),
                0);
    round_of(&m);
    madvise(page, LARGE / 2, MADV_DONTNEED); // what was dirty must not be forgotten with the pages
    memset(map, 0, sizeof(map));
    ioctl(m.vm, KVM_GET_DIRTY_LOG, &log);
    for (all = ~0ull, log.slot = 0; log.slot < 8; log.slot++)
        all &= map[log.slot];
    CHECK_EQUAL("dirty pages of memory that went", all, ~0ull);
    CHECK_EQUAL("and its content", round_of(&m), 0);
    end_machine(&m);
    munmap(page, LARGE);
}

static int set_watch(struct machine *m, unsigned access, uint64_t gpa, uint64_t len) {
    struct chrono_watch w = {.id = 1, .access = access, .gpa = gpa, .len = len};
    return ioctl(m->vm, CHRONO_SET_WATCH, &w);
}

static void test_watches(void) {
    struct machine m = new_machine();
    start64(&m, guest_count, guest_count_end);
    chrono(&m)->control = CHRONO_WATCHES;
    set_watch(&m, CHRONO_WRITE, COUNTER + 8, 8);
    CHECK_EQUAL("a write beside it passes", round_of(&m), 1);
    set_watch(&m, CHRONO_WRITE, COUNTER + 4, 1);
    CHECK_EQUAL("a write over it stops", run(&m), KVM_EXIT_CHRONO_WATCH);
    CHECK_EQUAL("before it happened", *(uint64_t *)(m.mem + COUNTER), 1);
    CHECK_EQUAL("where", chrono(&m)->watch_gva, COUNTER);
    CHECK_EQUAL("and stops again", run(&m), KVM_EXIT_CHRONO_WATCH);
    chrono(&m)->control = CHRONO_STEP;
    CHECK_EQUAL("stepped over", run(&m), KVM_EXIT_CHRONO_STOP);
    CHECK_EQUAL("it happened", *(uint64_t *)(m.mem + COUNTER), 2);
    chrono(&m)->control = CHRONO_WATCHES;
    CHECK_EQUAL("reads pass", round_of(&m), 2);
    uint64_t count = chrono(&m)->count;
    chrono(&m)->control = 0;
    CHECK_EQUAL("watches are off", round_of(&m), 3);
    CHECK_EQUAL("steps change no count", chrono(&m)->count - count, 4);
    set_watch(&m, CHRONO_EXECUTE, CODE, 1);
    chrono(&m)->control = CHRONO_WATCHES;
    CHECK_EQUAL("a fetch stops", run(&m), KVM_EXIT_CHRONO_WATCH);
    CHECK_EQUAL("as that", chrono(&m)->watch_access, CHRONO_EXECUTE);
    set_watch(&m, CHRONO_WRITE, 0x11000, 8);
    CHECK_EQUAL("a page table is not written", round_of(&m), 4);
    set_watch(&m, CHRONO_READ, 0x11000, 8);
    CHECK_EQUAL("the processor reads it", run(&m), KVM_EXIT_CHRONO_WATCH);
    set_watch(&m, 0, 0, 0);
    CHECK_EQUAL("removed", round_of(&m), 5);
    end_machine(&m);
}

static int set_breakpoint(struct machine *m, uint64_t gpa, int set) {
    struct chrono_breakpoint b = {.gpa = gpa, .set = set};
    return ioctl(m->vm, CHRONO_SET_BREAKPOINT, &b);
}

static void test_breakpoints(void) {
    struct machine m = new_machine();
    start64(&m, guest_code, guest_code_end);
    CHECK_EQUAL("first round", round_of(&m) & 0xffffffffff, 0x00000007b9);
    CHECK_EQUAL("the code changed itself", regs(&m).rcx, 8);
    CHECK_EQUAL("placed", set_breakpoint(&m, CODE_TARGET, 1), 0);
    CHECK_EQUAL("hit", run(&m), KVM_EXIT_DEBUG);
    CHECK_EQUAL("there", regs(&m).rip, CODE_TARGET);
    CHECK_EQUAL("the guest reads the original", regs(&m).rbx & 0xffffffffff, 0x00000008b9);
    CHECK_EQUAL("so does the process", (unsigned char)m.mem[CODE_TARGET], 0xb9);
    CHECK_EQUAL("hit again", run(&m), KVM_EXIT_DEBUG);
    chrono(&m)->control = CHRONO_STEP;
    CHECK_EQUAL("stepped over", run(&m), KVM_EXIT_CHRONO_STOP);
    CHECK_EQUAL("with the guest's own change", regs(&m).rcx, 9);
    chrono(&m)->control = 0;
    CHECK_EQUAL("runs on", run(&m), KVM_EXIT_IO);
    m.mem[CODE_TARGET + 1] = 90; // as a disk does
    CHECK_EQUAL("hit in the next round", run(&m), KVM_EXIT_DEBUG);
    chrono(&m)->control = CHRONO_STEP;
    run(&m);
    CHECK_EQUAL("with the process's change", regs(&m).rcx, 91);
    chrono(&m)->control = 0;
    CHECK_EQUAL("removed", set_breakpoint(&m, CODE_TARGET, 0), 0);
    CHECK_EQUAL("no hit", run(&m), KVM_EXIT_IO);
    CHECK_ERROR("removed twice", set_breakpoint(&m, CODE_TARGET, 0), ENOENT);
    end_machine(&m);
}

int main(void) {
    test_taking_away();
    test_fork_alone();
    test_running();
    test_large();
    test_slots();
    int kvm = open_kvm();
    struct chrono_clock clock = {0};
    // Without an exact clock (an emulator with several processors) a step may be none or several.
    if (ioctl(kvm, CHRONO_GET_CLOCK, &clock) == 0 && clock.exact &&
        sysconf(_SC_NPROCESSORS_ONLN) == 1) {
        test_watches();
        test_breakpoints();
    }
    return check_end();
}
