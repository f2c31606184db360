#include "ext2_host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "cpu/clock.h"
#include "fs/lock.h"
#include "mm/heap.h"

struct host_disk host_disk = {.fail_after = SIZE_MAX};
long host_frames;

// ---- memory: pages side by side; a free page cannot be touched ----
#define FRAME_COUNT 65536u
char *test_direct_map;
struct frame *test_frame_table;
static unsigned first_free; // of a list linked through frame.index

struct frame *frame_alloc(unsigned order, unsigned flags, enum frame_kind kind) {
    if (!test_direct_map) {
        test_direct_map = mmap(NULL, FRAME_COUNT * PAGE_SIZE, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        test_frame_table = calloc(FRAME_COUNT, sizeof(struct frame));
        for (unsigned n = 0; n < FRAME_COUNT; n++)
            test_frame_table[n].index = n + 1;
    }
    ASSERT(order == 0 && first_free < FRAME_COUNT);
    struct frame *f = &test_frame_table[first_free];
    first_free = f->index;
    f->refs = 1;
    mprotect(frame_virt(f), PAGE_SIZE, PROT_READ | PROT_WRITE);
    memset(frame_virt(f), flags & FRAME_ZERO ? 0 : 0xa5, PAGE_SIZE);
    host_frames++;
    return f;
}
void frame_put(struct frame *f) {
    ASSERT(f->refs > 0);
    if (--f->refs)
        return;
    mprotect(frame_virt(f), PAGE_SIZE, PROT_NONE);
    f->index = first_free;
    first_free = f - test_frame_table;
    host_frames--;
}

__attribute__((weak)) size_t strlcpy(char *dst, const char *src, size_t size) {
    snprintf(dst, size, "%s", src);
    return strlen(src);
}

// ---- one thread ----
void mutex_init(struct mutex *m) {
    *m = (struct mutex){0};
}
void mutex_lock(struct mutex *m) {
    ASSERT(!m->owner);
    m->owner = (void *)1;
}
bool mutex_trylock(struct mutex *m) {
    if (m->owner)
        return false;
    m->owner = (void *)1;
    return true;
}
void mutex_unlock(struct mutex *m) {
    ASSERT(m->owner);
    m->owner = NULL;
}
void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible) {}
int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline) {
    abort();
}
void waitq_finish(struct waiter *w) {}
void waitq_wake(struct waitq *q, uint32_t events) {}
void cond_resched(void);
void cond_resched(void) {}
uint64_t clock_realtime(void) {
    return 1700000000 * NSEC_PER_SEC;
}
uint64_t clock_monotonic(void) {
    return 0;
}

// ---- files ----
void locks_free(struct inode *i) {}
struct pagecache {
    struct inode *inode;
    const struct pagecache_ops *ops;
    struct list_node node;
    struct frame **pages;
    bool *dirty;
    uint64_t end; // no page at or behind it
    bool writing;
};
static struct list_node caches = LIST_INIT(caches);

