// Registers and memory.
#define _GNU_SOURCE // memmem()
#include <errno.h>
#include <string.h>
#include "replay/gdb/debugger_internal.h"
#include "replay/gdb/registers.h"

static struct remote *machine(struct debugger *d) {
    return timeline_machine(d->timeline);
}

static void explain(struct debugger *d, long error, const char *otherwise) {
    debugger_error(d, error == -EPERM ? debugger_past : otherwise);
}

// ---- registers -----------------------------------------------------------------------------------------
static bool read_registers(struct debugger *d, struct target_registers *r) {
    if (!remote_read_registers(machine(d), d->general_cpu, r))
        return true;
    debugger_error(d, "the registers cannot be read");
    return false;
}

static void write_registers(struct debugger *d, const struct target_registers *r) {
    int error = remote_write_registers(machine(d), d->general_cpu, r);
    if (error)
        explain(d, error, "the processor does not take these values");
    else
        debugger_ok(d);
}

void command_read_registers(struct debugger *d, struct scan *args) {
    struct target_registers r;
    uint8_t value[REGISTER_BYTES_MAX];
    if (!read_registers(d, &r))
        return;
    for (unsigned i = 0; i < registers_count(d->arch); i++) {
        registers_get(d->arch, i, &r, value);
        packet_hex(&d->reply, value, registers_size(d->arch, i));
    }
}

void command_write_registers(struct debugger *d, struct scan *args) {
    struct target_registers r;
    uint8_t value[REGISTER_BYTES_MAX];
    if (!read_registers(d, &r))
        return;
    for (unsigned i = 0; i < registers_count(d->arch); i++) {
        size_t size = registers_size(d->arch, i);
        if (scan_bytes(args, value, size) != size) {
            debugger_error(d, "these are not all registers");
            return;
        }
        registers_set(d->arch, i, &r, value);
    }
    write_registers(d, &r);
}

static bool scan_register(struct debugger *d, struct scan *args, unsigned *number) {
    uint64_t n;
    if (scan_number(args, &n) && n < registers_count(d->arch)) {
        *number = (unsigned)n;
        return true;
    }
    debugger_error(d, "there is no such register");
    return false;
}

void command_read_register(struct debugger *d, struct scan *args) {
    struct target_registers r;
    uint8_t value[REGISTER_BYTES_MAX];
    unsigned number;
    if (!scan_register(d, args, &number) || !read_registers(d, &r))
        return;
    registers_get(d->arch, number, &r, value);
    packet_hex(&d->reply, value, registers_size(d->arch, number));
}

void command_write_register(struct debugger *d, struct scan *args) {
    struct target_registers r;
    uint8_t value[REGISTER_BYTES_MAX];
    unsigned number;
    if (!scan_register(d, args, &number) || !read_registers(d, &r))
        return;
    size_t size = registers_size(d->arch, number);
    if (!scan_word(args, "=") || scan_bytes(args, value, size) != size) {
        debugger_error(d, "a value was expected");
        return;
    }
    registers_set(d->arch, number, &r, value);
    write_registers(d, &r);
}

// ---- memory --------------------------------------------------------------------------------------------
// "ADDRESS,LENGTH"
static bool scan_range(struct debugger *d, struct scan *args, uint64_t *address, uint64_t *length) {
    if (scan_number(args, address) && scan_word(args, ",") && scan_number(args, length))
        return true;
    debugger_error(d, "address and length were expected");
    return false;
}

static long read_memory(struct debugger *d, uint64_t address, void *buf, size_t n) {
    return remote_read_memory(machine(d), d->general_cpu, SPACE_LINEAR, address, buf, n);
}

void command_read_memory(struct debugger *d, struct scan *args) {
    uint8_t buf[PACKET_MAX / 2];
    uint64_t address, length;
    if (!scan_range(d, args, &address, &length))
        return;
    long n = read_memory(d, address, buf, length < sizeof(buf) ? length : sizeof(buf));
    if (n > 0)
        packet_hex(&d->reply, buf, (size_t)n);
    else if (length) // gdb knows an error here by two digits only
        packet_text(&d->reply, "E%02x", EFAULT);
}

// `sent`: bytes that the packet holds.
static void write_memory(struct debugger *d, uint64_t address, uint64_t length, const void *bytes,
                         size_t sent) {
    if (sent != length) {
        debugger_error(d, "the packet holds more or fewer bytes than it says");
        return;
    }
    long n = length ? remote_write_memory(machine(d), d->general_cpu, SPACE_LINEAR, address, bytes,
                                          sent)
                    : 0;
    if (n != (long)sent)
        explain(d, n, "there is no memory at the address");
    else
        debugger_ok(d);
}

void command_write_memory(struct debugger *d, struct scan *args) {
    uint8_t bytes[PACKET_MAX / 2];
    uint64_t address, length;
    if (!scan_range(d, args, &address, &length))
        return;
    if (!scan_word(args, ":")) {
        debugger_error(d, "bytes were expected");
        return;
    }
    write_memory(d, address, length, bytes, scan_bytes(args, bytes, sizeof(bytes)));
}

void command_write_binary(struct debugger *d, struct scan *args) {
    uint64_t address, length;
    if (!scan_range(d, args, &address, &length))
        return;
    if (!scan_word(args, ":"))
        debugger_error(d, "bytes were expected");
    else
        write_memory(d, address, length, args->at, scan_left(args));
}

// ---- search ----------------------------------------------------------------------------------------------
#define CHUNK (64 * 1024)

struct search {
    uint64_t address, left; // where the next search begins, and how far
    const char *pattern;
    size_t size;
};

enum { SEARCH_FOUND, SEARCH_NOWHERE, SEARCH_ENDS }; // ENDS: memory, or the client's patience

// Chunks overlap by all but one byte of the pattern.
static int search(struct debugger *d, struct search *s) {
    static uint8_t buf[CHUNK];
    while (s->left >= s->size) {
        size_t wanted = s->left < CHUNK ? s->left : CHUNK;
        long n = read_memory(d, s->address, buf, wanted);
        if (n < (long)s->size || debugger_attention(d))
            return SEARCH_ENDS;
        const uint8_t *found = memmem(buf, (size_t)n, s->pattern, s->size);
        if (found) {
            s->address += (uint64_t)(found - buf);
            return SEARCH_FOUND;
        }
        if ((size_t)n < wanted)
            return SEARCH_ENDS;
        size_t done = (size_t)n - s->size + 1;
        s->address += done;
        s->left -= done;
    }
    return SEARCH_NOWHERE;
}

void command_search_memory(struct debugger *d, struct scan *args) {
    struct search s;
    if (!scan_word(args, ":") || !scan_number(args, &s.address) || !scan_word(args, ";") ||
        !scan_number(args, &s.left) || !scan_word(args, ";") || scan_end(args)) {
        packet_text(&d->reply, "E%02x", EINVAL);
        return;
    }
    s.pattern = args->at;
    s.size = scan_left(args);
    d->interrupted = false;
    switch (search(d, &s)) {
    case SEARCH_FOUND: packet_text(&d->reply, "1,%llx", (unsigned long long)s.address); break;
    case SEARCH_NOWHERE: packet_text(&d->reply, "0"); break;
    default: packet_text(&d->reply, "E%02x", EFAULT);
    }
}
