// chrono-log graph: a log, and the exits of its replay where vmx wrote them (-trace), as a drawing for Graphviz.
// A table shows how often each thing happened over virtual time; below it is the flow: what followed what.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/tools/tool.h"

#define COLUMNS  64 // of time
#define ROWS_MAX 48 // different things; what comes later is "other"
#define NAME_MAX 24
#define FLOW_MIN 0.002 // edges that are less than this part of all are left out

struct row {
    char name[NAME_MAX];
    uint64_t total, columns[COLUMNS];
};
struct series { // things of one sort: events, or exits
    const char *title;
    unsigned count;
    struct row rows[ROWS_MAX];
    uint64_t flow[ROWS_MAX][ROWS_MAX], total;
    int last; // row of the one before; -1: none
};

static unsigned row_named(struct series *s, const char *name) {
    unsigned i;
    for (i = 0; i < s->count; i++)
        if (!strncmp(s->rows[i].name, name, NAME_MAX - 1))
            return i;
    if (s->count == ROWS_MAX)
        return ROWS_MAX - 1;
    if (++s->count == ROWS_MAX)
        name = "other";
    snprintf(s->rows[i].name, NAME_MAX, "%s", name);
    return i;
}

static void add(struct series *s, const char *name, uint64_t v, uint64_t v_end) {
    unsigned row = row_named(s, name);
    unsigned column = v_end ? (unsigned)((double)v / (double)v_end * COLUMNS) : 0;
    s->rows[row].total++;
    s->rows[row].columns[column < COLUMNS ? column : COLUMNS - 1]++;
    if (s->last >= 0)
        s->flow[s->last][row]++;
    s->last = (int)row;
    s->total++;
}

// A line of a trace: V COUNT CPU REASON RIP. False: it is none.
static bool parse_exit(const char *line, uint64_t *v, char reason[NAME_MAX]) {
    uint64_t count, rip;
    unsigned cpu;
    return sscanf(line, "%" SCNu64 " %" SCNu64 " %u %23s %" SCNx64, v, &count, &cpu, reason,
                  &rip) == 5;
}

static int read_trace(struct series *s, const char *path, uint64_t v_end) {
    FILE *f = fopen(path, "re");
    char line[256], reason[NAME_MAX];
    uint64_t v;
    if (!f) {
        perror(path);
        return 1;
    }
    for (unsigned number = 1; fgets(line, sizeof(line), f); number++) {
        if (!parse_exit(line, &v, reason)) {
            fprintf(stderr, "chrono-log: %s:%u: a line is V COUNT CPU REASON RIP\n", path, number);
            fclose(f);
            return 1;
        }
        add(s, reason, v, v_end);
    }
    fclose(f);
    return 0;
}

static void print_name(const char *name) { // reasons are words; anything else is made harmless
    for (; *name; name++)
        putchar(strchr("<>&\"\\", *name) ? '?' : *name);
}

// ---- the table -----------------------------------------------------------------------------------------
static const char *shade(uint64_t n, uint64_t most) {
    static const char *const shades[] = {"#f4f4f4", "#c6dbef", "#9ecae1",
                                         "#6baed6", "#3182bd", "#08519c"};
    unsigned step = 0; // by powers of four, so that one and thousands are both seen
    for (uint64_t limit = 1; n >= limit && step < 5; limit *= 4)
        step++;
    return shades[n == most && n ? 5 : step];
}

static void print_rows(const struct series *s) {
    if (!s->count)
        return;
    printf("<tr><td colspan=\"%d\" align=\"left\"><b>%s</b></td></tr>\n", COLUMNS + 2, s->title);
    for (unsigned i = 0; i < s->count; i++) {
        const struct row *r = &s->rows[i];
        uint64_t most = 0;
        for (unsigned c = 0; c < COLUMNS; c++)
            most = r->columns[c] > most ? r->columns[c] : most;
        printf("<tr><td align=\"right\">");
        print_name(r->name);
        printf(" </td>");
        for (unsigned c = 0; c < COLUMNS; c++)
            printf("<td width=\"9\" bgcolor=\"%s\"></td>", shade(r->columns[c], most));
        printf("<td align=\"right\"> %" PRIu64 "</td></tr>\n", r->total);
    }
}

static void print_table(const struct series *events, const struct series *exits, double seconds) {
    printf(
        "  over_time [shape=plain, label=<<table border=\"0\" cellborder=\"0\" cellspacing=\"1\" "
        "cellpadding=\"1\">\n");
    print_rows(events);
    print_rows(exits);
    printf("<tr><td></td><td colspan=\"%d\" align=\"left\">0 s</td><td colspan=\"%d\" "
           "align=\"right\">%.3f s of virtual time</td><td>number</td></tr>\n</table>>];\n",
           COLUMNS / 2, COLUMNS / 2, seconds);
}

// ---- the flow --------------------------------------------------------------------------------------------
static void print_flow(const struct series *s, const char *id) {
    printf("  subgraph cluster_%s { label=\"what followed what: %s\"; color=gray;\n", id, s->title);
    for (unsigned i = 0; i < s->count; i++) {
        printf("    %s%u [label=\"", id, i);
        print_name(s->rows[i].name);
        printf("\\n%" PRIu64 "\"];\n", s->rows[i].total);
    }
    for (unsigned i = 0; i < s->count; i++)
        for (unsigned j = 0; j < s->count; j++) {
            double part = s->total ? (double)s->flow[i][j] / (double)s->total : 0;
            if (s->flow[i][j] && part >= FLOW_MIN)
                printf("    %s%u -> %s%u [label=\"%" PRIu64 "\", penwidth=%.2f];\n", id, i, id, j,
                       s->flow[i][j], 0.5 + 5 * part);
        }
    printf("  }\n  over_time -> %s0 [style=invis];\n", id);
}

static void print_graph(const struct log *l, const struct series *events,
                        const struct series *exits, uint64_t v_end) {
    printf("digraph log {\n  fontname=\"sans\"; label=\"");
    print_name(l->path);
    printf("\"; labelloc=t; rankdir=TB; ranksep=0.4;\n"
           "  node [fontname=\"sans\", fontsize=10, shape=box, style=rounded];\n"
           "  edge [fontname=\"sans\", fontsize=8];\n");
    print_table(events, exits, (double)v_end / (double)log_header(l->reader)->settings.hz);
    print_flow(exits->count ? exits : events, exits->count ? "exit" : "event");
    printf("}\n");
}

int command_graph(struct log *l, int argc, char **argv) {
    struct series *s = calloc(2, sizeof(*s)); // too large for a stack
    if (!s || argc > 1) {
        free(s);
        return complain("graph takes a log and a trace", argc > 1 ? argv[1] : "out of memory");
    }
    struct series *events = &s[0], *exits = &s[1];
    *events = (struct series){.title = "records of the log", .last = -1};
    *exits = (struct series){.title = "exits of the guest", .last = -1};
    struct log_record r;
    uint64_t v_end = 0;
    int got, status = 0;
    while ((got = log_next(l->reader, &r)) > 0)
        v_end = r.v;
    sound(l, got); // what is usable is drawn all the same
    log_rewind(l->reader);
    while (log_next(l->reader, &r) > 0)
        add(events, log_kind_name(r.kind), r.v, v_end);
    if (argc)
        status = read_trace(exits, argv[0], v_end);
    if (!status && events->count)
        print_graph(l, events, exits, v_end);
    free(s);
    return status;
}
