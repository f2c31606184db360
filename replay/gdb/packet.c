#include "replay/gdb/packet.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "replay/gdb/scan.h"

enum { ESCAPE = '}', ESCAPE_BIT = 0x20, INTERRUPT = 0x03 };

// ---- what arrives --------------------------------------------------------------------------------
void packet_parser_init(struct packet_parser *p) {
    p->state = PARSE_OUTSIDE;
    p->size = 0;
    p->data[0] = 0;
}

static void begin(struct packet_parser *p) {
    p->state = PARSE_CONTENTS;
    p->sum = 0;
    p->size = 0;
    p->broken = false;
}

static enum packet_event outside(struct packet_parser *p, uint8_t byte) {
    switch (byte) {
    case '$': begin(p); return PACKET_NOTHING;
    case '+': return PACKET_ACKNOWLEDGED;
    case '-': return PACKET_REFUSED;
    case INTERRUPT: return PACKET_INTERRUPT;
    default: return PACKET_NOTHING;
    }
}

static void contents(struct packet_parser *p, uint8_t byte) {
    p->sum += byte;
    if (p->state == PARSE_ESCAPED) {
        byte ^= ESCAPE_BIT;
        p->state = PARSE_CONTENTS;
    } else if (byte == ESCAPE) {
        p->state = PARSE_ESCAPED;
        return;
    }
    if (p->size < PACKET_MAX)
        p->data[p->size++] = (char)byte;
    else
        p->broken = true;
}

static void end_of_contents(struct packet_parser *p) {
    p->broken |= p->state == PARSE_ESCAPED;
    p->state = PARSE_SUM_HIGH;
    p->data[p->size] = 0;
}

static enum packet_event checksum(struct packet_parser *p, uint8_t byte) {
    int digit = scan_digit((char)byte);
    p->broken |= digit < 0;
    p->wanted = (uint8_t)(p->wanted << 4 | (digit & 15));
    if (p->state == PARSE_SUM_HIGH) {
        p->state = PARSE_SUM_LOW;
        return PACKET_NOTHING;
    }
    p->state = PARSE_OUTSIDE;
    return p->broken || p->wanted != p->sum ? PACKET_BROKEN : PACKET_COMMAND;
}

enum packet_event packet_feed(struct packet_parser *p, uint8_t byte) {
    if (p->state == PARSE_OUTSIDE)
        return outside(p, byte);
    if (byte == '$')
        begin(p); // the rest of the one before was lost
    else if (p->state == PARSE_SUM_HIGH || p->state == PARSE_SUM_LOW)
        return checksum(p, byte);
    else if (byte == '#')
        end_of_contents(p);
    else
        contents(p, byte);
    return PACKET_NOTHING;
}

// ---- what is sent --------------------------------------------------------------------------------
void packet_clear(struct packet *p) {
    p->size = 0;
    p->overflow = false;
}

void packet_text(struct packet *p, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(text) || (size_t)n > PACKET_MAX - p->size) {
        p->overflow = true;
        return;
    }
    memcpy(p->data + p->size, text, (size_t)n);
    p->size += (size_t)n;
}

void packet_hex(struct packet *p, const void *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    if (n > (PACKET_MAX - p->size) / 2) {
        p->overflow = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        p->data[p->size++] = digits[from[i] >> 4];
        p->data[p->size++] = digits[from[i] & 15];
    }
}

size_t packet_binary(struct packet *p, const void *bytes, size_t n) {
    const uint8_t *from = bytes;
    size_t i = 0;
    for (; i < n && p->size <= PACKET_MAX - 2; i++) {
        // '*' would begin a run in what we send.
        bool special = from[i] == '#' || from[i] == '$' || from[i] == ESCAPE || from[i] == '*';
        if (special)
            p->data[p->size++] = ESCAPE;
        p->data[p->size++] = (char)(special ? from[i] ^ ESCAPE_BIT : from[i]);
    }
    return i;
}

// How often the character at `at` follows upon itself, as far as one run can say it.
static size_t repeats(const struct packet *p, size_t at) {
    enum { RUN_MAX = 126 - 29 };
    size_t n = 0;
    while (n < RUN_MAX && at + n + 1 < p->size && p->data[at + n + 1] == p->data[at])
        n++;
    // The count is sent as a character; of those that say 6 and 7 packets are made ('#', '$').
    return n == 6 || n == 7 ? 5 : n;
}

size_t packet_frame(const struct packet *p, uint8_t frame[PACKET_FRAME_MAX]) {
    size_t size = 0, first = 1;
    frame[size++] = '$';
    for (size_t i = 0; i < p->size; i++) {
        size_t n = repeats(p, i);
        frame[size++] = (uint8_t)p->data[i];
        if (n >= 3) { // shorter as "*" and the count
            frame[size++] = '*';
            frame[size++] = (uint8_t)(n + 29);
            i += n;
        }
    }
    uint8_t sum = 0;
    for (size_t i = first; i < size; i++)
        sum += frame[i];
    frame[size++] = '#';
    frame[size++] = (uint8_t) "0123456789abcdef"[sum >> 4];
    frame[size++] = (uint8_t) "0123456789abcdef"[sum & 15];
    return size;
}
