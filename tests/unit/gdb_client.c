#include "tests/unit/gdb_client.h"
#include <stdio.h>
#include <string.h>

void gdb_client_init(struct gdb_client *c) {
    memset(c, 0, sizeof(*c));
}

void gdb_client_send_bytes(struct gdb_client *c, const void *bytes, size_t n) {
    if (n > sizeof(c->bytes) - c->end)
        n = sizeof(c->bytes) - c->end;
    memcpy(c->bytes + c->end, bytes, n);
    c->end += n;
}

void gdb_client_send(struct gdb_client *c, const char *packet) {
    uint8_t sum = 0;
    char end[4];
    for (const char *at = packet; *at; at++)
        sum += (uint8_t)*at;
    snprintf(end, sizeof(end), "#%02x", sum);
    gdb_client_send_bytes(c, "$", 1);
    gdb_client_send_bytes(c, packet, strlen(packet));
    gdb_client_send_bytes(c, end, 3);
}

static int get(void *opaque, bool wait) {
    struct gdb_client *c = opaque;
    size_t left = c->end - c->at;
    if (!wait && (left > c->hold || (!left && !c->vanishes)))
        return CHANNEL_NOTHING; // it waits for its answers
    if (c->at == c->end)
        return CHANNEL_GONE;
    return c->bytes[c->at++];
}

static void keep(struct gdb_client *c, char byte) {
    if (c->got_size < sizeof(c->got) - 1)
        c->got[c->got_size++] = byte;
}

// Takes frames apart as gdb does.
static void send(void *opaque, const void *bytes, size_t n) {
    struct gdb_client *c = opaque;
    const uint8_t *from = bytes;
    size_t i = 0;
    if (n && *from != '$') {
        for (; i < n; i++)
            keep(c, (char)from[i]);
        return;
    }
    for (i = 1; i < n && from[i] != '#'; i++) {
        if (from[i] != '*') {
            keep(c, (char)from[i]);
            continue;
        }
        char last = c->got[c->got_size - 1];
        for (int k = from[++i] - 29; k > 0; k--)
            keep(c, last);
    }
    keep(c, '\n');
}

struct debugger_channel gdb_client_channel(struct gdb_client *c) {
    return (struct debugger_channel){get, send, c};
}
