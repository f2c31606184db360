// Which file systems there are, and which is mounted where.
#include "fs/mount.h"
#include <linux/mount.h>
#include "fs/context.h"
#include "fs/dentry.h"
#include "fs/pagecache.h"
#include "fs/procfs.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"

static struct list_node file_systems = LIST_INIT(file_systems); // changes only at boot
static struct list_node mounts = LIST_INIT(mounts);             // dentry_lock
static struct mutex mount_lock = MUTEX_INIT(mount_lock);        // one mount or unmount at a time
static uint64_t last_dev;

struct superblock anon_superblock = {.inodes = LIST_INIT(anon_superblock.inodes)};

uint64_t superblock_new_ino(struct superblock *sb) {
    return __atomic_add_fetch(&sb->next_ino, 1, __ATOMIC_RELAXED);
}

void file_system_register(struct file_system *fs) {
    list_add_tail(&file_systems, &fs->node);
}

static struct file_system *find_type(const char *name) {
    struct file_system *fs;
    list_for_each (fs, &file_systems, node) {
        if (!strcmp(fs->name, name))
            return fs;
    }
    return NULL;
}

// Makes the superblock and the mount, not yet in the tree. ERR_PTR.
static struct mount *mount_create(struct file_system *fs, const char *source, unsigned long flags,
                                  const char *options) {
    struct superblock *sb = kzalloc(sizeof(*sb));
    struct mount *m = kzalloc(sizeof(*m));
    int err = -ENOMEM;
    if (!sb || !m)
        goto fail;
    sb->fs = fs;
    list_init(&sb->inodes);
    strlcpy(sb->source, source && *source ? source : fs->name, sizeof(sb->source));
    sb->dev = DEV(0, __atomic_add_fetch(&last_dev, 1, __ATOMIC_RELAXED));
    sb->read_only = flags & MS_RDONLY;
    err = fs->mount(sb, source, flags, options ? options : "");
    if (err)
        goto fail;
    m->sb = sb;
    m->root = sb->root;
    m->root->mount = m;
    list_init(&m->node);
    return m;
fail:
    kfree(sb);
    kfree(m);
    return ERR_PTR(err);
}

void mount_root(struct file_system *fs) {
    struct mount *m = mount_create(fs, "rootfs", 0, NULL);
    if (IS_ERR(m))
        panic("fs: no memory for the root file system");
    list_add_tail(&mounts, &m->node);
    fs_context_init(m->root);
}

// Writes back and frees a file system that nobody uses and that is out of the tree.
static void mount_free(struct mount *m) {
    struct superblock *sb = m->sb;
    m->root->mount = NULL;
    dentry_put(m->root); // its inode is evicted with the last names
    dentry_prune(sb);
    if (sb->ops && sb->ops->unmount)
        sb->ops->unmount(sb);
    kfree(sb);
    kfree(m);
}

int vfs_mount(const char *source, const char *target, const char *fstype, unsigned long flags,
              const char *options) {
    struct file_system *fs = find_type(fstype);
    if (!fs)
        return -ENODEV;
    mutex_lock(&mount_lock);
    struct dentry *at = path_walk(NULL, target, WALK_DIR);
    int err = IS_ERR(at) ? PTR_ERR(at) : 0;
    if (!err && (at->sb->uncached || at->deleted)) // nothing would find the mount point again
        err = -EINVAL;
    struct mount *m = err ? NULL : mount_create(fs, source, flags, options);
    if (!err && IS_ERR(m))
        err = PTR_ERR(m);
    if (!err) {
        spin_lock(&dentry_lock);
        m->mountpoint = at; // with our reference
        at->mounted = m;
        list_add_tail(&mounts, &m->node);
        spin_unlock(&dentry_lock);
    }
    mutex_unlock(&mount_lock);
    if (err && !IS_ERR(at))
        dentry_put(at);
    return err;
}

// Takes a mount out of the tree if `d`, its root, is used by nobody but the mount and the caller, or
// if `lazy`. 0 (*busy says whether it is still used), -EINVAL or -EBUSY. mount_lock held.
static int detach(struct dentry *d, bool lazy, bool *busy) {
    struct mount *m = d->mount;
    if (!m || d->parent != d)
        return -EINVAL;
    if (!m->mountpoint)
        return -EBUSY;   // the root of everything
    dentry_prune(m->sb); // what is left has users, and each holds its parents
    spin_lock(&dentry_lock);
    struct dentry *mountpoint = m->mountpoint;
    *busy = __atomic_load_n(&d->refs, __ATOMIC_ACQUIRE) > 2;
    bool done = !*busy || lazy;
    if (done) {
        mountpoint->mounted = NULL;
        m->mountpoint = NULL;
        list_remove(&m->node);
    }
    spin_unlock(&dentry_lock);
    if (done)
        dentry_put(mountpoint);
    return done ? 0 : -EBUSY;
}

