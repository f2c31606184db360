/* linux: no */
/* vtx: yes */
/* libs: -lpthread */
// /dev/kvm: the KVM API. Same result under Linux with KVM (without an in-kernel interrupt controller).
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "kvm.h"

GUEST16(
    hello,
    "mov $0x3f8, %dx; mov $'h', %al; out %al, %dx; in %dx, %al; mov %al, 0x2000; mov $0x1234, %ax;"
    "out %ax, $0x80; hlt; hlt")
GUEST16(spin, "1: jmp 1b")
GUEST16(
    irq,
    "xor %ax, %ax; mov %ax, %ss; movw $handler - guest_irq + 0x1000, 0x20 * 4; movw %ax, 0x20 * 4 + 2;"
    "movw $nmi - guest_irq + 0x1000, 2 * 4; movw %ax, 2 * 4 + 2; hlt; sti; nop; nop; hlt; cli; hlt;"
    "handler: movb $1, 0x2000; iret; nmi: movb $2, 0x2001; iret")
GUEST16(
    string,
    "cld; mov $0x2000, %si; mov $5, %cx; mov $0x99, %dx; rep outsb; mov $0x2100, %di; mov $3, %cx; rep insw; hlt")
GUEST64(triple, "ud2")
GUEST64(
    mmio,
    "mov $0x30000000, %rbx; movl $0x12345678, (%rbx); mov 8(%rbx), %rax; movb $7, 1(%rbx); movzwl 4(%rbx), %ecx; hlt")
GUEST64(
    msr,
    "mov $0xc0000082, %ecx; mov $0x1000, %eax; xor %edx, %edx; wrmsr; rdmsr; mov $0x777, %ecx; rdmsr; mov %eax, %ebx; hlt")
GUEST64(cpuid, "mov $1, %eax; xor %ecx, %ecx; cpuid; hlt")
GUEST64(steps, "nop; mov $5, %eax; cpuid; inc %rbx; hlt")
GUEST64(dirty, "movb $1, 0x100000; movb $1, 0x103fff; hlt; movb $1, 0x101000; hlt")
GUEST64(vmcall, "mov $1000, %eax; vmcall; hlt")
GUEST64(x87, "fninit; fld1; hlt")
GUEST64(
    cr,
    "mov %cr4, %rax; or $0x80, %rax; mov %rax, %cr4; mov $7, %ecx; mov %rcx, %cr8; mov %cr8, %rdx; xor %ecx, %ecx; mov %rcx, %cr8; hlt")

static void test_system(void) {
    int kvm = open_kvm();
    CHECK_EQUAL("API version", ioctl(kvm, KVM_GET_API_VERSION, 0), 12);
    CHECK_ERROR("KVM_CREATE_VM of an unknown type", ioctl(kvm, KVM_CREATE_VM, 0xff), EINVAL);
    CHECK_ERROR("unknown ioctl of /dev/kvm", ioctl(kvm, _IO(KVMIO, 0xff), 0), EINVAL);
    CHECK_EQUAL("KVM_CAP_USER_MEMORY", ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
    CHECK_EQUAL("unknown capability", ioctl(kvm, KVM_CHECK_EXTENSION, 9999), 0);
    struct kvm_cpuid2 small = {.nent = 0};
    CHECK_ERROR("KVM_GET_SUPPORTED_CPUID into too little",
                ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &small), E2BIG);
    struct kvm_msr_list list = {.nmsrs = 0};
    CHECK_ERROR("KVM_GET_MSR_INDEX_LIST into too little", ioctl(kvm, KVM_GET_MSR_INDEX_LIST, &list),
                E2BIG);
    check(list.nmsrs > 10, "it says how many", "%u", list.nmsrs);
    CHECK_ERROR("bad pointer", ioctl(kvm, KVM_GET_SUPPORTED_CPUID, bad_memory), EFAULT);
    close(kvm);
}

