/* sources: kernel/fs/uio.c kernel/fs/dentry.c kernel/fs/context.c kernel/fs/path.c kernel/fs/inode.c kernel/fs/names.c kernel/fs/rename.c kernel/fs/open.c kernel/fs/ramfs.c kernel/fs/mount.c kernel/fs/pagecache.c kernel/fs/pagecache_io.c kernel/fs/cachetree.c kernel/fs/writeback.c kernel/fs/file.c kernel/fs/lock.c kernel/lib/tree.c tests/unit/fs_host.c */
// Record locks at random against a model that knows the holder of every byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "fs/lock.h"
#include "fs_host.h"

#define BYTES  60
#define OWNERS 4

static unsigned char held[OWNERS][BYTES]; // 0, 1: shared, 2: exclusive

static bool free_for(unsigned owner, unsigned from, unsigned to, int kind) {
    for (unsigned o = 0; o < OWNERS; o++)
        for (unsigned b = from; b < to && o != owner; b++)
            if (held[o][b] && (kind == 2 || held[o][b] == 2))
                return false;
    return true;
}

static void random_records(void **state) {
    struct file *f = file_open("/locked", O_CREAT | O_RDWR, 0600);
    srand(3);
    for (int i = 0; i < 100000; i++) {
        unsigned owner = rand() % OWNERS, from = rand() % BYTES;
        unsigned to = from + 1 + rand() % (BYTES - from);
        int kind = rand() % 3; // unlock, shared, exclusive
        struct flock l = {.l_type = kind == 0   ? F_UNLCK
                                    : kind == 1 ? F_RDLCK
                                                : F_WRLCK,
                          .l_start = from,
                          .l_len = to - from};
        host_owner = (void *)(long)((owner + 1) << 12);
        bool allowed = kind == 0 || free_for(owner, from, to, kind);
        if (kind && rand() % 4 == 0) {
            assert_int_equal(lock_fcntl(f, F_GETLK, &l), 0);
            assert_int_equal(l.l_type == F_UNLCK, allowed);
            continue;
        }
        assert_int_equal(lock_fcntl(f, F_SETLK, &l), allowed ? 0 : -EAGAIN);
        if (allowed)
            memset(held[owner] + from, kind, to - from);
        if (rand() % 500 == 0) {
            locks_release_owner(f->inode, host_owner);
            memset(held[owner], 0, BYTES);
        }
    }
    for (unsigned o = 0; o < OWNERS; o++)
        locks_release_owner(f->inode, (void *)(long)((o + 1) << 12));
    file_put(f);
    name_unlink(NULL, "/locked");
}

static void flock_rules(void **state) {
    struct file *a = file_open("/whole", O_CREAT | O_RDWR, 0600);
    struct file *b = file_open("/whole", O_RDWR, 0);
    assert_int_equal(lock_flock(a, LOCK_SH), 0);
    assert_int_equal(lock_flock(b, LOCK_SH), 0);
    assert_int_equal(lock_flock(a, LOCK_EX | LOCK_NB), -EAGAIN);
    assert_int_equal(lock_flock(b, LOCK_EX | LOCK_NB), 0);  // a's went with its failed upgrade
    assert_int_equal(lock_flock(a, LOCK_SH), -ERESTARTSYS); // would wait
    file_put(b);
    assert_int_equal(lock_flock(a, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(lock_flock(a, 0), -EINVAL);
    file_put(a);
    name_unlink(NULL, "/whole");
}

static int setup(void **state) {
    host_boot();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_records),
        cmocka_unit_test(flock_rules),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
