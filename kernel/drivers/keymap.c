// The US keyboard (drivers/keymap.h): scancode set 1, sequences of the `linux` terminfo entry.
#include "drivers/keymap.h"
#include "lib/string.h"

#define RELEASE      0x80
#define SCROLL_LINES 12 // half a screen

enum {
    SC_CONTROL = 0x1d,
    SC_SHIFT_LEFT = 0x2a,
    SC_SHIFT_RIGHT = 0x36,
    SC_ALT = 0x38,
    SC_CAPS = 0x3a,
    SC_F1 = 0x3b,
    SC_F10 = 0x44,
    SC_NUM = 0x45,
    SC_SCROLL = 0x46,
    SC_PAD_FIRST = 0x47,
    SC_PAGE_UP = 0x49,
    SC_PAGE_DOWN = 0x51,
    SC_DELETE = 0x53,
    SC_SLASH = 0x35,
    SC_ENTER = 0x1c,
    SC_F11 = 0x57,
    SC_F12 = 0x58,
    SC_102ND = 0x56
};

// By scancode, plain and with Shift. Backspace sends DEL, as VERASE has it.
static const char plain[] =
    "\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
_Static_assert(sizeof(plain) == SC_CAPS + 1 && sizeof(shifted) == sizeof(plain), "0x00 to 0x39");

static bool any(const bool pair[2]) {
    return pair[0] || pair[1];
}

static struct key_event text_event(const char *text, unsigned n) {
    struct key_event e = {.action = KEY_TEXT, .length = n};
    memcpy(e.text, text, n);
    return e;
}

static struct key_event sequence(const char *text) {
    return text_event(text, strlen(text));
}

static struct key_event byte_event(const struct keymap *k, char c) {
    char text[2] = {'\033', c}; // Alt is ESC before the key
    return any(k->alt) ? text_event(text, 2) : text_event(text + 1, 1);
}

// Control with a character: the codes below 32, and the keys that stand for them.
static char with_control(char c) {
    if (c >= '@' && c <= '_')
        return c & 0x1f;
    if (c >= 'a' && c <= 'z')
        return c & 0x1f;
    switch (c) {
    case ' ':
    case '2':
    case '`': return 0;
    case '3': return 27;
    case '4': return 28;
    case '5': return 29;
    case '6':
    case '~': return 30;
    case '7':
    case '/':
    case '-': return 31;
    case '8':
    case '?': return 127;
    case 127: return 8; // Control-Backspace
    default: return c;
    }
}

static struct key_event character_key(const struct keymap *k, uint8_t code) {
    char c = plain[code];
    bool letter = c >= 'a' && c <= 'z';
    if (any(k->shift) != (letter && (k->locks & LOCK_CAPS)))
        c = shifted[code];
    if (plain[code] == 0)
        return (struct key_event){KEY_NONE};
    if (any(k->control))
        c = with_control(c);
    return byte_event(k, c);
}

static struct key_event function_key(const struct keymap *k, unsigned n) {
    static const char *const normal[12] = {"\033[[A",  "\033[[B",  "\033[[C",  "\033[[D",
                                           "\033[[E",  "\033[17~", "\033[18~", "\033[19~",
                                           "\033[20~", "\033[21~", "\033[23~", "\033[24~"};
    static const char *const with_shift[8] = {"\033[25~", "\033[26~", "\033[28~", "\033[29~",
                                              "\033[31~", "\033[32~", "\033[33~", "\033[34~"};
    if (any(k->alt))
        return (struct key_event){.action = KEY_SWITCH, .number = n};
    if (any(k->shift) && n < ARRAY_SIZE(with_shift))
        return sequence(with_shift[n]);
    return sequence(normal[n]);
}

