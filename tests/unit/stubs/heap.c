// The kernel heap on top of the C library's, so that AddressSanitizer watches it.
#include <stdlib.h>
#include <string.h>
#include "stubs/heap.h"

long heap_fail_after = -1;

static int must_fail(void) {
    return heap_fail_after >= 0 && heap_fail_after-- == 0;
}

__attribute__((weak)) void *kmalloc(size_t size) {
    return must_fail() ? NULL : malloc(size);
}

__attribute__((weak)) void *kzalloc(size_t size) {
    return must_fail() ? NULL : calloc(1, size);
}

__attribute__((weak)) void kfree(void *p) {
    free(p);
}

__attribute__((weak)) char *kstrdup(const char *s) {
    return must_fail() ? NULL : strdup(s);
}
