// Inside cpu/ only: bringing one processor up.
#pragma once
#include "cpu/gdt.h"
#include "cpu/percpu.h"

// Loads GDT, TSS, IDT and GS, enables features, FPU and SYSCALL on the processor that calls it.
void cpu_init_local(struct cpu *c, const uint64_t ist[IST_COUNT]);
