/* sources: replay/log_read.c replay/log_format.c replay/log_text.c replay/checks.c */
/* libs: -lzstd */
// Logs: any bytes as a file, and any bytes as records. Every record that is read must be one that can be shown, and
// what is refused must be refused with a sentence.
#include <assert.h>
#include <stdlib.h>
#include "replay/log_read.h"
#include "replay/log_text.h"
#include "wrapped_log.h"

static void read_records(struct log_reader *log) {
    struct log_record r;
    uint64_t v = 0, number = 0;
    int got;
    while ((got = log_next(log, &r)) > 0) {
        char text[200];
        struct log_sums s = log_sums_of(&r);
        struct memory_sum sum;
        uint64_t unit, sums = 0;
        assert(r.v >= v && r.number == number++);
        v = log_v_after(&r);
        assert(log_record_text(&r, text, sizeof(text)) == strlen(text));
        while (log_sum_next(&s, &unit, &sum))
            sums++;
        assert(sums == r.sum_count && r.hash_bytes <= r.encoded_size);
    }
    assert(got == 0 || *log_error(log));
    assert(got == 0 || log_next(log, &r) == -1); // and stays so
}

static void read_log(const uint8_t *data, size_t size) {
    char error[256] = "";
    struct log_reader *log = log_open_memory("x.log", data, size, error);
    assert(log || *error);
    if (!log)
        return;
    read_records(log);
    log_rewind(log);
    read_records(log);
    log_reader_free(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    if (data[0] & 1) {
        read_log(data + 1, size - 1);
        return 0;
    }
    size_t total;
    uint8_t *log = wrap_log(data + 1, size - 1, data[0] & 2 ? 100 : 1u << 19, &total);
    read_log(log, total);
    free(log);
    return 0;
}
