#include "proc/exec_args.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"

#define FIRST_SIZE 2048

// Room for n more bytes, doubling.
static int reserve(struct exec_args *a, size_t n) {
    if (n > ARG_SIZE_MAX - a->used)
        return -E2BIG;
    if (a->used + n <= a->size)
        return 0;
    size_t size = a->size ? a->size * 2 : FIRST_SIZE;
    while (size < a->used + n)
        size *= 2;
    char *text = kmalloc(size);
    if (!text)
        return -ENOMEM;
    if (a->used)
        memcpy(text, a->text, a->used);
    kfree(a->text);
    a->text = text;
    a->size = size;
    return 0;
}

int exec_args_add(struct exec_args *a, const char *s) {
    size_t n = strlen(s) + 1;
    int err = n > ARG_STRING_MAX ? -E2BIG : reserve(a, n);
    if (err)
        return err;
    memcpy(a->text + a->used, s, n);
    a->used += n;
    return 0;
}

int exec_args_add_user(struct exec_args *a, const char __user *s) {
    size_t room = 256;
    for (;;) {
        int err = reserve(a, room);
        if (err)
            return err;
        room = MIN(a->size - a->used, ARG_STRING_MAX);
        long n = strncpy_from_user(a->text + a->used, s, room);
        if (n >= 0) {
            a->used += (size_t)n + 1;
            return 0;
        }
        if (n != -ENAMETOOLONG)
            return (int)n;
        if (room >= ARG_STRING_MAX)
            return -E2BIG;
        room *= 2;
    }
}

int exec_args_add_array(struct exec_args *a, const void __user *array, unsigned *count) {
    const uint64_t *pointers = array;
    *count = 0;
    if (!array)
        return 0;
    for (;; pointers++) {
        uint64_t p;
        if (get_user(p, pointers))
            return -EFAULT;
        if (!p)
            return 0;
        int err = exec_args_add_user(a, (const char __user *)p);
        if (err)
            return err;
        if (a->used + (++*count) * sizeof(uint64_t) > ARG_SIZE_MAX)
            return -E2BIG;
    }
}

int exec_args_interpreter(struct exec_args *a, const char *interpreter, const char *option,
                          const char *script) {
    size_t li = strlen(interpreter) + 1, lo = option ? strlen(option) + 1 : 0;
    size_t ls = strlen(script) + 1;
    size_t first = a->argc ? strlen(a->text) + 1 : 0;
    int err = reserve(a, li + lo + ls);
    if (err)
        return err;
    memmove(a->text + li + lo + ls, a->text + first, a->used - first);
    memcpy(a->text, interpreter, li);
    if (option)
        memcpy(a->text + li, option, lo);
    memcpy(a->text + li + lo, script, ls);
    a->used += li + lo + ls - first;
    a->argc += (option ? 3 : 2) - (a->argc ? 1 : 0);
    return 0;
}

void exec_args_free(struct exec_args *a) {
    kfree(a->text);
    a->text = NULL;
}
