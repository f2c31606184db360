#include "fs_host.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cpu/clock.h"
#include "fs/context.h"
#include "fs/devfs.h"
#include "fs/memdev.h"
#include "fs/mount.h"
#include "fs/pagecache_internal.h"
#include "fs/procfs.h"
#include "ipc/ipc.h"
#include "mm/rmap.h"
#include "mm/uaccess.h"

// ---- memory: pages in one block, each owned by the C library's rules as far as refs go ----------
#define HOST_FRAMES 8192u
static char pages[HOST_FRAMES * PAGE_SIZE] __attribute__((aligned(4096)));
static struct frame frames[HOST_FRAMES];
static unsigned free_list[HOST_FRAMES], free_count, next_frame;
char *test_direct_map = pages;
long host_frames;

struct frame *frame_alloc(unsigned order, unsigned flags, enum frame_kind kind) {
    if (!free_count && next_frame == HOST_FRAMES)
        return NULL;
    struct frame *f = &frames[free_count ? free_list[--free_count] : next_frame++];
    memset(f, 0, sizeof(*f));
    f->refs = 1;
    f->kind = kind;
    memset(pages + (f - frames) * PAGE_SIZE, flags & FRAME_ZERO ? 0 : 0xa5, PAGE_SIZE);
    host_frames++;
    return f;
}
void frame_put(struct frame *f) {
    ASSERT(f->refs > 0);
    if (--f->refs)
        return;
    free_list[free_count++] = f - frames;
    host_frames--;
}
struct frame *test_frame_table = frames;
void memory_stats(struct memory_stats *s) {
    *s = (struct memory_stats){.total = HOST_FRAMES, .free = HOST_FRAMES - host_frames};
}
bool rmap_mapped(const struct frame *f) {
    return false;
}
bool rmap_unmap_all(struct frame *f) {
    return true;
}
bool rmap_write_protect(struct frame *f) {
    return true;
}

// ---- user memory is our own; NULL is a bad pointer ----------------------------------------------
int copy_from_user(void *dst, const void *src, size_t n) {
    return src ? (memcpy(dst, src, n), 0) : -EFAULT;
}
int copy_to_user(void *dst, const void *src, size_t n) {
    return dst ? (memcpy(dst, src, n), 0) : -EFAULT;
}
int clear_user(void *dst, size_t n) {
    return dst ? (memset(dst, 0, n), 0) : -EFAULT;
}
long strncpy_from_user(char *dst, const char *src, size_t size) {
    return snprintf(dst, size, "%s", src);
}

// ---- one thread ---------------------------------------------------------------------------------
void mutex_init(struct mutex *m) {
    *m = (struct mutex){0};
}
void mutex_lock(struct mutex *m) {
    ASSERT(!m->owner);
    m->owner = (void *)1;
}
void mutex_unlock(struct mutex *m) {
    ASSERT(m->owner);
    m->owner = NULL;
}
void waitq_init(struct waitq *q) {}
void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible) {}
int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline) {
    return -ERESTARTSYS; // nobody else could end the wait: as if a signal came
}
void waitq_finish(struct waiter *w) {}
void waitq_wake(struct waitq *q, uint32_t events) {}
void cond_resched(void) {}
int world_sleep_until(uint64_t ns) {
    return 0;
}
struct world *world_create_kernel(const char *name, void (*fn)(void *arg), void *arg) {
    return (void *)1;
}
static uint64_t now = 1700000000 * NSEC_PER_SEC;
uint64_t clock_realtime(void) {
    return ++now;
}
uint64_t clock_monotonic(void) {
    return now;
}

// ---- the calling process --------------------------------------------------------------------------
void *host_owner = (void *)0x1000;
struct fs_context *current_fs(void) {
    return NULL;
}
struct file_table *current_files(void) {
    return host_owner;
}
uint64_t current_file_limit(void) {
    return 64;
}
int current_pid(void) {
    return (long)host_owner >> 12;
}
struct file *fd_get(int fd) {
    return NULL;
}
bool files_private(const struct file_table *t) {
    return false;
}

// ---- other parts ----------------------------------------------------------------------------------
struct device *device_find(bool block, uint64_t rdev) {
    return NULL;
}
void device_put(struct device *d) {}
const struct file_ops fifo_file_ops;
void epoll_file_closed(struct file *f) {}
void loadavg_sample(void) {}
void text_printf(struct textbuf *b, const char *fmt, ...) {}
int scnprintf(char *buf, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n < (int)size ? n : (int)size - 1;
}
size_t strlcpy(char *dst, const char *src, size_t size) {
    snprintf(dst, size, "%s", src);
    return strlen(src);
}

void host_boot(void) {
    static bool done;
    if (done)
        return;
    done = true;
    file_system_register(&ramfs);
    shmem_init();
    mount_root(&ramfs);
}

// ---- no limits -----------------------------------------------------------------------------------
ssize_t file_size_allowed(uint64_t pos, size_t n) {
    return (ssize_t)n;
}
