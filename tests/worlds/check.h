// Checks of the test programs: `ok NAME` or `not ok NAME reason` for each, and a last line.
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Memory that no program has; volatile, so that the compiler does not see through it.
__attribute__((unused)) static void *volatile bad_memory = (void *)8;

// A process number that nobody has: it is more than there are.
#define NOBODY 0x7fffffff

static int check_passed, check_failed;

// One check. The reason (printf-like) is shown when it failed, with errno as of the check.
__attribute__((format(printf, 3, 4), unused)) static void check(int good, const char *name,
                                                                const char *reason, ...) {
    int error = errno;
    if (good) {
        check_passed++;
        printf("ok %s\n", name);
    } else {
        va_list ap;
        check_failed++;
        printf("not ok %s ", name);
        va_start(ap, reason);
        vprintf(reason, ap);
        va_end(ap);
        printf(" (errno %d)\n", error);
    }
    fflush(stdout);
}

// A call that must fail with that error.
#define CHECK_ERROR(name, call, error)                                                \
    do {                                                                              \
        errno = 0;                                                                    \
        long r_ = (long)(call);                                                       \
        check(r_ == -1 && errno == (error), name, "%ld, wanted error %d", r_, error); \
    } while (0)
// A call whose result must be that number.
#define CHECK_EQUAL(name, call, wanted)                   \
    do {                                                  \
        errno = 0;                                        \
        long r_ = (long)(call), w_ = (long)(wanted);      \
        check(r_ == w_, name, "%ld, wanted %ld", r_, w_); \
    } while (0)

__attribute__((unused)) static int check_end(void) {
    printf("end %d ok, %d not ok\n", check_passed, check_failed);
    fflush(stdout);
    return check_failed != 0;
}
