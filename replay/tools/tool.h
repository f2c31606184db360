// What the commands of chrono-log share. Each returns the program's exit status: 0; 1: a difference, or a damaged
// log (after a sentence); 2: wrong arguments.
#pragma once
#include <stdbool.h>
#include "replay/log_read.h"

struct log {
    const char *path;
    struct log_reader *reader;
};

// Ends the program with a sentence where there is no log.
void open_log(struct log *l, const char *path);
void close_log(struct log *l);
// 0, or 1 after the reader's sentence when log_next() returned < 0.
int sound(const struct log *l, int got);
int complain(const char *what, const char *value);

void print_record(const struct log_record *r);

int command_info(struct log *l, int argc, char **argv);
int command_dump(struct log *l, int argc, char **argv);
int command_stat(struct log *l, int argc, char **argv);
int command_verify(struct log *l, int argc, char **argv);
int command_diff(struct log *l, int argc, char **argv);
int command_graph(struct log *l, int argc, char **argv);
int command_control(struct log *l, int argc, char **argv);
