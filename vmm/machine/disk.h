// A disk image as block devices use it. The only device file that calls the system, and only when the
// guest starts a request: what is read is a function of the image and of what the guest wrote before.
//
// An image is not written unless DISK_WRITABLE asks for it. Otherwise writes go to clusters of their own,
// in memory or in an overlay file, which is sparse: header, one bit per cluster, then the clusters at
// their place in the disk.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct machine;

#define SECTOR_SIZE 512

enum disk_mode {
    DISK_PRIVATE,   // writes stay in memory and end with the VM
    DISK_OVERLAY,   // writes go to the overlay file, which is made if it is not there
    DISK_WRITABLE,  // writes go to the image itself
    DISK_READ_ONLY, // the guest sees a read-only disk
};
struct disk_options {
    const char *path;    // of the image: a file or a block device
    const char *overlay; // DISK_OVERLAY
    enum disk_mode mode;
    // An error of the host ends the machine and is not the guest's: recording and replay would see different ones.
    bool errors_end_machine;
};

// Opens a disk. NULL with a sentence in `error`, also when another VM, or another disk of this one, has what is to be
// written. Messages about failing I/O go to m's log; m may be NULL.
struct disk *disk_open(struct machine *m, const struct disk_options *options, char *error,
                       size_t size);
void disk_close(struct disk *d);
uint64_t disk_sectors(const struct disk *d); // at least 1
bool disk_read_only(const struct disk *d);
// Moves whole sectors; a last sector that the image fills in part reads zeroes behind it. 0, or
// -EINVAL: not all on the disk, -EROFS, -EIO after a message. (A write that ends the machine is no error.)
int disk_read(struct disk *d, uint64_t sector, uint64_t count, void *buf);
int disk_write(struct disk *d, uint64_t sector, uint64_t count, const void *buf);
// Everything written before survives the end of the host. 0 or -EIO.
int disk_flush(struct disk *d);
