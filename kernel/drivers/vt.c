// The terminal's parser: which bytes are text, controls and escape sequences (console_codes(4)).
#include "drivers/vt.h"
#include "lib/printf.h"
#include "lib/string.h"

enum { BEL = 7, BS = 8, HT = 9, LF = 10, VT = 11, FF = 12, CR = 13, SO = 14, SI = 15 };
enum { CAN = 24, SUB = 26, ESC = 27, DEL = 127 };

void vt_reset(struct vt *v) {
    v->cursor = (struct vt_cursor){.attr = {.fg = 7}, .charset = {CHARSET_ASCII, CHARSET_GRAPHICS}};
    v->saved = v->cursor;
    v->wrap_pending = false;
    v->top = 0;
    v->bottom = v->rows;
    v->autowrap = v->cursor_visible = true;
    v->insert = v->newline = v->application_cursor = v->screen_reversed = v->raw_glyphs = false;
    memset(v->tabs, 0x01, sizeof(v->tabs)); // every eighth column
    memset(&v->parser, 0, sizeof(v->parser));
    vt_fill(v, vt_blank(v));
}

void vt_init(struct vt *v, unsigned rows, unsigned columns, uint16_t *cells, uint16_t *history,
             unsigned history_lines) {
    memset(v, 0, sizeof(*v));
    v->rows = rows;
    v->columns = MIN(columns, VT_MAX_COLUMNS);
    v->cells = cells;
    v->history = history_lines ? history : NULL;
    v->history_lines = history_lines;
    vt_reset(v);
}

static void answer(struct vt *v, const char *text) {
    if (v->answer)
        v->answer(v, text, strlen(text));
}

// ---- control sequences

// Parameter n, or `absent` when it is missing or 0.
static unsigned parameter(const struct vt *v, unsigned n, unsigned absent) {
    const struct vt_parser *p = &v->parser;
    return n < p->count && p->parameter[n] ? p->parameter[n] : absent;
}

static void set_screen_reversed(struct vt *v, bool on) {
    if (v->screen_reversed == on)
        return;
    v->screen_reversed = on;
    for (size_t i = 0; i < (size_t)v->rows * v->columns; i++) {
        uint16_t c = v->cells[i];
        v->cells[i] = (c & 0x88ff) | (c & 0x7000) >> 4 | (c & 0x0700) << 4;
    }
    vt_touch(v, 0, v->rows);
}

static void set_private_mode(struct vt *v, unsigned mode, bool on) {
    switch (mode) {
    case 1: v->application_cursor = on; break;
    case 5: set_screen_reversed(v, on); break;
    case 6:
        v->cursor.origin = on;
        vt_move(v, 0, on ? v->top : 0);
        break;
    case 7:
        v->autowrap = on;
        v->wrap_pending = v->wrap_pending && on;
        break;
    case 25: v->cursor_visible = on; break;
    default: break; // 8, 9, 1000 ...: autorepeat and mouse reports are not ours
    }
}

static void set_modes(struct vt *v, bool on) {
    const struct vt_parser *p = &v->parser;
    for (unsigned i = 0; i < p->count; i++) {
        if (p->private)
            set_private_mode(v, p->parameter[i], on);
        else if (p->parameter[i] == 4)
            v->insert = on;
        else if (p->parameter[i] == 20)
            v->newline = on;
    }
}

static void set_region(struct vt *v) {
    unsigned top = parameter(v, 0, 1), bottom = parameter(v, 1, v->rows);
    if (top >= bottom || bottom > v->rows)
        return;
    v->top = top - 1;
    v->bottom = bottom;
    vt_move(v, 0, v->cursor.origin ? v->top : 0);
}

static void report(struct vt *v) {
    char text[32];
    unsigned what = parameter(v, 0, 0);
    if (what == 5)
        answer(v, "\033[0n");
    if (what != 6)
        return;
    unsigned y = v->cursor.y - (v->cursor.origin ? v->top : 0);
    snprintf(text, sizeof(text), "\033[%u;%uR", y + 1, v->cursor.x + 1);
    answer(v, text);
}

