// The registry of block devices, transfers with checked bounds, the page cache of a device.
#include "block/block.h"
#include "block/partition.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

#define SECTORS_PER_PAGE (PAGE_SIZE / SECTOR_SIZE)
#define TRANSFER_MAX     256u // sectors that a driver takes at once

// Devices are added at boot and never removed, so the list is read without a lock; block_lock
// covers `claimed`, `openers` and `writers` of all devices.
static struct list_node block_devices = LIST_INIT(block_devices);
static struct mutex block_lock = MUTEX_INIT(block_lock);

static int transfer(struct block_device *d, bool write, uint64_t sector, unsigned count,
                    void *buf) {
    if (sector > d->sectors || count > d->sectors - sector)
        return -EIO;
    if (write && d->read_only)
        return -EROFS;
    while (count > 0) {
        unsigned n = MIN(count, TRANSFER_MAX);
        int err = d->ops->transfer(d->whole, write, d->start + sector, n, buf);
        if (err)
            return err;
        sector += n;
        count -= n;
        buf = (char *)buf + (size_t)n * SECTOR_SIZE;
    }
    return 0;
}

int block_read(struct block_device *d, uint64_t sector, unsigned count, void *buf) {
    return transfer(d, false, sector, count, buf);
}

int block_write(struct block_device *d, uint64_t sector, unsigned count, const void *buf) {
    return transfer(d, true, sector, count, (void *)buf);
}

int block_flush(struct block_device *d) {
    return d->read_only ? 0 : d->ops->flush(d->whole);
}

// The last page of a device may be shorter than a page: the rest reads as zeroes, is not written.
static unsigned page_sectors(const struct block_device *d, uint64_t index) {
    uint64_t first = index * SECTORS_PER_PAGE;
    return first >= d->sectors ? 0 : MIN(d->sectors - first, SECTORS_PER_PAGE);
}

static int device_read_page(struct inode *i, uint64_t index, struct frame *f) {
    struct block_device *d = i->data;
    unsigned n = page_sectors(d, index);
    char *page = frame_virt(f);
    memset(page + n * SECTOR_SIZE, 0, PAGE_SIZE - n * SECTOR_SIZE);
    return n ? block_read(d, index * SECTORS_PER_PAGE, n, page) : 0;
}

static int device_write_page(struct inode *i, uint64_t index, struct frame *f, size_t bytes) {
    struct block_device *d = i->data;
    unsigned n = MIN(page_sectors(d, index), DIV_ROUND_UP(bytes, SECTOR_SIZE));
    return n ? block_write(d, index * SECTORS_PER_PAGE, n, frame_virt(f)) : 0;
}

static const struct pagecache_ops device_cache_ops = {
    .read_page = device_read_page,
    .write_page = device_write_page,
};
static const struct inode_ops device_inode_ops = {0};

// The inode that owns the device's page cache. It belongs to no file system and lives for ever.
static struct inode *create_inode(struct block_device *d) {
    struct inode *i = kzalloc(sizeof(*i));
    if (!i)
        return NULL;
    i->refs = 1;
    i->mode = S_IFBLK | 0600;
    i->nlink = 1;
    i->rdev = d->rdev;
    i->size = d->sectors * SECTOR_SIZE;
    i->ops = &device_inode_ops;
    i->file_ops = &block_file_ops;
    i->data = d;
    mutex_init(&i->lock);
    list_init(&i->sb_node);
    i->cache = pagecache_create(i, &device_cache_ops);
    if (i->cache)
        return i;
    kfree(i);
    return NULL;
}

static int add_device(struct block_device *d) {
    d->inode = create_inode(d);
    if (!d->inode)
        return -ENOMEM;
    list_add_tail(&block_devices, &d->node);
    int err = dev_register(d->name, S_IFBLK | 0660, d->rdev, &block_file_ops, d);
    if (err)
        log_warning("block: %s: no node in /dev (error %d)", d->name, -err);
    return 0;
}

static void add_partition(struct block_device *disk, const struct partition *p) {
    struct block_device *d = kzalloc(sizeof(*d));
    if (!d) {
        log_error("block: %s: out of memory, partition %u left out", disk->name, p->number);
        return;
    }
    snprintf(d->name, sizeof(d->name), "%.8s%u", disk->name, p->number);
    d->rdev = disk->rdev + p->number;
    d->sectors = p->sectors;
    d->read_only = disk->read_only;
    d->ops = disk->ops;
    d->data = disk->data;
    d->start = p->start;
    d->whole = disk;
    if (add_device(d) != 0)
        kfree(d);
    else
        log_info("block: %s: %lu MiB at sector %lu", d->name, (unsigned long)(d->sectors / 2048),
                 (unsigned long)d->start);
}

