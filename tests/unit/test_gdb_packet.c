/* sources: replay/gdb/packet.c replay/gdb/scan.c */
// Framing of GDB's remote protocol: every way in which bytes can be right or wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "replay/gdb/packet.h"
#include "replay/gdb/scan.h"

static struct packet_parser parser;

static int start(void **state) {
    packet_parser_init(&parser);
    return 0;
}

// What the last byte completed; nothing may have come before.
static enum packet_event feed(const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i + 1 < n; i++)
        assert_int_equal(packet_feed(&parser, at[i]), PACKET_NOTHING);
    return packet_feed(&parser, at[n - 1]);
}
static enum packet_event feed_text(const char *text) {
    return feed(text, strlen(text));
}

static void whole_packets(void **state) {
    assert_int_equal(feed_text("$OK#9a"), PACKET_COMMAND);
    assert_string_equal(parser.data, "OK");
    assert_int_equal(feed_text("$#00"), PACKET_COMMAND);
    assert_int_equal(parser.size, 0);
    assert_int_equal(feed_text("$OK#9A"), PACKET_COMMAND); // either case
}

static void outside_of_packets(void **state) {
    assert_int_equal(feed_text("noise+"), PACKET_ACKNOWLEDGED);
    assert_int_equal(feed_text("-"), PACKET_REFUSED);
    assert_int_equal(feed_text("\x03"), PACKET_INTERRUPT);
    assert_int_equal(feed_text("#9a$OK#9a"), PACKET_COMMAND);
}

static void wrong_checksums(void **state) {
    assert_int_equal(feed_text("$OK#9b"), PACKET_BROKEN);
    assert_int_equal(feed_text("$OK#zz"), PACKET_BROKEN);
    assert_int_equal(feed_text("$OK#9a"), PACKET_COMMAND); // and on
}

static void a_dollar_begins_anew(void **state) {
    assert_int_equal(feed_text("$lost$OK#9a"), PACKET_COMMAND);
    assert_string_equal(parser.data, "OK");
    assert_int_equal(feed_text("$lost#0$OK#9a"), PACKET_COMMAND);
    assert_int_equal(feed_text("$lost}$OK#9a"), PACKET_COMMAND);
    assert_int_equal(parser.size, 2);
}

static void escapes(void **state) {
    static const char packet[] = "$X}\x03}\x04}]}\x0a\x03#ef";
    uint8_t sum = 0;
    for (const char *c = packet + 1; *c != '#'; c++)
        sum += (uint8_t)*c;
    char text[64];
    snprintf(text, sizeof(text), "%.*s#%02x", (int)strcspn(packet, "#"), packet, sum);
    assert_int_equal(feed_text(text), PACKET_COMMAND); // ^C inside is data
    assert_int_equal(parser.size, 6);
    assert_memory_equal(parser.data, "X#$}*\x03", 6);
    assert_int_equal(feed_text("$X}#d5"), PACKET_BROKEN); // ends within an escape
}

static void too_long(void **state) {
    uint8_t sum = 0;
    packet_feed(&parser, '$');
    for (unsigned i = 0; i < PACKET_MAX; i++, sum += 'a')
        packet_feed(&parser, 'a');
    char end[4];
    snprintf(end, sizeof(end), "#%02x", sum);
    assert_int_equal(feed_text(end), PACKET_COMMAND);
    assert_int_equal(parser.size, PACKET_MAX);
    packet_feed(&parser, '$');
    for (unsigned i = 0; i < 10 * PACKET_MAX; i++)
        assert_int_equal(packet_feed(&parser, 'a'), PACKET_NOTHING);
    snprintf(end, sizeof(end), "#%02x", (uint8_t)(10 * PACKET_MAX * 'a'));
    assert_int_equal(feed_text(end), PACKET_BROKEN);
    assert_int_equal(feed_text("$OK#9a"), PACKET_COMMAND);
}

// The frame as a client reads it.
static void check_frame(const struct packet *p, const char *wanted) {
    static uint8_t frame[PACKET_FRAME_MAX];
    size_t n = packet_frame(p, frame);
    uint8_t sum = 0;
    char end[4];
    for (size_t i = 1; i < n - 3; i++)
        sum += frame[i];
    snprintf(end, sizeof(end), "#%02x", sum);
    assert_memory_equal(frame + n - 3, end, 3);
    assert_int_equal(n, strlen(wanted) + 4);
    assert_memory_equal(frame + 1, wanted, n - 4);
}

static struct packet packet;

