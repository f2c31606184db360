/* sources: kernel/fs/ext2/super.c kernel/fs/ext2/check.c kernel/fs/ext2/meta.c kernel/fs/ext2/balloc.c kernel/fs/ext2/ialloc.c kernel/fs/ext2/inode.c kernel/fs/ext2/map.c kernel/fs/ext2/truncate.c kernel/fs/ext2/dir.c kernel/fs/ext2/namei.c kernel/fs/ext2/symlink.c kernel/fs/ext2/file.c kernel/block/block.c kernel/block/partition.c kernel/fs/inode.c tests/unit/ext2_host.c tests/unit/ext2_image.c */
// Power cuts at random points of what the real ext2 code writes: e2fsck repairs the disk, and what was promised
// is there.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ext2_image.h"

static struct superblock *sb;

#define FILES 24
static struct promise {
    bool exists, kept; // kept: fsynced, and not touched since
    char name[2][80];  // it may be found under either (a rename that was not synced yet)
    uint8_t byte;
    size_t size;
} files[FILES];
struct snapshot { // what is promised after that many entries of the log
    size_t log;
    struct promise files[FILES];
};
static struct snapshot *snapshots;
static size_t snapshot_count;

static void snapshot(void) {
    snapshots = realloc(snapshots, (snapshot_count + 1) * sizeof(*snapshots));
    snapshots[snapshot_count].log = host_disk.log_count;
    memcpy(snapshots[snapshot_count++].files, files, sizeof(files));
}

static struct inode *cut_dirs[3];
static struct inode *dir_of(const char *name) {
    return cut_dirs[name[0] - '0'];
}

static void cut_operation(void) {
    struct promise *p = &files[rnd(FILES)];
    if (!p->exists) {
        memset(p, 0, sizeof(*p));
        sprintf(p->name[0], "%d/", (int)rnd(3));
        random_name(p->name[0] + 2);
        strcpy(p->name[1], p->name[0]);
        struct inode *i = ext2_make(dir_of(p->name[0]), p->name[0] + 2, S_IFREG | 0644, NULL);
        if (IS_ERR(i))
            return;
        inode_put(i);
        p->exists = true;
        return;
    }
    struct inode *dir = dir_of(p->name[0]), *i = ext2_look(dir, p->name[0] + 2);
    assert_false(IS_ERR(i));
    unsigned what = rnd(8);
    if (what <= 2) { // new content
        p->kept = false;
        snapshot();
        p->byte = 1 + rnd(255);
        p->size = 1 + rnd(rnd(3) ? 20000 : 400000);
        uint8_t *data = malloc(p->size);
        memset(data, p->byte, p->size);
        inode_truncate(i, 0);
        ssize_t n = ext2_put(i, 0, data, p->size);
        p->size = n > 0 ? n : 0;
        free(data);
    } else if (what <= 4) {
        assert_int_equal(ext2_sync(i), 0);
        strcpy(p->name[1], p->name[0]);
        p->kept = true;
        snapshot();
    } else if (what == 5) {
        p->kept = false;
        p->exists = false;
        snapshot();
        assert_int_equal(ext2_drop(dir, p->name[0] + 2, i), 0);
    } else { // a new name, by rename or by link and unlink
        char name[80];
        sprintf(name, "%d/", (int)rnd(3));
        random_name(name + 2);
        if (strcmp(p->name[0], p->name[1]))
            p->kept = false; // a third name: too much to follow
        strcpy(p->name[1], name);
        snapshot();
        struct inode *to = dir_of(name);
        int err;
        if (what == 6) {
            err = dir->ops->rename(dir, p->name[0] + 2, strlen(p->name[0] + 2), to, name + 2,
                                   strlen(name + 2), i, NULL);
        } else {
            err = to->ops->link(to, name + 2, strlen(name + 2), i);
            if (!err)
                err = ext2_drop(dir, p->name[0] + 2, i);
        }
        assert_int_equal(err, 0);
        char old[80];
        strcpy(old, p->name[0]);
        strcpy(p->name[0], name);
        strcpy(p->name[1], old);
    }
    inode_put(i);
    // Traffic that is promised to nobody.
    if (rnd(3) == 0) {
        char name[40];
        sprintf(name, "t%d", (int)rnd(6));
        struct inode *t = ext2_look(cut_dirs[0], name);
        if (IS_ERR(t))
            t = ext2_make(cut_dirs[0], name, S_IFDIR | 0755, NULL);
        else
            ext2_drop(cut_dirs[0], name, t);
        if (!IS_ERR(t))
            inode_put(t);
    }
    if (rnd(5) == 0)
        pagecache_sync_all(); // the write-back world comes by
}

