// Segments of 64-bit mode. The order is what SYSCALL and SYSRET need (IA32_STAR: kernel CS and SS
// from 0x08; user CS32, SS, CS64 from 0x18).
#pragma once

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS32 0x1b
#define USER_DS   0x23
#define USER_CS   0x2b
#define GDT_TSS   0x30 // two entries

// Interrupt stacks of their own, for what may hit while the kernel stack is not usable.
#define IST_DOUBLE_FAULT  1
#define IST_NMI           2
#define IST_MACHINE_CHECK 3
#define IST_DEBUG         4
#define IST_COUNT         4

#ifndef __ASSEMBLER__
#include "cpu/msr.h"
#include "lib/compiler.h"

struct cpu;

// Intel SDM vol. 3, 8.7 "Task management in 64-bit mode"
struct tss {
    uint32_t reserved0;
    uint64_t rsp0; // kernel stack on entry from user mode: the scheduler sets it at every switch
    uint64_t rsp1, rsp2;
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_bitmap;
} packed;

// What cpu/ keeps for each processor (struct cpu, ->arch).
struct cpu_arch {
    uint64_t gdt[8];
    struct tss tss;
};

// Builds this processor's GDT and TSS in c->arch and loads them, together with GS. ist[i] is the
// top of interrupt stack i + 1; its last 16 bytes are used to find c (cpu/entry.S).
void gdt_load(struct cpu *c, const uint64_t ist[IST_COUNT]);
#endif
