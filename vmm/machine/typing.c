#include "vmm/machine/typing.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPE_CHARACTER 0x1b

// Codes of set 2 (IBM Personal System/2 Hardware Interface Technical Reference, "101- and 102-Key Keyboards").
enum {
    RELEASE = 0xf0,
    EXTENDED = 0xe0, // before the codes of the grey keys
    LEFT_SHIFT = 0x12,
    CONTROL = 0x14,
    ALT = 0x11,
    ENTER = 0x5a,
    BACKSPACE = 0x66,
    TAB = 0x0d,
    ESCAPE = 0x76,
};
enum { WITH_SHIFT = 1, WITH_CONTROL = 2, WITH_ALT = 4, IS_EXTENDED = 8 };

struct key {
    uint8_t code, how; // 0: no key
};

// The keys with characters: without Shift, with it, and their codes.
static const char plain[] = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ ";
static const char shifted[] = "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>? ";
static const uint8_t codes_of[] = {
    0x0e, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, // ` to =
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5d, // q to backslash
    0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52,             // a to '
    0x1a, 0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x29};            // z to /, space
_Static_assert(sizeof(plain) == sizeof(shifted) && sizeof(plain) == sizeof(codes_of) + 1,
               "a code for each key");

static const uint8_t function_keys[12] = {0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b,
                                          0x83, 0x0a, 0x01, 0x09, 0x78, 0x07};

// ---- which key ---------------------------------------------------------------------------------
static struct key of_printable(char c) {
    const char *at = strchr(plain, c);
    if (at)
        return (struct key){codes_of[at - plain], 0};
    at = strchr(shifted, c);
    return at ? (struct key){codes_of[at - shifted], WITH_SHIFT} : (struct key){0};
}

static struct key of_character(uint8_t c) {
    switch (c) {
    case '\r':
    case '\n': return (struct key){ENTER, 0};
    case '\t': return (struct key){TAB, 0};
    case '\b':
    case 0x7f: return (struct key){BACKSPACE, 0};
    case ESCAPE_CHARACTER: return (struct key){ESCAPE, 0};
    case 0: return (struct key){of_printable(' ').code, WITH_CONTROL};
    }
    if (c >= 0x7f)
        return (struct key){0};
    if (c >= ' ')
        return of_printable((char)c);
    char letter = (char)(c < 0x1b ? c - 1 + 'a' : c + 0x40); // ^A to ^Z, ^\ to ^_
    struct key k = of_printable(letter);
    k.how |= WITH_CONTROL;
    return k;
}

static struct key of_function_key(unsigned n) { // from 1
    return n >= 1 && n <= 12 ? (struct key){function_keys[n - 1], 0} : (struct key){0};
}

static struct key of_letter(uint8_t c) { // ESC [ C and ESC O C
    static const struct {
        char letter;
        uint8_t code;
    } keys[] = {{'A', 0x75}, {'B', 0x72}, {'C', 0x74}, {'D', 0x6b}, {'H', 0x6c}, {'F', 0x69}};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].letter == (char)c)
            return (struct key){keys[i].code, IS_EXTENDED};
    return c >= 'P' && c <= 'S' ? of_function_key(c - 'P' + 1u) : (struct key){0};
}

static struct key of_number(unsigned n) { // ESC [ N ~
    static const uint8_t grey[9] = {[1] = 0x6c, [2] = 0x70, [3] = 0x71, [4] = 0x69,
                                    [5] = 0x7d, [6] = 0x7a, [7] = 0x6c, [8] = 0x69};
    if (n < sizeof(grey))
        return (struct key){grey[n], IS_EXTENDED};
    unsigned gaps = n > 22 ? 12 : n > 16 ? 11 : 10; // 11 to 15, 17 to 21, 23 and 24
    return n > 10 ? of_function_key(n - gaps) : (struct key){0};
}

// A sequence that is complete; its first byte is Escape.
static struct key of_sequence(const uint8_t *s, unsigned n) {
    uint8_t last = s[n - 1];
    if (n == 2) {
        struct key k = of_character(s[1]);
        k.how |= WITH_ALT;
        return k;
    }
    if (s[1] == '[' && s[2] == '[' && n == 4) // of the Linux console: F1 to F5
        return last >= 'A' && last <= 'E' ? of_function_key(last - 'A' + 1u) : (struct key){0};
    return last == '~' ? of_number((unsigned)atoi((const char *)s + 2)) : of_letter(last);
}

// Whether more belongs to it.
static bool goes_on(const uint8_t *s, unsigned n) {
    if (n < 2)
        return true;
    if (n == 2)
        return s[1] == '[' || s[1] == 'O';
    uint8_t last = s[n - 1];
    if (n == 3 && s[1] == '[' && last == '[')
        return true;
    return (last >= '0' && last <= '9') || last == ';';
}

// ---- its codes ---------------------------------------------------------------------------------
struct sink {
    uint8_t *codes;
    size_t used, size;
};

static void put(struct sink *to, uint8_t code) {
    to->codes[to->used++] = code;
}

static void press(struct sink *to, uint8_t code, bool extended, bool release) {
    if (extended)
        put(to, EXTENDED);
    if (release)
        put(to, RELEASE);
    put(to, code);
}

#define LONGEST 12 // codes of a key: down and up, and of three others around it
static void strike(struct sink *to, struct key k) {
    static const struct {
        uint8_t how, code;
    } around[] = {{WITH_CONTROL, CONTROL}, {WITH_ALT, ALT}, {WITH_SHIFT, LEFT_SHIFT}};
    if (!k.code || to->size - to->used < LONGEST + 2)
        return;
    for (unsigned i = 0; i < 3; i++)
        if (k.how & around[i].how)
            press(to, around[i].code, false, false);
    press(to, k.code, k.how & IS_EXTENDED, false);
    press(to, k.code, k.how & IS_EXTENDED, true);
    for (unsigned i = 3; i-- > 0;)
        if (k.how & around[i].how)
            press(to, around[i].code, false, true);
}

static void feed(struct typing *t, uint8_t c, struct sink *to) {
    if (!t->length && c != ESCAPE_CHARACTER) {
        strike(to, of_character(c));
        return;
    }
    t->sequence[t->length++] = c;
    bool room = t->length < TYPING_SEQUENCE - 1; // and a zero for atoi()
    if (room && goes_on(t->sequence, t->length))
        return;
    t->sequence[t->length] = 0;
    strike(to, of_sequence(t->sequence, t->length));
    t->length = 0;
}

size_t typing_codes(struct typing *t, const uint8_t *typed, size_t n, uint8_t *codes, size_t size) {
    struct sink to = {codes, 0, size};
    for (size_t i = 0; i < n; i++)
        feed(t, typed[i], &to);
    if (n || !t->length)
        return to.used;
    strike(&to, of_character(ESCAPE_CHARACTER));
    for (unsigned i = 1; i < t->length; i++)
        strike(&to, of_character(t->sequence[i]));
    t->length = 0;
    return to.used;
}
