/* sources: tests/guests/torture/torture.S */
/* test: none */
// The proof of the instruction clock, through /dev/kvm and its extension alone: the torture guest
// (tests/guests/torture) is interrupted at random counts, and where it stood each time is written down.
// Replayed in fresh VMs - as it was; with other stops in between; while it is cloned over and over - it
// must stand at the same places and end with the same hash.
//
//   t_torture [EVENTS [CLONES [SEED]]]    run by tests/system/test_torture.py
#include <asm/kvm.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../vmm/extension.h"
#include "../guests/torture/layout.h"

#define MAX_EVENTS      100000
#define MEAN_TICKS      1000 // between events
#define VTIME_BASE      0x100000000
#define TICKS_PER_ROUND 180          // at most
#define NEVER           (1ull << 40) // a count that no guest reaches
#define LONGEST         20000        // ticks of a round

static void fail(const char *what) {
    perror(what);
    _exit(1);
}
static long must(long result, const char *what) {
    if (result < 0)
        fail(what);
    return result;
}

static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

// ---- the machine ---------------------------------------------------------------------------------
struct machine {
    int kvm, vm, vcpu;
    uint8_t *memory;
    struct kvm_run *run;
    struct chrono_run *chrono;
    uint64_t answers; // random state of the only device
    uint64_t longest; // count at which the guest must be done
    bool done;
};

static struct kvm_segment segment(unsigned selector, unsigned type, bool code) {
    return (struct kvm_segment){.selector = selector,
                                .type = type,
                                .s = 1,
                                .present = 1,
                                .limit = ~0u,
                                .l = code,
                                .db = !code,
                                .g = 1,
                                .dpl = selector & 3};
}

