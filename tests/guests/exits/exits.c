// Walks every kind of exit from the guest's side and checks what came back.
#include "tests/guests/lib/guest.h"

enum { DE = 0, DB = 1, NMI = 2, BP = 3, UD = 6, DF = 8, GP = 13, PF = 14 };
#define LAPIC  0xfee00000u
#define VECTOR 0x41

static volatile unsigned interrupts, nmis;
static volatile uint64_t interrupted_rip;

static uint32_t lapic_read(uint32_t reg) {
    return *(volatile uint32_t *)(uint64_t)(LAPIC + reg);
}
static void lapic_write(uint32_t reg, uint32_t v) {
    *(volatile uint32_t *)(uint64_t)(LAPIC + reg) = v;
}

static void on_interrupt(struct frame *f) {
    interrupts++;
    interrupted_rip = f->rip;
    lapic_write(0xb0, 0);
}
static void on_int1(struct frame *f) {
    interrupted_rip = f->rip;
}
static void on_nmi(struct frame *f) {
    nmis++;
    (void)f;
}

static void test_cpuid(void) {
    check("cpuid: highest leaf is at least 0xd", cpuid(0, 0).a >= 0xd, 1);
    struct cpuid one = cpuid(1, 0);
    check("cpuid: hypervisor bit", one.c >> 31, 1);
    check("cpuid: no RDRAND, no MONITOR", one.c & (1u << 30 | 1u << 3), 0);
    check("cpuid: no HLE, RTM, RDSEED, INVPCID",
          cpuid(7, 0).b & (1u << 4 | 1u << 11 | 1u << 18 | 1u << 10), 0);
    check("cpuid: byte strings are not called fast (ERMS, FSRM)",
          (cpuid(7, 0).b & 1u << 9) | (cpuid(7, 0).d & 1u << 4), 0);
    check("cpuid: XSAVE has no XSAVEOPT, XSAVEC, XGETBV1, XSAVES", cpuid(0xd, 1).a & 0xf, 0);
    check("cpuid: long mode", cpuid(0x80000001, 0).d >> 29 & 1, 1);
}

static void test_ports(void) {
    outb(0x70, 0x0f); // CMOS shutdown byte: memory that nobody else uses
    outb(0x71, 0x5a);
    outb(0x70, 0x0f);
    check("port: byte out, byte in", inb(0x71), 0x5a);
    check("port: nobody there, byte", inb(0x2e7), 0xff);
    check("port: nobody there, word", inw(0x2e6), 0xffff);
    check("port: nobody there, dword", inl(0x2e4), 0xffffffff);
    outl(0xcf8, 0x80000000);
    check("port: PCI host bridge by dword", inl(0xcfc) & 0xffff, 0x8086);
    check("port: the same by word", inw(0xcfc), 0x8086);
    check("port: the same by byte", inb(0xcfd), 0x80);
}

static void test_string_ports(void) {
    uint8_t buffer[64] = {0};
    uint64_t count = 16;
    void *to = buffer;
    outb(0x70, 0x0f);
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"((uint16_t)0x71) : "memory");
    bool same = true;
    for (unsigned i = 0; i < 16; i++)
        same &= buffer[i] == 0x5a;
    check("rep insb: data", same, 1);
    check("rep insb: RDI", (uint64_t)to - (uint64_t)buffer, 16);
    check("rep insb: RCX", count, 0);
    const void *from = buffer;
    count = 32;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"((uint16_t)0x80) : "memory");
    check("rep outsb: RSI", (uint64_t)from - (uint64_t)buffer, 32);
    to = buffer + 8;
    __asm__ volatile("std; insw; cld" : "+D"(to) : "d"((uint16_t)0x2e6) : "memory");
    check("insw downwards: RDI", (uint64_t)to - (uint64_t)buffer, 6);
    check("insw downwards: data", *(uint16_t *)(buffer + 8), 0xffff);
    check("insb to an unmapped page faults",
          TRY("mov $0x71, %%dx; mov $0xffff800000000000, %%rdi; insb"), PF);
}

static void test_mmio(void) {
    volatile uint32_t *ioapic = (volatile uint32_t *)0xfec00000ull;
    ioapic[0] = 1;
    check("mmio: IOAPIC version", ioapic[4] & 0xff, 0x20);
    check("mmio: IOAPIC inputs", ioapic[4] >> 16 & 0xff, 23);
    ioapic[0] = 0x10 + 2 * 5;
    ioapic[4] = 0x10000 | 0x35;
    uint32_t v = 0xffffffff;
    __asm__ volatile("and %1, %0" : "+r"(v) : "m"(ioapic[4]));
    check("mmio: and reg, mem", v, 0x10035);
    __asm__ volatile("orl $0x1000000, %0" : "+m"(ioapic[4]));
    __asm__ volatile("btsl $15, %0" : "+m"(ioapic[4]));
    check("mmio: bts mem", ioapic[4] & 0xffff, 0x8035);
    uint64_t wide;
    volatile uint8_t *screen = (volatile uint8_t *)0xb8000ull;
    screen[3] = 0x97;
    __asm__ volatile("movzbl %1, %k0" : "=r"(wide) : "m"(screen[3]));
    check("mmio: movzx byte", wide, 0x97);
    __asm__ volatile("movsbq %1, %0" : "=r"(wide) : "m"(screen[3]));
    check("mmio: movsx byte", wide, 0xffffffffffffff97);
    __asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(ioapic[4]));
    check("mmio: xchg", v & 0xffff, 0x8035);
    bool zero;
    __asm__ volatile("testl $0x10000, %1" : "=@ccz"(zero) : "m"(ioapic[4]));
    check("mmio: test sets flags", zero, 0);
    check("mmio: nobody there", *(volatile uint32_t *)0xd0000000ull, 0xffffffff);
    check("mmio: nobody there, 8 bytes", *(volatile uint64_t *)0xd0000000ull, UINT64_MAX);
    uint32_t copy[4];
    void *to = copy;
    const void *from = (const void *)0xd0000000ull;
    uint64_t n = 4;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    check("mmio: rep movs", copy[3], 0xffffffff);
}

