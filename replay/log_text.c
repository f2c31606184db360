#include "replay/log_text.h"
#include <inttypes.h>
#include <stdio.h>
#include "replay/text.h"

#define SHOWN 48 // bytes of an input

static void add_bytes(struct text *t, const uint8_t *data, size_t n) {
    text_add(t, "\"");
    for (size_t i = 0; i < n && i < SHOWN; i++)
        if (data[i] >= ' ' && data[i] < 127 && data[i] != '"' && data[i] != '\\')
            text_add(t, "%c", data[i]);
        else
            text_add(t, "\\x%02x", data[i]);
    text_add(t, n > SHOWN ? "\"...(%zu bytes)" : "\"", n);
}

size_t log_record_text(const struct log_record *r, char *buf, size_t n) {
    struct text t = {buf, n, 0};
    text_add(&t, "%8" PRIu64 "  V %-14" PRIu64 " %-7s", r->number, r->v, log_kind_name(r->kind));
    switch (r->kind) {
    case LOG_ANCHOR:
    case LOG_WAKE: text_add(&t, "+%" PRIu64, r->value); break;
    case LOG_SWITCH: text_add(&t, "to vCPU %" PRIu64, r->value); break;
    case LOG_INPUT:
        text_add(&t, "source %" PRIu64 " ", r->value);
        add_bytes(&t, r->data, r->size);
        break;
    case LOG_RESULT:
    case LOG_END: add_bytes(&t, r->data, r->size); break;
    case LOG_MEMORY: text_add(&t, "%" PRIu64 " changed sums", r->sum_count); break;
    case LOG_CHECK: break;
    }
    if (r->kind != LOG_RESULT)
        text_add(&t, "  check %08x %08x", r->check.registers.sum, r->check.devices.sum);
    return t.used;
}
