#include "vmm/machine/bus.h"
#include <errno.h>
#include <stddef.h>
#include "vmm/machine/machine.h"

static const char *const space_names[] = {[BUS_PORT] = "port", [BUS_MEMORY] = "memory"};

static bool contains(const struct bus_range *r, uint64_t address) {
    return address >= r->base && address - r->base < r->size;
}

static bool overlap(const struct bus_range *a, const struct bus_range *b) {
    return contains(a, b->base) || contains(b, a->base);
}

// The list is sorted by base; at equal or overlapping addresses the first registered comes first.
static void insert(struct machine *m, struct bus_range *r) {
    struct bus_range **at = &m->ranges[r->space];
    while (*at && (*at)->base <= r->base)
        at = &(*at)->next;
    r->next = *at;
    *at = r;
}

int bus_add(struct machine *m, struct bus_range *r) {
    if (!r->max_width)
        r->max_width = 1;
    for (struct bus_range *o = m->ranges[r->space]; o; o = o->next) {
        if (overlap(o, r)) {
            machine_log(m, "%s range 0x%lx..0x%lx of %s overlaps %s at 0x%lx",
                        space_names[r->space], r->base, r->base + r->size - 1, r->name, o->name,
                        o->base);
            return -EEXIST;
        }
    }
    insert(m, r);
    return 0;
}

void bus_remove(struct machine *m, struct bus_range *r) {
    struct bus_range **at = &m->ranges[r->space];
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    r->next = NULL;
}

void bus_move(struct machine *m, struct bus_range *r, uint64_t base) {
    bus_remove(m, r);
    r->base = base;
    insert(m, r);
    for (struct bus_range *o = m->ranges[r->space]; o; o = o->next)
        if (o != r && overlap(o, r))
            machine_trace(m, "%s range of %s moved onto %s at 0x%lx", space_names[r->space],
                          r->name, o->name, base);
}

static struct bus_range *find(struct machine *m, enum bus_space s, uint64_t address) {
    for (struct bus_range *r = m->ranges[s]; r && r->base <= address; r = r->next)
        if (contains(r, address))
            return r;
    return NULL;
}

// Each unclaimed place is reported once: ports exactly, memory by page, the first few pages.
static void unclaimed(struct machine *m, enum bus_space s, uint64_t address, bool write) {
    uint64_t key = s == BUS_PORT ? address : address >> 12;
    for (unsigned i = 0; i < m->unclaimed_count[s]; i++)
        if (m->unclaimed[s][i] == key)
            return;
    if (m->unclaimed_count[s] == MACHINE_UNCLAIMED)
        return;
    m->unclaimed[s][m->unclaimed_count[s]++] = key;
    machine_trace(m, "%s 0x%lx: no device (%s)", space_names[s], address, write ? "write" : "read");
}

// The largest piece of an access at `address` that the range there takes whole. *r: NULL, unclaimed.
static unsigned piece(struct machine *m, enum bus_space s, uint64_t address, unsigned width,
                      struct bus_range **r) {
    *r = find(m, s, address);
    unsigned w = 1;
    while (w * 2 <= width && *r && w * 2 <= (*r)->max_width &&
           address + w * 2 - (*r)->base <= (*r)->size)
        w *= 2;
    return w;
}

static uint64_t mask(unsigned width) {
    return width >= 8 ? UINT64_MAX : (1ull << width * 8) - 1;
}

// Nearly every access is to one range, which takes it as it is.
static bool takes_whole(const struct bus_range *r, uint64_t address, unsigned width) {
    return r && width <= r->max_width && address + width - r->base <= r->size;
}

uint64_t bus_read(struct machine *m, enum bus_space s, uint64_t address, unsigned width) {
    struct bus_range *whole = find(m, s, address);
    if (takes_whole(whole, address, width) && whole->read)
        return whole->read(whole->opaque, address - whole->base, width) & mask(width);
    uint64_t value = 0;
    for (unsigned done = 0; done < width;) {
        struct bus_range *r;
        unsigned w = piece(m, s, address + done, width - done, &r);
        uint64_t part = UINT64_MAX;
        if (r)
            part = r->read ? r->read(r->opaque, address + done - r->base, w) : UINT64_MAX;
        else if (!done)
            unclaimed(m, s, address, false);
        value |= (part & mask(w)) << done * 8;
        done += w;
    }
    return value;
}

void bus_write(struct machine *m, enum bus_space s, uint64_t address, unsigned width,
               uint64_t value) {
    struct bus_range *whole = find(m, s, address);
    if (takes_whole(whole, address, width) && whole->write) {
        whole->write(whole->opaque, address - whole->base, width, value & mask(width));
        return;
    }
    for (unsigned done = 0; done < width;) {
        struct bus_range *r;
        unsigned w = piece(m, s, address + done, width - done, &r);
        if (r && r->write)
            r->write(r->opaque, address + done - r->base, w, value >> done * 8 & mask(w));
        else if (!r && !done)
            unclaimed(m, s, address, true);
        done += w;
    }
}