// The disk after a cut at log entry `end`: all up to the last flush, then any subset in any order.
static uint8_t *disk_after_cut(const uint8_t *base, size_t size, size_t end) {
    uint8_t *disk = malloc(size);
    memcpy(disk, base, size);
    size_t barrier = 0;
    for (size_t k = 0; k < end; k++)
        if (!host_disk.log[k].data)
            barrier = k;
    for (size_t k = 0; k < barrier; k++) {
        struct host_write *w = &host_disk.log[k];
        if (w->data)
            memcpy(disk + w->lba * SECTOR_SIZE, w->data, w->count * SECTOR_SIZE);
    }
    size_t n = end - barrier;
    for (size_t k = 0; k < n; k++) {
        struct host_write *w = &host_disk.log[barrier + rnd(n)];
        if (w->data)
            memcpy(disk + w->lba * SECTOR_SIZE, w->data, w->count * SECTOR_SIZE);
    }
    return disk;
}

static bool intact(const struct promise *p, const char *path) {
    struct inode *dir = ext2_look(sb->root->inode, (char[]){path[0], 0});
    if (IS_ERR(dir))
        return false;
    struct inode *i = ext2_look(dir, path + 2);
    inode_put(dir);
    if (IS_ERR(i))
        return false;
    bool good = i->size == p->size;
    uint8_t *now = malloc(p->size + 1);
    if (good)
        ext2_get(i, 0, now, p->size);
    for (size_t k = 0; k < p->size && good; k++)
        good = now[k] == p->byte;
    free(now);
    inode_put(i);
    return good;
}

static void check_cut(const uint8_t *disk, size_t size, size_t end, uint64_t s) {
    image_save(disk, size);
    int code = image_shell("e2fsck -fy %s >%s.log 2>&1", image_path, image_path);
    if (code & ~3)
        fail_msg("seed %lu cut %zu: e2fsck cannot repair (%d)", s, end, code);
    assert_int_equal(image_shell("e2fsck -fn %s >/dev/null 2>&1", image_path), 0);
    void *repaired = image_load(&size);
    host_disk_set(repaired, size);
    free(repaired);
    sb = host_mount();
    assert_non_null(sb);
    const struct snapshot *at = NULL;
    for (size_t k = 0; k < snapshot_count && snapshots[k].log <= end; k++)
        at = &snapshots[k];
    for (int k = 0; at && k < FILES; k++) {
        const struct promise *p = &at->files[k];
        if (p->exists && p->kept && !intact(p, p->name[0]) && !intact(p, p->name[1])) {
            image_shell("cat %s.log", image_path);
            fail_msg("seed %lu cut %zu: %s (or %s) was fsynced and is damaged", s, end, p->name[0],
                     p->name[1]);
        }
    }
    host_unmount(sb);
}

static void power_cuts(const char *options, unsigned kib, uint64_t s, unsigned cuts) {
    seed = s * 0x9e3779b97f4a7c15ull + 3;
    image_make(options, kib);
    sb = host_mount();
    for (int k = 0; k < 3; k++)
        cut_dirs[k] = ext2_make(sb->root->inode, (char[]){'0' + k, 0}, S_IFDIR | 0755, NULL);
    memset(files, 0, sizeof(files));
    snapshot_count = 0;
    sb->ops->sync(sb);
    size_t size = host_disk.size;
    uint8_t *base = malloc(size);
    memcpy(base, host_disk.data, size);
    host_disk.recording = true;
    for (int k = 0; k < 400; k++)
        cut_operation();
    host_disk.recording = false;
    for (int k = 0; k < 3; k++)
        inode_put(cut_dirs[k]);
    host_unmount(sb);
    for (unsigned k = 0; k < cuts; k++) {
        size_t end = 1 + rnd(host_disk.log_count);
        uint8_t *disk = disk_after_cut(base, size, end);
        check_cut(disk, size, end, s);
        free(disk);
    }
    for (size_t k = 0; k < host_disk.log_count; k++)
        free(host_disk.log[k].data);
    free(host_disk.log);
    host_disk.log = NULL;
    host_disk.log_count = 0;
    free(base);
    free(snapshots);
    snapshots = NULL;
}

static void test_power_cut(void **state) {
    unsigned cuts = getenv("POWER_CUTS") ? atoi(getenv("POWER_CUTS")) : 12;
    for (uint64_t s = 1; s <= 4; s++) {
        power_cuts("-t ext2 -b 1024 -m 0", 4096, s, cuts);
        power_cuts("-t ext2 -b 4096 -m 0", 8192, s + 100, cuts);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cut),
    };
    return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
