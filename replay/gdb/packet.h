// Packets of GDB's remote protocol: framing, checksums, escapes, run lengths. Pure: bytes in, packets out.
// Manual: "Debugging with GDB", appendix "GDB Remote Serial Protocol", "Overview" and "Packet Acknowledgment".
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX 16384 // bytes of a packet's contents, both ways; PacketSize in qSupported

// What a byte completed.
enum packet_event {
    PACKET_NOTHING,
    PACKET_COMMAND,      // `data` and `size` hold a packet's contents until the next feed
    PACKET_BROKEN,       // a packet with a wrong checksum, or too long: dropped
    PACKET_ACKNOWLEDGED, // '+'
    PACKET_REFUSED,      // '-': the last packet is wanted again
    PACKET_INTERRUPT     // ^C outside of a packet
};

struct packet_parser {
    enum { PARSE_OUTSIDE, PARSE_CONTENTS, PARSE_ESCAPED, PARSE_SUM_HIGH, PARSE_SUM_LOW } state;
    uint8_t sum, wanted; // of the contents, as it was sent
    bool broken;
    size_t size;
    char data[PACKET_MAX + 1]; // unescaped, closed by a 0; a packet may hold zeros, too
};

void packet_parser_init(struct packet_parser *p);
// Bytes outside of packets that mean nothing are skipped; a '$' always begins a new packet.
enum packet_event packet_feed(struct packet_parser *p, uint8_t byte);

// An answer as it is made up. Appending beyond PACKET_MAX sets `overflow` and changes nothing else.
struct packet {
    size_t size;
    bool overflow;
    char data[PACKET_MAX];
};
void packet_clear(struct packet *p);
void packet_text(struct packet *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Each byte as two hexadecimal digits.
void packet_hex(struct packet *p, const void *bytes, size_t n);
// Bytes as they are, those with a meaning in packets escaped. Returns how many of them fitted.
size_t packet_binary(struct packet *p, const void *bytes, size_t n);

// The longest frame: nothing in it can be compressed.
#define PACKET_FRAME_MAX (PACKET_MAX + 4)
// The bytes that travel: '$', contents with runs shortened, '#', checksum. Returns their number.
size_t packet_frame(const struct packet *p, uint8_t frame[PACKET_FRAME_MAX]);
