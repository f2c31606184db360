// A virtual machine without a processor, for tests of device models: real bus, devices, virtual time and
// states; interrupts, messages, output and inputs are recorded here. What a test links from
// vmm/machine/ itself (irq.c, memory.c, ...) takes the place of the fake, since all fakes are weak.
#pragma once
#include "vmm/machine/machine.h"

#define HOST_RAM      (4u << 20)
#define HOST_HZ       1000000000ull // a tick of V is a nanosecond
#define HOST_LINES    24
#define HOST_MESSAGES 64

extern struct host {
    struct machine machine;
    bool level[HOST_LINES];     // of interrupt inputs, PCI's by irq_pci_gsi()
    unsigned edges[HOST_LINES]; // times that it rose
    unsigned messages;          // message-signalled interrupts since the start, and the last ones
    struct {
        uint64_t address;
        uint32_t data;
    } message[HOST_MESSAGES];
    char sent[4096]; // by output_write(), whatever the output
    size_t sent_size;
    char log[4096]; // last text of machine_log()
    unsigned log_count;
    unsigned timer_wanted; // times that an interrupt controller let IRQ 0 through
    uint8_t random;        // next byte of inputs_random()
} host;

// Something to pass as an output.
extern struct output *const host_output;

// A new machine with RAM and nothing else; the one before is freed, with its devices.
struct machine *host_create(void);
// Resets every device in order.
void host_reset(void);
// Lets virtual time pass and fires timers at their deadlines.
void host_advance(uint64_t ns);
// What arrives at the source of that name, as its device has room. Returns how many bytes went in.
size_t host_input(const char *source, const void *data, size_t n);

uint8_t in8(uint16_t port);
uint16_t in16(uint16_t port);
uint32_t in32(uint16_t port);
void out8(uint16_t port, uint8_t value);
void out16(uint16_t port, uint16_t value);
void out32(uint16_t port, uint32_t value);
// Configuration space of a PCI function.
uint32_t pci_config_read(unsigned slot, unsigned function, unsigned offset, unsigned width);
void pci_config_write(unsigned slot, unsigned function, unsigned offset, unsigned width,
                      uint32_t value);

// Saves, resets, loads and saves again: true if the two states are equal.
bool host_round_trip(void);
