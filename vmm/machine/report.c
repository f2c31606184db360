#include "vmm/machine/report.h"
#include <stdio.h>
#include <string.h>
#include "vmm/machine/cpu.h"
#include "vmm/machine/debug.h"

#define EXITS_TOLD  8
#define INSTRUCTION 15 // bytes at most

#define LL(x) (unsigned long long)(x)

void report_registers(struct machine *m, unsigned cpu) {
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    struct target_registers r;
    char text[512];
    int used = 0;
    if (debug_ops.read_registers(m, cpu, &r))
        return;
    for (unsigned i = 0; i < 16; i++)
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%s%s %016llx",
                         i % 4 ? " " : "\n  ", names[i], LL(r.general[i]));
    machine_log(m, "registers of vCPU %u: cr0 %08llx cr3 %08llx rflags %08llx%s", cpu, LL(r.cr0),
                LL(r.cr3), LL(r.rflags), text);
}

// Where interrupts, faults and far jumps go.
static void report_tables(struct machine *m) {
    struct kvm_sregs s;
    cpu_get_sregs(m->current, &s);
    machine_log(m,
                "cs %04x base %llx limit %x%s, ss %04x, tr %04x base %llx, gdtr %llx limit %x, "
                "idtr %llx limit %x, cr2 %llx, cr4 %llx, efer %llx",
                s.cs.selector, s.cs.base, s.cs.limit,
                s.cs.l    ? " (64 bits)"
                : s.cs.db ? " (32 bits)"
                          : " (16 bits)",
                s.ss.selector, s.tr.selector, s.tr.base, s.gdt.base, s.gdt.limit, s.idt.base,
                s.idt.limit, s.cr2, s.cr4, s.efer);
}

static void report_instruction(struct machine *m) {
    struct target_registers r;
    uint8_t bytes[INSTRUCTION];
    char text[3 * INSTRUCTION + 1] = " not mapped";
    if (debug_ops.read_registers(m, m->current->index, &r))
        return;
    uint64_t linear = r.mode == TARGET_MODE_64 ? r.rip
                                               : (uint32_t)(r.segments[TARGET_CS].base + r.rip);
    long n = debug_ops.read_memory(m, m->current->index, SPACE_LINEAR, linear, bytes,
                                   sizeof(bytes));
    for (long i = 0; i < n; i++)
        snprintf(text + 3 * i, 4, " %02x", bytes[i]);
    machine_log(m, "rip %llx, the bytes there:%s", LL(r.rip), text);
}

void report_exits(struct machine *m) {
    static char text[EXITS_KEPT * 96];
    exits_text(m, text, sizeof(text));
    char *from = text + strlen(text);
    for (unsigned lines = 0; from > text && lines <= EXITS_TOLD; from -= from > text)
        lines += from[-1] == '\n';
    machine_log(m, "the last exits, with V and count:\n%s", from + (from > text));
}

void report_crash(struct machine *m) {
    report_registers(m, m->current->index);
    report_tables(m);
    report_instruction(m);
    report_exits(m);
}
