#include "replay/log_format.h"
#include <string.h>
#include "replay/varint.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t log_checksum(const void *head, size_t head_size, const void *body, size_t body_size) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, head, head_size);
    XXH3_64bits_update(&state, body, body_size);
    return XXH3_64bits_digest(&state);
}

const char *log_kind_name(enum log_kind kind) {
    static const char *const names[] = {
        [LOG_ANCHOR] = "anchor", [LOG_INPUT] = "input", [LOG_RESULT] = "result",
        [LOG_SWITCH] = "switch", [LOG_WAKE] = "wake",   [LOG_MEMORY] = "memory",
        [LOG_END] = "end",       [LOG_CHECK] = "check"};
    return (unsigned)kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind]
                                                                            : "unknown";
}

bool log_sum_next(struct log_sums *s, uint64_t *index, struct memory_sum *sum) {
    uint64_t step;
    size_t used = 0, size = (size_t)(s->end - s->at);
    if (!s->left || !varint_get(s->at, size, &used, &step) || step > UINT64_MAX - s->index ||
        size - used < sizeof(*sum))
        return false;
    *index = s->index += step;
    memcpy(sum, s->at + used, sizeof(*sum));
    s->at += used + sizeof(*sum);
    s->left--;
    return true;
}

size_t log_sum_put(uint8_t *to, uint64_t *last, uint64_t index, const struct memory_sum *sum) {
    size_t used = varint_put(to, index - *last);
    *last = index;
    memcpy(to + used, sum, sizeof(*sum));
    return used + sizeof(*sum);
}

static uint64_t grain(const struct log_settings *s) {
    return s->hz / 1000 ? s->hz / 1000 : 1;
}

uint64_t log_ticks_code(const struct log_settings *s, uint64_t ticks) {
    return ticks % grain(s) == 0 ? ticks / grain(s) * 2 + 1 : ticks * 2;
}

bool log_ticks_of(const struct log_settings *s, uint64_t code, uint64_t *ticks) {
    return !__builtin_mul_overflow(code / 2, code & 1 ? grain(s) : 1, ticks);
}

uint64_t log_increase_code(const struct log_settings *s, uint64_t v, uint64_t increase) {
    return log_ticks_code(s, v % grain(s) + increase);
}

bool log_increase_of(const struct log_settings *s, uint64_t code, uint64_t v, uint64_t *increase) {
    uint64_t ticks, part = v % grain(s);
    if (!log_ticks_of(s, code, &ticks) || ticks < part)
        return false;
    *increase = ticks - part;
    return true;
}
