// /dev: a RAM file system that the kernel makes nodes in, and the table of drivers by number.
#include "fs/devfs.h"
#include "fs/memdev.h"
#include "fs/namei.h"
#include "fs/procfs.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/heap.h"

static struct spinlock device_lock = SPINLOCK_INIT;
static struct list_node devices = LIST_INIT(devices);
static struct dentry *dev_root; // of /dev, held for ever

static int devfs_mount(struct superblock *sb, const char *source, unsigned long flags,
                       const char *options) {
    if (dev_root) // there is one /dev, in which the drivers make their nodes
        return -EBUSY;
    return ramfs.mount(sb, source, flags, options);
}

static struct file_system devfs = {.name = "devtmpfs", .mount = devfs_mount};

struct device *device_find(bool block, uint64_t rdev) {
    struct device *d, *found = NULL;
    spin_lock(&device_lock);
    list_for_each (d, &devices, node) {
        if (d->rdev == rdev && d->block == block) {
            d->refs++;
            found = d;
            break;
        }
    }
    spin_unlock(&device_lock);
    return found;
}

void device_put(struct device *d) {
    spin_lock(&device_lock);
    bool last = --d->refs == 0;
    spin_unlock(&device_lock);
    if (last)
        kfree(d);
}

int dev_register(const char *name, uint32_t mode, uint64_t rdev, const struct file_ops *ops,
                 void *data) {
    struct device *d = kzalloc(sizeof(*d) + strlen(name) + 1);
    if (!d)
        return -ENOMEM;
    if (!(mode & S_IFMT))
        mode |= S_IFCHR;
    d->refs = 1;
    d->block = S_ISBLK(mode);
    d->rdev = rdev;
    d->ops = ops;
    d->data = data;
    strlcpy(d->name, name, strlen(name) + 1);
    spin_lock(&device_lock);
    list_add_tail(&devices, &d->node);
    spin_unlock(&device_lock);

    const char *slash = strchr(name, '/');
    if (slash) {
        char dir[32];
        strlcpy(dir, name, MIN(sizeof(dir), (size_t)(slash - name) + 1));
        int err = name_mkdir(dev_root, dir, 0755);
        if (err && err != -EEXIST)
            return err;
    }
    int err = name_mknod(dev_root, name, mode, rdev);
    if (err)
        log_warning("fs: /dev/%s: error %d", name, -err);
    return err;
}

void dev_unregister(const char *name) {
    struct device *d, *found = NULL;
    spin_lock(&device_lock);
    list_for_each (d, &devices, node) {
        if (!strcmp(d->name, name)) {
            list_remove(&d->node);
            found = d;
            break;
        }
    }
    spin_unlock(&device_lock);
    if (!found)
        return;
    name_unlink(dev_root, name);
    device_put(found);
}

void *dev_data(const struct file *f) {
    return f->device ? f->device->data : NULL;
}

void devices_show(struct textbuf *b) {
    struct device *d;
    for (int block = 0; block < 2; block++) {
        text_printf(b, block ? "\nBlock devices:\n" : "Character devices:\n");
        spin_lock(&device_lock);
        list_for_each (d, &devices, node) {
            if (d->block != block)
                continue;
            text_printf(b, "%3u:%-3u %s\n", (unsigned)(d->rdev >> 8), (unsigned)(d->rdev & 0xff),
                        d->name);
        }
        spin_unlock(&device_lock);
    }
}

void devfs_init(void) {
    static const char *const links[][2] = {{"fd", "/proc/self/fd"},
                                           {"stdin", "/proc/self/fd/0"},
                                           {"stdout", "/proc/self/fd/1"},
                                           {"stderr", "/proc/self/fd/2"}};
    file_system_register(&devfs);
    vfs_mkdir("/dev", 0755);
    int err = vfs_mount("dev", "/dev", "devtmpfs", 0, "");
    dev_root = err ? ERR_PTR(err) : path_walk(NULL, "/dev", WALK_DIR);
    if (IS_ERR(dev_root))
        panic("fs: cannot mount /dev, error %ld", -PTR_ERR(dev_root));
    name_mkdir(dev_root, "pts", 0755);
    name_mkdir(dev_root, "shm", 01777);
    for (unsigned i = 0; i < ARRAY_SIZE(links); i++)
        name_symlink(dev_root, links[i][0], links[i][1]);
    memdev_init();
}
