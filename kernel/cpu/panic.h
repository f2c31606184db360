// The end: a report that can be acted on (lib/assert.h has panic() itself).
#pragma once
#include "cpu/trapframe.h"

// Set once the other processors have been stopped and before the report is written: console drivers
// take no lock any more.
extern bool panicking;

// As panic(), for what an exception's frame shows.
noreturn void panic_frame(const struct trap_frame *f, const char *fmt, ...) printf_like(2, 3);
// ": kernel stack overflow" when `addr` lies in the guard page below a kernel stack, else "".
const char *panic_explain_stack(uint64_t addr);
// Breaks something on purpose, to test the report: boot option panic=KIND. KIND: test, assert, null,
// pagefault, write, execute, stackoverflow, doublefault, invalid, protection. Returns when it does not
// know the kind.
void panic_test(const char *kind);

// Behind panic(), which is in cpu/panic_entry.S. `ap` points to a va_list.
noreturn void panic_report(const struct trap_frame *f, const char *fmt, void *ap);
