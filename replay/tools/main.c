// chrono-log: looks into logs of recorded runs, on a workstation or as a UserWorld. Manual: docs/man/chrono-log.md.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/tools/tool.h"

static const struct command {
    const char *name, *arguments, *help;
    int (*run)(struct log *l, int argc, char **argv);
} commands[] = {
    {"info", "LOG", "what was recorded, on what, how long", command_info},
    {"dump", "LOG [--kind K] [--v A..B] [--record A..B]", "records as lines of text", command_dump},
    {"stat", "LOG", "records, bytes and rates by kind", command_stat},
    {"verify", "LOG", "reads all of it; says how much is usable", command_verify},
    {"diff", "LOG LOG", "the first difference of two recordings", command_diff},
    {"graph", "LOG [TRACE]", "for Graphviz: events and exits over time, and their flow",
     command_graph},
    {"control", "LOG OUTPUT [RECORD]",
     "the same log without its events (or that record): its replay must fail", command_control},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int usage(FILE *to) {
    fputs("usage: chrono-log COMMAND LOG [ARGUMENT]...\n", to);
    for (unsigned i = 0; i < COMMANDS; i++)
        fprintf(to, "  %s %s\n        %s\n", commands[i].name, commands[i].arguments,
                commands[i].help);
    fputs("A log contains everything that was typed into the machine while it was recorded.\n", to);
    return to == stdout ? 0 : 2;
}

void open_log(struct log *l, const char *path) {
    char error[256];
    l->path = path;
    l->reader = log_open(path, error);
    if (!l->reader) {
        fprintf(stderr, "chrono-log: %s\n", error);
        exit(1);
    }
}

void close_log(struct log *l) {
    log_reader_free(l->reader);
}

int sound(const struct log *l, int got) {
    if (got < 0)
        fprintf(stderr, "chrono-log: %s\n", log_error(l->reader));
    return got < 0;
}

int complain(const char *what, const char *value) {
    fprintf(stderr, "chrono-log: %s: '%s'; see chrono-log --help\n", what, value);
    return 2;
}

int main(int argc, char **argv) {
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
        return usage(stdout);
    if (argc < 3)
        return usage(stderr);
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, argv[1]))
            continue;
        struct log l;
        open_log(&l, argv[2]);
        int status = commands[i].run(&l, argc - 3, argv + 3);
        close_log(&l);
        return status;
    }
    return complain("there is no such command", argv[1]);
}
