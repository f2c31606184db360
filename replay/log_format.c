#include "replay/log_format.h"
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
        [LOG_END] = "end"};
    return (unsigned)kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind]
                                                                            : "unknown";
}
