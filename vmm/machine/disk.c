#define _GNU_SOURCE
#include "vmm/machine/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/machine/machine.h"

#define CLUSTER 4096u
#define SECTORS (CLUSTER / SECTOR_SIZE) // of a cluster
#define LEAF    512u                    // clusters that one table of private clusters has
#define MAGIC   "chronovisor disk overlay"

struct overlay_header { // at offset 0 of an overlay file; the rest of its first cluster is zero
    char magic[24];
    uint32_t version, cluster;
    uint64_t sectors; // of the image below
};

struct disk {
    struct machine *machine;
    enum disk_mode mode;
    bool errors_end_machine;
    int fd, overlay;
    uint64_t size, sectors;            // of the image: bytes, sectors rounded up
    uint64_t bitmap_size, clusters_at; // overlay: bytes, and offset of cluster 0
    uint8_t *bitmap;                   // overlay: clusters that it has
    uint8_t ***table;                  // private: leaves of LEAF pointers to clusters
};

// ---- files -------------------------------------------------------------------------------------
// Reads n bytes; what lies behind the end of the file is zero.
static int read_all(int fd, void *buf, size_t n, uint64_t offset) {
    uint8_t *p = buf;
    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got) {
            memset(p, 0, n);
            return 0;
        }
        p += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