static void test_slots(void) {
    struct machine m = new_machine();
    CHECK_ERROR("overlapping slot", set_memory(m.vm, 1, 0, MEM_SIZE - 4096, 8192, m.mem), EEXIST);
    CHECK_ERROR("slot size not whole pages", set_memory(m.vm, 1, 0, MEM_SIZE, 100, m.mem), EINVAL);
    CHECK_ERROR("slot at an odd address", set_memory(m.vm, 1, 0, MEM_SIZE + 1, 4096, m.mem),
                EINVAL);
    CHECK_ERROR("slot of odd memory", set_memory(m.vm, 1, 0, MEM_SIZE, 4096, m.mem + 1), EINVAL);
    CHECK_ERROR("slot with unknown flags", set_memory(m.vm, 1, 1u << 30, MEM_SIZE, 4096, m.mem),
                EINVAL);
    CHECK_ERROR("slot number too high", set_memory(m.vm, 65535, 0, MEM_SIZE, 4096, m.mem), EINVAL);
    CHECK_ERROR("deleting no slot", set_memory(m.vm, 1, 0, 0, 0, NULL), EINVAL);
    CHECK_EQUAL("second slot", set_memory(m.vm, 1, 0, MEM_SIZE, 4096, m.mem), 0);
    CHECK_EQUAL("moved", set_memory(m.vm, 1, 0, MEM_SIZE * 2, 4096, m.mem), 0);
    CHECK_ERROR("resized", set_memory(m.vm, 1, 0, MEM_SIZE * 2, 8192, m.mem), EINVAL);
    CHECK_EQUAL("deleted", set_memory(m.vm, 1, 0, MEM_SIZE * 2, 0, m.mem), 0);
    CHECK_ERROR("vCPU that exists", ioctl(m.vm, KVM_CREATE_VCPU, 0), EEXIST);
    end_machine(&m);
}

