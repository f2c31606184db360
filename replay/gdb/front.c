#include "replay/gdb/front.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "replay/gdb/debugger.h"
#include "replay/gdb/line.h"

struct front {
    const struct gdb_front *options;
    struct timeline *timeline;
    struct debugger *debugger;
    struct line line;
};

static bool on_bytes(void *opaque) {
    struct front *f = opaque;
    return debugger_attention(f->debugger);
}

// The VM goes its way until somebody connects. True: it has ended.
static bool run_alone(struct front *f, struct run_result *last) {
    const struct remote_attention attention = {f->line.events, line_knock, &f->line};
    timeline_set_attention(f->timeline, &attention);
    timeline_continue(f->timeline, last);
    return last->end == RAN_TO_END || last->end == RAN_INTO_DIFFERENCE;
}

static enum debugger_end serve(struct front *f) {
    const struct debugger_channel channel = {line_get, line_send, &f->line};
    const struct remote_attention attention = {f->line.events, on_bytes, f};
    timeline_set_attention(f->timeline, &attention);
    f->options->say("gdb: connected");
    enum debugger_end end = debugger_serve(f->debugger, &channel);
    line_hang_up(&f->line);
    return end;
}

// A replay stands still while nobody looks; a live VM does so only before the first client.
static enum gdb_front_end clients(struct front *f, struct run_result *last) {
    bool runs = !f->options->wait;
    for (;;) {
        if (runs && !line_waiting(&f->line) && run_alone(f, last))
            return GDB_FRONT_ENDED;
        if (!line_accept(&f->line))
            return GDB_FRONT_LEFT;
        enum debugger_end end = serve(f);
        if (debugger_over(f->debugger, last))
            return GDB_FRONT_ENDED;
        if (f->line.left)
            return GDB_FRONT_LEFT;
        if (end == DEBUGGER_KILLED)
            return GDB_FRONT_KILLED;
        runs = timeline_info(f->timeline)->kind != TARGET_REPLAYING;
        f->options->say(runs ? "gdb: gone; the VM goes on" : "gdb: gone; the replay stands still");
    }
}

static enum gdb_front_end with_line(struct front *f, struct run_result *last) {
    char text[256];
    if (line_open(&f->line, f->options->path, f->options->leave_fd, text, sizeof(text))) {
        f->options->say(text);
        return GDB_FRONT_NOT_STARTED;
    }
    snprintf(text, sizeof(text), "gdb: waiting at %s", f->options->path);
    f->options->say(text);
    enum gdb_front_end end = clients(f, last);
    line_close(&f->line, f->options->path);
    return end;
}

enum gdb_front_end gdb_front(const struct gdb_front *front, struct remote machine,
                             struct run_result *last) {
    struct front f = {.options = front, .timeline = timeline_create(machine, &front->limits)};
    enum gdb_front_end end = GDB_FRONT_NOT_STARTED;
    *last = (struct run_result){0};
    signal(SIGPIPE, SIG_IGN); // a vanished client is found by the error of write()
    if (f.timeline)
        f.debugger = debugger_create(f.timeline, front->arch);
    if (f.debugger)
        end = with_line(&f, last);
    else
        front->say("gdb: out of memory");
    debugger_free(f.debugger);
    if (f.timeline)
        timeline_free(f.timeline);
    return end;
}
