// Breakpoints and watchpoints: Z and z packets, and the address space that each is meant in.
#include <errno.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"

enum { WATCH_LENGTH_MAX = 4096 };

// "0,ADDRESS,KIND": of watchpoints KIND is the length, of breakpoints a kind of instruction. Conditions and
// commands behind it are never sent: they are not offered.
static bool scan_point(struct debugger *d, struct scan *args, struct breakpoint *b) {
    uint64_t kind, length;
    *b = (struct breakpoint){.cr3 = d->cr3};
    if (!scan_number(args, &kind) || kind > WATCH_ACCESS || !scan_word(args, ",") ||
        !scan_number(args, &b->address) || !scan_word(args, ",") || !scan_number(args, &length)) {
        debugger_error(d, "this breakpoint is not understood");
        return false;
    }
    b->kind = (uint32_t)kind;
    if (kind < WATCH_WRITE)
        return true;
    b->length = (uint32_t)length;
    if (length >= 1 && length <= WATCH_LENGTH_MAX && b->address + (length - 1) >= b->address)
        return true;
    debugger_error(d, "a watchpoint has 1 to 4096 bytes");
    return false;
}

static struct place *find_place(struct debugger *d, const struct breakpoint *b) {
    for (unsigned i = 0; i < d->place_count; i++) {
        const struct breakpoint *known = &d->places[i].breakpoint;
        if (known->kind == b->kind && known->address == b->address && known->length == b->length)
            return &d->places[i];
    }
    return NULL;
}

// For a place that was not known; there is always room, since fewer than half of them can be set.
static struct place *new_place(struct debugger *d, const struct breakpoint *b) {
    struct place *p = NULL;
    if (d->place_count < PLACES_MAX)
        p = &d->places[d->place_count++];
    for (unsigned i = 0; !p && i < PLACES_MAX; i++)
        if (!d->places[i].set)
            p = &d->places[i];
    if (p)
        *p = (struct place){.breakpoint = *b};
    return p;
}

void command_set_point(struct debugger *d, struct scan *args) {
    struct breakpoint b;
    if (!scan_point(d, args, &b))
        return;
    struct place *p = find_place(d, &b);
    if (!p)
        p = new_place(d, &b);
    int error = p ? timeline_add_breakpoint(d->timeline, &p->breakpoint) : -ENOSPC;
    if (error == -ENOSPC)
        debugger_error(d, "too many breakpoints and watchpoints");
    else if (error)
        debugger_error(d, strerror(-error));
    else {
        p->set = true;
        debugger_ok(d);
    }
}

void command_remove_point(struct debugger *d, struct scan *args) {
    struct breakpoint b;
    if (!scan_point(d, args, &b))
        return;
    struct place *p = find_place(d, &b);
    if (p && p->set)
        timeline_remove_breakpoint(d->timeline, &p->breakpoint);
    if (p)
        p->set = false;
    debugger_ok(d); // removing twice is once
}

void points_set_space(struct debugger *d, uint64_t cr3, bool all) {
    d->cr3 = cr3;
    for (unsigned i = 0; all && i < d->place_count; i++) {
        struct place *p = &d->places[i];
        if (p->set)
            timeline_remove_breakpoint(d->timeline, &p->breakpoint);
        p->breakpoint.cr3 = cr3;
        if (p->set)
            timeline_add_breakpoint(d->timeline, &p->breakpoint);
    }
}