static void test_ports(void) {
    struct machine m = new_machine();
    start16(&m, guest_hello, guest_hello_end);
    CHECK_EQUAL("OUT exits", run(&m), KVM_EXIT_IO);
    check(m.run->io.direction == KVM_EXIT_IO_OUT && m.run->io.port == 0x3f8 &&
              m.run->io.size == 1 && m.run->io.count == 1 && *port_data(&m) == 'h',
          "its record", "port %x", m.run->io.port);
    CHECK_EQUAL("IN exits", run(&m), KVM_EXIT_IO);
    check(m.run->io.direction == KVM_EXIT_IO_IN, "it is an input", "%d", m.run->io.direction);
    *port_data(&m) = 0x5a;
    CHECK_EQUAL("OUT of a word", run(&m), KVM_EXIT_IO);
    check(m.mem[0x2000] == 0x5a, "the input arrived", "%x", m.mem[0x2000]);
    check(m.run->io.size == 2 && *(uint16_t *)port_data(&m) == 0x1234, "the word", "%x",
          *port_data(&m));
    CHECK_EQUAL("HLT exits", run(&m), KVM_EXIT_HLT);
    uint64_t rip = regs(&m).rip;
    CHECK_EQUAL("the next one, too", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("RIP is behind it", regs(&m).rip, rip + 1);
    start16(&m, guest_string, guest_string_end);
    memcpy(m.mem + 0x2000, "abcde", 5);
    char out[6] = "", *to = out;
    int reason;
    while ((reason = run(&m)) == KVM_EXIT_IO && m.run->io.direction == KVM_EXIT_IO_OUT &&
           to < out + 5) {
        memcpy(to, port_data(&m), m.run->io.count);
        to += m.run->io.count;
    }
    check(!strcmp(out, "abcde"), "REP OUTSB", "%s", out);
    int words = 0;
    do {
        for (unsigned i = 0; i < m.run->io.count; i++)
            ((uint16_t *)port_data(&m))[i] = 0x100 + words++;
    } while ((reason = run(&m)) == KVM_EXIT_IO && words < 100);
    check(reason == KVM_EXIT_HLT && words == 3 && *(uint16_t *)(m.mem + 0x2104) == 0x102,
          "REP INSW", "%d", words);
    end_machine(&m);
}

static void test_mmio(void) {
    struct machine m = new_machine();
    start64(&m, guest_mmio, guest_mmio_end);
    CHECK_EQUAL("write to device memory", run(&m), KVM_EXIT_MMIO);
    check(m.run->mmio.is_write && m.run->mmio.phys_addr == 0x30000000 && m.run->mmio.len == 4 &&
              *(uint32_t *)m.run->mmio.data == 0x12345678,
          "its record", "%llx", m.run->mmio.phys_addr);
    CHECK_EQUAL("read from it", run(&m), KVM_EXIT_MMIO);
    check(!m.run->mmio.is_write && m.run->mmio.len == 8, "8 bytes", "%u", m.run->mmio.len);
    memcpy(m.run->mmio.data, "\1\2\3\4\5\6\7\10", 8);
    CHECK_EQUAL("write of a byte", run(&m), KVM_EXIT_MMIO);
    check(m.run->mmio.len == 1 && m.run->mmio.data[0] == 7, "it", "%u", m.run->mmio.data[0]);
    CHECK_EQUAL("MOVZX", run(&m), KVM_EXIT_MMIO);
    memcpy(m.run->mmio.data, "\xcd\xab", 2);
    CHECK_EQUAL("end", run(&m), KVM_EXIT_HLT);
    struct kvm_regs r = regs(&m);
    check(r.rax == 0x0807060504030201 && r.rcx == 0xabcd, "what was read", "%llx %llx", r.rax,
          r.rcx);
    end_machine(&m);
}

static void test_interrupts(void) {
    struct machine m = new_machine();
    start16(&m, guest_irq, guest_irq_end);
    CHECK_EQUAL("first HLT", run(&m), KVM_EXIT_HLT);
    check(!m.run->if_flag && !m.run->ready_for_interrupt_injection, "interrupts are off", "%d",
          m.run->if_flag);
    m.run->request_interrupt_window = 1;
    CHECK_EQUAL("interrupt window", run(&m), KVM_EXIT_IRQ_WINDOW_OPEN);
    check(m.run->if_flag && m.run->ready_for_interrupt_injection, "is open", "%d", m.run->if_flag);
    m.run->request_interrupt_window = 0;
    struct kvm_interrupt irq = {.irq = 0x20};
    CHECK_EQUAL("KVM_INTERRUPT", ioctl(m.vcpu, KVM_INTERRUPT, &irq), 0);
    CHECK_ERROR("a second one", ioctl(m.vcpu, KVM_INTERRUPT, &irq), EEXIST);
    CHECK_EQUAL("HLT after it", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("the handler ran", m.mem[0x2000], 1);
    CHECK_EQUAL("KVM_NMI", ioctl(m.vcpu, KVM_NMI, 0), 0);
    CHECK_EQUAL("HLT after the NMI", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("its handler ran", m.mem[0x2001], 2);
    struct kvm_vcpu_events e;
    CHECK_EQUAL("KVM_GET_VCPU_EVENTS", ioctl(m.vcpu, KVM_GET_VCPU_EVENTS, &e), 0);
    check(!e.interrupt.injected && !e.nmi.pending && !e.nmi.masked, "nothing is left", "%d",
          e.nmi.masked);
    CHECK_EQUAL("KVM_SET_VCPU_EVENTS", ioctl(m.vcpu, KVM_SET_VCPU_EVENTS, &e), 0);
    start64(&m, guest_triple, guest_triple_end);
    CHECK_EQUAL("triple fault", run(&m), KVM_EXIT_SHUTDOWN);
    end_machine(&m);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int signal) {
    alarms += signal == SIGALRM;
}

// A signal that the thread blocks and KVM_SET_SIGNAL_MASK does not. The guest loops without end.
static void test_signal_mask(struct machine *m) {
    struct {
        __u32 length;
        unsigned char set[8];
    } nothing = {.length = 8};
    sigset_t one, waiting;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    signal(SIGUSR1, on_alarm);
    sigprocmask(SIG_BLOCK, &one, NULL);
    raise(SIGUSR1);
    CHECK_EQUAL("KVM_SET_SIGNAL_MASK", ioctl(m->vcpu, KVM_SET_SIGNAL_MASK, &nothing), 0);
    CHECK_EQUAL("a signal that only this mask lets through", run(m), -EINTR);
    sigpending(&waiting);
    CHECK_EQUAL("waits as before", sigismember(&waiting, SIGUSR1), 1);
    CHECK_EQUAL("the thread's mask again", ioctl(m->vcpu, KVM_SET_SIGNAL_MASK, NULL), 0);
    alarms = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 50000}, NULL);
    CHECK_EQUAL("it ends no run any more", run(m), -EINTR);
    CHECK_EQUAL("the timer did", alarms, 1);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static void test_stopping(void) {
    struct machine m = new_machine();
    start16(&m, guest_spin, guest_spin_end);
    m.run->immediate_exit = 1;
    CHECK_EQUAL("immediate_exit", run(&m), -EINTR);
    m.run->immediate_exit = 0;
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 50000}, NULL);
    CHECK_EQUAL("a signal ends an endless loop", run(&m), -EINTR);
    check(m.run->exit_reason == KVM_EXIT_INTR, "with KVM_EXIT_INTR", "%u", m.run->exit_reason);
    CHECK_EQUAL("RIP is in the loop", regs(&m).rip, CODE);
    test_signal_mask(&m);
    end_machine(&m);
}