int mount_remove(struct dentry *d, bool lazy) {
    bool busy = false;
    mutex_lock(&mount_lock);
    struct mount *m = d->mount;
    int err = detach(d, lazy, &busy);
    if (!err && busy) { // stays in memory, written back, for those who still use it
        pagecache_sync_all();
        if (m->sb->ops && m->sb->ops->sync)
            m->sb->ops->sync(m->sb);
    }
    dentry_put(d);
    if (!err && !busy)
        mount_free(m);
    mutex_unlock(&mount_lock);
    return err;
}

int mount_remount(struct dentry *d, bool read_only) {
    if (!d->mount)
        return -EINVAL;
    if (read_only && !d->sb->read_only) {
        pagecache_sync_all();
        if (d->sb->ops && d->sb->ops->sync)
            d->sb->ops->sync(d->sb);
    }
    d->sb->read_only = read_only;
    return 0;
}

// The n-th mount's root with a reference, or NULL.
static struct dentry *mount_at(unsigned n) {
    struct mount *m;
    struct dentry *d = NULL;
    spin_lock(&dentry_lock);
    list_for_each (m, &mounts, node) {
        if (n-- == 0) {
            d = m->root;
            dentry_get(d);
            break;
        }
    }
    spin_unlock(&dentry_lock);
    return d;
}

static void mounts_sync(void) {
    struct dentry *d;
    for (unsigned n = 0; (d = mount_at(n)); n++) {
        if (d->sb->ops && d->sb->ops->sync)
            d->sb->ops->sync(d->sb);
        dentry_put(d);
    }
}

void vfs_sync_all(void) {
    pagecache_sync_all();
    mounts_sync();
    pagecache_sync_all(); // the block devices' own pages, which sync() filled
}

void vfs_unmount_all(void) {
    bool again = true;
    vfs_sync_all();
    while (again) { // the last mounted first; those in use stay, but written back
        unsigned count = 0;
        struct dentry *d;
        while ((d = mount_at(count))) {
            dentry_put(d);
            count++;
        }
        again = false;
        while (count-- > 1 && !again) {
            d = mount_at(count);
            again = d && !mount_remove(d, false);
        }
    }
    vfs_sync_all();
}

// Octal escapes for what would break the columns, as mount tables have them.
static void show_word(struct textbuf *b, const char *s) {
    for (; *s; s++)
        text_printf(b, *s == ' ' || *s == '\t' || *s == '\n' || *s == '\\' ? "\\%03o" : "%c",
                    (unsigned char)*s);
}

static void show_all(struct textbuf *b, bool info) {
    char *path = kmalloc(PATH_MAX);
    struct dentry *d;
    for (unsigned n = 0; path && (d = mount_at(n)); n++) {
        struct superblock *sb = d->sb;
        const char *rights = sb->read_only ? "ro" : "rw";
        if (dentry_path(d, path, PATH_MAX) < 0)
            strlcpy(path, "?", PATH_MAX);
        if (info) {
            text_printf(b, "%u %u %u:%u / ", n + 20, n ? 20 : 1, (unsigned)(sb->dev >> 8),
                        (unsigned)(sb->dev & 0xff));
            show_word(b, path);
            text_printf(b, " %s,relatime - %s ", rights, sb->fs->name);
            show_word(b, sb->source);
            text_printf(b, " %s\n", rights);
        } else {
            show_word(b, sb->source);
            text_printf(b, " ");
            show_word(b, path);
            text_printf(b, " %s %s,relatime 0 0\n", sb->fs->name, rights);
        }
        dentry_put(d);
    }
    kfree(path);
}

void mounts_show(struct textbuf *b) {
    show_all(b, false);
}
void mountinfo_show(struct textbuf *b) {
    show_all(b, true);
}

void filesystems_show(struct textbuf *b) {
    struct file_system *fs;
    list_for_each (fs, &file_systems, node)
        text_printf(b, "%s\t%s\n", fs->needs_device ? "" : "nodev", fs->name);
}
