// virtio block device (Virtual I/O Device 1.1, 5.2): a disk image with one request queue.
//
// A request is carried out on the image when the driver kicks; what was read waits in a buffer, and
// data and status reach the guest's memory a fixed time later in virtual time.
#pragma once

struct disk;
struct machine;

#define VIRTIO_BLK_LATENCY_NS 20000

// After pci_create().
void virtio_blk_create(struct machine *m, struct disk *disk);
