// Block devices and partitions.
#pragma once
#include "fs/pagecache.h"

struct block_device {
    char name[16];          // "hda", "hda1"
    uint64_t sectors;       // of 512 bytes
    uint64_t start;         // partition: first sector on the whole disk
    struct block_device *whole; // the disk itself: points to itself
    bool read_only;
    const struct block_ops {
        // Moves `count` sectors (1..256) at absolute `lba` to or from contiguous kernel memory in
        // the direct map. Sleeps until done. 0 or -EIO.
        int (*transfer)(struct block_device *d, bool write, uint64_t lba, unsigned count, void *buf);
        // Everything written is on the medium when it returns. 0 or -EIO.
        int (*flush)(struct block_device *d);
    } *ops;
    void *data;             // the driver's
    struct inode *inode;    // its page cache: metadata and /dev reads
    struct list_node node;
};

// Adds a disk, reads its partition table (MBR, GPT), makes the /dev nodes. The device is never
// written by this. 0 or -errno.
int block_register(struct block_device *d);
struct block_device *block_find(const char *name);
// The device behind "/dev/hda1", or NULL.
struct block_device *block_from_path(const char *path);
int block_read(struct block_device *d, uint64_t sector, unsigned count, void *buf);
int block_write(struct block_device *d, uint64_t sector, unsigned count, const void *buf);
int block_flush(struct block_device *d);
