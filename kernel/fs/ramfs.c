// The RAM file system: the root, /tmp, /dev, and files without a name in shared memory.
//
// A directory keeps its entries in a tree by name and in a list by cookie. The cookie is a running
// number that an entry has for life, so a listing goes on at the right place whatever was removed
// or added meanwhile. An entry holds a reference to its inode: names in the dentry cache come and
// go, files stay.
#include <asm/statfs.h>
#include <linux/magic.h>
#include "fs/mount.h"
#include "fs/pagecache.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"

struct ram_entry {
    struct tree_node by_name;
    struct list_node by_cookie;
    uint64_t cookie;
    struct inode *inode; // reference
    size_t len;
    char name[];
};

struct ram_dir { // inode->data of a directory; covered by inode->lock
    struct tree names;
    struct list_node entries;
    uint64_t next_cookie;
    struct inode *parent; // no reference: a directory's parent outlives it
};

struct ram_super {
    uint64_t max_pages, pages, inodes; // atomic
    struct list_node doomed;           // entries of evicted directories, at unmount
    bool draining;
};

#define FIRST_COOKIE 2u // 0 and 1 are "." and ".."

static const struct inode_ops ram_ops;
static const struct file_ops ram_dir_ops, ram_file_ops;

static struct ram_super *super(const struct inode *i) {
    return i->sb->data;
}

// ---- pages -----------------------------------------------------------------------------------

static int ram_charge(struct inode *i, int64_t pages) {
    struct ram_super *s = super(i);
    uint64_t now = __atomic_add_fetch(&s->pages, pages, __ATOMIC_RELAXED);
    if (pages > 0 && now > s->max_pages) {
        __atomic_sub_fetch(&s->pages, pages, __ATOMIC_RELAXED);
        return -ENOSPC;
    }
    __atomic_fetch_add(&i->blocks, pages * (int64_t)(PAGE_SIZE / 512), __ATOMIC_RELAXED);
    return 0;
}

static const struct pagecache_ops ram_pages = {.charge = ram_charge};

// ---- inodes ----------------------------------------------------------------------------------

static struct inode *ram_new(struct superblock *sb, uint32_t mode, uint64_t rdev,
                             const char *target) {
    struct inode *i = inode_alloc(sb, superblock_new_ino(sb), mode);
    if (!i)
        return NULL;
    i->ops = &ram_ops;
    i->rdev = rdev;
    __atomic_fetch_add(&((struct ram_super *)sb->data)->inodes, 1, __ATOMIC_RELAXED);
    if (S_ISREG(mode)) {
        i->file_ops = &ram_file_ops;
        i->cache = pagecache_create(i, &ram_pages);
        if (i->cache)
            return i;
    } else if (S_ISDIR(mode)) {
        struct ram_dir *d = kzalloc(sizeof(*d));
        i->file_ops = &ram_dir_ops;
        i->data = d;
        i->nlink = 2;
        if (d) {
            list_init(&d->entries);
            d->next_cookie = FIRST_COOKIE;
            d->parent = i;
            return i;
        }
    } else if (S_ISLNK(mode)) {
        i->data = kstrdup(target);
        i->size = strlen(target);
        if (i->data)
            return i;
    } else {
        return i;
    }
    i->nlink = 0;
    inode_put(i);
    return NULL;
}

static void entry_free(struct ram_entry *e) {
    inode_put(e->inode);
    kfree(e);
}

// A directory is evicted with entries in it only when its file system is unmounted. Its entries are
// freed one after the other, not by recursion: a tree may be deeper than the kernel stack.
static void drain(struct ram_super *s, struct ram_dir *d) {
    while (!list_empty(&d->entries)) {
        struct list_node *n = d->entries.next;
        list_remove(n);
        list_add_tail(&s->doomed, n);
    }
    if (s->draining)
        return;
    s->draining = true;
    while (!list_empty(&s->doomed)) {
        struct ram_entry *e = list_first(&s->doomed, struct ram_entry, by_cookie);
        list_remove(&e->by_cookie);
        entry_free(e);
    }
    s->draining = false;
}

static void ram_evict(struct inode *i) {
    struct ram_super *s = super(i);
    __atomic_fetch_sub(&s->inodes, 1, __ATOMIC_RELAXED);
    if (S_ISDIR(i->mode) && i->data)
        drain(s, i->data);
    kfree(i->data);
}

static int ram_truncate(struct inode *i, uint64_t size) {
    if (size < i->size) {
        WRITE_ONCE(i->size, size);
        pagecache_truncate(i->cache, size);
    }
    WRITE_ONCE(i->size, size);
    return 0;
}

static ssize_t ram_readlink(struct inode *i, char *buf, size_t size) {
    size_t n = MIN(size, i->size);
    memcpy(buf, i->data, n);
    return n;
}

// ---- directories -----------------------------------------------------------------------------

