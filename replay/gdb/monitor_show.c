// `monitor`: what there is to see of the machine.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "replay/gdb/monitor.h"
#include "replay/gdb/registers.h"

#define TEXT_MAX 65536

static void show(struct debugger *d, enum target_text what, const char *argument) {
    static char text[TEXT_MAX];
    remote_text(timeline_machine(d->timeline), what, argument, text, sizeof(text));
    size_t n = strlen(text);
    for (size_t at = 0; at < n; at += 1024)
        debugger_say(d, "%.1024s", text + at);
    if (n && text[n - 1] != '\n')
        debugger_say(d, "\n");
}

void monitor_events(struct debugger *d, const struct words *w) {
    uint64_t number;
    char decimal[24] = "";
    if (w->count && !monitor_number(d, w->word[0], &number))
        return;
    if (w->count)
        snprintf(decimal, sizeof(decimal), "%" PRIu64, number);
    show(d, TEXT_EVENTS, decimal);
}
void monitor_exits(struct debugger *d, const struct words *w) {
    show(d, TEXT_EXITS, w->word[0]);
}
void monitor_devices(struct debugger *d, const struct words *w) {
    show(d, TEXT_DEVICES, w->word[0]);
}

// ---- memory --------------------------------------------------------------------------------------------
static void say_row(struct debugger *d, uint64_t address, const uint8_t *bytes, size_t n) {
    char hex[3 * 16 + 1] = "", text[16 + 1] = "";
    for (size_t i = 0; i < n; i++) {
        snprintf(hex + 3 * i, 4, " %02x", bytes[i]);
        text[i] = bytes[i] >= ' ' && bytes[i] < 127 ? (char)bytes[i] : '.';
    }
    debugger_say(d, "%016" PRIx64 " %-48s  %s\n", address, hex, text);
}

void monitor_memory(struct debugger *d, const struct words *w) {
    uint8_t bytes[4096];
    uint64_t address, wanted = 64;
    if (!monitor_number(d, w->word[0], &address) ||
        (w->count > 1 && !monitor_number(d, w->word[1], &wanted)))
        return;
    if (wanted > sizeof(bytes))
        wanted = sizeof(bytes);
    long n = remote_read_memory(timeline_machine(d->timeline), d->general_cpu, SPACE_PHYSICAL,
                                address, bytes, wanted);
    for (long i = 0; i < n; i += 16)
        say_row(d, address + (uint64_t)i, bytes + i, n - i < 16 ? (size_t)(n - i) : 16);
    if (n < (long)wanted)
        debugger_say(d, "there is no memory at 0x%" PRIx64 "\n",
                     address + (n > 0 ? (uint64_t)n : 0));
}

void monitor_translate(struct debugger *d, const struct words *w) {
    uint64_t linear, physical;
    if (!monitor_number(d, w->word[0], &linear))
        return;
    int error = remote_translate(timeline_machine(d->timeline), d->general_cpu, linear, &physical);
    if (error)
        debugger_say(d, "0x%" PRIx64 " is not mapped\n", linear);
    else
        debugger_say(d, "0x%" PRIx64 " is at guest-physical 0x%" PRIx64 "\n", linear, physical);
}

// ---- modes ---------------------------------------------------------------------------------------------
static bool read_registers(struct debugger *d, struct target_registers *r) {
    int error = remote_read_registers(timeline_machine(d->timeline), d->general_cpu, r);
    if (error)
        debugger_say(d, "the registers cannot be read: %s\n", strerror(-error));
    return !error;
}

// gdb learns of registers when it connects. Only from i8086's it changes to i386 of its own accord, and back.
static void advise(struct debugger *d, enum gdb_arch fitting) {
    bool same_registers = d->arch == GDB_ARCH_I8086 && fitting == GDB_ARCH_I386;
    const char *name = registers_arch_name(fitting);
    if (d->next_arch != d->arch)
        debugger_say(d, "when it connects again: those of %s\n", registers_arch_name(d->next_arch));
    else if (same_registers)
        debugger_say(d, "for code of this mode: set architecture %s\n", name);
    else if (fitting != d->arch)
        debugger_say(d,
                     "for code of this mode: monitor arch %s, disconnect, set architecture %s, "
                     "and connect again\n",
                     name, name);
}

void monitor_arch(struct debugger *d, const struct words *w) {
    static const struct {
        const char *mode;
        enum gdb_arch arch;
    } modes[] = {[TARGET_MODE_16] = {"16-bit", GDB_ARCH_I8086},
                 [TARGET_MODE_32] = {"32-bit", GDB_ARCH_I386},
                 [TARGET_MODE_64] = {"64-bit", GDB_ARCH_X86_64}};
    struct target_registers r;
    if (w->count && !gdb_arch_parse(w->word[0], &d->next_arch))
        debugger_say(d, "x86-64, i386 or i8086\n");
    if (!read_registers(d, &r) || r.mode > TARGET_MODE_64)
        return;
    debugger_say(d, "vCPU %u is in %s mode; gdb has the registers of %s\n", d->general_cpu,
                 modes[r.mode].mode, registers_arch_name(d->arch));
    advise(d, modes[r.mode].arch);
}

// ---- address spaces --------------------------------------------------------------------------------------
#define TABLE_BASE 0x000ffffffffff000ull // of CR3; SDM vol. 3, "Control Registers"

static void say_space(struct debugger *d) {
    if (d->cr3 == ANY_CR3)
        debugger_say(d, "breakpoints stop in any address space\n");
    else
        debugger_say(d, "breakpoints that are set from now on stop where CR3 is 0x%" PRIx64 "\n",
                     d->cr3);
}

void monitor_address_space(struct debugger *d, const struct words *w) {
    struct target_registers r;
    uint64_t cr3 = ANY_CR3;
    const char *which = w->word[0];
    if (w->count) {
        if (!strcmp(which, "current")) {
            if (!read_registers(d, &r))
                return;
            cr3 = r.cr3 & TABLE_BASE;
        } else if (strcmp(which, "any")) {
            if (!monitor_number(d, which, &cr3))
                return;
            cr3 &= TABLE_BASE;
        }
        points_set_space(d, cr3, !strcmp(w->word[1], "all"));
    }
    say_space(d);
}
