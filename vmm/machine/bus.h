// The one bus for ports and for device memory of a VM. Ranges may not overlap. The bus handles widths:
// a device states what it takes; wider accesses are split, narrower ones pass through, unclaimed
// addresses read as ones and swallow writes (logged once each).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct machine;
enum bus_space { BUS_PORT, BUS_MEMORY };

struct bus_range {
    enum bus_space space;
    uint64_t base, size;
    const char *name;   // for reports: "pit", "ide0 command"
    unsigned max_width; // 1, 2, 4 or 8 bytes: widest access the device wants to see; 0 means 1
    // `offset` from base, `width` in bytes. Values are zero-extended.
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned width);
    void (*write)(void *opaque, uint64_t offset, unsigned width, uint64_t value);
    void *opaque;
    struct bus_range *next;
};

// Adds a range (storage is the caller's). 0, or -EEXIST when it overlaps, with a message naming both.
int bus_add(struct machine *m, struct bus_range *r);
void bus_remove(struct machine *m, struct bus_range *r);
// Moves a range (a PCI BAR that was reprogrammed); overlapping is allowed only for BARs: the first
// registered wins, as reported once.
void bus_move(struct machine *m, struct bus_range *r, uint64_t base);
uint64_t bus_read(struct machine *m, enum bus_space s, uint64_t address, unsigned width);
void bus_write(struct machine *m, enum bus_space s, uint64_t address, unsigned width,
               uint64_t value);