// Reads the table through a page of its own: partition_scan() keeps sectors on the stack, which is
// not in the direct map where drivers want their buffers.
static int read_sector_bounced(void *arg, uint64_t sector, void *buf) {
    void **disk_and_page = arg;
    int err = block_read(disk_and_page[0], sector, 1, disk_and_page[1]);
    if (!err)
        memcpy(buf, disk_and_page[1], SECTOR_SIZE);
    return err;
}

int block_register(struct block_device *d) {
    d->start = 0;
    d->whole = d;
    int err = add_device(d);
    if (err)
        return err;
    struct partition_table *table = kmalloc(sizeof(*table));
    void *sector = kmalloc(SECTOR_SIZE);
    if (!table || !sector) {
        kfree(table);
        kfree(sector);
        return -ENOMEM;
    }
    void *disk_and_page[2] = {d, sector};
    err = partition_scan(read_sector_bounced, disk_and_page, d->sectors, table);
    if (err)
        log_warning("block: %s: the partition table cannot be read (error %d)", d->name, -err);
    else if (table->remark)
        log_warning("block: %s: %s", d->name, table->remark);
    // Device numbers leave room for 63 partitions of a disk.
    for (unsigned n = 0; !err && n < table->count; n++)
        if (table->entries[n].number < 64)
            add_partition(d, &table->entries[n]);
    kfree(table);
    kfree(sector);
    return 0;
}

struct block_device *block_find(const char *name) {
    struct block_device *d;
    list_for_each (d, &block_devices, node) {
        if (strcmp(d->name, name) == 0)
            return d;
    }
    return NULL;
}

struct block_device *block_from_path(const char *path) {
    return strncmp(path, "/dev/", 5) == 0 ? block_find(path + 5) : NULL;
}

void block_for_each(void (*fn)(struct block_device *d, void *arg), void *arg) {
    struct block_device *d;
    list_for_each (d, &block_devices, node) {
        fn(d, arg);
    }
}

bool block_has_partitions(const struct block_device *disk) {
    struct block_device *d;
    list_for_each (d, &block_devices, node) {
        if (d->whole == disk && d != disk)
            return true;
    }
    return false;
}

// True when a write to `a` could change `b`: the same device, or disk and partition.
static bool overlap(const struct block_device *a, const struct block_device *b) {
    return a == b || (a->whole == b->whole && (a->whole == a || b->whole == b));
}

int block_claim(struct block_device *d) {
    mutex_lock(&block_lock);
    struct block_device *o;
    int err = 0;
    list_for_each (o, &block_devices, node) {
        if (overlap(d, o) && (o->claimed || o->writers))
            err = -EBUSY;
    }
    if (d->openers)
        err = -EBUSY;
    if (!err) {
        d->claimed = true;
        pagecache_truncate(d->inode->cache, 0);
    }
    mutex_unlock(&block_lock);
    return err;
}

void block_release(struct block_device *d) {
    mutex_lock(&block_lock);
    ASSERT(d->claimed);
    pagecache_truncate(d->inode->cache, 0);
    d->claimed = false;
    mutex_unlock(&block_lock);
}

int block_opened(struct block_device *d, bool write) {
    if (write && d->read_only)
        return -EROFS;
    mutex_lock(&block_lock);
    struct block_device *o;
    int err = 0;
    list_for_each (o, &block_devices, node) {
        if (write && o->claimed && overlap(d, o))
            err = -EBUSY;
    }
    if (!err) {
        d->openers++;
        d->writers += write;
    }
    mutex_unlock(&block_lock);
    return err;
}

void block_closed(struct block_device *d, bool write) {
    mutex_lock(&block_lock);
    if (write && (pagecache_sync(d->inode->cache) != 0 || block_flush(d) != 0))
        log_error("block: %s: data written to the device was lost", d->name);
    d->openers--;
    d->writers -= write;
    if (d->openers == 0 && !d->claimed)
        pagecache_truncate(d->inode->cache, 0);
    mutex_unlock(&block_lock);
}
