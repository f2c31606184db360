// A client of the debugger in memory: the bytes that it sends, and the packets that it gets.
#pragma once
#include "replay/gdb/debugger.h"
#include "replay/gdb/packet.h"

struct gdb_client {
    uint8_t bytes[65536]; // that it sends
    size_t at, end;
    size_t hold;     // so many of the last bytes come only while the guest runs
    bool vanishes;   // while the guest runs, when all was sent
    char got[65536]; // contents of the packets that it got, a line each; '+' and '-' as they are
    size_t got_size;
};
void gdb_client_init(struct gdb_client *c);
void gdb_client_send(struct gdb_client *c, const char *packet); // in a frame
void gdb_client_send_bytes(struct gdb_client *c, const void *bytes, size_t n);
struct debugger_channel gdb_client_channel(struct gdb_client *c);