static void test_msrs(void) {
    uint64_t pat = rdmsr(0x277);
    check("msr: PAT at reset", pat, 0x0007040600070406);
    wrmsr(0x277, 0x0007040600070400);
    check("msr: PAT written", rdmsr(0x277), 0x0007040600070400);
    wrmsr(0x277, pat);
    check("msr: PAT with a bad type faults",
          TRY("mov $0x277, %%ecx; mov $2, %%eax; xor %%edx, %%edx; wrmsr"), GP);
    check("msr: unknown, read", TRY("mov $0x12345678, %%ecx; rdmsr"), GP);
    check("msr: unknown, write", TRY("mov $0x12345678, %%ecx; wrmsr"), GP);
    check("msr: EFER reserved bit", TRY("mov $0xc0000080, %%ecx; rdmsr; or $0x80000, %%eax; wrmsr"),
          GP);
    check("msr: non-canonical LSTAR", TRY("mov $0xc0000082, %%ecx; mov $0x800000, %%edx; wrmsr"),
          GP);
    wrmsr(0xc0000102, 0x123456789a);
    check("msr: KERNEL_GS_BASE", rdmsr(0xc0000102), 0x123456789a);
    check("msr: APIC_BASE", rdmsr(0x1b) & 0xfffff900, 0xfee00900);
}

static void test_control_registers(void) {
    check("cr0: reserved high bit", TRY("mov %%cr0, %%rax; bts $40, %%rax; mov %%rax, %%cr0"), GP);
    check("cr0: NW without CD", TRY("mov %%cr0, %%rax; bts $29, %%rax; mov %%rax, %%cr0"), GP);
    check("cr0: PG without PE", TRY("mov %%cr0, %%rax; btr $0, %%rax; mov %%rax, %%cr0"), GP);
    check("cr4: VMXE", TRY("mov %%cr4, %%rax; bts $13, %%rax; mov %%rax, %%cr4"), GP);
    check("cr4: PAE off in long mode", TRY("mov %%cr4, %%rax; btr $5, %%rax; mov %%rax, %%cr4"),
          GP);
    check("cr4: PGE toggles",
          TRY("mov %%cr4, %%rax; btc $7, %%rax; mov %%rax, %%cr4; btc $7, %%rax; mov %%rax, %%cr4"),
          (uint64_t)-1);
    check("cr3: reload", TRY("mov %%cr3, %%rax; mov %%rax, %%cr3"), (uint64_t)-1);
    uint64_t v = 0;
    __asm__ volatile("mov %1, %%cr8; mov %%cr8, %0" : "=r"(v) : "r"(9ull));
    check("cr8: written and read", v, 9);
    check("cr8: is the APIC's TPR", lapic_read(0x80), 0x90);
    __asm__ volatile("mov %0, %%cr8" ::"r"(0ull));
    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    __asm__ volatile("mov %0, %%cr0" ::"r"(v | 8));
    __asm__ volatile("clts");
    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    check("clts", v & 8, 0);
    __asm__ volatile("lmsw %w0" ::"r"((uint32_t)(v | 8)));
    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    check("lmsw sets TS", v & 8, 8);
    __asm__ volatile("clts");
    check("wbinvd, invlpg", TRY("wbinvd; mov $0x1000, %%eax; invlpg (%%rax)"), (uint64_t)-1);
}

static void test_debug_registers(void) {
    uint64_t v;
    __asm__ volatile("mov %1, %%dr0; mov %%dr0, %0" : "=r"(v) : "r"(0x1234ull));
    check("dr0", v, 0x1234);
    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    check("dr6 at reset", v & 0xfffffff0, 0xffff0ff0);
    check("dr7: high bits", TRY("mov $0x100000000, %%rax; mov %%rax, %%dr7"), GP);
    static volatile uint32_t watched;
    // DR0 watches writes of 4 bytes: a data breakpoint is a trap after the instruction.
    __asm__ volatile("mov %0, %%dr0" ::"r"(&watched));
    __asm__ volatile("mov %0, %%dr7" ::"r"(0xd0402ull));
    trapped = -1;
    __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; movl $7, %1; nop; nop; 1:"
                     : "+m"(trap_resume), "=m"(watched)::"rax");
    trap_resume = 0;
    __asm__ volatile("mov %0, %%dr7" ::"r"(0x400ull));
    check("data breakpoint", (uint64_t)trapped, DB);
    check("data breakpoint: the write took place", watched, 7);
    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    check("data breakpoint: DR6", v & 0xf, 1);
    uint64_t behind;
    handlers[DB] = on_int1;
    __asm__ volatile("lea 1f(%%rip), %0; .byte 0xf1; 1: mov %%dr6, %1"
                     : "=&r"(behind), "=r"(v)::"memory");
    handlers[DB] = NULL;
    check("int1 is a trap", interrupted_rip, behind);
    check("int1 leaves DR6 alone", v & 0xf, 1);
}

