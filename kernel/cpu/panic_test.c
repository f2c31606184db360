// Deliberate mistakes, to see that each ends in a report that explains it.
#include "cpu/panic.h"
#include "cpu/x86.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/layout.h"

static void break_test(void) {
    panic("panic=test was given on the command line");
}

static void break_assert(void) {
    volatile int two = 2;
    ASSERTF(two == 3, "two is %d", two);
}

static void break_null(void) {
    volatile uint64_t member = 0x10;
    *(volatile int *)member = 1;
}
static void break_pagefault(void) {
    (void)*(volatile char *)(DEVICE_AREA - PAGE_SIZE);
}

static void break_write(void) { // the text is read-only
    *(volatile char *)break_null = 0;
}

static void break_execute(void) { // data is not executable
    static char data[16] = {(char)0xc3};
    void (*function)(void) = (void (*)(void))data;
    function();
}

static int break_stackoverflow_deeper(volatile char *above) {
    volatile char here[512];
    here[0] = *above;
    if (here[0]) // never: only the stack's end stops it
        return 0;
    return break_stackoverflow_deeper(here) + here[0];
}
static void break_stackoverflow(void) {
    volatile char top = 0;
    break_stackoverflow_deeper(&top);
}

static void break_doublefault(void) { // with such a stack not even an exception can be delivered
    __asm__ volatile("mov %0, %%rsp; push %%rax" ::"r"(DEVICE_AREA - PAGE_SIZE));
}

static void break_invalid(void) {
    __asm__ volatile("ud2");
}

static void break_protection(void) { // a non-canonical address
    (void)*(volatile char *)0x8000000000000000;
}

void panic_test(const char *kind) {
    static const struct {
        const char *kind;
        void (*function)(void);
    } tests[] = {
        {"test", break_test},
        {"assert", break_assert},
        {"null", break_null},
        {"pagefault", break_pagefault},
        {"write", break_write},
        {"execute", break_execute},
        {"stackoverflow", break_stackoverflow},
        {"doublefault", break_doublefault},
        {"invalid", break_invalid},
        {"protection", break_protection},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
        if (!strcmp(tests[i].kind, kind))
            tests[i].function();
}
