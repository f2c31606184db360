// The tables of the torture guest, written by whoever loads it: its driver into a VM's memory, or torture.c into
// low memory of a machine that it runs on itself.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "memory.h"

// The guest's code, and places in it.
extern const uint8_t torture_code[], torture_code_end[], on_de[], on_db[], on_bp[], on_ud[],
    on_df[], on_gp[], on_pf[], on_int[], on_user[], on_irq[], user_code[], user_code_end[];

#define TORTURE_SEED 88172645463325252 // R15 at the start

static inline uint64_t torture_address(const uint8_t *label) {
    return CODE + (uint64_t)(label - torture_code);
}

static inline void torture_put(uint8_t *memory, uint64_t at, uint64_t value) {
    __builtin_memcpy(memory + at, &value, sizeof(value));
}

// `mmio`: the page of device memory that it plays with.
static inline void torture_page_tables(uint8_t *memory, uint64_t mmio) {
    torture_put(memory, PML4, PDPT | 7);
    torture_put(memory, PDPT, PAGE_DIR | 7);
    torture_put(memory, PAGE_DIR, PAGE_TABLE | 7);
    for (uint64_t page = 0; page < RAM_SIZE; page += 4096)
        torture_put(memory, PAGE_TABLE + page / 4096 * 8, page | 3);
    torture_put(memory, PAGE_TABLE + (NO_STACK - 4096) / 4096 * 8, 0);
    torture_put(memory, PAGE_TABLE + USER_CODE / 4096 * 8, USER_CODE | 7);
    torture_put(memory, PAGE_TABLE + (USER_STACK - 4096) / 4096 * 8, (USER_STACK - 4096) | 7);
    for (unsigned i = 0; i < 16; i++)
        torture_put(memory, ALIAS_PTE(i), (FRAMES + i * 4096) | 3);
    torture_put(memory, PAGE_TABLE + MMIO_LINEAR / 4096 * 8, mmio | 3);
}

// type 0xe: interrupt gate, 0xf: trap gate
static inline void torture_gate(uint8_t *memory, unsigned vector, uint64_t address, unsigned ist,
                                unsigned dpl, unsigned type) {
    torture_put(memory, IDT + vector * 16,
                (address & 0xffff) | KERNEL_CS << 16 |
                    (uint64_t)(ist | dpl << 13 | type << 8 | 0x8000) << 32 |
                    (address >> 16 & 0xffff) << 48);
    torture_put(memory, IDT + vector * 16 + 8, address >> 32);
}

// Descriptors, the TSS (busy or not, as its register is loaded), and the gates.
static inline void torture_tables(uint8_t *memory, int tss_is_busy) {
    torture_put(memory, GDT + KERNEL_CS, 0x00af9b000000ffff);
    torture_put(memory, GDT + KERNEL_DS, 0x00cf93000000ffff);
    torture_put(memory, GDT + (USER_DS & ~3), 0x00cff3000000ffff);
    torture_put(memory, GDT + (USER_CS & ~3), 0x00affb000000ffff);
    torture_put(memory, GDT + TSS_SELECTOR,
                0x0000890000000067 | (uint64_t)TSS << 16 | (tss_is_busy ? 2ull << 40 : 0));
    torture_put(memory, TSS + 4, RING0_STACK);
    torture_put(memory, TSS + 0x24, IST_FAULT);
    torture_put(memory, TSS + 0x2c, IST_IRQ);
    const struct {
        uint8_t vector, ist, type;
        const uint8_t *handler;
    } faults[] = {{0, 0, 14, on_de}, {1, 0, 14, on_db},  {3, 0, 14, on_bp}, {6, 0, 14, on_ud},
                  {8, 1, 14, on_df}, {13, 0, 14, on_gp}, {14, 0, 14, on_pf}};
    for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        torture_gate(memory, faults[i].vector, torture_address(faults[i].handler), faults[i].ist, 0,
                     faults[i].type);
    torture_gate(memory, 0x30, torture_address(on_int), 0, 0, 15);
    torture_gate(memory, 0x31, torture_address(on_user), 0, 3, 14);
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        torture_gate(memory, VECTOR_FIRST + i, torture_address(on_irq) + i * 8, 2, 0, 14);
}

static inline void torture_copy(uint8_t *memory) {
    __builtin_memcpy(memory + CODE, torture_code, (size_t)(torture_code_end - torture_code));
    __builtin_memcpy(memory + USER_CODE, user_code, (size_t)(user_code_end - user_code));
}