struct pagecache *pagecache_create(struct inode *i, const struct pagecache_ops *ops) {
    struct pagecache *c = calloc(1, sizeof(*c));
    c->inode = i;
    c->ops = ops;
    list_add_tail(&caches, &c->node);
    return c;
}
void pagecache_destroy(struct pagecache *c) {
    pagecache_truncate(c, 0);
    list_remove(&c->node);
    free(c->pages);
    free(c->dirty);
    free(c);
}
struct frame *pagecache_find(struct pagecache *c, uint64_t index) {
    if (index >= c->end || !c->pages[index])
        return NULL;
    frame_get(c->pages[index]);
    return c->pages[index];
}
int pagecache_get(struct pagecache *c, uint64_t index, struct frame **out) {
    *out = pagecache_find(c, index);
    if (*out)
        return 0;
    struct frame *f = frame_alloc(0, 0, FRAME_CACHE);
    int err = c->ops->read_page(c->inode, index, f);
    if (err) {
        frame_put(f);
        return err;
    }
    if (index >= c->end) {
        uint64_t end = index + 1 > 2 * c->end ? index + 1 : 2 * c->end;
        c->pages = realloc(c->pages, end * sizeof(*c->pages));
        c->dirty = realloc(c->dirty, end);
        memset(c->pages + c->end, 0, (end - c->end) * sizeof(*c->pages));
        memset(c->dirty + c->end, 0, end - c->end);
        c->end = end;
    }
    c->pages[index] = *out = f;
    frame_get(f);
    return 0;
}
void pagecache_dirty(struct pagecache *c, uint64_t index) {
    ASSERT(index < c->end && c->pages[index]);
    c->dirty[index] = true;
}
int pagecache_sync(struct pagecache *c) {
    int result = 0;
    ASSERT(!c->writing);
    c->writing = true;
    for (uint64_t n = 0; n < c->end; n++) {
        if (!c->dirty[n])
            continue;
        c->dirty[n] = false;
        int err = 0;
        if (n * PAGE_SIZE < c->inode->size)
            err = c->ops->write_page(c->inode, n, c->pages[n],
                                     MIN(PAGE_SIZE, c->inode->size - n * PAGE_SIZE));
        if (err)
            c->dirty[n] = true;
        result = result ? result : err;
    }
    c->writing = false;
    return result;
}
int pagecache_sync_all(void) {
    struct pagecache *c;
    int result = 0;
    list_for_each (c, &caches, node) {
        int err = pagecache_sync(c);
        result = result ? result : err;
    }
    return result;
}
void pagecache_truncate(struct pagecache *c, uint64_t size) {
    ASSERT(!c->writing);
    for (uint64_t n = DIV_ROUND_UP(size, PAGE_SIZE); n < c->end; n++)
        if (c->pages[n]) {
            frame_put(c->pages[n]);
            c->pages[n] = NULL;
            c->dirty[n] = false;
        }
    if (size % PAGE_SIZE) {
        struct frame *f;
        if (pagecache_get(c, size / PAGE_SIZE, &f) != 0)
            return;
        memset((char *)frame_virt(f) + size % PAGE_SIZE, 0, PAGE_SIZE - size % PAGE_SIZE);
        pagecache_dirty(c, size / PAGE_SIZE);
        frame_put(f);
    }
}
void host_drop_clean(void) {
    struct pagecache *c;
    list_for_each (c, &caches, node) {
        for (uint64_t n = 0; n < c->end; n++)
            if (c->pages[n] && !c->dirty[n] && c->pages[n]->refs == 1) {
                frame_put(c->pages[n]);
                c->pages[n] = NULL;
            }
    }
}
ssize_t pagecache_read(struct file *f, struct uio *u, uint64_t *pos) {
    abort();
}
int pagecache_mmap(struct file *f, struct region *r) {
    abort();
}
ssize_t uio_read_in(struct uio *u, void *buf, size_t n) {
    n = MIN(n, u->resid);
    memcpy(buf, u->vec->base, n);
    u->vec->base = (char *)u->vec->base + n;
    u->resid -= n;
    return n;
}
int dev_register(const char *name, uint32_t mode, uint64_t rdev, const struct file_ops *ops,
                 void *data) {
    return 0;
}
const struct file_ops block_file_ops;
struct dentry *dentry_alloc_root(struct inode *i) {
    struct dentry *d = calloc(1, sizeof(*d));
    d->inode = i;
    return d;
}

// ---- the disk ----
static int host_transfer(struct block_device *d, bool write, uint64_t lba, unsigned n, void *buf) {
    ASSERT((lba + n) * SECTOR_SIZE <= host_disk.size);
    uint8_t *at = host_disk.data + lba * SECTOR_SIZE;
    if (!write) {
        memcpy(buf, at, n * SECTOR_SIZE);
        return 0;
    }
    if (host_disk.fail_after != SIZE_MAX && host_disk.fail_after-- == 0) {
        host_disk.fail_after = 0;
        return -EIO;
    }
    memcpy(at, buf, n * SECTOR_SIZE);
    if (host_disk.recording) {
        struct host_write w = {lba, n, malloc(n * SECTOR_SIZE)};
        memcpy(w.data, buf, n * SECTOR_SIZE);
        host_disk.log = realloc(host_disk.log, (host_disk.log_count + 1) * sizeof(w));
        host_disk.log[host_disk.log_count++] = w;
    }
    return 0;
}
static int host_flush(struct block_device *d) {
    if (host_disk.recording) {
        host_disk.log = realloc(host_disk.log, (host_disk.log_count + 1) * sizeof(*host_disk.log));
        host_disk.log[host_disk.log_count++] = (struct host_write){0};
    }
    return 0;
}
static const struct block_ops host_ops = {host_transfer, host_flush};
static struct block_device device = {.name = "hda", .ops = &host_ops};
static bool registered;

void host_disk_set(const void *image, size_t size) {
    free(host_disk.data);
    host_disk.data = malloc(size);
    memcpy(host_disk.data, image, size);
    host_disk.size = size;
    host_disk.fail_after = SIZE_MAX;
    device.sectors = size / SECTOR_SIZE;
    if (!registered) {
        ASSERT(block_register(&device) == 0);
        registered = true;
    }
    device.inode->size = size;
}

struct superblock *host_mount(void) {
    struct superblock *sb = calloc(1, sizeof(*sb));
    list_init(&sb->inodes);
    if (ext2_file_system.mount(sb, "/dev/hda", 0, "") == 0)
        return sb;
    ASSERT(list_empty(&sb->inodes));
    free(sb);
    return NULL;
}

void host_unmount(struct superblock *sb) {
    inode_put(sb->root->inode);
    free(sb->root);
    ASSERT(list_empty(&sb->inodes));
    sb->ops->unmount(sb);
    free(sb);
}

// ---- no limits -----------------------------------------------------------------------------------
ssize_t file_size_allowed(uint64_t pos, size_t n) {
    return (ssize_t)n;
}

void pagecache_throttle(struct pagecache *c) {}
