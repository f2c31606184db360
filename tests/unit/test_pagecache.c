/* sources: kernel/fs/uio.c kernel/fs/dentry.c kernel/fs/context.c kernel/fs/path.c kernel/fs/inode.c kernel/fs/names.c kernel/fs/rename.c kernel/fs/open.c kernel/fs/ramfs.c kernel/fs/mount.c kernel/fs/pagecache.c kernel/fs/pagecache_io.c kernel/fs/cachetree.c kernel/fs/writeback.c kernel/fs/file.c kernel/fs/lock.c kernel/lib/tree.c tests/unit/fs_host.c */
// The page cache of a device: reading in, writing back, errors, reclaim, truncation, at random
// against an array that is the device and one that is what a reader must see.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "fs/mount.h"
#include "fs/pagecache.h"
#include "fs_host.h"

#define PAGES 200u

static unsigned char device[PAGES * PAGE_SIZE], seen[PAGES * PAGE_SIZE];
static bool device_fails;
static unsigned reads, writes;

static int read_page(struct inode *i, uint64_t index, struct frame *f) {
    reads++;
    if (device_fails)
        return -EIO;
    memcpy(frame_virt(f), device + index * PAGE_SIZE, PAGE_SIZE);
    return 0;
}

static int write_page(struct inode *i, uint64_t index, struct frame *f, size_t n) {
    writes++;
    if (device_fails)
        return -EIO;
    memcpy(device + index * PAGE_SIZE, frame_virt(f), n);
    return 0;
}

static const struct pagecache_ops ops = {.read_page = read_page, .write_page = write_page};

static struct file *open_device(void) {
    struct inode *i = inode_alloc(&anon_superblock, 1, S_IFBLK | 0600);
    i->cache = pagecache_create(i, &ops);
    i->size = sizeof(device);
    static const struct file_ops file_ops = {.read = pagecache_read, .write = pagecache_write};
    return file_alloc_inode(i, "device", &file_ops, O_RDWR);
}

static void random_use(void **state) {
    static unsigned char buf[8 * PAGE_SIZE];
    struct file *f = open_device();
    srand(4);
    for (int i = 0; i < 20000; i++) {
        size_t at = rand() % sizeof(device), n = rand() % (rand() % 2 ? 100 : sizeof(buf));
        n = MIN(n, sizeof(device) - at);
        switch (rand() % 16) {
        case 0: pagecache_reclaim(rand() % 300); break;
        case 1:
            assert_int_equal(pagecache_sync(f->inode->cache), 0);
            assert_memory_equal(device, seen, sizeof(device));
            break;
        case 2 ... 8:
            memset(buf, rand(), n);
            assert_int_equal(file_write_kernel(f, buf, n, at), n);
            memcpy(seen + at, buf, n);
            break;
        default:
            assert_int_equal(file_read_kernel(f, buf, n, at), n);
            assert_memory_equal(buf, seen + at, n);
        }
    }
    assert_true(host_frames <= PAGES);
    file_put(f); // the last reference writes back
    assert_memory_equal(device, seen, sizeof(device));
    assert_int_equal(host_frames, 0);
}

static void errors(void **state) {
    char c = 'x';
    struct file *f = open_device();
    device_fails = true;
    assert_int_equal(file_read_kernel(f, &c, 1, 0), -EIO);
    assert_int_equal(host_frames, 0); // a page that could not be read is not kept
    device_fails = false;
    assert_int_equal(file_write_kernel(f, &c, 1, 5000), 1);
    device_fails = true;
    assert_int_equal(pagecache_sync(f->inode->cache), -EIO);
    assert_int_equal(pagecache_dirty_pages(), 1); // still to be written
    assert_int_equal(pagecache_reclaim(100), 0);  // and not dropped
    device_fails = false;
    assert_int_equal(pagecache_sync_all(), 0);
    assert_int_equal(device[5000], 'x');
    assert_int_equal(file_write_kernel(f, &c, 1, sizeof(device)), -ENOSPC);
    file_put(f);
    assert_int_equal(host_frames, 0);
}

static void reclaim_second_chance(void **state) {
    char c;
    struct file *f = open_device();
    for (unsigned p = 0; p < 100; p++)
        assert_int_equal(file_read_kernel(f, &c, 1, p * PAGE_SIZE), 1);
    struct frame *held;
    assert_int_equal(pagecache_get(f->inode->cache, 7, &held), 0);
    size_t freed = pagecache_reclaim(1000);
    assert_int_equal(freed, 99); // all but the one that somebody holds
    unsigned before = reads;
    assert_int_equal(file_read_kernel(f, &c, 1, 7 * PAGE_SIZE), 1);
    assert_int_equal(reads, before);
    frame_put(held);
    file_put(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use),
        cmocka_unit_test(errors),
        cmocka_unit_test(reclaim_second_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
