// The terminal's screen: cells, cursor, scrolling, erasing. All positions are kept inside the
// screen here, whatever numbers the sequences carry.
#include "drivers/vt.h"
#include "lib/assert.h"
#include "lib/string.h"

static const uint8_t ansi_to_vga[8] = {0, 4, 2, 6, 1, 5, 3, 7};

// As Linux shows it: a colour VGA has no underline or italics, so they get colours.
static uint8_t attribute(const struct vt *v) {
    const struct vt_attributes *a = &v->cursor.attr;
    uint8_t bg = ansi_to_vga[a->bg], fg = ansi_to_vga[a->fg];
    if (a->italic)
        fg = 2; // green
    else if (a->underline)
        fg = 3; // cyan
    else if (a->dim)
        fg = 8; // dark grey
    if (a->reverse != v->screen_reversed) {
        uint8_t was = fg & 7;
        fg = bg;
        bg = was;
    }
    if (a->bold)
        fg |= 8;
    return fg | bg << 4 | (a->blink ? 0x80 : 0);
}

uint16_t vt_cell(const struct vt *v, uint8_t glyph) {
    return glyph | attribute(v) << 8;
}

// What erasing leaves: a space in the background colour, but never underlined or blinking.
uint16_t vt_blank(const struct vt *v) {
    uint8_t fg = ansi_to_vga[v->cursor.attr.fg], bg = ansi_to_vga[v->cursor.attr.bg];
    if (v->screen_reversed)
        return ' ' | (bg | fg << 4) << 8;
    return ' ' | (fg | bg << 4) << 8;
}

void vt_touch(struct vt *v, unsigned from, unsigned to) {
    if (v->dirty_from == v->dirty_to) {
        v->dirty_from = from;
        v->dirty_to = to;
        return;
    }
    v->dirty_from = MIN(v->dirty_from, from);
    v->dirty_to = MAX(v->dirty_to, to);
}

static uint16_t *row_at(const struct vt *v, unsigned y) {
    return v->cells + (size_t)y * v->columns;
}

static void blank_cells(struct vt *v, uint16_t *from, size_t n) {
    uint16_t blank = vt_blank(v);
    ASSERT(from >= v->cells && from + n <= v->cells + (size_t)v->rows * v->columns);
    while (n--)
        *from++ = blank;
}

void vt_fill(struct vt *v, uint16_t cell) {
    for (size_t i = 0; i < (size_t)v->rows * v->columns; i++)
        v->cells[i] = cell;
    vt_touch(v, 0, v->rows);
}

void vt_move(struct vt *v, int x, int y) {
    int top = v->cursor.origin ? (int)v->top : 0;
    int bottom = v->cursor.origin ? (int)v->bottom : (int)v->rows;
    v->cursor.x = x < 0 ? 0 : MIN((unsigned)x, v->columns - 1);
    v->cursor.y = y < top ? top : y >= bottom ? bottom - 1 : y;
    v->wrap_pending = false;
}

// ---- scrolling

static void remember(struct vt *v, unsigned n) {
    for (unsigned y = 0; v->history && y < n; y++) {
        memcpy(v->history + (size_t)v->history_next * v->columns, row_at(v, y),
               v->columns * sizeof(uint16_t));
        v->history_next = (v->history_next + 1) % v->history_lines;
        v->history_count = MIN(v->history_count + 1, v->history_lines);
    }
}

void vt_scroll_up(struct vt *v, unsigned top, unsigned bottom, unsigned n, bool keep) {
    n = MIN(n, bottom - top);
    if (keep && top == 0 && bottom == v->rows)
        remember(v, n);
    memmove(row_at(v, top), row_at(v, top + n),
            (size_t)(bottom - top - n) * v->columns * sizeof(uint16_t));
    blank_cells(v, row_at(v, bottom - n), (size_t)n * v->columns);
    vt_touch(v, top, bottom);
}

void vt_scroll_down(struct vt *v, unsigned top, unsigned bottom, unsigned n) {
    n = MIN(n, bottom - top);
    memmove(row_at(v, top + n), row_at(v, top),
            (size_t)(bottom - top - n) * v->columns * sizeof(uint16_t));
    blank_cells(v, row_at(v, top), (size_t)n * v->columns);
    vt_touch(v, top, bottom);
}

