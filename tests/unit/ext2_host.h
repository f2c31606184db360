// The ext2 code on the workstation: a disk in memory whose writes can be recorded, and as much of
// the kernel as the file system needs. Used by test_ext2*.c and fuzz_ext2.c.
#pragma once
#include "fs/ext2/ext2.h"

struct host_write { // a flush when data is NULL
    uint64_t lba;
    unsigned count;
    uint8_t *data;
};
extern struct host_disk {
    uint8_t *data;
    size_t size;
    bool recording;
    struct host_write *log;
    size_t log_count;
    size_t fail_after; // writes until the disk fails, SIZE_MAX: never
} host_disk;

// Takes a copy of an image and makes it the one disk. Call it once per mount.
void host_disk_set(const void *image, size_t size);
// Mounts it; NULL: refused.
struct superblock *host_mount(void);
void host_unmount(struct superblock *sb);
// Memory is short: clean pages leave the caches.
void host_drop_clean(void);
// Frames in use: 0 when everything was given back.
extern long host_frames;
