// Runs one instruction on the processor itself, with given registers: the judge of the emulator's tests.
#pragma once
#include <stdint.h>

struct native {
    uint64_t gpr[16], rflags;                         // before and after
    uint8_t xsave[1024] __attribute__((aligned(64))); // x87, SSE, AVX
};

// Memory for code and data below 4 GB, readable, writable, executable. Ends the test when there is none.
void *native_memory(size_t size);
// Executes the instruction, `length` bytes at `at` in native_memory(); 16 bytes behind it are overwritten.
void native_run(struct native *n, uint8_t *at, unsigned length);
