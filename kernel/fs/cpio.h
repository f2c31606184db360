// The "newc" format of cpio archives: how GRUB hands over the initial file system.
#pragma once
#include "lib/compiler.h"

struct cpio_entry {
    const char *name;    // terminated, without leading slashes; in the archive
    const uint8_t *data; // file content or link target, `size` bytes; in the archive
    uint64_t size;
    uint32_t ino, mode, uid, gid, nlink, mtime, rdev_major, rdev_minor;
    uint32_t dev_major, dev_minor;
};

// Reads the entry at *pos of an archive of `size` bytes and advances *pos. 1: *e is filled; 0: the
// end (trailer or nothing more); -EINVAL: not a cpio archive, or cut short.
int cpio_next(const uint8_t *archive, size_t size, size_t *pos, struct cpio_entry *e);

// Unpacks an archive into the root directory. Logs what it cannot do and goes on. Number of files
// made; *bytes: their size.
unsigned cpio_unpack(const uint8_t *archive, size_t size, uint64_t *bytes);