static int write_all(int fd, const void *buf, size_t n, uint64_t offset) {
    const uint8_t *p = buf;
    while (n) {
        ssize_t put = pwrite(fd, p, n, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put ? -errno : -EIO;
        p += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

static int failed(struct disk *d, const char *what, uint64_t sector, int error) {
    if (d->machine && d->errors_end_machine)
        machine_stop(d->machine, MACHINE_FAILED, "disk: %s at sector %lu failed: %s", what, sector,
                     strerror(-error));
    else if (d->machine)
        machine_log(d->machine, "disk: %s at sector %lu failed: %s", what, sector,
                    strerror(-error));
    return -EIO;
}

// Where it ends the machine the guest's memory does not say so either: that of a replay does not.
static int write_failed(struct disk *d, const char *what, uint64_t sector, int error) {
    error = failed(d, what, sector, error);
    return d->errors_end_machine ? 0 : error;
}

// ---- clusters of the guest's own ---------------------------------------------------------------
static bool in_overlay(const struct disk *d, uint64_t cluster) {
    return d->bitmap[cluster / 8] & 1u << cluster % 8;
}

static uint8_t *private_cluster(const struct disk *d, uint64_t cluster) {
    uint8_t **leaf = d->table[cluster / LEAF];
    return leaf ? leaf[cluster % LEAF] : NULL;
}

static int read_base(struct disk *d, void *buf, uint64_t n, uint64_t offset) {
    int error = read_all(d->fd, buf, n, offset);
    return error ? failed(d, "reading", offset / SECTOR_SIZE, error) : 0;
}

// Sectors within one cluster, from wherever they are.
static int read_cluster(struct disk *d, uint64_t sector, uint64_t n, void *buf) {
    uint64_t cluster = sector / SECTORS, offset = sector * SECTOR_SIZE;
    if (d->mode == DISK_PRIVATE) {
        const uint8_t *own = private_cluster(d, cluster);
        if (own) {
            memcpy(buf, own + offset % CLUSTER, n * SECTOR_SIZE);
            return 0;
        }
    } else if (d->mode == DISK_OVERLAY && in_overlay(d, cluster)) {
        int error = read_all(d->overlay, buf, n * SECTOR_SIZE, d->clusters_at + offset);
        return error ? failed(d, "reading the overlay", sector, error) : 0;
    }
    return read_base(d, buf, n * SECTOR_SIZE, offset);
}

static int write_private(struct disk *d, uint64_t sector, uint64_t n, const void *buf) {
    uint64_t cluster = sector / SECTORS;
    uint8_t ***leaf = &d->table[cluster / LEAF];
    if (!*leaf && !(*leaf = calloc(LEAF, sizeof(**leaf))))
        return write_failed(d, "keeping what is written", sector, -ENOMEM);
    uint8_t *own = (*leaf)[cluster % LEAF];
    if (!own) {
        own = malloc(CLUSTER);
        if (!own)
            return write_failed(d, "keeping what is written", sector, -ENOMEM);
        if (n < SECTORS && read_base(d, own, CLUSTER, cluster * CLUSTER)) {
            free(own);
            return -EIO;
        }
        (*leaf)[cluster % LEAF] = own;
    }
    memcpy(own + sector % SECTORS * SECTOR_SIZE, buf, n * SECTOR_SIZE);
    return 0;
}

// The cluster's data first, its bit afterwards: a VM that is killed leaves no cluster half made.
static int write_overlay(struct disk *d, uint64_t sector, uint64_t n, const void *buf) {
    uint64_t cluster = sector / SECTORS, at = d->clusters_at + sector * SECTOR_SIZE;
    if (in_overlay(d, cluster)) {
        int error = write_all(d->overlay, buf, n * SECTOR_SIZE, at);
        return error ? write_failed(d, "writing the overlay", sector, error) : 0;
    }
    uint8_t whole[CLUSTER];
    if (n < SECTORS && read_base(d, whole, CLUSTER, cluster * CLUSTER))
        return -EIO;
    memcpy(whole + sector % SECTORS * SECTOR_SIZE, buf, n * SECTOR_SIZE);
    int error = write_all(d->overlay, whole, CLUSTER, d->clusters_at + cluster * CLUSTER);
    uint8_t bits = d->bitmap[cluster / 8] | (uint8_t)(1u << cluster % 8);
    if (!error)
        error = write_all(d->overlay, &bits, 1, CLUSTER + cluster / 8);
    if (error)
        return write_failed(d, "writing the overlay", sector, error);
    d->bitmap[cluster / 8] = bits;
    return 0;
}

// ---- requests ----------------------------------------------------------------------------------
static bool on_disk(const struct disk *d, uint64_t sector, uint64_t count) {
    return sector <= d->sectors && count <= d->sectors - sector;
}

// How many of `count` sectors from `sector` on are in one cluster.
static uint64_t within_cluster(uint64_t sector, uint64_t count) {
    uint64_t n = SECTORS - sector % SECTORS;
    return n < count ? n : count;
}

int disk_read(struct disk *d, uint64_t sector, uint64_t count, void *buf) {
    if (!on_disk(d, sector, count))
        return -EINVAL;
    if (d->mode == DISK_WRITABLE || d->mode == DISK_READ_ONLY)
        return read_base(d, buf, count * SECTOR_SIZE, sector * SECTOR_SIZE);
    uint8_t *p = buf;
    while (count) {
        uint64_t n = within_cluster(sector, count);
        int error = read_cluster(d, sector, n, p);
        if (error)
            return error;
        p += n * SECTOR_SIZE;
        sector += n;
        count -= n;
    }
    return 0;
}

int disk_write(struct disk *d, uint64_t sector, uint64_t count, const void *buf) {
    if (d->mode == DISK_READ_ONLY)
        return -EROFS;
    if (!on_disk(d, sector, count))
        return -EINVAL;
    if (d->mode == DISK_WRITABLE) {
        int error = write_all(d->fd, buf, count * SECTOR_SIZE, sector * SECTOR_SIZE);
        return error ? write_failed(d, "writing", sector, error) : 0;
    }
    const uint8_t *p = buf;
    while (count) {
        uint64_t n = within_cluster(sector, count);
        int error = d->mode == DISK_PRIVATE ? write_private(d, sector, n, p)
                                            : write_overlay(d, sector, n, p);
        if (error)
            return error;
        p += n * SECTOR_SIZE;
        sector += n;
        count -= n;
    }
    return 0;
}

int disk_flush(struct disk *d) {
    int fd = d->mode == DISK_WRITABLE ? d->fd : d->mode == DISK_OVERLAY ? d->overlay : -1;
    return fd >= 0 && fdatasync(fd) ? write_failed(d, "flushing", 0, -errno) : 0;
}

uint64_t disk_sectors(const struct disk *d) {
    return d->sectors;
}

bool disk_read_only(const struct disk *d) {
    return d->mode == DISK_READ_ONLY;
}

// ---- opening -----------------------------------------------------------------------------------
// Many may read a file, or one may write it: another VM's guest would lose its file system. False: the file is in use.
// (Where a file system has no locks, its user must know.)
static bool lock(int fd, bool to_write) {
    return flock(fd, (to_write ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

static int open_base(struct disk *d, const struct disk_options *o, char *error, size_t size) {
    d->fd = open(o->path, (o->mode == DISK_WRITABLE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (d->fd < 0) {
        snprintf(error, size, "disk image %s: %s", o->path, strerror(errno));
        return -1;
    }
    if (!lock(d->fd, o->mode == DISK_WRITABLE)) {
        snprintf(
            error, size, "disk image %s: %s", o->path,
            o->mode == DISK_WRITABLE
                ? "it is in use already; only disks with ,overlay=FILE, ,private or ,ro can share it"
                : "another disk writes to it");
        return -1;
    }
    struct stat st;
    off_t end = fstat(d->fd, &st)     ? -1
                : S_ISREG(st.st_mode) ? st.st_size
                                      : lseek(d->fd, 0, SEEK_END);
    if (end <= 0) {
        snprintf(error, size, "disk image %s: %s", o->path,
                 end ? "its size cannot be told" : "it is empty");
        return -1;
    }
    d->size = (uint64_t)end;
    d->sectors = (d->size + SECTOR_SIZE - 1) / SECTOR_SIZE;
    if (o->mode == DISK_WRITABLE && d->size % SECTOR_SIZE) {
        snprintf(
            error, size,
            "disk image %s: its size, %lu bytes, is not a multiple of 512; it can only be used with an overlay or read-only",
            o->path, d->size);
        return -1;
    }
    return 0;
}

// What is wrong with an overlay's header, NULL: nothing.
static const char *header_fault(const struct disk *d, const struct overlay_header *h) {
    if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0)
        return "it is not an overlay (magic)";
    if (h->version != 1 || h->cluster != CLUSTER)
        return "it has another version or cluster size";
    return h->sectors == d->sectors ? NULL : "it belongs to an image of another size";
}

static int open_overlay(struct disk *d, const char *path, char *error, size_t size) {
    struct overlay_header h = {.version = 1, .cluster = CLUSTER, .sectors = d->sectors};
    memcpy(h.magic, MAGIC, sizeof(h.magic));
    const char *fault = NULL;
    struct stat st;
    int result = 0;
    uint64_t clusters = (d->sectors + SECTORS - 1) / SECTORS;
    d->bitmap_size = (clusters + 7) / 8;
    d->clusters_at = CLUSTER + (d->bitmap_size + CLUSTER - 1) / CLUSTER * CLUSTER;
    d->bitmap = calloc(1, d->bitmap_size);
    d->overlay = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (!d->bitmap)
        result = -ENOMEM;
    else if (d->overlay < 0)
        result = -errno;
    else if (!lock(d->overlay, true))
        fault = "another disk uses it; each needs one of its own";
    else if (fstat(d->overlay, &st))
        result = -errno;
    else if (!st.st_size)
        result = write_all(d->overlay, &h, sizeof(h), 0);
    else if (!(result = read_all(d->overlay, &h, sizeof(h), 0)) && !(fault = header_fault(d, &h)))
        result = read_all(d->overlay, d->bitmap, d->bitmap_size, CLUSTER);
    if (!result && !fault)
        return 0;
    snprintf(error, size, "disk overlay %s: %s", path, fault ? fault : strerror(-result));
    return -1;
}

static int open_private(struct disk *d, char *error, size_t size) {
    d->table = calloc(d->sectors / SECTORS / LEAF + 1, sizeof(*d->table));
    if (!d->table)
        snprintf(error, size, "disk: no memory for a disk of %lu sectors", d->sectors);
    return d->table ? 0 : -1;
}

struct disk *disk_open(struct machine *m, const struct disk_options *o, char *error, size_t size) {
    struct disk *d = calloc(1, sizeof(*d));
    if (!d) {
        snprintf(error, size, "disk image %s: no memory", o->path);
        return NULL;
    }
    d->machine = m;
    d->mode = o->mode;
    d->errors_end_machine = o->errors_end_machine;
    d->overlay = d->fd = -1;
    int result = open_base(d, o, error, size);
    if (!result && o->mode == DISK_OVERLAY)
        result = open_overlay(d, o->overlay, error, size);
    if (!result && o->mode == DISK_PRIVATE)
        result = open_private(d, error, size);
    if (!result)
        return d;
    disk_close(d);
    return NULL;
}

void disk_close(struct disk *d) {
    for (uint64_t i = 0; d->table && i <= d->sectors / SECTORS / LEAF; i++) {
        for (unsigned j = 0; d->table[i] && j < LEAF; j++)
            free(d->table[i][j]);
        free(d->table[i]);
    }
    free(d->table);
    free(d->bitmap);
    if (d->overlay >= 0)
        close(d->overlay);
    if (d->fd >= 0)
        close(d->fd);
    free(d);
}
