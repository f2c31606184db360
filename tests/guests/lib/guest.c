#include "tests/guests/lib/guest.h"
#include <stdarg.h>

#define COM1 0x3f8

void (*handlers[256])(struct frame *f);
volatile int trapped;
volatile uint64_t trapped_error, trapped_cr2, trap_resume;
static unsigned passed, failed;

// The compiler calls these of its own accord.
void *memcpy(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    return result;
}

void *memset(void *to, int value, size_t n);
void *memset(void *to, int value, size_t n) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    return result;
}

static void put(char c) {
    while (!(inb(COM1 + 5) & 0x20))
        ;
    outb(COM1, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned base) {
    char text[24];
    unsigned n = 0;
    do
        text[n++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (n)
        put(text[--n]);
}

void print(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
            continue;
        }
        bool is_long = *++fmt == 'l';
        if (is_long)
            fmt++;
        if (*fmt == 's') {
            for (const char *s = va_arg(ap, const char *); *s; s++)
                put(*s);
        } else if (*fmt == 'c') {
            put((char)va_arg(ap, int));
        } else if (*fmt == 'd') {
            int v = va_arg(ap, int);
            if (v < 0)
                put('-');
            put_number(v < 0 ? -(int64_t)v : v, 10);
        } else {
            put_number(is_long ? va_arg(ap, uint64_t) : va_arg(ap, uint32_t),
                       *fmt == 'x' ? 16 : 10);
        }
    }
    va_end(ap);
}

void pass(const char *name) {
    passed++;
    print("ok %s\n", name);
}

void fail(const char *name, const char *why) {
    failed++;
    print("not ok %s: %s\n", name, why);
}

void check(const char *name, uint64_t got, uint64_t expected) {
    if (got == expected) {
        pass(name);
        return;
    }
    failed++;
    print("not ok %s: got 0x%lx, expected 0x%lx\n", name, got, expected);
}

int end(void) {
    print("end %u ok, %u not ok\n", passed, failed);
    return (int)failed;
}

void guest_exit(int status) {
    while (!(inb(COM1 + 5) & 0x40)) // the last character is out
        ;
    outl(0x501, (uint32_t)status);
    outw(0x604, 0x3400); // ACPI: SLP_EN with sleep type 5
    for (;;)
        __asm__ volatile("cli; hlt");
}

#define LAPIC_ICR  0xfee00300ull // low and high half, 16 bytes apart
#define TRAMPOLINE 0x8000ull     // a page below 1 MB that nobody else uses
extern char cpu_trampoline[], cpu_trampoline_end[];
extern void *cpu_stack;
extern void (*cpu_main)(void);

static void send_ipi(unsigned apic_id, uint32_t command) {
    *(volatile uint32_t *)(LAPIC_ICR + 16) = apic_id << 24;
    *(volatile uint32_t *)LAPIC_ICR = command;
}

void start_cpu(unsigned apic_id, void (*run)(void), void *stack_top) {
    char *to = (char *)TRAMPOLINE;
    for (const char *from = cpu_trampoline; from < cpu_trampoline_end; from++)
        *to++ = *from;
    cpu_stack = stack_top;
    cpu_main = run;
    send_ipi(apic_id, 0x4500);                    // INIT
    send_ipi(apic_id, 0x4600 | TRAMPOLINE >> 12); // start-up
}

void guest_trap(struct frame *f);
void guest_trap(struct frame *f) {
    if (handlers[f->vector]) {
        handlers[f->vector](f);
        return;
    }
    if (trap_resume) {
        trapped = (int)f->vector;
        trapped_error = f->error;
        uint64_t cr2;
        __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
        trapped_cr2 = cr2;
        f->rip = trap_resume;
        trap_resume = 0;
        return;
    }
    uint64_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    print("not ok unexpected vector %lu, error 0x%lx, rip 0x%lx, cr2 0x%lx\n", f->vector, f->error,
          f->rip, cr2);
    guest_exit(100);
}
