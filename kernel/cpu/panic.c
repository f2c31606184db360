// The panic report: what happened, where, who called, what was logged last; on every console.
//
// It is written by one processor, after the others have been stopped, and must work whatever is
// broken: it takes no lock, allocates nothing, and a fault inside it ends in a short line.
#include <stdarg.h>
#include "cpu/backtrace.h"
#include "cpu/panic.h"
#include "cpu/panic_screen.h"
#include "cpu/smp.h"
#include "cpu/x86.h"
#include "boot/version.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/kstack.h"
#include "sched/world.h"

bool panicking;
static uint32_t owner; // 1 + the id of the processor that writes the report
static char reason[256];

// Where a report goes, and how much of it fits.
struct report {
    void (*line)(struct report *r, const char *text);
    unsigned row, max_reason, max_calls, max_log;
    bool blank_lines;
};

static void report_line(struct report *r, const char *fmt, ...) printf_like(2, 3);
static void report_line(struct report *r, const char *fmt, ...) {
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    r->line(r, text);
}

static void to_screen(struct report *r, const char *text) {
    panic_screen_line(r->row++, text);
}

static void write_to_console(struct console *c, void *text) {
    if (strcmp(c->name, "vga") == 0) // has the screen to itself
        return;
    c->write(c, text, strlen(text));
    c->write(c, "\n", 1);
}

static void to_consoles(struct report *r, const char *text) {
    r->row++;
    log_for_each_console(write_to_console, (void *)text);
}

static struct world *running_world(void) {
    return this_cpu() ? current_world() : NULL;
}

// How much of the text goes on one line: up to the last space that fits.
static size_t line_length(const char *text) {
    const size_t width = PANIC_SCREEN_COLUMNS - 2;
    size_t n = strnlen(text, width + 1);
    if (n <= width)
        return n;
    for (size_t i = width; i > width / 2; i--)
        if (text[i - 1] == ' ')
            return i;
    return width;
}

static void report_head(struct report *r, const struct trap_frame *f) {
    struct cpu *c = this_cpu();
    struct world *w = running_world();
    report_line(r, "Chronovisor %s has stopped. Processor %u, world %d (%s)%s", build_id,
                c ? c->id : 0, w ? w->tid : 0, w ? w->name : "boot",
                c && c->in_interrupt ? ", in an interrupt" : "");
    const char *text = reason;
    for (unsigned i = 0; i < r->max_reason && (*text || i == 0); i++) {
        size_t n = line_length(text);
        report_line(r, "  %.*s", (int)n, text);
        text += n;
    }
    if (r->blank_lines)
        report_line(r, " ");
}

static void report_registers(struct report *r, const struct trap_frame *f) {
    uint64_t offset;
    const char *name = ksym_find(f->rip, &offset);
    report_line(r, "RIP %016lx  %s+%#lx", f->rip, name ? name : "not kernel code",
                name ? offset : 0);
    report_line(r, "RAX %016lx  RBX %016lx  RCX %016lx", f->rax, f->rbx, f->rcx);
    report_line(r, "RDX %016lx  RSI %016lx  RDI %016lx", f->rdx, f->rsi, f->rdi);
    report_line(r, "RBP %016lx  RSP %016lx  R8  %016lx", f->rbp, f->rsp, f->r8);
    report_line(r, "R9  %016lx  R10 %016lx  R11 %016lx", f->r9, f->r10, f->r11);
    report_line(r, "R12 %016lx  R13 %016lx  R14 %016lx", f->r12, f->r13, f->r14);
    report_line(r, "R15 %016lx  CR2 %016lx  CR3 %016lx", f->r15, read_cr2(), read_cr3());
    report_line(r, "RFLAGS %06lx  CS %02lx  SS %02lx  CR0 %08lx  CR4 %06lx  error %lx", f->rflags,
                f->cs, f->ss, read_cr0(), read_cr4(), f->error);
}