// The grey block and the keypad without Num Lock: scancodes 0x47–0x53.
static struct key_event cursor_key(const struct keymap *k, uint8_t code, bool application) {
    static const char *const keys[SC_DELETE - SC_PAD_FIRST + 1] = {
        "\033[1~", "\033[A",  "\033[5~", "-",       "\033[D",  "\033[G", "\033[C",
        "+",       "\033[4~", "\033[B",  "\033[6~", "\033[2~", "\033[3~"};
    if (code == SC_DELETE && any(k->control) && any(k->alt))
        return (struct key_event){.action = KEY_REBOOT};
    if (any(k->shift) && (code == SC_PAGE_UP || code == SC_PAGE_DOWN)) {
        int lines = code == SC_PAGE_UP ? SCROLL_LINES : -SCROLL_LINES;
        return (struct key_event){.action = KEY_SCROLL, .number = lines};
    }
    struct key_event e = sequence(keys[code - SC_PAD_FIRST]);
    bool arrow = e.length == 3 && e.text[2] >= 'A' && e.text[2] <= 'D';
    if (arrow && application)
        e.text[1] = 'O';
    return e;
}

static struct key_event pad_key(const struct keymap *k, uint8_t code, bool application) {
    static const char digits[] = "789-456+1230.";
    // Shift gives the other meaning, as on PCs.
    bool digit = ((k->locks & LOCK_NUM) != 0) != any(k->shift);
    if (digit && !any(k->control))
        return byte_event(k, digits[code - SC_PAD_FIRST]);
    return cursor_key(k, code, application);
}

static struct key_event lock_key(struct keymap *k, uint8_t lock, bool down) {
    bool toggles = down && !(k->locks_down & lock);
    k->locks_down = down ? k->locks_down | lock : k->locks_down & ~lock;
    if (!toggles)
        return (struct key_event){KEY_NONE};
    k->locks ^= lock;
    return (struct key_event){.action = KEY_LOCKS};
}

// Shift, Control, Alt: true when the key was one.
static bool modifier(struct keymap *k, uint8_t code, bool extended, bool down) {
    switch (code) {
    case SC_CONTROL: k->control[extended] = down; return true;
    case SC_ALT: k->alt[extended] = down; return true;
    case SC_SHIFT_LEFT: // extended: the shift that keyboards wrap around grey keys
        k->shift[0] = extended ? k->shift[0] : down;
        return true;
    case SC_SHIFT_RIGHT: k->shift[1] = extended ? k->shift[1] : down; return true;
    default: return false;
    }
}

static struct key_event extended_key(const struct keymap *k, uint8_t code, bool application) {
    if (code == SC_SLASH)
        return byte_event(k, '/');
    if (code == SC_ENTER)
        return byte_event(k, '\r');
    if (code >= SC_PAD_FIRST && code <= SC_DELETE && code != 0x4a && code != 0x4e && code != 0x4c)
        return cursor_key(k, code, application);
    return (struct key_event){KEY_NONE}; // Windows, Menu, multimedia
}

static struct key_event plain_key(const struct keymap *k, uint8_t code, bool application) {
    if (code < SC_CAPS)
        return character_key(k, code);
    if (code >= SC_F1 && code <= SC_F10)
        return function_key(k, code - SC_F1);
    if (code == SC_F11 || code == SC_F12)
        return function_key(k, 10 + code - SC_F11);
    if (code >= SC_PAD_FIRST && code <= SC_DELETE)
        return pad_key(k, code, application);
    if (code == SC_102ND)
        return byte_event(k, any(k->shift) ? '>' : '<');
    return (struct key_event){KEY_NONE};
}

struct key_event keymap_feed(struct keymap *k, uint8_t code, bool application_cursor) {
    const struct key_event none = {KEY_NONE};
    if (k->skip) {
        k->skip--;
        return none;
    }
    if (code == 0xe1) { // Pause: five more bytes, no release
        k->skip = 5;
        return none;
    }
    if (code == 0xe0) {
        k->extended = true;
        return none;
    }
    bool extended = k->extended, down = !(code & RELEASE);
    k->extended = false;
    code &= ~RELEASE;
    if (modifier(k, code, extended, down))
        return none;
    if (!extended && (code == SC_CAPS || code == SC_NUM || code == SC_SCROLL))
        return lock_key(k,
                        code == SC_CAPS  ? LOCK_CAPS
                        : code == SC_NUM ? LOCK_NUM
                                         : LOCK_SCROLL,
                        down);
    if (!down)
        return none;
    return extended ? extended_key(k, code, application_cursor)
                    : plain_key(k, code, application_cursor);
}
