// The argument and environment strings of execve, collected in kernel memory.
#pragma once
#include "lib/compiler.h"

#define ARG_SIZE_MAX   (2 * MIB)   // all strings and pointers together
#define ARG_STRING_MAX (128 * KIB) // one string, with its zero

struct exec_args {
    char *text; // argc strings, then envc strings, each with its zero
    size_t used, size;
    unsigned argc, envc;
};

// Appends a string. 0, -E2BIG, -ENOMEM; the user's also -EFAULT.
int exec_args_add(struct exec_args *a, const char *s);
int exec_args_add_user(struct exec_args *a, const char __user *s);
// Appends the strings of a NULL-terminated array of pointers (NULL: none); *count gets their number.
int exec_args_add_array(struct exec_args *a, const void __user *array, unsigned *count);
// Replaces argument 0 by the given strings (a script's interpreter, its option or NULL, the script).
int exec_args_interpreter(struct exec_args *a, const char *interpreter, const char *option,
                          const char *script);
void exec_args_free(struct exec_args *a);
