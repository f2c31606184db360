// For tests that expect a panic:
//     EXPECT_PANIC(buddy_free(&zone, 0));
#pragma once
#include <setjmp.h>

extern jmp_buf *panic_jump;     // where panic() goes; NULL: it aborts
extern char panic_message[256]; // what it said

#define EXPECT_PANIC(statement)                       \
    do {                                              \
        jmp_buf here_;                                \
        panic_jump = &here_;                          \
        if (setjmp(here_) == 0) {                     \
            statement;                                \
            panic_jump = NULL;                        \
            fail_msg("no panic from %s", #statement); \
        }                                             \
        panic_jump = NULL;                            \
    } while (0)