static void set_registers(struct machine *m, uint64_t rounds) {
    struct kvm_sregs s;
    must(ioctl(m->vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
    s.cr0 = 0x80010033; // PG WP NE ET MP PE
    s.cr3 = PML4;
    s.cr4 = 0x620; // PAE OSFXSR OSXMMEXCPT
    s.efer = 0x500;
    s.cs = segment(KERNEL_CS, 11, true);
    s.ds = s.es = s.fs = s.gs = s.ss = segment(KERNEL_DS, 3, false);
    s.tr = (struct kvm_segment){
        .selector = TSS_SELECTOR, .base = TSS, .limit = 0x67, .type = 11, .present = 1};
    s.ldt = (struct kvm_segment){.unusable = 1};
    s.gdt = (struct kvm_dtable){.base = GDT, .limit = TSS_SELECTOR + 15};
    s.idt = (struct kvm_dtable){.base = IDT, .limit = 0xfff};
    must(ioctl(m->vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
    struct kvm_regs r = {
        .rip = CODE, .rsp = STACK, .rflags = 2, .r13 = rounds, .r15 = TORTURE_SEED};
    must(ioctl(m->vcpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
}

static void set_cpuid(struct machine *m) {
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[3];
    } c = {.head = {.nent = 3},
           .entries = {
               {.function = 0, .eax = 1, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69},
               {.function = 1, .eax = 0x306a9, .edx = 0x0f8bfbff, .ecx = 1},
               {.function = 0x80000001, .edx = 1u << 29 | 1u << 27 | 1u << 20 | 1u << 11}}};
    must(ioctl(m->vcpu, KVM_SET_CPUID2, &c), "KVM_SET_CPUID2");
}

static void map_run(struct machine *m) {
    long size = must(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    m->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (m->run == MAP_FAILED)
        fail("mmap of the vCPU");
    m->chrono = (struct chrono_run *)((char *)m->run + CHRONO_RUN_OFFSET);
}

static struct machine create(uint64_t rounds, uint32_t control) {
    struct machine m = {.answers = 7, .longest = rounds * LONGEST};
    m.kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
    m.vm = must(ioctl(m.kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    m.memory = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region slot = {.memory_size = RAM_SIZE,
                                               .userspace_addr = (uintptr_t)m.memory};
    must(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
    m.vcpu = must(ioctl(m.vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    map_run(&m);
    torture_copy(m.memory);
    torture_page_tables(m.memory, MMIO);
    torture_tables(m.memory, 1);
    set_cpuid(&m);
    set_registers(&m, rounds);
    m.chrono->control = CHRONO_STOP_AT | CHRONO_VTIME | control;
    m.chrono->vtime_base = VTIME_BASE;
    return m;
}

static void destroy(struct machine *m) {
    munmap(m->run, 3 * 4096);
    close(m->vcpu);
    close(m->vm);
    close(m->kvm);
    munmap(m->memory, RAM_SIZE);
}

// ---- running -------------------------------------------------------------------------------------
static void answer(struct machine *m, uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        data[i] = next_random(&m->answers) >> 24;
}

static void absorb(struct machine *m, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        m->answers = (m->answers ^ data[i]) * 0x100000001b3 | 1;
}

static void port(struct machine *m) {
    uint8_t *data = (uint8_t *)m->run + m->run->io.data_offset;
    size_t n = (size_t)m->run->io.size * m->run->io.count;
    if (m->run->io.port == PORT_DONE)
        m->done = true;
    else if (m->run->io.direction == KVM_EXIT_IO_IN)
        answer(m, data, n);
    else
        absorb(m, data, n);
}

static void unexpected(const struct machine *m) {
    printf("torture: unexpected exit %u at count %" PRIu64 ", rip %#" PRIx64 "\n",
           m->run->exit_reason, (uint64_t)m->chrono->count, (uint64_t)m->chrono->rip);
    _exit(1);
}

// Runs until the count is reached (KVM_EXIT_CHRONO_STOP), an interrupt can be taken that was asked for,
// or the guest is done.
static unsigned run_to(struct machine *m, uint64_t count) {
    m->chrono->stop_count = count < m->longest ? count : m->longest;
    while (!m->done) {
        must(ioctl(m->vcpu, KVM_RUN, 0), "KVM_RUN");
        switch (m->run->exit_reason) {
        case KVM_EXIT_IO: port(m); break;
        case KVM_EXIT_MMIO:
            if (m->run->mmio.is_write)
                absorb(m, m->run->mmio.data, m->run->mmio.len);
            else
                answer(m, m->run->mmio.data, m->run->mmio.len);
            break;
        case KVM_EXIT_HLT: break; // nobody waits here: on with the next instruction
        case KVM_EXIT_CHRONO_STOP:
            if (m->chrono->count >= m->longest)
                unexpected(m); // it loops
            return m->run->exit_reason;
        case KVM_EXIT_IRQ_WINDOW_OPEN: return m->run->exit_reason;
        default: unexpected(m);
        }
    }
    return 0;
}

static void inject(struct machine *m, uint32_t vector) {
    struct kvm_interrupt i = {.irq = vector};
    must(ioctl(m->vcpu, KVM_INTERRUPT, &i), "KVM_INTERRUPT");
}

static uint64_t memory_sum(const struct machine *m) {
    uint64_t sum = 0xcbf29ce484222325, word;
    for (size_t i = 0; i < RAM_SIZE; i += sizeof(word)) {
        memcpy(&word, m->memory + i, sizeof(word));
        sum = (sum ^ word) * 0x100000001b3;
    }
    return sum;
}

// Everything that two runs must agree on at the end.
struct ending {
    uint64_t hash, count, interrupts, memory;
};

static struct ending ending_of(struct machine *m) {
    struct kvm_regs r;
    must(ioctl(m->vcpu, KVM_GET_REGS, &r), "KVM_GET_REGS");
    struct ending e = {.hash = r.r14, .count = m->chrono->count, .memory = memory_sum(m)};
    memcpy(&e.interrupts, m->memory + INTERRUPTS, sizeof(e.interrupts));
    return e;
}

static void print_ending(const char *what, const struct ending *e) {
    printf("%-34s hash %016" PRIx64 " count %" PRIu64 " interrupts %" PRIu64 " memory %016" PRIx64
           "\n",
           what, e->hash, e->count, e->interrupts, e->memory);
    fflush(stdout);
}

// ---- recording and replaying ---------------------------------------------------------------------
struct event {
    uint64_t count, rip, rcx;
    uint32_t vector;
};
static struct event events[MAX_EVENTS];
static unsigned event_count;

static void note(const struct machine *m, uint32_t vector) {
    events[event_count++] = (struct event){m->chrono->count, m->chrono->rip, m->chrono->rcx,
                                           vector};
}

static struct ending record(unsigned wanted, uint64_t seed) {
    struct machine m = create((uint64_t)wanted * MEAN_TICKS / TICKS_PER_ROUND, 0);
    for (uint64_t at = 0; event_count < wanted && !m.done;) {
        at = m.chrono->count + 1 + next_random(&seed) % (2 * MEAN_TICKS);
        if (run_to(&m, at) && !m.run->ready_for_interrupt_injection) {
            m.run->request_interrupt_window = 1;
            run_to(&m, NEVER);
            m.run->request_interrupt_window = 0;
        }
        if (m.done)
            break;
        uint32_t vector = VECTOR_FIRST + next_random(&seed) % VECTOR_COUNT;
        note(&m, vector);
        inject(&m, vector);
    }
    run_to(&m, NEVER);
    struct ending e = ending_of(&m);
    destroy(&m);
    return e;
}

// Runs to event i, which must be found where it was, and delivers it.
static void replay_event(struct machine *m, unsigned i) {
    const struct event *e = &events[i];
    bool stopped = run_to(m, e->count) == KVM_EXIT_CHRONO_STOP;
    const struct chrono_run *c = m->chrono;
    if (!stopped || c->count != e->count || c->rip != e->rip || c->rcx != e->rcx ||
        !m->run->ready_for_interrupt_injection) {
        printf("event %u: recorded at count %" PRIu64 " rip %#" PRIx64 " rcx %#" PRIx64
               ", now at %" PRIu64 " %#" PRIx64 " %#" PRIx64 "\n",
               i, e->count, e->rip, e->rcx, (uint64_t)c->count, (uint64_t)c->rip, (uint64_t)c->rcx);
        _exit(1);
    }
    inject(m, e->vector);
}

// `stray`: stops on the way that the recording did not have, about so many before each event.
static struct ending replay(uint64_t rounds, uint32_t control, unsigned stray) {
    struct machine m = create(rounds, control);
    uint64_t seed = 4711;
    for (unsigned i = 0; i < event_count; i++) {
        for (unsigned s = 0; s < stray && m.chrono->count + 2 < events[i].count; s++) {
            uint64_t left = events[i].count - m.chrono->count;
            run_to(&m, m.chrono->count + 1 + next_random(&seed) % (left - 1));
        }
        replay_event(&m, i);
    }
    run_to(&m, NEVER);
    struct ending e = ending_of(&m);
    destroy(&m);
    return e;
}

// The process goes on as its own child, with a clone of the VM; the parent waits for the end of it.
static void become_clone(struct machine *m) {
    fflush(stdout);
    pid_t child = must(fork(), "fork");
    if (child) {
        int status;
        must(waitpid(child, &status, 0), "waitpid");
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    struct chrono_clone c = {.vcpu_count = 1};
    must(ioctl(m->vm, CHRONO_CLONE, &c), "CHRONO_CLONE");
    munmap(m->run, 3 * 4096);
    close(m->vcpu);
    close(m->vm);
    m->vm = c.vm_fd;
    m->vcpu = c.vcpu_fds[0];
    map_run(m);
}

static struct ending replay_with_clones(uint64_t rounds, unsigned clones) {
    struct machine m = create(rounds, 0);
    for (unsigned i = 0; i < event_count; i++) {
        if (clones && i % (event_count / clones ? event_count / clones : 1) == 0)
            become_clone(&m);
        replay_event(&m, i);
    }
    run_to(&m, NEVER);
    return ending_of(&m);
}

static int same(const char *what, const struct ending *wanted, const struct ending *e) {
    print_ending(what, e);
    if (!memcmp(wanted, e, sizeof(*e)))
        return 0;
    printf("torture: %s: NOT THE SAME\n", what);
    return 1;
}

// In a process of its own, whose last descendant compares.
static int test_clones(uint64_t rounds, unsigned clones, const struct ending *wanted) {
    fflush(stdout);
    pid_t child = must(fork(), "fork");
    if (!child) {
        struct ending e = replay_with_clones(rounds, clones);
        int bad = same("replayed, cloned on the way", wanted, &e);
        fflush(stdout);
        _exit(bad);
    }
    int status;
    must(waitpid(child, &status, 0), "waitpid");
    return !WIFEXITED(status) || WEXITSTATUS(status);
}

// A recording without its events must end differently, or the comparison proves nothing.
static int test_without_events(uint64_t rounds, const struct ending *recorded) {
    unsigned all = event_count;
    event_count = 0;
    struct ending e = replay(rounds, 0, 0);
    event_count = all;
    print_ending("without its events", &e);
    return e.hash == recorded->hash;
}

static int clock_is_exact(void) {
    int kvm = open("/dev/kvm", O_RDWR);
    struct chrono_clock clock;
    if (kvm < 0 || ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_CHRONO) < CHRONO_VERSION) {
        printf("torture: skipped: no /dev/kvm with the extension\n");
        return 0;
    }
    must(ioctl(kvm, CHRONO_GET_CLOCK, &clock), "CHRONO_GET_CLOCK");
    close(kvm);
    if (!clock.exact)
        printf("torture: skipped: the clock is not exact: %s\n", clock.why);
    return clock.exact;
}

int main(int argc, char **argv) {
    unsigned wanted = argc > 1 ? atoi(argv[1]) : 1000, clones = argc > 2 ? atoi(argv[2]) : 10;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    if (wanted < 1 || wanted > MAX_EVENTS)
        return 2;
    if (!clock_is_exact())
        return 77;
    uint64_t rounds = (uint64_t)wanted * MEAN_TICKS / TICKS_PER_ROUND;
    struct ending recorded = record(wanted, seed), e;
    print_ending("recorded", &recorded);
    int bad = test_without_events(rounds, &recorded);
    e = replay(rounds, 0, 0);
    bad |= same("replayed", &recorded, &e);
    e = replay(rounds, CHRONO_MASK_IRQS, 2);
    bad |= same("replayed, with other stops, masked", &recorded, &e);
    bad |= test_clones(rounds, clones, &recorded);
    printf("torture: %u events, %u clones: %s\n", event_count, clones,
           bad ? "FAILED" : "always the same hash");
    return bad;
}
