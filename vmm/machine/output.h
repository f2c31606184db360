// Where a device's characters go, and the descriptor that its input comes from: the terminal, a file, a
// pseudo terminal. Output is buffered and written at the stops of the run loop.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct output;
struct input_source;

// `spec`: "stdio", "null", "file:PATH", "pty". NULL with a sentence in `error`. The first "stdio" puts the
// terminal into raw mode until output_close_all().
struct output *output_open(const char *spec, char *error, size_t size);
void output_write(struct output *o, const void *data, size_t n);
// Whether anything was ever written, wherever it went.
bool output_used(void);
// Fills in source->fd (-1: no input) and whether ^] on it leaves the VM.
void output_source(const struct output *o, struct input_source *source);
// While quiet, what devices write is dropped: it was written when the same was executed before.
void output_set_quiet(bool quiet);
void output_flush_all(void);
void output_close_all(void);