static void clear_tabs(struct vt *v) {
    if (parameter(v, 0, 0) == 0)
        v->tabs[v->cursor.x / 8] &= ~(1u << v->cursor.x % 8);
    else if (parameter(v, 0, 0) == 3)
        memset(v->tabs, 0, sizeof(v->tabs));
}

// Cursor movements; false: final byte c is none.
static bool csi_move(struct vt *v, unsigned char c) {
    int x = v->cursor.x, y = v->cursor.y, n = parameter(v, 0, 1);
    int first = v->cursor.origin ? v->top : 0;
    // Up and down stop at the region's edge when they start inside it.
    int top = y >= (int)v->top ? (int)v->top : 0;
    int last = y < (int)v->bottom ? (int)v->bottom - 1 : (int)v->rows - 1;
    switch (c) {
    case 'A': vt_move(v, x, MAX(y - n, top)); return true;
    case 'B':
    case 'e': vt_move(v, x, MIN(y + n, last)); return true;
    case 'C':
    case 'a': vt_move(v, x + n, y); return true;
    case 'D': vt_move(v, x - n, y); return true;
    case 'E': vt_move(v, 0, MIN(y + n, last)); return true;
    case 'F': vt_move(v, 0, MAX(y - n, top)); return true;
    case 'G':
    case '`': vt_move(v, n - 1, y); return true;
    case 'd': vt_move(v, x, first + n - 1); return true;
    case 'H':
    case 'f': vt_move(v, (int)parameter(v, 1, 1) - 1, first + n - 1); return true;
    default: return false;
    }
}

// Lines are inserted and deleted inside the scroll region only.
static void csi_lines(struct vt *v, bool insert) {
    if (v->cursor.y < v->top || v->cursor.y >= v->bottom)
        return;
    if (insert)
        vt_scroll_down(v, v->cursor.y, v->bottom, parameter(v, 0, 1));
    else
        vt_scroll_up(v, v->cursor.y, v->bottom, parameter(v, 0, 1), false);
    v->wrap_pending = false;
}

static void csi_plain(struct vt *v, unsigned char c) {
    if (csi_move(v, c))
        return;
    switch (c) {
    case 'J': vt_erase_display(v, parameter(v, 0, 0)); break;
    case 'K': vt_erase_line(v, parameter(v, 0, 0)); break;
    case 'L': csi_lines(v, true); break;
    case 'M': csi_lines(v, false); break;
    case 'P': vt_delete_cells(v, parameter(v, 0, 1)); break;
    case 'X': vt_erase_cells(v, parameter(v, 0, 1)); break;
    case '@': vt_insert_cells(v, parameter(v, 0, 1)); break;
    case 'c':
        if (parameter(v, 0, 0) == 0)
            answer(v, "\033[?6c"); // a VT102
        break;
    case 'g': clear_tabs(v); break;
    case 'h': set_modes(v, true); break;
    case 'l': set_modes(v, false); break;
    case 'm': vt_sgr(v, v->parser.parameter, v->parser.count); break;
    case 'n': report(v); break;
    case 'r': set_region(v); break;
    case 's': vt_save_cursor(v); break;
    case 'u': vt_restore_cursor(v); break;
    default: break; // not known: no effect, as in Linux
    }
}

static void csi_final(struct vt *v, unsigned char c) {
    v->parser.state = VT_GROUND;
    if (!v->parser.private)
        csi_plain(v, c);
    else if (c == 'h' || c == 'l')
        set_modes(v, c == 'h');
}

static void csi_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    if (c >= '0' && c <= '9') {
        unsigned *value = &p->parameter[p->count - 1];
        *value = MIN(*value * 10 + (c - '0'), 9999u);
    } else if (c == ';' || c == ':') {
        if (p->count == VT_PARAMETERS)
            p->state = VT_CSI_IGNORE;
        else
            p->parameter[p->count++] = 0;
    } else if (c == '?' && p->count == 1 && p->parameter[0] == 0) {
        p->private = true;
    } else if (c == '[') {
        p->state = VT_SKIP_ONE; // CSI [ x: what a function key sends, echoed
    } else if (c >= '@' && c <= '~') {
        csi_final(v, c);
    } else {
        p->state = VT_CSI_IGNORE;
    }
}

