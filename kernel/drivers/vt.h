// The `linux` terminal as a pure state machine: text with escape sequences in, an array of VGA text
// cells out. No hardware, no locks: the caller (drivers/vga.c) has them. console_codes(4) describes
// what is implemented.
#pragma once
#include "lib/compiler.h"

#define VT_MAX_COLUMNS 256u
#define VT_PARAMETERS  16u

struct vt_attributes {
    uint8_t fg, bg; // ANSI colours 0–7
    bool bold, dim, italic, underline, blink, reverse;
};

enum vt_charset { CHARSET_ASCII, CHARSET_GRAPHICS }; // GRAPHICS: VT100 line drawing

struct vt_cursor { // what DECSC saves
    unsigned x, y;
    bool origin;
    struct vt_attributes attr;
    uint8_t charset[2]; // of G0, G1: enum vt_charset
    uint8_t shift;      // which of them is in use
};

enum vt_state {
    VT_GROUND,
    VT_ESCAPE,
    VT_CSI,
    VT_CSI_IGNORE, // a sequence that we do not know: until its final byte
    VT_OSC,        // ESC ]: the first byte decides
    VT_PALETTE,    // ESC ] P: seven digits to skip
    VT_STRING,     // until BEL or ST
    VT_CHARSET,    // ESC ( and ESC ): one byte
    VT_SKIP_ONE,   // ESC %, CSI [: one byte to skip
    VT_HASH,       // ESC #
};

struct vt_parser {
    uint8_t state;     // enum vt_state
    bool private;      // CSI ?
    uint8_t designate; // VT_CHARSET: G0 or G1; VT_PALETTE: digits to come
    unsigned count;    // parameters begun
    unsigned parameter[VT_PARAMETERS];
    uint8_t utf8_left; // continuation bytes to come
    uint32_t utf8_code, utf8_min;
};

struct vt {
    unsigned rows, columns;
    uint16_t *cells; // rows * columns: character (CP437) | attribute << 8
    struct vt_cursor cursor, saved;
    bool wrap_pending;    // the last column was written: the next character goes to a new line
    unsigned top, bottom; // scroll region: rows [top, bottom)
    bool autowrap, insert, newline, cursor_visible, application_cursor, screen_reversed;
    bool raw_glyphs; // SGR 11: bytes are CP437 glyphs
    uint8_t tabs[VT_MAX_COLUMNS / 8];
    struct vt_parser parser;

    unsigned dirty_from, dirty_to; // rows [from, to) changed; the owner resets both to 0
    uint16_t *history;             // ring of lines that scrolled off the top; NULL: none kept
    unsigned history_lines, history_next, history_count;
    // The terminal answers a question (ESC[6n and the like). NULL: no answers.
    void (*answer)(struct vt *v, const char *text, size_t n);
};

// cells: rows * columns; history: history_lines * columns, or NULL. The screen is cleared.
void vt_init(struct vt *v, unsigned rows, unsigned columns, uint16_t *cells, uint16_t *history,
             unsigned history_lines);
// Everything as after vt_init (ESC c), the history is kept.
void vt_reset(struct vt *v);
// Text for the terminal, any bytes.
void vt_write(struct vt *v, const char *text, size_t n);
// A message from elsewhere (the kernel's log): it starts on a fresh line, \n is a full newline, colours are plain, and an
// escape sequence that a program has half written goes on unharmed afterwards.
void vt_write_message(struct vt *v, const char *text, size_t n);
// Row `row` of what is to be seen `back` lines before the present (0: the screen itself).
// back <= history_count.
const uint16_t *vt_view_row(const struct vt *v, unsigned row, unsigned back);

// ---- vt_screen.c: what the sequences do; for vt.c.
uint16_t vt_blank(const struct vt *v);
uint16_t vt_cell(const struct vt *v, uint8_t glyph);
void vt_touch(struct vt *v, unsigned from, unsigned to);
void vt_move(struct vt *v, int x, int y); // clamped to the screen, or region in origin mode
void vt_put(struct vt *v, uint8_t glyph);
void vt_linefeed(struct vt *v);
void vt_reverse_linefeed(struct vt *v);
void vt_tab(struct vt *v);
// `keep`: lines that leave the top of the screen go to the history.
void vt_scroll_up(struct vt *v, unsigned top, unsigned bottom, unsigned n, bool keep);
void vt_scroll_down(struct vt *v, unsigned top, unsigned bottom, unsigned n);
void vt_erase_display(struct vt *v, unsigned how);
void vt_erase_line(struct vt *v, unsigned how);
void vt_insert_cells(struct vt *v, unsigned n);
void vt_delete_cells(struct vt *v, unsigned n);
void vt_erase_cells(struct vt *v, unsigned n);
void vt_fill(struct vt *v, uint16_t cell);
void vt_save_cursor(struct vt *v);
void vt_restore_cursor(struct vt *v);
void vt_sgr(struct vt *v, const unsigned *parameter, unsigned count); // vt_sgr.c

// ---- vt_charset.c
// The CP437 glyph for a Unicode character, the nearest one there is, or a filled square.
uint8_t vt_unicode_to_cp437(uint32_t code);
// Columns that it takes: 0 (combining), 1 or 2.
unsigned vt_width(uint32_t code);
// VT100 line drawing: the glyph for an ASCII character.
uint8_t vt_graphics_to_cp437(uint8_t c);
