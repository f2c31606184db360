// Where things are in the torture guest's memory: for its code and for who loads it. All linear addresses
// below 1 MB are physical ones.
#pragma once

#define RAM_SIZE    0x100000
#define PML4        0x1000
#define PDPT        0x2000
#define PAGE_DIR    0x3000
#define PAGE_TABLE  0x4000 // of the first 2 MB
#define IDT         0x5000
#define GDT         0x6000
#define TSS         0x6100
#define VARIABLES   0x7000
#define CODE        0x8000
#define DATA        0x10000 // 16 KB
#define STACK       0x38000 // tops, growing down
#define IST_FAULT   0x3a000
#define IST_IRQ     0x3c000
#define RING0_STACK 0x3e000
#define NO_STACK    0xf0000 // the page below is never present
#define MODIFIED    0x40000
#define USER_CODE   0x41000
#define USER_STACK  0x43000
#define FRAMES      0x50000 // behind the aliases
#define TURN        0x60000 // torture.c's way in and out

// Linear addresses of their own
#define ALIAS 0x100000 // 16 pages, first at FRAMES
// Without blanks it is one argument of the assembler's macros.
// clang-format off
#define ALIAS_PTE(n) PAGE_TABLE+(ALIAS/4096+(n))*8
// clang-format on
#define MMIO_LINEAR 0x180000
#define MMIO        0xfe000000

#define NESTING    VARIABLES + 0
#define SAVED_RSP  VARIABLES + 8
#define INTERRUPTS VARIABLES + 16
#define AT_END     VARIABLES + 24 // where to go then; 0: nowhere

#define KERNEL_CS    0x08
#define KERNEL_DS    0x10
#define USER_DS      0x1b
#define USER_CS      0x23
#define TSS_SELECTOR 0x28

#define VECTOR_FIRST 0x40
#define VECTOR_COUNT 16

#define PORT_DATA   0x60
#define PORT_SERIAL 0x3f8
#define PORT_DONE   0xf4