void vt_linefeed(struct vt *v) {
    if (v->cursor.y + 1 == v->bottom)
        vt_scroll_up(v, v->top, v->bottom, 1, true);
    else if (v->cursor.y + 1 < v->rows)
        v->cursor.y++;
    v->wrap_pending = false;
}

void vt_reverse_linefeed(struct vt *v) {
    if (v->cursor.y == v->top)
        vt_scroll_down(v, v->top, v->bottom, 1);
    else if (v->cursor.y > 0)
        v->cursor.y--;
    v->wrap_pending = false;
}

// ---- characters

void vt_put(struct vt *v, uint8_t glyph) {
    if (v->wrap_pending) {
        v->cursor.x = 0;
        vt_linefeed(v);
    }
    if (v->insert)
        vt_insert_cells(v, 1);
    row_at(v, v->cursor.y)[v->cursor.x] = vt_cell(v, glyph);
    vt_touch(v, v->cursor.y, v->cursor.y + 1);
    if (v->cursor.x + 1 < v->columns)
        v->cursor.x++;
    else
        v->wrap_pending = v->autowrap;
}

void vt_tab(struct vt *v) {
    unsigned x = v->cursor.x;
    while (x + 1 < v->columns) {
        x++;
        if (v->tabs[x / 8] & (1u << x % 8))
            break;
    }
    v->cursor.x = x;
    v->wrap_pending = false;
}

void vt_insert_cells(struct vt *v, unsigned n) {
    uint16_t *at = row_at(v, v->cursor.y) + v->cursor.x;
    unsigned rest = v->columns - v->cursor.x;
    n = MIN(n, rest);
    memmove(at + n, at, (rest - n) * sizeof(*at));
    blank_cells(v, at, n);
    vt_touch(v, v->cursor.y, v->cursor.y + 1);
    v->wrap_pending = false;
}

void vt_delete_cells(struct vt *v, unsigned n) {
    uint16_t *at = row_at(v, v->cursor.y) + v->cursor.x;
    unsigned rest = v->columns - v->cursor.x;
    n = MIN(n, rest);
    memmove(at, at + n, (rest - n) * sizeof(*at));
    blank_cells(v, at + rest - n, n);
    vt_touch(v, v->cursor.y, v->cursor.y + 1);
    v->wrap_pending = false;
}

void vt_erase_cells(struct vt *v, unsigned n) {
    blank_cells(v, row_at(v, v->cursor.y) + v->cursor.x, MIN(n, v->columns - v->cursor.x));
    vt_touch(v, v->cursor.y, v->cursor.y + 1);
    v->wrap_pending = false;
}

// how: 0 from the cursor to the end, 1 from the start to the cursor, 2 all.
void vt_erase_line(struct vt *v, unsigned how) {
    uint16_t *row = row_at(v, v->cursor.y);
    if (how == 0)
        blank_cells(v, row + v->cursor.x, v->columns - v->cursor.x);
    else if (how == 1)
        blank_cells(v, row, v->cursor.x + 1);
    else if (how == 2)
        blank_cells(v, row, v->columns);
    vt_touch(v, v->cursor.y, v->cursor.y + 1);
    v->wrap_pending = false;
}

// As above; 3: all and the history.
void vt_erase_display(struct vt *v, unsigned how) {
    size_t at = (size_t)v->cursor.y * v->columns + v->cursor.x;
    size_t all = (size_t)v->rows * v->columns;
    if (how == 0)
        blank_cells(v, v->cells + at, all - at);
    else if (how == 1)
        blank_cells(v, v->cells, at + 1);
    else if (how == 2 || how == 3)
        blank_cells(v, v->cells, all);
    if (how == 3)
        v->history_count = 0;
    vt_touch(v, 0, v->rows);
    v->wrap_pending = false;
}

void vt_save_cursor(struct vt *v) {
    v->saved = v->cursor;
}

void vt_restore_cursor(struct vt *v) {
    unsigned x = v->saved.x, y = v->saved.y;
    v->cursor = v->saved;
    vt_move(v, x, y);
}

const uint16_t *vt_view_row(const struct vt *v, unsigned row, unsigned back) {
    if (row >= back)
        return row_at(v, row - back);
    unsigned lines_ago = back - row; // 1: the line that scrolled off last
    unsigned at = (v->history_next + v->history_lines - lines_ago) % v->history_lines;
    return v->history + (size_t)at * v->columns;
}
