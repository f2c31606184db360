// Block devices and partitions.
//
// A disk driver fills a struct block_device and calls block_register(), which finds the partitions
// and makes the /dev nodes. Every device and partition has a page cache of its own: reads and
// writes of /dev/hda1 and a file system's metadata go through that of hda1. The caches of a disk
// and of its partitions do not know of each other; they are dropped at the last close and at
// mounting, so a disk that is written as a whole and then mounted shows what was written.
#pragma once
#include "fs/pagecache.h"

#define SECTOR_SIZE 512u

struct block_device {
    // Set by the driver.
    char name[16];    // "hda", "hda1"
    uint64_t rdev;    // device number; partition n gets rdev + n
    uint64_t sectors; // of 512 bytes
    bool read_only;
    const struct block_ops {
        // Moves `count` sectors (1..256) at absolute `lba` to or from contiguous kernel memory in
        // the direct map. Sleeps until done. 0 or -EIO.
        int (*transfer)(struct block_device *d, bool write, uint64_t lba, unsigned count,
                        void *buf);
        // Everything written is on the medium when it returns. 0 or -EIO.
        int (*flush)(struct block_device *d);
    } * ops;
    void *data; // the driver's
    // Set by block_register(), then fixed.
    uint64_t start;             // partition: first sector on the whole disk
    struct block_device *whole; // the disk itself: points to itself
    struct inode *inode;        // its page cache: metadata and /dev reads
    struct list_node node;
    // Covered by block_lock (block/block.c).
    bool claimed;              // mounted: nobody else may write
    unsigned openers, writers; // open files of /dev/NAME, those that may write among them
};

// Adds a disk, reads its partition table (MBR, GPT), makes the /dev nodes. The device is never
// written by this. `d` stays in use for ever. 0 or -errno. Boot only.
int block_register(struct block_device *d);
struct block_device *block_find(const char *name);
// The device behind "/dev/hda1", or NULL.
struct block_device *block_from_path(const char *path);
// Calls fn for every disk and partition in the order of registration. Boot, or nothing that sleeps
// for long.
void block_for_each(void (*fn)(struct block_device *d, void *arg), void *arg);
// True when the disk carries partitions.
bool block_has_partitions(const struct block_device *d);

// Moves sectors of the device itself, past its page cache; any count, buf in the direct map. The
// range is checked. May sleep. 0, -EIO (also: beyond the end), -EROFS.
int block_read(struct block_device *d, uint64_t sector, unsigned count, void *buf);
int block_write(struct block_device *d, uint64_t sector, unsigned count, const void *buf);
// What was written before is on the medium when it returns. 0 or -EIO.
int block_flush(struct block_device *d);

// Takes the device for a mount: nobody else may write it, or the disk it is on, or a partition on
// it, and its page cache starts empty and is the mounter's alone (who reads /dev/NAME meanwhile gets
// what is on the disk). 0, or -EBUSY (mounted, open, or the disk or a partition open for writing).
int block_claim(struct block_device *d);
void block_release(struct block_device *d);

// File operations of the /dev nodes (block/device_file.c).
extern const struct file_ops block_file_ops;
// Counts an open file; `write`: it may write. 0, -EBUSY, -EROFS.
int block_opened(struct block_device *d, bool write);
// The last close drops the page cache (after writing it back) unless the device is mounted.
void block_closed(struct block_device *d, bool write);
