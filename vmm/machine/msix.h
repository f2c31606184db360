// MSI-X of a PCI function (PCI Local Bus 3.0, 6.8.2): table and pending bits in a base address
// register of their own.
#pragma once
#include "vmm/machine/pci.h"

#define MSIX_MAX 16 // vectors of a function at most

struct msix {
    struct pci_function *function;
    unsigned capability; // its offset in configuration space
    unsigned count;
    uint32_t table[MSIX_MAX][4]; // address low, high; data; control
    uint32_t pending;            // a bit per vector
};

// Adds `count` vectors with their registers in bar `bar` of the function.
void msix_add(struct msix *x, struct pci_function *f, unsigned bar, unsigned count);
void msix_reset(struct msix *x);
void msix_state(struct msix *x, struct state_visitor *v);
bool msix_enabled(const struct msix *x);
// Sends the message of a vector, or keeps it pending while it is masked.
void msix_send(struct msix *x, unsigned vector);
// Sends what was pending after the guest changed configuration space: call it from after_write.
void msix_update(struct msix *x);
