/* test: none */
// Costs of what a guest does, through /dev/kvm: `K name ticks vmcs msrs crs xsaves flushes`, each per
// operation: TSC ticks that the guest sees pass (in Bochs with `clock: sync=none` instructions, the
// kernel's and this program's included), and what is dear on hardware and free in an emulator, as the
// VMM counted it: VMREAD and VMWRITE, RDMSR and WRMSR, MOV CR, XSAVE and XRSTOR, TLB invalidations
// (`-` where /dev/kvm does not count). Runs under Linux as well, for comparison.
#define _GNU_SOURCE
#include <termios.h>
#include "kvm.h"
#include "../../vmm/extension.h"

#define PAGES   2048
#define FRESH   0x10000000ul // memory that nobody has touched
#define PRESENT 0x12000000ul // memory that this program has touched
#define SIZE    (PAGES * 4096ul)

#define DEVICE 0x30000000ul // no memory

// Guests that halt, run an operation R15 times, and halt again with R14: how many ticks it took. They find
// RBX = CR4, RCX = the number of the PAT MSR, RSI = DEVICE, RDI = the row's memory.
#define TICKS "rdtsc; shl $32, %rdx; or %rdx, %rax;"
#define MEASURED(operation)                                                                     \
    "hlt; mov %r15d, %r12d;" TICKS "mov %rax, %r13; 2: " operation "; dec %r12d; jnz 2b;" TICKS \
    "sub %r13, %rax; mov %rax, %r14; hlt"
#define LOOP(name, operation) \
    GUEST64(name, "mov $16, %r12d; 1: " operation "; dec %r12d; jnz 1b;" MEASURED(operation))

LOOP(nothing, "nop")
LOOP(cpuid, "xor %eax, %eax; xor %ecx, %ecx; cpuid")
LOOP(vmcall, "mov $100, %eax; vmcall")
LOOP(wrmsr, "mov $0x00070406, %eax; mov %eax, %edx; wrmsr")
LOOP(rdmsr, "rdmsr")
LOOP(out, "mov $0x500, %edx; out %al, %dx")
LOOP(in, "mov $0x500, %edx; in %dx, %al")
LOOP(mmio_write, "mov %eax, (%rsi)")
LOOP(mmio_read, "mov (%rsi), %eax")
LOOP(mov_cr4, "xor $0x80, %rbx; mov %rbx, %cr4")
GUEST64(touch, MEASURED("mov %rax, (%rdi); add $4096, %rdi")) // the first time counts: no warm-up

static const struct row {
    const char *name, *start, *end;
    unsigned operations;
    uint64_t memory; // for `touch`
} rows[] = {
#define ROW(name, guest, operations, memory) \
    { name, guest_##guest, guest_##guest##_end, operations, memory }
    ROW("nothing", nothing, 2000, 0),
    ROW("cpuid", cpuid, 2000, 0),
    ROW("vmcall", vmcall, 2000, 0),
    ROW("wrmsr-pat", wrmsr, 2000, 0),
    ROW("rdmsr-pat", rdmsr, 2000, 0),
    ROW("out-to-user", out, 1000, 0),
    ROW("in-to-user", in, 1000, 0),
    ROW("mmio-write", mmio_write, 1000, 0),
    ROW("mmio-read", mmio_read, 1000, 0),
    ROW("page-fresh", touch, PAGES, FRESH),
    ROW("page-present", touch, PAGES, PRESENT),
    ROW("page-mapped", touch, PAGES, PRESENT),
    ROW("mov-cr4", mov_cr4, 2000, 0),
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void add_pages(int vm, unsigned slot, uint64_t gpa, int touched) {
    char *p = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, SIZE, MADV_NOHUGEPAGE);
    if (touched)
        memset(p, 1, SIZE);
    if (set_memory(vm, slot, 0, gpa, SIZE, p))
        fail("memory slot");
}

// Runs until HLT, answering as little as a machine can.
static void run_to_halt(struct machine *m) {
    for (;;) {
        if (ioctl(m->vcpu, KVM_RUN, 0))
            fail("KVM_RUN");
        switch (m->run->exit_reason) {
        case KVM_EXIT_IO:
            if (m->run->io.direction == KVM_EXIT_IO_IN)
                *port_data(m) = 0x5a;
            break;
        case KVM_EXIT_MMIO:
            if (!m->run->mmio.is_write)
                memset(m->run->mmio.data, 0, 8);
            break;
        case KVM_EXIT_HLT: return;
        default: printf("unexpected exit %u\n", m->run->exit_reason); exit(1);
        }
    }
}

struct result {
    double ticks;
    int counted;
    struct chrono_costs costs;
};

// What comes between the two HLTs.
static struct result measure(struct machine *m, const struct row *row) {
    struct result r = {0};
    struct chrono_costs before;
    start64(m, row->start, row->end);
    struct kvm_regs g = regs(m);
    g.rbx = 0x20;
    g.rcx = 0x277;
    g.rsi = DEVICE;
    g.rdi = row->memory;
    g.r15 = row->operations;
    if (ioctl(m->vcpu, KVM_SET_REGS, &g))
        fail("KVM_SET_REGS");
    run_to_halt(m);
    r.counted = !ioctl(m->vcpu, CHRONO_GET_COSTS, &before);
    run_to_halt(m);
    r.counted = r.counted && !ioctl(m->vcpu, CHRONO_GET_COSTS, &r.costs);
    r.ticks = regs(m).r14;
    for (unsigned i = 0; r.counted && i < sizeof(before) / sizeof(__u64); i++)
        ((__u64 *)&r.costs)[i] -= ((__u64 *)&before)[i];
    return r;
}

// `empty`: a run without operations, whose two instructions of the loop and whose costs are not theirs.
static void report(const struct row *row, const struct result *r, const struct result *empty) {
    double n = row->operations;
    printf("K %s %.0f", row->name, r->ticks / n - (row->memory ? 0 : 2));
    const struct chrono_costs *c = &r->costs, *e = &empty->costs;
    const double costs[] = {
        (double)(c->vmreads + c->vmwrites) - (double)(e->vmreads + e->vmwrites),
        (double)c->msr_accesses - (double)e->msr_accesses,
        (double)c->cr_writes - (double)e->cr_writes,
        (double)c->xsaves - (double)e->xsaves,
        (double)c->tlb_invalidations - (double)e->tlb_invalidations,
    };
    for (unsigned i = 0; i < sizeof(costs) / sizeof(costs[0]); i++)
        if (r->counted)
            printf(" %.2f", costs[i] / n);
        else
            printf(" -");
    printf("\n");
}

int main(void) {
    struct machine m = new_machine();
    add_pages(m.vm, 1, FRESH, 0);
    add_pages(m.vm, 2, PRESENT, 1);
    struct result empty = measure(&m, &rows[0]);
    for (unsigned i = 1; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct result r = measure(&m, &rows[i]);
        report(&rows[i], &r, &empty);
    }
    printf("end\n");
    fflush(stdout);
    tcdrain(STDOUT_FILENO); // as the first program: what follows is the kernel's
    return 0;
}
