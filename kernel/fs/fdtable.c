// Descriptor tables. The threads of a process share one (CLONE_FILES); fork copies it.
#include "fs/fdtable.h"
#include "fs/inode.h"
#include "fs/lock.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "sync/spinlock.h"

#define MAX_SIZE 65536u // descriptors per table, whatever RLIMIT_NOFILE says

static bool bit(const uint64_t *bits, unsigned n) {
    return bits[n / 64] >> n % 64 & 1;
}
static void set_bit(uint64_t *bits, unsigned n) {
    bits[n / 64] |= BIT(n % 64);
}
static void clear_bit(uint64_t *bits, unsigned n) {
    bits[n / 64] &= ~BIT(n % 64);
}

struct file_table *files_create(void) {
    struct file_table *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    t->refs = 1;
    t->size = FIRST_SIZE;
    t->files = t->first_files;
    t->used = t->first_used;
    t->cloexec = t->first_cloexec;
    return t;
}

bool files_private(const struct file_table *t) {
    return t && READ_ONCE(t->refs) == 1;
}

struct file_table *files_share(struct file_table *t) {
    __atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

// Makes room for descriptor `fd`. Allocates with the lock held, which the heap allows. 0 or -ENOMEM.
static int grow(struct file_table *t, unsigned fd) {
    unsigned size = t->size;
    while (size <= fd)
        size *= 2;
    size_t words = size / 64;
    struct file **files = kzalloc(size * sizeof(*files) + 2 * words * sizeof(uint64_t));
    if (!files)
        return -ENOMEM;
    uint64_t *used = (uint64_t *)(files + size), *cloexec = used + words;
    memcpy(files, t->files, t->size * sizeof(*files));
    memcpy(used, t->used, t->size / 8);
    memcpy(cloexec, t->cloexec, t->size / 8);
    if (t->files != t->first_files)
        kfree(t->files);
    t->files = files;
    t->used = used;
    t->cloexec = cloexec;
    t->size = size;
    return 0;
}

struct file_table *files_copy(struct file_table *from) {
    struct file_table *t = files_create();
    if (!t)
        return NULL;
    spin_lock(&from->lock);
    if (from->size > t->size && grow(t, from->size - 1)) {
        spin_unlock(&from->lock);
        files_put(t);
        return NULL;
    }
    for (unsigned word = 0; word < from->size / 64; word++) {
        for (uint64_t left = from->used[word]; left; left &= left - 1) {
            unsigned fd = word * 64 + __builtin_ctzll(left);
            if (!from->files[fd])
                continue; // reserved by another thread: not ours
            t->files[fd] = file_get(from->files[fd]);
            set_bit(t->used, fd);
        }
        t->cloexec[word] = from->cloexec[word] & t->used[word];
    }
    spin_unlock(&from->lock);
    return t;
}

void files_put(struct file_table *t) {
    if (__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (unsigned fd = 0; fd < t->size; fd++) {
        struct file *f = t->files[fd];
        if (!f)
            continue;
        if (f->ops->flush)
            f->ops->flush(f);
        locks_release_owner(f->inode, t);
        file_put(f);
    }
    if (t->files != t->first_files)
        kfree(t->files);
    kfree(t);
}

// Marks the lowest free descriptor >= min as used. fd, -EMFILE, -EINVAL or -ENOMEM. Lock held.
static int reserve_locked(struct file_table *t, unsigned min, bool cloexec) {
    uint64_t limit = MIN(current_file_limit(), MAX_SIZE);
    unsigned fd = MAX(min, t->first_free);
    while (fd < t->size) {
        uint64_t free = ~t->used[fd / 64] & (~0ull << fd % 64);
        if (free) {
            fd = ROUND_DOWN(fd, 64) + __builtin_ctzll(free);
            break;
        }
        fd = ROUND_DOWN(fd, 64) + 64;
    }
    if (fd >= limit)
        return -EMFILE;
    if (fd >= t->size && grow(t, fd))
        return -ENOMEM;
    set_bit(t->used, fd);
    if (cloexec)
        set_bit(t->cloexec, fd);
    else
        clear_bit(t->cloexec, fd);
    if (min <= t->first_free)
        t->first_free = fd + 1;
    return fd;
}

static void release_locked(struct file_table *t, unsigned fd) {
    t->files[fd] = NULL;
    clear_bit(t->used, fd);
    clear_bit(t->cloexec, fd);
    t->first_free = MIN(t->first_free, fd);
}

int fd_reserve(int min, bool cloexec) {
    struct file_table *t = current_files();
    spin_lock(&t->lock);
    int fd = reserve_locked(t, min, cloexec);
    spin_unlock(&t->lock);
    return fd;
}

void fd_fill(int fd, struct file *f) {
    struct file_table *t = current_files();
    spin_lock(&t->lock);
    ASSERT(bit(t->used, fd) && !t->files[fd]);
    t->files[fd] = f;
    spin_unlock(&t->lock);
}

void fd_unreserve(int fd) {
    struct file_table *t = current_files();
    spin_lock(&t->lock);
    release_locked(t, fd);
    spin_unlock(&t->lock);
}

int fd_install(struct file *f, int min, bool cloexec) {
    struct file_table *t = current_files();
    spin_lock(&t->lock);
    int fd = reserve_locked(t, min, cloexec);
    if (fd >= 0)
        t->files[fd] = f;
    spin_unlock(&t->lock);
    if (fd < 0)
        file_put(f);
    return fd;
}

int fd_install_at(struct file *f, int fd, bool cloexec) {
    struct file_table *t = current_files();
    struct file *old = NULL;
    int err = 0;
    if (fd < 0 || (unsigned)fd >= MIN(current_file_limit(), MAX_SIZE)) {
        file_put(f);
        return -EBADF;
    }
    spin_lock(&t->lock);
    if ((unsigned)fd >= t->size)
        err = grow(t, fd);
    if (!err && bit(t->used, fd) && !t->files[fd])
        err = -EBUSY; // another thread is opening it
    if (!err) {
        old = t->files[fd];
        t->files[fd] = f;
        set_bit(t->used, fd);
        if (cloexec)
            set_bit(t->cloexec, fd);
        else
            clear_bit(t->cloexec, fd);
    }
    spin_unlock(&t->lock);
    if (err)
        file_put(f);
    if (old) {
        if (old->ops->flush)
            old->ops->flush(old);
        locks_release_owner(old->inode, t);
        file_put(old);
    }
    return err ? err : fd;
}

static inline struct file *get_from(struct file_table *t, int fd) {
    struct file *f = (unsigned)fd < t->size ? t->files[fd] : NULL;
    return f ? file_get(f) : NULL;
}

static noinline struct file *get_locked(struct file_table *t, int fd) {
    spin_lock(&t->lock);
    struct file *f = get_from(t, fd);
    spin_unlock(&t->lock);
    return f;
}

struct file *fd_get(int fd) {
    struct file_table *t = current_files();
    // Nobody else can change a private table while its only user is in here.
    return likely(READ_ONCE(t->refs) == 1) ? get_from(t, fd) : get_locked(t, fd);
}

struct file *fd_remove(int fd) {
    struct file_table *t = current_files();
    struct file *f = NULL;
    spin_lock(&t->lock);
    if ((unsigned)fd < t->size && (f = t->files[fd]))
        release_locked(t, fd);
    spin_unlock(&t->lock);
    return f;
}

int fd_close(int fd) {
    struct file *f = fd_remove(fd);
    if (!f)
        return -EBADF;
    if (f->ops->flush)
        f->ops->flush(f);
    locks_release_owner(f->inode, current_files());
    file_put(f);
    return 0;
}

int fd_cloexec(int fd, int set) {
    struct file_table *t = current_files();
    int old = -EBADF;
    spin_lock(&t->lock);
    if ((unsigned)fd < t->size && t->files[fd]) {
        old = bit(t->cloexec, fd);
        if (set == 1)
            set_bit(t->cloexec, fd);
        else if (set == 0)
            clear_bit(t->cloexec, fd);
    }
    spin_unlock(&t->lock);
    return old;
}

void fd_range(unsigned first, unsigned last, bool mark_cloexec) {
    struct file_table *t = current_files();
    for (unsigned fd = first; fd <= last && fd < READ_ONCE(t->size); fd++) {
        if (mark_cloexec)
            fd_cloexec(fd, 1);
        else
            fd_close(fd);
    }
}

void files_close_on_exec(struct file_table *t) {
    for (unsigned word = 0; word < t->size / 64; word++)
        while (t->cloexec[word])
            if (fd_close(word * 64 + __builtin_ctzll(t->cloexec[word])))
                break;
}

struct file *files_next(struct file_table *t, int *fd) {
    struct file *f = NULL;
    spin_lock(&t->lock);
    for (; (unsigned)*fd < t->size; ++*fd) {
        f = t->files[*fd];
        if (f) {
            file_get(f);
            break;
        }
    }
    spin_unlock(&t->lock);
    return f;
}
