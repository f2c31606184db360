#include "vmm/machine/display.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/machine.h"
#include "vmm/machine/output.h"
#include "vmm/machine/vga.h"

#define FRAMES_PER_SECOND 25

struct display {
    struct output *terminal;
    struct vga_screen shown; // what the terminal shows
    unsigned attribute;      // that it draws with
    uint64_t next;           // V of the next look
};

static void say(struct display *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct display *d, const char *fmt, ...) {
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    output_write(d->terminal, text, (size_t)n);
}

// A VGA's colours have blue in the lowest bit and red in the third; a terminal's have it the other way round.
static unsigned color(unsigned vga) {
    return (vga & 1) << 2 | (vga & 2) | (vga >> 2 & 1);
}

static void set_attribute(struct display *d, unsigned attribute) {
    if (attribute == d->attribute)
        return;
    bool bright = attribute & 8;
    say(d, "\033[0;%s%u;%um", bright ? "1;" : "", 30 + color(attribute),
        40 + color(attribute >> 4));
    d->attribute = attribute;
}

static void draw_row(struct display *d, unsigned y, const uint16_t *now, uint16_t *shown) {
    unsigned at = VGA_COLUMNS; // column of the terminal's cursor, if it is in this row
    for (unsigned x = 0; x < VGA_COLUMNS; x++) {
        char text[4];
        if (now[x] == shown[x])
            continue;
        if (at != x)
            say(d, "\033[%u;%uH", y + 1, x + 1);
        set_attribute(d, now[x] >> 8);
        output_write(d->terminal, text, vga_utf8((uint8_t)now[x], text));
        at = x + 1;
        shown[x] = now[x];
    }
}

static bool same_cursor(const struct vga_screen *a, const struct vga_screen *b) {
    return a->cursor == b->cursor && a->cursor_row == b->cursor_row &&
           a->cursor_column == b->cursor_column;
}

static void draw(struct machine *m) {
    struct display *d = m->display;
    struct vga_screen now;
    vga_render(m->vga, &now);
    bool drawn = memcmp(now.cell, d->shown.cell, sizeof(now.cell)) != 0;
    if (!drawn && same_cursor(&now, &d->shown))
        return;
    say(d, "\033[?25l");
    for (unsigned y = 0; y < VGA_ROWS; y++)
        draw_row(d, y, now.cell[y], d->shown.cell[y]);
    d->shown = now;
    if (now.cursor)
        say(d, "\033[%u;%uH\033[?25h", now.cursor_row + 1, now.cursor_column + 1);
}

void display_refresh(struct machine *m, bool idle) {
    struct display *d = m->display;
    if (!d || (!idle && vtime_now(m) < d->next))
        return;
    d->next = vtime_now(m) + vtime_hz(m) / FRAMES_PER_SECOND;
    draw(m);
}

void display_close(struct machine *m) {
    if (!m->display)
        return;
    draw(m);
    say(m->display, "\033[0m\033[%u;1H\033[?25h\r\n", VGA_ROWS);
    free(m->display);
    m->display = NULL;
}

void display_create(struct machine *m, struct output *terminal) {
    if (!terminal)
        return;
    struct display *d = calloc(1, sizeof(*d));
    m->display = d;
    d->terminal = terminal;
    d->attribute = UINT32_MAX;
    memset(d->shown.cell, 0xff, sizeof(d->shown.cell)); // as if it were full: all of it is drawn
    say(d, "\033[2J");
}
