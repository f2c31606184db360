// A vCPU in a small guest for unit tests of the emulator: memory and devices are arrays of the test, linear
// addresses are mapped by a list of ranges, and what the emulator did to the vCPU is recorded.
#pragma once
#include "vmm/vcpu.h"

#define GUEST_FRAMES \
    64 // pages from test_direct_map on that have frames; NULL: the fetch cache stays empty

struct guest_range {
    uint64_t linear, size, gpa;
    unsigned denied; // ACCESS_* that fault
    bool user;       // may be accessed at CPL 3
};
struct guest_memory {
    uint64_t gpa, size;
    void *data;
    bool device, read_only; // device: only through guest_mmio()
};

struct guest {
    struct vm vm;
    struct vcpu v;
    struct space space;
    struct guest_range range[8]; // none: linear addresses are physical
    struct guest_memory memory[8];
    unsigned ranges, memories;
    struct guest_watch { // a page watch: linear addresses; access 0: none
        uint64_t linear, size;
        unsigned access;
    } watch;
    // What happened.
    unsigned exceptions, reports, mmio_exits, io_exits;
    uint8_t vector;
    uint32_t error;
    bool attention; // what vcpu_attention() says
    // When set, called for KVM_EXIT_IO before completion.
    void (*on_io)(struct guest *g);
};

// A vCPU in flat 64-bit mode, CPL 0, all registers 0, nothing mapped.
void guest_init(struct guest *g);
void guest_free(struct guest *g);
struct guest_memory *guest_add_memory(struct guest *g, uint64_t gpa, void *data, uint64_t size,
                                      bool device);
void guest_map(struct guest *g, uint64_t linear, uint64_t size, uint64_t gpa);
// Flat 16- or 32-bit code and data segments, protected mode without paging; real: real mode, base 0.
void guest_set_32(struct guest *g);
void guest_set_real(struct guest *g);
// Runs a handler's result to its end: serves MMIO from device memory (0xff where there is none) and ports
// by on_io. Returns the last result.
int guest_serve(struct guest *g, int result);
// An EPT violation at a linear address, and all that follows.
int guest_mmio(struct guest *g, uint64_t linear, bool write);
