/* sources: replay/gdb/packet.c replay/gdb/scan.c replay/gdb/debugger.c replay/gdb/resume.c replay/gdb/inspect.c */
/* sources: replay/gdb/points.c replay/gdb/threads.c replay/gdb/query.c replay/gdb/registers.c replay/gdb/description.c */
/* sources: replay/gdb/monitor.c replay/gdb/monitor_travel.c replay/gdb/monitor_show.c */
/* sources: tests/unit/timeline_fake.c tests/unit/gdb_client.c */
// Any bytes from a client: framed as they are, and as the contents of sound packets (a line each), in a replay and in a
// live VM. The first byte chooses.
#include <stdlib.h>
#include <string.h>
#include "tests/unit/gdb_client.h"
#include "tests/unit/timeline_fake.h"

enum { FRAMED = 1, LIVE = 2, VANISHES = 4, HASTY = 8, ARCH_SHIFT = 4 };
#define LINE 2048

static struct gdb_client client;

// Runs end soon, whatever the client does.
static bool attention(void *opaque) {
    debugger_attention(opaque);
    return true;
}

static void send_lines(const uint8_t *data, size_t size) {
    char line[LINE];
    gdb_client_send(&client, "QStartNoAckMode");
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end ? (size_t)(end - data) : size, used = n < LINE - 1 ? n : LINE - 1;
        memcpy(line, data, used);
        line[used] = 0;
        gdb_client_send(&client, line); // up to its first zero
        data += end ? n + 1 : n;
        size -= end ? n + 1 : n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    uint8_t how = data[0];
    fake_reset(how & LIVE ? TARGET_LIVE : TARGET_REPLAYING);
    gdb_client_init(&client);
    if (how & FRAMED)
        send_lines(data + 1, size - 1);
    else
        gdb_client_send_bytes(&client, data + 1, size - 1);
    client.vanishes = how & VANISHES;
    client.hold = how & HASTY ? client.end : 0;
    fake.patience = 300;
    struct debugger *d = debugger_create(NULL, (how >> ARCH_SHIFT) % 3);
    const struct debugger_channel channel = gdb_client_channel(&client);
    const struct remote_attention a = {.fd = -1, .readable = attention, .opaque = d};
    timeline_set_attention(NULL, &a);
    debugger_serve(d, &channel);
    if (fake.point_count || client.got_size > sizeof(client.got))
        abort(); // a client leaves no breakpoints behind
    debugger_free(d);
    return 0;
}