static void test_state(void) {
    struct machine m = new_machine();
    start64(&m, guest_x87, guest_x87_end);
    struct kvm_sregs s, s_again;
    struct kvm_sregs2 s2;
    ioctl(m.vcpu, KVM_GET_SREGS, &s);
    CHECK_EQUAL("KVM_SET_SREGS", ioctl(m.vcpu, KVM_SET_SREGS, &s), 0);
    ioctl(m.vcpu, KVM_GET_SREGS, &s_again);
    check(!memcmp(&s, &s_again, sizeof(s)), "gives back what was set", "differs");
    CHECK_EQUAL("KVM_GET_SREGS2", ioctl(m.vcpu, KVM_GET_SREGS2, &s2), 0);
    CHECK_EQUAL("KVM_SET_SREGS2", ioctl(m.vcpu, KVM_SET_SREGS2, &s2), 0);
    uint64_t cr2 = s2.cr2;
    s2.flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID; // not in 64-bit mode
    s2.cr2 = 0x1234;
    CHECK_ERROR("PDPTEs without PAE paging", ioctl(m.vcpu, KVM_SET_SREGS2, &s2), EINVAL);
    ioctl(m.vcpu, KVM_GET_SREGS2, &s2);
    CHECK_EQUAL("what is refused changes nothing", s2.cr2, cr2);
    s.cr0 |= 1ull << 40;
    CHECK_ERROR("impossible CR0", ioctl(m.vcpu, KVM_SET_SREGS, &s), EINVAL);
    CHECK_EQUAL("FLD1", run(&m), KVM_EXIT_HLT);
    struct kvm_fpu f;
    CHECK_EQUAL("KVM_GET_FPU", ioctl(m.vcpu, KVM_GET_FPU, &f), 0);
    check(f.fpr[0][9] == 0x3f && f.fpr[0][8] == 0xff, "ST(0) is 1", "%x", f.fpr[0][9]);
    CHECK_EQUAL("KVM_SET_FPU", ioctl(m.vcpu, KVM_SET_FPU, &f), 0);
    struct kvm_xsave x;
    CHECK_EQUAL("KVM_GET_XSAVE", ioctl(m.vcpu, KVM_GET_XSAVE, &x), 0);
    CHECK_EQUAL("KVM_SET_XSAVE", ioctl(m.vcpu, KVM_SET_XSAVE, &x), 0);
    struct kvm_xcrs c;
    CHECK_EQUAL("KVM_GET_XCRS", ioctl(m.vcpu, KVM_GET_XCRS, &c), 0);
    check(c.nr_xcrs == 1 && c.xcrs[0].value == 1, "XCR0 is 1 after reset", "%llx", c.xcrs[0].value);
    c.xcrs[0].value = 0;
    CHECK_ERROR("impossible XCR0", ioctl(m.vcpu, KVM_SET_XCRS, &c), EINVAL);
    struct kvm_debugregs d;
    CHECK_EQUAL("KVM_GET_DEBUGREGS", ioctl(m.vcpu, KVM_GET_DEBUGREGS, &d), 0);
    check(d.dr6 == 0xffff0ff0 && d.dr7 == 0x400, "after reset", "%llx %llx", d.dr6, d.dr7);
    struct kvm_mp_state mp;
    CHECK_EQUAL("KVM_GET_MP_STATE", ioctl(m.vcpu, KVM_GET_MP_STATE, &mp), 0);
    CHECK_EQUAL("is runnable", mp.mp_state, KVM_MP_STATE_RUNNABLE);
    check(ioctl(m.vcpu, KVM_GET_TSC_KHZ, 0) > 1000, "KVM_GET_TSC_KHZ", "too low");
    struct kvm_translation t = {.linear_address = 0x12345};
    CHECK_EQUAL("KVM_TRANSLATE", ioctl(m.vcpu, KVM_TRANSLATE, &t), 0);
    check(t.valid && t.physical_address == 0x12345, "is the identity", "%llx", t.physical_address);
    t.linear_address = 1ull << 40;
    ioctl(m.vcpu, KVM_TRANSLATE, &t);
    check(!t.valid, "of an address without translation", "%llx", t.physical_address);
    end_machine(&m);
}