// ---- escape sequences

static void start_csi(struct vt *v) {
    struct vt_parser *p = &v->parser;
    memset(p->parameter, 0, sizeof(p->parameter));
    p->count = 1;
    p->private = false;
    p->state = VT_CSI;
}

static void escape_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    p->state = VT_GROUND;
    switch (c) {
    case '[': start_csi(v); break;
    case ']': p->state = VT_OSC; break;
    case 'P':
    case 'X':
    case '^':
    case '_': p->state = VT_STRING; break;
    case '(':
    case ')':
        p->designate = c == ')';
        p->state = VT_CHARSET;
        break;
    case '%': p->state = VT_SKIP_ONE; break; // always UTF-8
    case '#': p->state = VT_HASH; break;
    case 'c': vt_reset(v); break;
    case 'D': vt_linefeed(v); break;
    case 'E':
        v->cursor.x = 0;
        vt_linefeed(v);
        break;
    case 'H': v->tabs[v->cursor.x / 8] |= 1u << v->cursor.x % 8; break;
    case 'M': vt_reverse_linefeed(v); break;
    case 'Z': answer(v, "\033[?6c"); break;
    case '7': vt_save_cursor(v); break;
    case '8': vt_restore_cursor(v); break;
    default: break; // = and > (keypad modes) among them
    }
}

static void charset_byte(struct vt *v, unsigned char c) {
    v->cursor.charset[v->parser.designate] = c == '0' ? CHARSET_GRAPHICS : CHARSET_ASCII;
    v->parser.state = VT_GROUND;
}

static void osc_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    if (c == 'P') { // ESC ] P nrrggbb: set the palette
        p->designate = 7;
        p->state = VT_PALETTE;
    } else if (c == 'R') { // ESC ] R: reset the palette
        p->state = VT_GROUND;
    } else {
        p->state = VT_STRING;
    }
}

static void hash_byte(struct vt *v, unsigned char c) {
    if (c == '8') // DECALN: fill the screen with E
        vt_fill(v, vt_cell(v, 'E'));
    v->parser.state = VT_GROUND;
}

static void sequence_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    switch (p->state) {
    case VT_ESCAPE: escape_byte(v, c); break;
    case VT_CSI: csi_byte(v, c); break;
    case VT_CSI_IGNORE:
        if (c >= '@' && c <= '~')
            p->state = VT_GROUND;
        break;
    case VT_OSC: osc_byte(v, c); break;
    case VT_PALETTE:
        if (--p->designate == 0)
            p->state = VT_GROUND;
        break;
    case VT_CHARSET: charset_byte(v, c); break;
    case VT_SKIP_ONE: p->state = VT_GROUND; break;
    case VT_HASH: hash_byte(v, c); break;
    default: break; // VT_STRING: skipped
    }
}

// ---- controls and text

// Executes c. False: it is no control character here.
static bool control(struct vt *v, unsigned char c) {
    // With SGR 11 most codes are glyphs; these remain controls.
    bool always = c == 0 || c == BS || c == LF || c == FF || c == CR || c == SO || c == SI ||
                  c == ESC;
    if (v->raw_glyphs && v->parser.state == VT_GROUND && !always)
        return false;
    switch (c) {
    case BEL:
        if (v->parser.state == VT_STRING || v->parser.state == VT_OSC)
            v->parser.state = VT_GROUND;
        break;
    case BS:
        if (v->cursor.x > 0 && !v->wrap_pending)
            v->cursor.x--;
        v->wrap_pending = false;
        break;
    case HT: vt_tab(v); break;
    case LF:
    case VT:
    case FF:
        vt_linefeed(v);
        if (v->newline)
            v->cursor.x = 0;
        break;
    case CR:
        v->cursor.x = 0;
        v->wrap_pending = false;
        break;
    case SO: v->cursor.shift = 1; break;
    case SI: v->cursor.shift = 0; break;
    case CAN:
    case SUB: v->parser.state = VT_GROUND; break;
    case ESC: v->parser.state = VT_ESCAPE; break;
    default: return c < 32 || c == DEL; // without effect
    }
    return true;
}