static void runs_are_short(void **state) {
    static const struct {
        unsigned zeros;
        const char *sent;
    } runs[] = {{1, "0"},      {3, "000"}, {4, "0* "},  {6, "0*\""},  {7, "0*\"0"},
                {8, "0*\"00"}, {9, "0*%"}, {98, "0*~"}, {99, "0*~0"}, {102, "0*~0* "}};
    for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        packet_clear(&packet);
        for (unsigned k = 0; k < runs[i].zeros; k++)
            packet_text(&packet, "0");
        check_frame(&packet, runs[i].sent);
    }
}

// Decodes a frame as gdb does; returns the number of bytes.
static size_t decode(const uint8_t *frame, size_t n, char *out) {
    size_t size = 0;
    for (size_t i = 1; i < n - 3; i++) {
        if (frame[i] == '*') {
            i++;
            for (int k = frame[i] - 29; k > 0; k--, size++)
                out[size] = out[size - 1];
        } else {
            out[size++] = (char)frame[i];
        }
    }
    return size;
}

static void any_contents_come_back(void **state) {
    static uint8_t frame[PACKET_FRAME_MAX];
    static char out[PACKET_MAX];
    unsigned seed = 1;
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t bytes[300];
        size_t n = round % sizeof(bytes);
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = seed >> 30 ? bytes[i ? i - 1 : 0] : (uint8_t)(seed >> 16);
        }
        packet_clear(&packet);
        assert_int_equal(packet_binary(&packet, bytes, n), n);
        size_t size = packet_frame(&packet, frame);
        for (size_t i = 1; i < size - 3; i++)
            assert_false(frame[i] == '#' || frame[i] == '$');
        assert_int_equal(decode(frame, size, out), packet.size);
        assert_memory_equal(out, packet.data, packet.size);
        // Our own parser takes off the escapes.
        packet_feed(&parser, '$');
        uint8_t sum = 0;
        for (size_t i = 0; i < packet.size; i++, sum += (uint8_t)packet.data[i - 1])
            packet_feed(&parser, (uint8_t)packet.data[i]);
        char end[4];
        snprintf(end, sizeof(end), "#%02x", sum);
        assert_int_equal(feed_text(end), PACKET_COMMAND);
        assert_int_equal(parser.size, n);
        assert_memory_equal(parser.data, bytes, n);
    }
}

static void answers_end_at_their_limit(void **state) {
    static uint8_t bytes[PACKET_MAX];
    packet_clear(&packet);
    packet_hex(&packet, bytes, PACKET_MAX / 2);
    assert_false(packet.overflow);
    packet_text(&packet, "x");
    assert_true(packet.overflow);
    assert_int_equal(packet.size, PACKET_MAX);
    packet_clear(&packet);
    packet_text(&packet, "m");
    memset(bytes, '#', sizeof(bytes));
    size_t n = packet_binary(&packet, bytes, sizeof(bytes));
    assert_true(n >= PACKET_MAX / 2 - 2 && n < PACKET_MAX / 2);
    assert_false(packet.overflow);
}

static void numbers(void **state) {
    static const char text[] = "1f,ffffffffffffffff;10000000000000000:";
    struct scan s = {text, text + strlen(text)};
    uint64_t value;
    assert_true(scan_number(&s, &value) && value == 0x1f && scan_word(&s, ","));
    assert_true(scan_number(&s, &value) && value == UINT64_MAX && scan_word(&s, ";"));
    assert_false(scan_number(&s, &value)); // 17 digits
    assert_false(scan_number(&s, &value)); // none
    assert_false(scan_word(&s, "::"));
    assert_true(scan_word(&s, ":") && scan_end(&s));
    uint8_t bytes[4];
    static const char pairs[] = "12aBfz";
    s = (struct scan){pairs, pairs + 6};
    assert_int_equal(scan_bytes(&s, bytes, sizeof(bytes)), 2);
    assert_int_equal(bytes[1], 0xab);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(whole_packets, start),
        cmocka_unit_test_setup(outside_of_packets, start),
        cmocka_unit_test_setup(wrong_checksums, start),
        cmocka_unit_test_setup(a_dollar_begins_anew, start),
        cmocka_unit_test_setup(escapes, start),
        cmocka_unit_test_setup(too_long, start),
        cmocka_unit_test_setup(runs_are_short, start),
        cmocka_unit_test_setup(any_contents_come_back, start),
        cmocka_unit_test_setup(answers_end_at_their_limit, start),
        cmocka_unit_test_setup(numbers, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