static struct kvm_msr_entry get_msr(struct machine *m, unsigned index) {
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry e;
    } list = {.head.nmsrs = 1, .e.index = index};
    check(ioctl(m->vcpu, KVM_GET_MSRS, &list) == 1, "KVM_GET_MSRS", "index %x", index);
    return list.e;
}

static void test_msrs(void) {
    struct machine m = new_machine();
    start64(&m, guest_msr, guest_msr_end);
    CHECK_EQUAL("unknown MSR without help: #GP, no IDT", run(&m), KVM_EXIT_SHUTDOWN);
    end_machine(&m);
    m = new_machine();
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER}};
    CHECK_EQUAL("KVM_CAP_X86_USER_SPACE_MSR", ioctl(m.vm, KVM_ENABLE_CAP, &cap), 0);
    start64(&m, guest_msr, guest_msr_end);
    CHECK_EQUAL("unknown MSR to user space", run(&m), KVM_EXIT_X86_RDMSR);
    check(m.run->msr.index == 0x777 && m.run->msr.reason == KVM_MSR_EXIT_REASON_UNKNOWN,
          "its record", "%x", m.run->msr.index);
    m.run->msr.data = 0x55;
    CHECK_EQUAL("end", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("its value", regs(&m).rbx, 0x55);
    CHECK_EQUAL("LSTAR", get_msr(&m, 0xc0000082).data, 0x1000);
    unsigned char bits = 0;
    struct kvm_msr_filter filter = {
        .ranges = {
            {.flags = KVM_MSR_FILTER_WRITE, .nmsrs = 1, .base = 0xc0000082, .bitmap = &bits}}};
    CHECK_EQUAL("KVM_X86_SET_MSR_FILTER", ioctl(m.vm, KVM_X86_SET_MSR_FILTER, &filter), 0);
    start64(&m, guest_msr, guest_msr_end);
    CHECK_EQUAL("filtered WRMSR", run(&m), KVM_EXIT_X86_WRMSR);
    check(m.run->msr.index == 0xc0000082 && m.run->msr.reason == KVM_MSR_EXIT_REASON_FILTER &&
              m.run->msr.data == 0x1000,
          "its record", "%x", m.run->msr.index);
    m.run->msr.error = 1;
    CHECK_EQUAL("refused: #GP", run(&m), KVM_EXIT_SHUTDOWN);
    end_machine(&m);
}

static void test_instructions(void) {
    struct machine m = new_machine();
    start64(&m, guest_cpuid, guest_cpuid_end);
    CHECK_EQUAL("CPUID", run(&m), KVM_EXIT_HLT);
    struct kvm_regs r = regs(&m);
    check(r.rdx & 1 && !(r.rcx >> 27 & 1), "FPU, no OSXSAVE", "%llx %llx", r.rcx, r.rdx);
    start64(&m, guest_vmcall, guest_vmcall_end);
    CHECK_EQUAL("unknown VMCALL", run(&m), KVM_EXIT_HLT);
    CHECK_EQUAL("is -KVM_ENOSYS", regs(&m).rax, -1000);
    start64(&m, guest_cr, guest_cr_end);
    CHECK_EQUAL("CR8 lowered", run(&m), KVM_EXIT_SET_TPR);
    check(regs(&m).rdx == 7 && m.run->cr8 == 0, "was 7, is 0", "%llx", regs(&m).rdx);
    CHECK_EQUAL("end", run(&m), KVM_EXIT_HLT);
    end_machine(&m);
}

static void test_debug(void) {
    struct machine m = new_machine();
    start64(&m, guest_steps, guest_steps_end);
    struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
    CHECK_EQUAL("KVM_SET_GUEST_DEBUG", ioctl(m.vcpu, KVM_SET_GUEST_DEBUG, &d), 0);
    static const unsigned ends[] = {1, 6, 8, 11};
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL("a step", run(&m), KVM_EXIT_DEBUG);
        CHECK_EQUAL("its end", regs(&m).rip, CODE + ends[i]);
    }
    start64(&m, guest_steps, guest_steps_end);
    d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    d.arch.debugreg[0] = CODE + 8;
    d.arch.debugreg[7] = 0x402;
    ioctl(m.vcpu, KVM_SET_GUEST_DEBUG, &d);
    CHECK_EQUAL("hardware breakpoint", run(&m), KVM_EXIT_DEBUG);
    check(m.run->debug.arch.pc == CODE + 8 && (m.run->debug.arch.dr6 & 1), "is DR0's", "%llx",
          m.run->debug.arch.pc);
    d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    ioctl(m.vcpu, KVM_SET_GUEST_DEBUG, &d);
    start64(&m, guest_steps, guest_steps_end);
    m.mem[CODE + 6] = (char)0xcc;
    CHECK_EQUAL("INT3", run(&m), KVM_EXIT_DEBUG);
    check(m.run->debug.arch.exception == 3 && m.run->debug.arch.pc == CODE + 6, "is there", "%llx",
          m.run->debug.arch.pc);
    end_machine(&m);
}