static int compare(const char *a, size_t a_len, const char *b, size_t b_len) {
    int d = memcmp(a, b, MIN(a_len, b_len));
    return d ? d : a_len < b_len ? -1 : a_len > b_len;
}

static bool entry_less(const struct tree_node *a, const struct tree_node *b) {
    struct ram_entry *x = tree_entry(a, struct ram_entry, by_name);
    struct ram_entry *y = tree_entry(b, struct ram_entry, by_name);
    return compare(x->name, x->len, y->name, y->len) < 0;
}

static struct ram_entry *find(struct inode *dir, const char *name, size_t len) {
    struct ram_dir *d = dir->data;
    struct tree_node *n = d->names.root;
    while (n) {
        struct ram_entry *e = tree_entry(n, struct ram_entry, by_name);
        int c = compare(name, len, e->name, e->len);
        if (!c)
            return e;
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

static struct ram_entry *entry_new(const char *name, size_t len) {
    struct ram_entry *e = kmalloc(sizeof(*e) + len + 1);
    if (!e)
        return NULL;
    memcpy(e->name, name, len);
    e->name[len] = 0;
    e->len = len;
    return e;
}

// Puts an entry into dir; it takes over the reference to i.
static void entry_add(struct inode *dir, struct ram_entry *e, struct inode *i) {
    struct ram_dir *d = dir->data;
    e->inode = i;
    e->cookie = d->next_cookie++;
    tree_insert(&d->names, &e->by_name, entry_less);
    list_add_tail(&d->entries, &e->by_cookie);
    dir->size += 32 + e->len; // something that grows with the directory
    if (S_ISDIR(i->mode)) {
        dir->nlink++;
        ((struct ram_dir *)i->data)->parent = dir;
    }
}

static void entry_remove(struct inode *dir, struct ram_entry *e) {
    struct ram_dir *d = dir->data;
    tree_remove(&d->names, &e->by_name);
    list_remove(&e->by_cookie);
    dir->size -= 32 + e->len;
    if (S_ISDIR(e->inode->mode))
        dir->nlink--;
}

static struct inode *ram_lookup(struct inode *dir, const char *name, size_t len) {
    struct ram_entry *e = find(dir, name, len);
    if (!e)
        return ERR_PTR(-ENOENT);
    inode_get(e->inode);
    return e->inode;
}

static struct inode *ram_create(struct inode *dir, const char *name, size_t len, uint32_t mode,
                                uint64_t rdev, const char *target) {
    struct ram_entry *e = entry_new(name, len);
    struct inode *i = e ? ram_new(dir->sb, mode, rdev, target) : NULL;
    if (!i) {
        kfree(e);
        return ERR_PTR(-ENOSPC);
    }
    inode_get(i);
    entry_add(dir, e, i);
    return i;
}

static int ram_link(struct inode *dir, const char *name, size_t len, struct inode *target) {
    struct ram_entry *e = entry_new(name, len);
    if (!e)
        return -ENOSPC;
    inode_get(target);
    __atomic_fetch_add(&target->nlink, 1, __ATOMIC_RELAXED);
    inode_modified_names(target);
    entry_add(dir, e, target);
    return 0;
}

static int ram_unlink(struct inode *dir, const char *name, size_t len, struct inode *victim) {
    struct ram_entry *e = find(dir, name, len);
    if (!e)
        return -ENOENT;
    entry_remove(dir, e);
    __atomic_fetch_sub(&victim->nlink, 1, __ATOMIC_RELAXED);
    inode_modified_names(victim);
    entry_free(e);
    return 0;
}

static int ram_rmdir(struct inode *dir, const char *name, size_t len, struct inode *victim) {
    struct ram_dir *v = victim->data;
    struct ram_entry *e = find(dir, name, len);
    if (!e)
        return -ENOENT;
    if (!list_empty(&v->entries))
        return -ENOTEMPTY;
    entry_remove(dir, e);
    victim->nlink = 0;
    entry_free(e);
    return 0;
}

static int ram_rename(struct inode *old_dir, const char *old, size_t old_len, struct inode *new_dir,
                      const char *new, size_t new_len, struct inode *moved,
                      struct inode *replaced) {
    struct ram_entry *from = find(old_dir, old, old_len), *e = entry_new(new, new_len);
    int err = !e ? -ENOSPC : !from ? -ENOENT : 0;
    if (!err && replaced)
        err = S_ISDIR(replaced->mode) ? ram_rmdir(new_dir, new, new_len, replaced)
                                      : ram_unlink(new_dir, new, new_len, replaced);
    if (err) {
        kfree(e);
        return err;
    }
    entry_remove(old_dir, from);
    entry_add(new_dir, e, moved); // with the reference of the old entry
    inode_modified_names(moved);
    kfree(from);
    return 0;
}

static int ram_iterate(struct file *f, struct dir_context *c) {
    struct ram_dir *d = f->inode->data;
    struct ram_entry *e;
    if (c->pos == 0) {
        if (!c->emit(c, ".", 1, f->inode->ino, MODE_TO_DT(S_IFDIR)))
            return 0;
        c->pos = 1;
    }
    if (c->pos == 1) {
        if (!c->emit(c, "..", 2, d->parent->ino, MODE_TO_DT(S_IFDIR)))
            return 0;
        c->pos = FIRST_COOKIE;
    }
    list_for_each (e, &d->entries, by_cookie) {
        if (e->cookie < c->pos)
            continue;
        c->pos = e->cookie;
        if (!c->emit(c, e->name, e->len, e->inode->ino, MODE_TO_DT(e->inode->mode)))
            return 0;
        c->pos = e->cookie + 1;
    }
    return 0;
}

static int ram_fsync(struct file *f, bool data_only) {
    return 0;
}

static const struct inode_ops ram_ops = {
    .lookup = ram_lookup,
    .create = ram_create,
    .link = ram_link,
    .unlink = ram_unlink,
    .rmdir = ram_rmdir,
    .rename = ram_rename,
    .readlink = ram_readlink,
    .truncate = ram_truncate,
    .evict = ram_evict,
};
static const struct file_ops ram_dir_ops = {.iterate = ram_iterate, .fsync = ram_fsync};
static const struct file_ops ram_file_ops = {
    .read = pagecache_read,
    .write = pagecache_write,
    .mmap = pagecache_mmap,
    .fsync = ram_fsync,
};

// ---- the file system -------------------------------------------------------------------------

static int ram_statfs(struct superblock *sb, struct statfs *out) {
    struct ram_super *s = sb->data;
    uint64_t used = MIN(READ_ONCE(s->pages), s->max_pages);
    out->f_type = TMPFS_MAGIC;
    out->f_bsize = PAGE_SIZE;
    out->f_blocks = s->max_pages;
    out->f_bfree = out->f_bavail = s->max_pages - used;
    out->f_files = s->max_pages;
    out->f_ffree = s->max_pages - MIN(READ_ONCE(s->inodes), s->max_pages);
    return 0;
}

static void ram_unmount(struct superblock *sb) {
    kfree(sb->data);
}

static const struct superblock_ops ram_super_ops = {.statfs = ram_statfs, .unmount = ram_unmount};

// "size=N" with k, m, g or % of memory behind the number; pages. Default: half of memory.
static uint64_t parse_size(const char *options, uint64_t total) {
    const char *p = strstr(options, "size=");
    uint64_t n = 0;
    if (!p || (p != options && p[-1] != ','))
        return total / 2;
    for (p += 5; *p >= '0' && *p <= '9' && n < 1ull << 40; p++)
        n = n * 10 + (*p - '0');
    switch (*p | 0x20) {
    case 'k': n *= KIB; break;
    case 'm': n *= MIB; break;
    case 'g': n *= GIB; break;
    }
    return *p == '%' ? total * MIN(n, 100) / 100 : DIV_ROUND_UP(n, PAGE_SIZE);
}

static struct ram_super *super_new(uint64_t max_pages) {
    struct ram_super *s = kzalloc(sizeof(*s));
    if (s) {
        s->max_pages = max_pages;
        list_init(&s->doomed);
    }
    return s;
}

static int ram_mount(struct superblock *sb, const char *source, unsigned long flags,
                     const char *options) {
    struct memory_stats m;
    memory_stats(&m);
    sb->ops = &ram_super_ops;
    sb->data = super_new(parse_size(options, m.total));
    struct inode *i = sb->data ? ram_new(sb, S_IFDIR | 0755, 0, NULL) : NULL;
    sb->root = i ? dentry_alloc_root(i) : NULL;
    if (sb->root)
        return 0;
    if (i)
        inode_put(i);
    kfree(sb->data);
    return -ENOMEM;
}

struct file_system ramfs = {.name = "tmpfs", .mount = ram_mount};

// ---- files without a name --------------------------------------------------------------------

static struct superblock shmem_sb = {.inodes = LIST_INIT(shmem_sb.inodes), .ops = &ram_super_ops};

void shmem_init(void) {
    struct memory_stats m;
    memory_stats(&m);
    shmem_sb.data = super_new(m.total);
    shmem_sb.dev = DEV(0, 1023);
    ASSERT(shmem_sb.data);
}

struct file *shmem_file_create(const char *name, uint64_t size) {
    struct inode *i = ram_new(&shmem_sb, S_IFREG | 0777, 0, NULL);
    if (!i)
        return ERR_PTR(-ENOMEM);
    i->size = size;
    i->nlink = 0; // its pages go with the last reference
    struct file *f = file_alloc_inode(i, name, &ram_file_ops, O_RDWR);
    if (IS_ERR(f))
        inode_put(i);
    return f;
}
