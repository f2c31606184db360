// Virtio devices with rings that no driver would make: loops, lengths and addresses of all kinds, indices that jump,
// queues that are switched on half-way.
#include "tests/guests/attack/attack.h"

#define VENDOR     0x1af4
#define STATUS     0x06 // of PCI, bit 4: capabilities
#define FIRST_CAP  0x34
#define CAP_VENDOR 9
#define RING_SIZE  16
#define RAM_END    0x4000000ull // of the smallest guest of the tests

enum { COMMON = 1, NOTIFY = 2, DEVICE = 4 }; // cfg_type, Virtio 1.0, 4.1.4

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
static struct descriptor descriptors[RING_SIZE], indirect[RING_SIZE];
static struct {
    uint16_t flags, index, ring[RING_SIZE], used_event;
} available __attribute__((aligned(4096)));
static uint8_t used[4096] __attribute__((aligned(4096)));
static uint8_t data[8192] __attribute__((aligned(4096)));

struct device {
    unsigned slot;
    uint64_t at[8]; // of its structures, by cfg_type
    uint32_t multiplier;
};

static void put(const struct device *d, unsigned offset, unsigned width, uint64_t value) {
    uint64_t at = d->at[COMMON] + offset;
    switch (width) {
    case 1: *(volatile uint8_t *)at = (uint8_t)value; break;
    case 2: *(volatile uint16_t *)at = (uint16_t)value; break;
    case 4: *(volatile uint32_t *)at = (uint32_t)value; break;
    default: *(volatile uint64_t *)at = value;
    }
}

static bool find(unsigned slot, struct device *d) {
    *d = (struct device){.slot = slot};
    if ((pci_read(slot, 0, 0) & 0xffff) != VENDOR)
        return false;
    pci_write(slot, 0, 4, 7);
    for (unsigned at = pci_read(slot, 0, FIRST_CAP) & 0xfc; at;
         at = pci_read(slot, 0, at) >> 8 & 0xfc) {
        uint32_t head = pci_read(slot, 0, at);
        unsigned type = head >> 24 & 7, bar = pci_read(slot, 0, at + 4) & 7;
        if ((head & 0xff) != CAP_VENDOR || bar > 5)
            continue;
        d->at[type] = (pci_read(slot, 0, 0x10 + 4 * bar) & ~15u) + pci_read(slot, 0, at + 8);
        if (type == NOTIFY)
            d->multiplier = pci_read(slot, 0, at + 16);
    }
    return d->at[COMMON] && d->at[NOTIFY];
}

static uint64_t any_place(void) {
    static const uint64_t places[] = {0,          RAM_END, 0xfec00000, 0xa0000, 0xfffffffffffffff0,
                                      0x100000000};
    return below(3) ? (uint64_t)data + below(sizeof(data))
                    : places[below(COUNT(places))] - below(2) * 8;
}

static void garbage_descriptor(struct descriptor *e) {
    e->address = below(6) == 0 ? (uint64_t)indirect : any_place();
    e->length = below(3) ? (uint32_t)below(64) * 16 : (uint32_t)nasty_number();
    e->flags = (uint16_t)below(8); // NEXT, WRITE, INDIRECT
    e->next = (uint16_t)(below(4) ? below(RING_SIZE) : any_number());
    if (e->flags & 2 && e->address < 0x800000 &&
        e->address >= 0x100000) // the rest of this program stays
        e->address = (uint64_t)data, e->length %= sizeof(data);
}

static void garbage_rings(void) {
    for (unsigned i = 0; i < RING_SIZE; i++) {
        garbage_descriptor(&descriptors[i]);
        garbage_descriptor(&indirect[i]);
        available.ring[i] = (uint16_t)(below(4) ? below(RING_SIZE) : any_number());
    }
    available.flags = (uint16_t)any_number();
    available.index = (uint16_t)(below(2) ? available.index + below(RING_SIZE + 2) : any_number());
    for (unsigned i = 0; i < 16; i++) // a head that a block device takes for a request
        data[i] = i < 4 ? (uint8_t)(i == 0) : 0;
}

static void set_up_queue(const struct device *d, unsigned queue) {
    put(d, 0x16, 2, queue);
    put(d, 0x18, 2, below(4) ? RING_SIZE : nasty_number());
    put(d, 0x1a, 2, nasty_number());
    put(d, 0x20, 8, below(6) ? (uint64_t)descriptors : any_place());
    put(d, 0x28, 4, below(6) ? (uint64_t)&available : any_place());
    put(d, 0x2c, 4, below(6) ? 0 : any_number());
    put(d, 0x30, 8, below(6) ? (uint64_t)used : RAM_END - below(64));
    put(d, 0x1c, 2, below(8) ? 1 : nasty_number());
}

static void kick(const struct device *d, unsigned queue) {
    *(volatile uint16_t *)(d->at[NOTIFY] +
                           queue * (uint64_t)d->multiplier % 4096) = (uint16_t)queue;
}

static void start(const struct device *d) {
    static const uint8_t states[] = {0, 1, 3, 11, 15, 0x8f};
    put(d, 0x14, 1, 0);
    for (unsigned i = 1; i < 5; i++) {
        put(d, 0x8, 4, i & 1);
        put(d, 0xc, 4, i & 1 ? 1 : below(2) ? any_number() : 0); // bit 32: VERSION_1
        put(d, 0x14, 1, below(6) ? states[i] : any_number());
    }
}

// Anything at all in the device's own registers.
static void scribble(const struct device *d) {
    for (unsigned i = 0; i < 30; i++)
        put(d, (unsigned)below(64), 1u << below(4), nasty_number());
    for (unsigned i = 0; d->at[DEVICE] && i < 10; i++)
        *(volatile uint32_t *)(d->at[DEVICE] + below(64)) = (uint32_t)any_number();
}

void attack_virtio(void) {
    unsigned found = 0;
    for (unsigned slot = 0; slot < 32; slot++) {
        struct device d;
        if (!find(slot, &d))
            continue;
        found++;
        for (unsigned round = 0; round < 40; round++) {
            start(&d);
            for (unsigned queue = 0; queue < 3; queue++)
                set_up_queue(&d, queue);
            put(&d, 0x14, 1, 15);
            for (unsigned i = 0; i < 6; i++) {
                garbage_rings();
                kick(&d, (unsigned)below(4));
            }
            if (round % 8 == 7)
                scribble(&d);
        }
        put(&d, 0x14, 1, 0);
    }
    print("%u virtio devices\n", found);
    check("there are virtio devices to attack", found > 0, 1);
}
