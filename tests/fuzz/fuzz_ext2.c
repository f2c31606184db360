/* sources: kernel/fs/ext2/super.c kernel/fs/ext2/check.c kernel/fs/ext2/meta.c kernel/fs/ext2/balloc.c kernel/fs/ext2/ialloc.c kernel/fs/ext2/inode.c kernel/fs/ext2/map.c kernel/fs/ext2/truncate.c kernel/fs/ext2/dir.c kernel/fs/ext2/namei.c kernel/fs/ext2/symlink.c kernel/fs/ext2/file.c kernel/block/block.c kernel/block/partition.c kernel/fs/inode.c tests/unit/ext2_host.c */
// Corrupted file systems: a sound small image of mke2fs, damaged at places that the input chooses
// (6 bytes each: offset, two values), then used in every way. Errors are fine, crashes are not.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ext2_host.h"

#define IMAGE_KIB 256u
static uint8_t *sound;

static struct inode *make(struct inode *dir, const char *name, uint32_t mode, const char *target) {
    return dir->ops->create(dir, name, strlen(name), mode, 0, target);
}

static void put(struct inode *i, uint64_t pos, size_t n) {
    static char data[8192];
    struct file f = {.inode = i};
    struct uio_vec v = {data, n};
    struct uio u = {&v, 1, n, true};
    if (i->file_ops && i->file_ops->write)
        i->file_ops->write(&f, &u, &pos);
}

// The image has a bit of everything.
static void prepare(void) {
    char path[64], cmd[200];
    snprintf(path, sizeof(path), "/tmp/fuzz_ext2.%d", getpid());
    snprintf(cmd, sizeof(cmd), "/sbin/mke2fs -q -F -t ext2 -b 1024 %s %u >/dev/null 2>&1", path,
             IMAGE_KIB);
    if (system(cmd) != 0)
        abort();
    FILE *f = fopen(path, "rb");
    sound = malloc(IMAGE_KIB * 1024);
    if (!f || fread(sound, 1, IMAGE_KIB * 1024, f) != IMAGE_KIB * 1024)
        abort();
    fclose(f);
    unlink(path);
    host_disk_set(sound, IMAGE_KIB * 1024);
    struct superblock *sb = host_mount();
    struct inode *root = sb->root->inode, *d = make(root, "dir", S_IFDIR | 0755, NULL);
    struct inode *i = make(d, "file", S_IFREG | 0644, NULL);
    put(i, 0, 8192);
    put(i, 70000, 100);
    inode_put(i);
    inode_put(make(root, "fast", S_IFLNK | 0777, "dir/file"));
    char target[300];
    memset(target, 'x', sizeof(target));
    target[299] = 0;
    inode_put(make(root, "slow", S_IFLNK | 0777, target));
    inode_put(d);
    host_unmount(sb);
    memcpy(sound, host_disk.data, host_disk.size);
}

struct listing {
    struct dir_context c;
    unsigned count;
    char names[8][256];
};
static bool emit(struct dir_context *c, const char *name, size_t len, uint64_t ino, unsigned type) {
    struct listing *l = (struct listing *)c;
    if (l->count == 8)
        return false;
    memcpy(l->names[l->count], name, len);
    l->names[l->count++][len] = 0;
    return true;
}

static void use(struct inode *dir, int depth) {
    struct listing *l = calloc(1, sizeof(*l));
    l->c.emit = emit;
    struct file f = {.inode = dir};
    dir->file_ops->iterate(&f, &l->c);
    for (unsigned n = 0; n < l->count; n++) {
        const char *name = l->names[n];
        size_t len = strlen(name);
        if (len == 0 || (name[0] == '.' && len <= 2))
            continue;
        struct inode *i = dir->ops->lookup(dir, name, len);
        if (IS_ERR(i))
            continue;
        if (S_ISDIR(i->mode) && depth < 3 && i->refs == 1)
            use(i, depth + 1);
        if (i->ops->readlink) {
            char buf[64];
            i->ops->readlink(i, buf, sizeof(buf));
        }
        if (i->cache) {
            struct frame *page;
            for (uint64_t k = 0; k < 3; k++)
                if (pagecache_get(i->cache, k * 9, &page) == 0)
                    frame_put(page);
            put(i, 3000, 5000);
            put(i, 300000, 100);
            inode_truncate(i, 2500);
        }
        if (n % 2 == 0) {
            if (S_ISDIR(i->mode))
                dir->ops->rmdir(dir, name, len, i);
            else
                dir->ops->unlink(dir, name, len, i);
        } else {
            dir->ops->rename(dir, name, len, dir, "new name", 8, i, NULL);
        }
        inode_put(i);
    }
    free(l);
    struct inode *i = make(dir, "another", S_IFREG | 0644, NULL);
    if (!IS_ERR(i)) {
        put(i, 0, 5000);
        inode_put(i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!sound)
        prepare();
    uint8_t *image = malloc(IMAGE_KIB * 1024);
    memcpy(image, sound, IMAGE_KIB * 1024);
    for (size_t n = 0; n + 6 <= size && n < 6 * 64; n += 6) {
        // Three bytes choose the place; half of the damage goes where the metadata is.
        uint32_t at = data[n] | data[n + 1] << 8 | data[n + 2] << 16;
        at %= data[n + 2] & 1 ? IMAGE_KIB * 1024 - 3 : 48 * 1024;
        image[at] = data[n + 3];
        image[at + 1] = data[n + 4];
        image[at + 2] ^= data[n + 5];
    }
    host_disk_set(image, IMAGE_KIB * 1024);
    free(image);
    struct superblock *sb = host_mount();
    if (sb) {
        use(sb->root->inode, 0);
        sb->ops->sync(sb);
        host_unmount(sb);
    }
    if (host_frames != 0)
        abort();
    return 0;
}
