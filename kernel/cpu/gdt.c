// Segment descriptors and the task state segment (cpu/gdt.h).
#include "cpu/gdt.h"
#include "cpu/msr.h"
#include "cpu/percpu.h"
#include "cpu/x86.h"

// Descriptors: Intel SDM vol. 3, 3.4.5. P, S, type, DPL, L or D; base and limit do not count in
// 64-bit mode.
#define SEGMENT_KERNEL_CODE 0x00af9b000000ffffull
#define SEGMENT_KERNEL_DATA 0x00cf93000000ffffull
#define SEGMENT_USER_CODE32 0x00cffb000000ffffull
#define SEGMENT_USER_DATA   0x00cff3000000ffffull
#define SEGMENT_USER_CODE   0x00affb000000ffffull
#define SEGMENT_TSS         0x0000890000000000ull

static void set_tss_descriptor(uint64_t *gdt, const struct tss *tss) {
    uint64_t base = (uint64_t)tss;
    gdt[GDT_TSS / 8] = SEGMENT_TSS | (sizeof(*tss) - 1) | (base & 0xffffff) << 16 |
                       (base >> 24 & 0xff) << 56;
    gdt[GDT_TSS / 8 + 1] = base >> 32;
}

void gdt_load(struct cpu *c, const uint64_t ist[IST_COUNT]) {
    struct cpu_arch *arch = c->arch;
    arch->gdt[0] = 0;
    arch->gdt[KERNEL_CS / 8] = SEGMENT_KERNEL_CODE;
    arch->gdt[KERNEL_DS / 8] = SEGMENT_KERNEL_DATA;
    arch->gdt[USER_CS32 / 8] = SEGMENT_USER_CODE32;
    arch->gdt[USER_DS / 8] = SEGMENT_USER_DATA;
    arch->gdt[USER_CS / 8] = SEGMENT_USER_CODE;
    set_tss_descriptor(arch->gdt, &arch->tss);

    arch->tss.io_bitmap = sizeof(arch->tss); // none: user mode has no ports
    for (unsigned i = 0; i < IST_COUNT; i++) {
        arch->tss.ist[i] = ist[i] - 16;
        *(struct cpu **)(ist[i] - 16) = c;
    }
    c->tss = &arch->tss;

    struct {
        uint16_t limit;
        uint64_t base;
    } packed pointer = {sizeof(arch->gdt) - 1, (uint64_t)arch->gdt};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "mov %2, %%ds\n\t"
                     "mov %2, %%es\n\t"
                     "mov %2, %%ss\n\t"
                     "mov %3, %%fs\n\t"
                     "mov %3, %%gs\n\t"
                     "ltr %w4" ::"m"(pointer),
                     "i"(KERNEL_CS), "r"(KERNEL_DS), "r"(0), "r"(GDT_TSS)
                     : "rax", "memory");
    wrmsr(MSR_FS_BASE, 0);
    wrmsr(MSR_GS_BASE, (uint64_t)c);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
}
