// Fills the root file system from the initial archive.
#include "fs/cpio.h"
#include "cpu/clock.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"

// Files with several names: the first name of each, by the inode number in the archive.
struct linked {
    struct list_node node;
    uint32_t ino, dev_major, dev_minor;
    const char *name;
};

static struct linked *find_linked(struct list_node *list, const struct cpio_entry *e) {
    struct linked *l;
    list_for_each (l, list, node) {
        if (l->ino == e->ino && l->dev_major == e->dev_major && l->dev_minor == e->dev_minor)
            return l;
    }
    return NULL;
}

// Another name of a file that is there already; 1 when this is the first. Otherwise 0 or -errno.
static int make_link(struct list_node *list, const struct cpio_entry *e) {
    struct linked *l = find_linked(list, e);
    if (l) {
        struct dentry *d = path_walk(NULL, l->name, WALK_NOFOLLOW);
        if (IS_ERR(d))
            return PTR_ERR(d);
        int err = name_link(d, NULL, e->name);
        dentry_put(d);
        return err;
    }
    l = kzalloc(sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct linked){
        .ino = e->ino, .dev_major = e->dev_major, .dev_minor = e->dev_minor, .name = e->name};
    list_add_tail(list, &l->node);
    return 1;
}

static int write_content(const struct cpio_entry *e) {
    struct file *f = file_open(e->name, O_WRONLY | O_CREAT | O_TRUNC, e->mode & 07777);
    if (IS_ERR(f))
        return PTR_ERR(f);
    ssize_t n = e->size ? file_write_kernel(f, e->data, e->size, 0) : 0;
    file_put(f);
    return n < 0 ? n : (uint64_t)n < e->size ? -ENOSPC : 0;
}

static int make_symlink(const struct cpio_entry *e) {
    char *target = kmalloc(PATH_MAX);
    if (!target)
        return -ENOMEM;
    int err = e->size < PATH_MAX ? 0 : -ENAMETOOLONG;
    if (!err) {
        memcpy(target, e->data, e->size);
        target[e->size] = 0;
        err = name_symlink(NULL, e->name, target);
    }
    kfree(target);
    return err;
}

// Owner, rights and time as the archive has them.
static void set_attributes(const struct cpio_entry *e) {
    struct dentry *d = path_walk(NULL, e->name, WALK_NOFOLLOW);
    if (IS_ERR(d))
        return;
    struct inode *i = d->inode;
    i->mode = (i->mode & S_IFMT) | (e->mode & 07777);
    i->uid = e->uid;
    i->gid = e->gid;
    i->mtime = i->atime = i->ctime = e->mtime * NSEC_PER_SEC;
    dentry_put(d);
}

static int make_one(struct list_node *links, const struct cpio_entry *e) {
    int err;
    switch (e->mode & S_IFMT) {
    case S_IFDIR: err = name_mkdir(NULL, e->name, e->mode); return err == -EEXIST ? 0 : err;
    case S_IFLNK: return make_symlink(e);
    case S_IFREG:
        err = e->nlink > 1 ? make_link(links, e) : 1;
        // The content may come with the first name or with the last.
        return err < 0 || (!err && !e->size) ? err : write_content(e);
    default: return name_mknod(NULL, e->name, e->mode, DEV(e->rdev_major, e->rdev_minor));
    }
}

unsigned cpio_unpack(const uint8_t *archive, size_t size, uint64_t *bytes) {
    struct list_node links = LIST_INIT(links);
    struct linked *l, *next;
    struct cpio_entry e;
    size_t pos = 0;
    unsigned files = 0;
    int got;
    *bytes = 0;
    while ((got = cpio_next(archive, size, &pos, &e)) == 1) {
        if (!*e.name || !strcmp(e.name, "."))
            continue;
        int err = make_one(&links, &e);
        if (err) {
            log_warning("fs: initrd: %s: error %d", e.name, -err);
            continue;
        }
        set_attributes(&e);
        files++;
        *bytes += e.size;
    }
    if (got < 0)
        log_error("fs: initrd: damaged at byte %zu of %zu; %u files are usable", pos, size, files);
    list_for_each_safe(l, next, &links, node) {
        list_remove(&l->node);
        kfree(l);
    }
    return files;
}
