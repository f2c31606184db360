// The interrupt descriptor table (Intel SDM vol. 3, 6.14 "Exception and interrupt handling in
// 64-bit mode").
#include "cpu/gdt.h"
#include "cpu/idt.h"
#include "lib/compiler.h"

struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

#define GATE_INTERRUPT 0x8e // present, 64-bit interrupt gate: clears IF
#define GATE_USER      0x60 // callable by INT3 and INTO from user mode

#define ENTRY_SPACING 16
extern char vector_entries[]; // cpu/entry.S

static struct gate idt[256] aligned_to(16);

static unsigned ist_of(unsigned vector) {
    switch (vector) {
    case 1: return IST_DEBUG;
    case 2: return IST_NMI;
    case 8: return IST_DOUBLE_FAULT;
    case 18: return IST_MACHINE_CHECK;
    default: return 0;
    }
}

void idt_init(void) {
    for (unsigned v = 0; v < 256; v++) {
        uint64_t entry = (uint64_t)vector_entries + v * ENTRY_SPACING;
        bool user = v == 3 || v == 4; // #BP, #OF
        idt[v] = (struct gate){
            .offset_low = (uint16_t)entry,
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
            .selector = KERNEL_CS,
            .ist = ist_of(v),
            .type = GATE_INTERRUPT | (user ? GATE_USER : 0),
        };
    }
}

void idt_load(void) {
    struct {
        uint16_t limit;
        uint64_t base;
    } packed pointer = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}