static void test_sync_regs(void) {
    struct machine m = new_machine();
    start64(&m, guest_steps, guest_steps_end);
    check(ioctl(m.kvm, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_REGS,
          "KVM_CAP_SYNC_REGS", "absent");
    m.run->s.regs.regs = regs(&m);
    m.run->s.regs.regs.rip = CODE + 8;
    m.run->kvm_dirty_regs = m.run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    CHECK_EQUAL("runs with them", run(&m), KVM_EXIT_HLT);
    check(m.run->s.regs.regs.rbx == 1 && m.run->s.regs.regs.rip == CODE + 12, "and gives them",
          "%llx", m.run->s.regs.regs.rip);
    end_machine(&m);
}

static void test_dirty_log(void) {
    struct machine m = new_machine();
    CHECK_EQUAL("log on", set_memory(m.vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, MEM_SIZE, m.mem), 0);
    start64(&m, guest_dirty, guest_dirty_end);
    run(&m);
    uint64_t map[MEM_SIZE / 4096 / 64];
    struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = map};
    CHECK_EQUAL("KVM_GET_DIRTY_LOG", ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    check((map[4] & 0xf) == 0x9, "pages 100 and 103", "%llx", (unsigned long long)map[4]);
    run(&m);
    ioctl(m.vm, KVM_GET_DIRTY_LOG, &log);
    check((map[4] & 0xf) == 0x2, "then page 101", "%llx", (unsigned long long)map[4]);
    log.slot = 5;
    CHECK_ERROR("of no slot", ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
    end_machine(&m);
}

static volatile int stopping;

static void *run_thread(void *vcpu) {
    while (!stopping && !ioctl(*(int *)vcpu, KVM_RUN, 0))
        ;
    return NULL;
}

// Several vCPUs of a VM at once, in threads, until signals stop them.
static void test_threads(void) {
    struct machine m = new_machine();
    int vcpus[3];
    pthread_t threads[3];
    load_code(&m, guest_spin, guest_spin_end);
    for (int i = 0; i < 3; i++) {
        vcpus[i] = ioctl(m.vm, KVM_CREATE_VCPU, i + 1);
        set_real_mode(vcpus[i]);
        pthread_create(&threads[i], NULL, run_thread, &vcpus[i]);
    }
    usleep(100000);
    stopping = 1;
    for (int i = 0; i < 3; i++) {
        do { // one that comes before KVM_RUN has no effect
            pthread_kill(threads[i], SIGALRM);
            usleep(1000);
        } while (pthread_tryjoin_np(threads[i], NULL));
        struct kvm_regs r;
        ioctl(vcpus[i], KVM_GET_REGS, &r);
        CHECK_EQUAL("a vCPU ran in its loop", r.rip, CODE);
        close(vcpus[i]);
    }
    end_machine(&m);
}

// A VM belongs to the process that made it.
static void test_fork(void) {
    struct machine m = new_machine();
    start16(&m, guest_hello, guest_hello_end);
    if (!fork())
        _exit(ioctl(m.vcpu, KVM_RUN, 0) == -1 && errno == EIO ? 0 : 1);
    int status;
    wait(&status);
    CHECK_EQUAL("a child cannot run its parent's vCPU", status, 0);
    CHECK_EQUAL("the parent can", run(&m), KVM_EXIT_IO);
    end_machine(&m);
}

int main(void) {
    test_system();
    test_slots();
    test_ports();
    test_mmio();
    test_interrupts();
    test_stopping();
    test_state();
    test_msrs();
    test_instructions();
    test_debug();
    test_sync_regs();
    test_dirty_log();
    test_threads();
    test_fork();
    return check_end();
}