static void test_instructions(void) {
    uint64_t a = rdtsc(), b = rdtsc();
    check("rdtsc goes forward", b > a, 1);
    check("rdpmc", TRY("xor %%ecx, %%ecx; rdpmc"), GP);
    check("rdrand is not there", TRY("rdrand %%rax"), UD);
    check("vmxon is not there", TRY("vmxon (%%rsp)"), UD);
    check("vmread is not there", TRY("vmread %%rax, %%rbx"), UD);
    check("monitor is not there", TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; monitor"), UD);
    check("mwait is not there", TRY("xor %%ecx, %%ecx; mwait"), UD);
    check("pause", TRY("pause"), (uint64_t)-1);
    check("xsetbv without OSXSAVE",
          TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $3, %%eax; xsetbv"), UD);
    check("osxsave", TRY("mov %%cr4, %%rax; bts $18, %%rax; mov %%rax, %%cr4"), (uint64_t)-1);
    check("xsetbv x87 and SSE", TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $3, %%eax; xsetbv"),
          (uint64_t)-1);
    check("xsetbv without x87", TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; mov $2, %%eax; xsetbv"),
          GP);
    check("xsetbv of a register that is not there",
          TRY("mov $5, %%ecx; xor %%edx, %%edx; mov $3, %%eax; xsetbv"), GP);
    check("cpuid shows OSXSAVE", cpuid(1, 0).c >> 27 & 1, 1);
    check(
        "descriptor tables",
        TRY("sgdt -16(%%rsp); lgdt -16(%%rsp); sidt -16(%%rsp); lidt -16(%%rsp); sldt %%ax; str %%ax"),
        (uint64_t)-1);
}

static void test_faults(void) {
    check("divide by zero", TRY("xor %%ecx, %%ecx; xor %%edx, %%edx; div %%ecx"), DE);
    check("undefined instruction", TRY("ud2"), UD);
    check("breakpoint", TRY("int3"), BP);
    check("int 0x80", TRY("int $0x80"), 0x80);
    check("page fault: read", TRY("mov $0x700000000000, %%rax; mov (%%rax), %%rcx"), PF);
    check("page fault: error code of a read", trapped_error, 0);
    check("page fault: address", trapped_cr2, 0x700000000000);
    check("page fault: write", TRY("mov $0x700000001000, %%rax; mov %%rcx, (%%rax)"), PF);
    check("page fault: error code of a write", trapped_error, 2);
    check("non-canonical address", TRY("mov $0x8000000000000000, %%rax; mov (%%rax), %%rcx"), GP);
    check("selector beyond the GDT", TRY("mov $0x100, %%eax; mov %%eax, %%es"), GP);
    check("its error code", trapped_error, 0x100);
}

static void test_interrupts(void) {
    handlers[VECTOR] = on_interrupt;
    handlers[NMI] = on_nmi;
    lapic_write(0xf0, 0x1ff);
    lapic_write(0x300, 0x40000 | VECTOR); // to myself
    check("self-IPI waits for IF", interrupts, 0);
    __asm__ volatile("sti; nop; nop; cli");
    check("self-IPI", interrupts, 1);
    lapic_write(0x300, 0x40000 | VECTOR);
    __asm__ volatile("sti; mov $1, %%eax; cli" ::: "eax"); // STI's shadow covers one instruction
    check("self-IPI after the shadow of STI", interrupts, 2);
    // A timer wakes HLT.
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, VECTOR);
    lapic_write(0x380, 100000);
    __asm__ volatile("sti; hlt; cli");
    check("timer wakes HLT", interrupts, 3);
    lapic_write(0x320, VECTOR | 0x20000); // periodic
    lapic_write(0x380, 10000);
    for (unsigned i = 0; i < 5; i++)
        __asm__ volatile("sti; hlt; cli");
    lapic_write(0x380, 0);
    check("periodic timer", interrupts >= 8, 1);
    lapic_write(0x300, 0x40000 | 0x400); // NMI to myself
    for (unsigned i = 0; i < 1000 && !nmis; i++)
        __asm__ volatile("pause");
    check("NMI", nmis, 1);
}

int guest_main(void) {
    test_cpuid();
    test_ports();
    test_string_ports();
    test_mmio();
    test_msrs();
    test_control_registers();
    test_debug_registers();
    test_instructions();
    test_faults();
    test_interrupts();
    return end();
}
