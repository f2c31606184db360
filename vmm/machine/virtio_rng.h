// virtio entropy device (Virtual I/O Device 1.1, 5.4).
#pragma once

struct machine;

// After pci_create().
void virtio_rng_create(struct machine *m);