static void show_unicode(struct vt *v, uint32_t code) {
    unsigned width = vt_width(code);
    if (width == 0 || (code >= 0x80 && code < 0xa0))
        return;
    vt_put(v, vt_unicode_to_cp437(code));
    if (width == 2)
        vt_put(v, ' ');
}

// A byte >= 0x80: part of UTF-8. Torn and overlong sequences show the square of an unknown character.
static void utf8_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    if ((c & 0xc0) == 0x80 && p->utf8_left) {
        p->utf8_code = p->utf8_code << 6 | (c & 0x3f);
        if (--p->utf8_left)
            return;
        bool bad = p->utf8_code < p->utf8_min || p->utf8_code > 0x10ffff ||
                   (p->utf8_code >= 0xd800 && p->utf8_code < 0xe000);
        show_unicode(v, bad ? 0xfffd : p->utf8_code);
        return;
    }
    if (p->utf8_left)
        show_unicode(v, 0xfffd);
    p->utf8_left = 0;
    if (c >= 0xc2 && c <= 0xf4) {
        p->utf8_left = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        p->utf8_min = c >= 0xf0 ? 0x10000 : c >= 0xe0 ? 0x800 : 0x80;
        p->utf8_code = c & (0x3f >> p->utf8_left);
    } else {
        show_unicode(v, 0xfffd);
    }
}

static void text_byte(struct vt *v, unsigned char c) {
    if (v->raw_glyphs) {
        vt_put(v, c);
        return;
    }
    if (c >= 0x80) {
        utf8_byte(v, c);
        return;
    }
    if (v->cursor.charset[v->cursor.shift] == CHARSET_GRAPHICS)
        c = vt_graphics_to_cp437(c);
    vt_put(v, c);
}

static void write_byte(struct vt *v, unsigned char c) {
    struct vt_parser *p = &v->parser;
    if (c < 0x80 && p->utf8_left) {
        p->utf8_left = 0;
        show_unicode(v, 0xfffd);
    }
    bool inside_string = p->state == VT_STRING || p->state == VT_OSC || p->state == VT_PALETTE;
    if (inside_string && c != BEL && c != ESC && c != CAN && c != SUB)
        sequence_byte(v, c);
    else if ((c < 32 || c == DEL) && control(v, c))
        return;
    else if (p->state == VT_GROUND)
        text_byte(v, c);
    else
        sequence_byte(v, c);
}

void vt_write(struct vt *v, const char *text, size_t n) {
    while (n--)
        write_byte(v, *text++);
}

void vt_write_message(struct vt *v, const char *text, size_t n) {
    struct vt_parser parser = v->parser;
    struct vt_attributes attr = v->cursor.attr;
    uint8_t shift = v->cursor.shift, charset = v->cursor.charset[0];
    bool raw = v->raw_glyphs, insert = v->insert, autowrap = v->autowrap;
    memset(&v->parser, 0, sizeof(v->parser));
    v->cursor.attr = (struct vt_attributes){.fg = 7};
    v->cursor.shift = 0;
    v->cursor.charset[0] = CHARSET_ASCII;
    v->raw_glyphs = v->insert = false;
    v->autowrap = true;
    if (n && v->cursor.x > 0 && *text != '\n') { // in the middle of a program's line
        write_byte(v, '\r');
        write_byte(v, '\n');
    }
    for (; n; n--, text++) {
        if (*text == '\n')
            write_byte(v, '\r');
        // A message that carries a user's text must not move the cursor about.
        write_byte(v, (unsigned char)*text == ESC ? '?' : (unsigned char)*text);
    }
    v->parser = parser;
    v->cursor.attr = attr;
    v->cursor.shift = shift;
    v->cursor.charset[0] = charset;
    v->raw_glyphs = raw;
    v->insert = insert;
    v->autowrap = autowrap;
}