// The callers; one that calls itself is one line with a count.
static void report_calls(struct report *r, const struct trap_frame *f) {
    static uint64_t calls[128];
    uint64_t offset;
    unsigned n = backtrace(f->rbp, calls, ARRAY_SIZE(calls));
    for (unsigned i = 0, lines = 0, same; i < n && lines < r->max_calls; i += same, lines++) {
        for (same = 1; i + same < n && calls[i + same] == calls[i]; same++)
            ;
        const char *name = ksym_find(calls[i] - 1, &offset); // a call may be a function's last word
        char times[24] = "";
        if (same > 1)
            snprintf(times, sizeof(times), "  (%u times)", same);
        report_line(r, "  called from %016lx  %s+%#lx%s", calls[i], name ? name : "?",
                    name ? offset + 1 : 0, times);
    }
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        uint64_t rip = smp_stopped_at(i);
        const char *name = rip ? ksym_find(rip, &offset) : NULL;
        if (rip && r->blank_lines)
            report_line(r, "  processor %u was at %016lx  %s+%#lx", i, rip,
                        name ? name : "user mode", name ? offset : 0);
    }
}

// The last lines of the log. (Static: the stack may be nearly used up.)
static void report_log(struct report *r) {
    static char text[4096];
    uint64_t pos = log_end() > sizeof(text) - 1 ? log_end() - (sizeof(text) - 1) : 0;
    size_t n = log_read(&pos, text, sizeof(text) - 1);
    text[n] = '\0';
    char *start = text + n;
    for (unsigned lines = 0; start > text; start--)
        if (start[-1] == '\n' && start != text + n && ++lines == r->max_log)
            break;
    for (char *end; (end = strchr(start, '\n')); start = end + 1) {
        *end = '\0';
        report_line(r, "  %s", start[0] == '<' && start[1] && start[2] ? start + 3 : start);
    }
}

static void report(struct report *r, const struct trap_frame *f) {
    report_head(r, f);
    report_registers(r, f);
    report_calls(r, f);
    if (r->blank_lines)
        report_line(r, " ");
    report_log(r);
    if (r->line == to_screen)
        r->row = MAX(r->row, PANIC_SCREEN_ROWS - 1u);
    report_line(r, "Please send this report; line 1 names the build. Power off when you like.");
}

static noreturn void halt(void) {
    for (;;)
        __asm__ volatile("cli; hlt");
}

// Only one processor writes a report; a fault while it does so is said in one line.
static void take_over(void) {
    struct cpu *c = this_cpu();
    uint32_t self = 1 + (c ? c->id : 0), expected = 0;
    if (__atomic_compare_exchange_n(&owner, &expected, self, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED))
        return;
    if (expected == self) {
        static char text[] = "(another fault while this report was written)";
        static bool said;
        if (!said) {
            said = true;
            log_for_each_console(write_to_console, text);
        }
    }
    halt();
}

static noreturn void write_report(const struct trap_frame *f) {
    smp_stop_others();
    panicking = true;
    struct report screen = {.line = to_screen, .max_reason = 2, .max_calls = 7, .max_log = 5};
    struct report consoles = {
        .line = to_consoles, .max_reason = 4, .max_calls = 32, .max_log = 20, .blank_lines = true};
    panic_screen_clear();
    report(&screen, f);
    report(&consoles, f);
    halt();
}

noreturn void panic_report(const struct trap_frame *f, const char *fmt, void *ap) {
    irq_disable();
    take_over();
    va_list args;
    va_copy(args, *(va_list *)ap);
    vsnprintf(reason, sizeof(reason), fmt, args);
    va_end(args);
    write_report(f);
}

noreturn void panic_frame(const struct trap_frame *f, const char *fmt, ...) {
    irq_disable();
    take_over();
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    write_report(f);
}

const char *panic_explain_stack(uint64_t addr) {
    extern char boot_stack_guard[]; // boot/entry.S
    struct world *w = running_world();
    uint64_t stack = w && w->stack ? (uint64_t)w->stack : (uint64_t)boot_stack_guard + PAGE_SIZE;
    // A push may fault just above the lowest word that is there.
    bool guard = addr >= stack - PAGE_SIZE && addr < stack + 256;
    return guard ? ": kernel stack overflow" : "";
}
