// virtio console (Virtual I/O Device 1.1, 5.3) with one port.
#pragma once

struct machine;
struct output;

// After pci_create(). `out` receives what the guest writes and says where input "console" comes from.
void virtio_console_create(struct machine *m, struct output *out);
