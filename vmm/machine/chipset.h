// The two PCI functions that every PC of the 440FX kind has, which guests look for: host bridge
// (slot 0) and PIIX3 ISA bridge (slot 1, function 0).
#pragma once

struct machine;

#define CHIPSET_ISA_SLOT 1 // its other functions, such as IDE, go there too

// After pci_create().
void chipset_create(struct machine *m);
