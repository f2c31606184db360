#include "replay/log_text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define SHOWN 48 // bytes of an input

struct text {
    char *buf;
    size_t size, used;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->used, t->size - t->used, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->used += (size_t)n < t->size - t->used ? (size_t)n : t->size - t->used - 1;
}

static void add_bytes(struct text *t, const uint8_t *data, size_t n) {
    add(t, "\"");
    for (size_t i = 0; i < n && i < SHOWN; i++)
        if (data[i] >= ' ' && data[i] < 127 && data[i] != '"' && data[i] != '\\')
            add(t, "%c", data[i]);
        else
            add(t, "\\x%02x", data[i]);
    add(t, n > SHOWN ? "\"...(%zu bytes)" : "\"", n);
}

size_t log_record_text(const struct log_record *r, char *buf, size_t n) {
    struct text t = {buf, n, 0};
    add(&t, "%8" PRIu64 "  V %-14" PRIu64 " %-7s", r->number, r->v, log_kind_name(r->kind));
    switch (r->kind) {
    case LOG_ANCHOR:
    case LOG_WAKE: add(&t, "+%" PRIu64, r->value); break;
    case LOG_SWITCH: add(&t, "to vCPU %" PRIu64, r->value); break;
    case LOG_INPUT:
        add(&t, "source %" PRIu64 " ", r->value);
        add_bytes(&t, r->data, r->size);
        break;
    case LOG_RESULT:
    case LOG_END: add_bytes(&t, r->data, r->size); break;
    case LOG_MEMORY: add(&t, "%" PRIu64 " changed sums", r->sum_count); break;
    case LOG_CHECK: break;
    }
    if (r->kind != LOG_RESULT)
        add(&t, "  check %08x %08x", r->check.registers.sum, r->check.devices.sum);
    return t.used;
}
