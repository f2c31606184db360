// chrono-log dump, info and verify: a log as text.
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/log_text.h"
#include "replay/tools/tool.h"

void print_record(const struct log_record *r) {
    char text[512];
    log_record_text(r, text, sizeof(text));
    puts(text);
}

// ---- dump ------------------------------------------------------------------------------------------
struct range {
    uint64_t from, to; // both included
};
struct filter {
    unsigned kinds; // a bit per kind; 0: all
    struct range v, record;
};

// "A..B", "A..", "..B" or "A"; with an `s` behind a number it is seconds of V.
static bool parse_number(const char **text, uint64_t hz, uint64_t *value) {
    char *end;
    *value = strtoull(*text, &end, 0);
    if (hz && (*end == '.' && isdigit((unsigned char)end[1])) | (*end == 's')) {
        double seconds = strtod(*text, &end);
        if (*end != 's')
            return false;
        *value = (uint64_t)(seconds * (double)hz);
    }
    end += hz && *end == 's';
    bool good = end != *text;
    *text = end;
    return good;
}

static bool parse_range(const char *text, uint64_t hz, struct range *r) {
    *r = (struct range){0, UINT64_MAX};
    if (strncmp(text, "..", 2) && !parse_number(&text, hz, &r->from))
        return false;
    if (!*text) {
        r->to = r->from;
        return true;
    }
    if (strncmp(text, "..", 2))
        return false;
    text += 2;
    return !*text || (parse_number(&text, hz, &r->to) && !*text);
}

static unsigned kind_named(const char *name) {
    for (unsigned k = LOG_ANCHOR; k < LOG_KINDS; k++)
        if (!strcmp(name, log_kind_name(k)))
            return k;
    return 0;
}

// Reads the arguments in pairs. 0, or 2 after a sentence.
static int parse_filter(struct filter *f, uint64_t hz, int argc, char **argv) {
    *f = (struct filter){0, {0, UINT64_MAX}, {0, UINT64_MAX}};
    for (int i = 0; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            return complain("needs a value", argv[i]);
        if (!strcmp(argv[i], "--kind")) {
            if (!kind_named(value))
                return complain("no kind of record", value);
            f->kinds |= 1u << kind_named(value);
        } else if (!strcmp(argv[i], "--v") || !strcmp(argv[i], "--record")) {
            bool v = argv[i][2] == 'v';
            if (!parse_range(value, v ? hz : 0, v ? &f->v : &f->record))
                return complain("a range is A..B, A.., ..B or A", value);
        } else {
            return complain("dump has no such option", argv[i]);
        }
    }
    return 0;
}

int command_dump(struct log *l, int argc, char **argv) {
    struct filter f;
    if (parse_filter(&f, log_header(l->reader)->settings.hz, argc, argv))
        return 2;
    struct log_record r;
    int got;
    while ((got = log_next(l->reader, &r)) > 0) {
        if (r.number > f.record.to || r.v > f.v.to)
            return 0;
        if ((!f.kinds || f.kinds >> r.kind & 1) && r.number >= f.record.from && r.v >= f.v.from)
            print_record(&r);
    }
    return sound(l, got);
}

// ---- info and verify ---------------------------------------------------------------------------------
// Sums of memory as of the last record, as one number.
struct memory {
    struct memory_sum *sums;
    uint64_t count;
};

static void take_sums(struct memory *m, const struct log_record *r) {
    struct log_sums s = log_sums_of(r);
    struct memory_sum sum;
    uint64_t unit;
    while (log_sum_next(&s, &unit, &sum)) {
        if (unit >= m->count) {
            struct memory_sum *more = realloc(m->sums, (unit + 1) * sizeof(*more));
            if (!more)
                return;
            memset(more + m->count, 0, (unit + 1 - m->count) * sizeof(*more));
            m->sums = more;
            m->count = unit + 1;
        }
        m->sums[unit] = sum;
    }
}

static void print_end(const struct log_record *r, const struct memory *m) {
    printf("ended \"%.*s\"\nmemory_hash %016" PRIx64 "\nstate_hash %016" PRIx64 "\n", (int)r->size,
           (const char *)r->data, log_checksum("", 0, m->sums, m->count * sizeof(*m->sums)),
           log_checksum("", 0, &r->check, sizeof(r->check)));
}

int command_info(struct log *l, int argc, char **argv) {
    const struct log_header *h = log_header(l->reader);
    const struct log_settings *s = &h->settings;
    printf("format %u\nhz %" PRIu64 "\n%s %" PRIu64 "\nsums of %u bytes every %" PRIu64
           " ticks\n%s",
           h->version, s->hz, s->chaos ? "chaos" : "seed", s->seed, s->sum_unit, s->sum_interval,
           log_description(l->reader));
    struct log_record r;
    struct memory m = {NULL, 0};
    uint64_t records = 0, v = 0;
    int got;
    while ((got = log_next(l->reader, &r)) > 0) {
        records++;
        v = r.v;
        take_sums(&m, &r);
        if (r.kind == LOG_END)
            print_end(&r, &m);
    }
    free(m.sums);
    printf("records %" PRIu64 "\nvirtual_time %.6f s (%" PRIu64 " ticks)\nbytes %" PRIu64 "\n",
           records, (double)v / (double)s->hz, v, log_size(l->reader));
    return sound(l, got);
}

int command_verify(struct log *l, int argc, char **argv) {
    struct log_record r;
    int got;
    uint64_t records = 0;
    while ((got = log_next(l->reader, &r)) > 0)
        records++;
    if (!sound(l, got))
        printf("sound: %" PRIu64 " records in %u chunks\n", records,
               log_chunk_number(l->reader) + 1);
    return got < 0;
}
