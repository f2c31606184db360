#define _GNU_SOURCE
#include "vmm/machine/output.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "replay/inputs.h"

#define BUFFER_SIZE 4096

struct output {
    int in, out; // -1: none
    bool terminal;
    struct output *next;
    size_t used;
    uint8_t buffer[BUFFER_SIZE];
};

static struct output *outputs;
static bool standard_input_taken, raw, dropping, used;
static struct termios cooked;

static void make_raw(void) {
    if (raw || tcgetattr(STDIN_FILENO, &cooked) < 0)
        return;
    struct termios t = cooked;
    cfmakeraw(&t);
    t.c_oflag = cooked.c_oflag; // our own messages end in newlines
    raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static bool open_pty(struct output *o) {
    o->in = o->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (o->out < 0 || grantpt(o->out) < 0 || unlockpt(o->out) < 0)
        return false;
    fcntl(o->out, F_SETFL, O_NONBLOCK); // nobody may be at the other end
    fprintf(stderr, "vmx: pseudo terminal %s\n", ptsname(o->out));
    return true;
}

static bool open_stdio(struct output *o) {
    o->out = STDOUT_FILENO;
    if (standard_input_taken)
        return true;
    standard_input_taken = true;
    o->in = STDIN_FILENO;
    o->terminal = isatty(STDIN_FILENO);
    if (o->terminal)
        make_raw();
    return true;
}

static bool open_spec(struct output *o, const char *spec) {
    if (!strcmp(spec, "null"))
        return true;
    if (!strcmp(spec, "stdio"))
        return open_stdio(o);
    if (!strcmp(spec, "pty"))
        return open_pty(o);
    if (!strncmp(spec, "file:", 5)) {
        o->out = open(spec + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        return o->out >= 0;
    }
    errno = EINVAL;
    return false;
}

struct output *output_open(const char *spec, char *error, size_t size) {
    struct output *o = calloc(1, sizeof(*o));
    if (!o) {
        snprintf(error, size, "no memory");
        return NULL;
    }
    o->in = o->out = -1;
    if (!open_spec(o, spec)) {
        snprintf(error, size, "'%s': %s", spec,
                 errno == EINVAL ? "must be stdio, null, pty or file:PATH" : strerror(errno));
        free(o);
        return NULL;
    }
    o->next = outputs;
    outputs = o;
    return o;
}

// What cannot be written (a full pseudo terminal, a closed pipe) is lost, as on an unplugged line.
static void flush(struct output *o) {
    for (size_t done = 0; done < o->used;) {
        ssize_t n = write(o->out, o->buffer + done, o->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += n;
    }
    o->used = 0;
}

void output_write(struct output *o, const void *data, size_t n) {
    used = true;
    if (o->out < 0 || dropping)
        return;
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++) {
        if (o->used == BUFFER_SIZE)
            flush(o);
        o->buffer[o->used++] = bytes[i];
    }
}

bool output_used(void) {
    return used;
}

void output_source(const struct output *o, struct input_source *source) {
    source->fd = o->in;
    source->leave_key = o->terminal;
}

void output_set_quiet(bool quiet) {
    dropping = quiet;
}

void output_flush_all(void) {
    for (struct output *o = outputs; o; o = o->next)
        if (o->used)
            flush(o);
}

void output_close_all(void) {
    output_flush_all();
    while (outputs) {
        struct output *o = outputs;
        outputs = o->next;
        if (o->out > STDERR_FILENO)
            close(o->out);
        free(o);
    }
    standard_input_taken = false;
    if (raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
    raw = false;
}
