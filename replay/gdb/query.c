// What is asked about us: abilities, and objects that are read in pieces.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"
#include "replay/gdb/registers.h"

void command_supported(struct debugger *d, struct scan *args) {
    // Features of the client, separated by semicolons; the parser has closed its data with a 0.
    d->swbreak = strstr(args->at, "swbreak+") != NULL;
    d->hwbreak = strstr(args->at, "hwbreak+") != NULL;
    packet_text(&d->reply,
                "PacketSize=%x;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+;"
                "qXfer:features:read+;qXfer:memory-map:read+;qXfer:threads:read+",
                PACKET_MAX);
    if (timeline_info(d->timeline)->kind == TARGET_REPLAYING)
        packet_text(&d->reply, ";ReverseStep+;ReverseContinue+");
}

void command_no_acknowledgments(struct debugger *d, struct scan *args) {
    d->acknowledge = false; // this command was acknowledged before
    debugger_ok(d);
}

// gdb found the VM running: when it leaves, it detaches.
void command_attached(struct debugger *d, struct scan *args) {
    packet_text(&d->reply, "1");
}

// Nothing is relocated, as far as we know.
void command_offsets(struct debugger *d, struct scan *args) {
    packet_text(&d->reply, "Text=0;Data=0;Bss=0");
}

void command_must_reply_empty(struct debugger *d, struct scan *args) {}

// ---- objects in pieces -----------------------------------------------------------------------------------
// gdb's map is of the addresses that it uses, linear ones: what lies behind them changes with the guest's page
// tables, and reading says where nothing is. So all of them can be memory; the second region ends at 2^64.
static size_t memory_map(struct debugger *d, char *xml, size_t n) {
    return (size_t)snprintf(
        xml, n,
        "<?xml version=\"1.0\"?>\n<memory-map>\n"
        "<memory type=\"ram\" start=\"0x0\" length=\"0x8000000000000000\"/>\n"
        "<memory type=\"ram\" start=\"0x8000000000000000\" length=\"0x8000000000000000\"/>\n"
        "</memory-map>\n");
}

static size_t description(struct debugger *d, char *xml, size_t n) {
    return registers_description(d->arch, xml, n);
}

static const struct object {
    const char *name;
    size_t (*make)(struct debugger *d, char *xml, size_t n);
} objects[] = {
    {":features:read:target.xml:", description},
    {":memory-map:read::", memory_map},
    {":threads:read::", threads_list},
};

static void transfer(struct debugger *d, const struct object *object, struct scan *args) {
    static char xml[REGISTERS_DESCRIPTION_MAX];
    uint64_t offset, length;
    if (!scan_number(args, &offset) || !scan_word(args, ",") || !scan_number(args, &length)) {
        packet_text(&d->reply, "E00");
        return;
    }
    size_t size = object->make(d, xml, sizeof(xml));
    if (offset >= size) {
        packet_text(&d->reply, "l");
        return;
    }
    size_t left = size - offset, wanted = length < left ? length : left;
    packet_text(&d->reply, "m");
    if (packet_binary(&d->reply, xml + offset, wanted) == left)
        d->reply.data[0] = 'l'; // the last piece
}

void command_transfer(struct debugger *d, struct scan *args) {
    for (unsigned i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        if (scan_word(args, objects[i].name)) {
            transfer(d, &objects[i], args);
            return;
        }
    }
    if (scan_word(args, ":features:read:"))
        packet_text(&d->reply, "E00"); // no such annex
}
