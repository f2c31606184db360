/* sources: kernel/fs/ext2/super.c kernel/fs/ext2/check.c kernel/fs/ext2/meta.c kernel/fs/ext2/balloc.c kernel/fs/ext2/ialloc.c kernel/fs/ext2/inode.c kernel/fs/ext2/map.c kernel/fs/ext2/truncate.c kernel/fs/ext2/dir.c kernel/fs/ext2/namei.c kernel/fs/ext2/symlink.c kernel/fs/ext2/file.c kernel/block/block.c kernel/block/partition.c kernel/fs/inode.c tests/unit/ext2_host.c tests/unit/ext2_image.c */
// The real ext2 code on images that Debian's mke2fs made, judged by e2fsck: random operations against
// a model, full disks, broken ones. Power cuts: test_ext2_cut.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ext2_image.h"

// ---- random operations against a model ----
#define NODES    60
#define FILE_MAX (400 * 1024)
static struct node {
    bool used;
    uint32_t type;
    int parent; // -1: root
    char name[80];
    int data; // file: index of its content (hard links share it)
    char target[200];
} nodes[NODES];
static struct content {
    int links;
    size_t size;
    uint8_t *bytes;
} contents[NODES];
static struct superblock *sb;

static struct inode *open_node(int n) {
    if (n < 0) {
        inode_get(sb->root->inode);
        return sb->root->inode;
    }
    struct inode *dir = open_node(nodes[n].parent), *i = ext2_look(dir, nodes[n].name);
    inode_put(dir);
    if (IS_ERR(i))
        fail_msg("%s is gone: %ld", nodes[n].name, PTR_ERR(i));
    return i;
}

static int pick(uint32_t type) {
    for (int tries = 0; tries < 100; tries++) {
        int n = rnd(NODES);
        if (nodes[n].used && (!type || nodes[n].type == type))
            return n;
    }
    return -1;
}
static int pick_dir(void) {
    return rnd(3) ? pick(S_IFDIR) : -1;
}

static bool below(int n, int ancestor) {
    for (; n >= 0; n = nodes[n].parent)
        if (n == ancestor)
            return true;
    return false;
}
static bool has_children(int n) {
    for (int k = 0; k < NODES; k++)
        if (nodes[k].used && nodes[k].parent == n)
            return true;
    return false;
}
static int free_node(void) {
    for (int n = 0; n < NODES; n++)
        if (!nodes[n].used)
            return n;
    return -1;
}

static void op_create(void) {
    int n = free_node(), parent = pick_dir();
    if (n < 0)
        return;
    struct node *x = &nodes[n];
    static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};
    *x = (struct node){.parent = parent, .type = types[rnd(6)]};
    random_name(x->name);
    for (int k = rnd(2) ? rnd(55) : rnd(190); k >= 0; k--)
        x->target[k] = 'a' + rnd(26);
    struct inode *dir = open_node(parent);
    struct inode *i = ext2_make(dir, x->name, x->type | 0644, x->target);
    inode_put(dir);
    if (PTR_ERR(i) == -ENOSPC)
        return;
    assert_false(IS_ERR(i));
    inode_put(i);
    x->used = true;
    if (x->type != S_IFREG)
        return;
    for (x->data = 0; contents[x->data].links; x->data++)
        ;
    contents[x->data] = (struct content){1, 0, calloc(1, FILE_MAX)};
}

static void op_write(void) {
    int n = pick(S_IFREG);
    if (n < 0)
        return;
    struct content *c = &contents[nodes[n].data];
    size_t pos = rnd(rnd(2) ? FILE_MAX - 1 : c->size + 1), len = 1 + rnd(rnd(3) ? 3000 : 60000);
    pos = MIN(pos, FILE_MAX - 1);
    len = MIN(len, FILE_MAX - pos);
    uint8_t *data = malloc(len);
    memset(data, 1 + rnd(255), len);
    struct inode *i = open_node(n);
    ssize_t done = ext2_put(i, pos, data, len);
    if (done < 0)
        assert_int_equal(done, -ENOSPC);
    if (done > 0) {
        memcpy(c->bytes + pos, data, done);
        c->size = MAX(c->size, pos + done);
    }
    assert_int_equal(i->size, c->size);
    inode_put(i);
    free(data);
}

static void op_truncate(void) {
    int n = pick(S_IFREG);
    if (n < 0)
        return;
    struct content *c = &contents[nodes[n].data];
    size_t size = rnd(3) ? rnd(FILE_MAX) : 0;
    struct inode *i = open_node(n);
    assert_int_equal(inode_truncate(i, size), 0);
    if (size < c->size)
        memset(c->bytes + size, 0, c->size - size);
    c->size = size;
    inode_put(i);
}

static void op_remove(void) {
    int n = pick(0);
    if (n < 0 || (nodes[n].type == S_IFDIR && has_children(n)))
        return;
    struct inode *dir = open_node(nodes[n].parent), *i = ext2_look(dir, nodes[n].name);
    assert_int_equal(ext2_drop(dir, nodes[n].name, i), 0);
    if (nodes[n].type == S_IFREG && --contents[nodes[n].data].links == 0) {
        // Open but without a name: still there.
        struct content *c = &contents[nodes[n].data];
        uint8_t *now = malloc(FILE_MAX);
        ext2_get(i, 0, now, c->size);
        assert_memory_equal(now, c->bytes, c->size);
        free(now);
        free(c->bytes);
    }
    inode_put(i);
    inode_put(dir);
    nodes[n].used = false;
}

static void op_link(void) {
    int n = pick(S_IFREG), m = free_node(), parent = pick_dir();
    if (n < 0 || m < 0)
        return;
    struct node x = nodes[n];
    x.parent = parent;
    random_name(x.name);
    struct inode *dir = open_node(parent), *i = open_node(n);
    int err = dir->ops->link(dir, x.name, strlen(x.name), i);
    if (!err) {
        nodes[m] = x;
        contents[x.data].links++;
    } else {
        assert_int_equal(err, -ENOSPC);
    }
    inode_put(i);
    inode_put(dir);
}

static void op_rename(void) {
    int n = pick(0), parent = pick_dir(), over = rnd(2) ? pick(0) : -1;
    if (n < 0)
        return;
    struct node *x = &nodes[n], *o = NULL;
    char name[80];
    random_name(name);
    if (over >= 0 && over != n && (nodes[over].type == S_IFDIR) == (x->type == S_IFDIR) &&
        !has_children(over) &&
        !(x->type == S_IFREG && nodes[over].type == S_IFREG && x->data == nodes[over].data)) {
        o = &nodes[over];
        parent = o->parent;
        strcpy(name, o->name);
    }
    if (below(parent, n))
        return;
    struct inode *from = open_node(x->parent), *to = open_node(parent), *i = open_node(n);
    struct inode *replaced = o ? open_node(over) : NULL;
    int err = from->ops->rename(from, x->name, strlen(x->name), to, name, strlen(name), i,
                                replaced);
    if (!err) {
        if (o) {
            o->used = false;
            if (o->type == S_IFREG && --contents[o->data].links == 0)
                free(contents[o->data].bytes);
        }
        x->parent = parent;
        strcpy(x->name, name);
    } else {
        assert_int_equal(err, -ENOSPC);
    }
    if (replaced)
        inode_put(replaced);
    inode_put(i);
    inode_put(to);
    inode_put(from);
}

static void verify(void) {
    uint8_t *now = malloc(FILE_MAX);
    for (int n = 0; n < NODES; n++) {
        struct node *x = &nodes[n];
        if (!x->used)
            continue;
        struct inode *i = open_node(n);
        assert_int_equal(i->mode & S_IFMT, x->type);
        if (x->type == S_IFREG) {
            struct content *c = &contents[x->data];
            assert_int_equal(i->nlink, c->links);
            assert_int_equal(i->size, c->size);
            ext2_get(i, 0, now, c->size);
            assert_memory_equal(now, c->bytes, c->size);
        } else if (x->type == S_IFLNK) {
            char target[256] = "";
            assert_int_equal(i->ops->readlink(i, target, sizeof(target)), strlen(x->target));
            assert_string_equal(target, x->target);
        }
        inode_put(i);
    }
    free(now);
}

static void random_operations(unsigned count) {
    for (unsigned k = 0; k < count; k++) {
        switch (rnd(10)) {
        case 0:
        case 1: op_create(); break;
        case 2:
        case 3:
        case 4: op_write(); break;
        case 5: op_truncate(); break;
        case 6: op_remove(); break;
        case 7: op_link(); break;
        case 8: op_rename(); break;
        case 9:
            if (rnd(4) == 0)
                assert_int_equal(sb->ops->sync(sb), 0);
            host_drop_clean();
            break;
        }
    }
}

static void forget_model(void) {
    for (int n = 0; n < NODES; n++) {
        if (contents[n].links)
            free(contents[n].bytes);
        contents[n].links = 0;
        nodes[n].used = false;
    }
}

static void check_model(const char *options, unsigned kib, uint64_t s, unsigned count) {
    seed = s * 0x9e3779b97f4a7c15ull + 1;
    image_make(options, kib);
    for (int round = 0; round < 4; round++) {
        sb = host_mount();
        assert_non_null(sb);
        verify();
        random_operations(count);
        verify();
        host_unmount(sb);
        assert_int_equal(host_frames, 0);
        image_expect_clean();
    }
    forget_model();
}

static void test_model_1k(void **state) {
    for (uint64_t s = 1; s <= 4; s++)
        check_model("-t ext2 -b 1024", 8192, s, 400);
}
static void test_model_2k(void **state) {
    check_model("-t ext2 -b 2048", 8192, 5, 400);
}
static void test_model_4k(void **state) {
    for (uint64_t s = 6; s <= 9; s++)
        check_model("-t ext2 -b 4096", 16384, s, 400);
}
static void test_model_default(void **state) {
    check_model("-t ext2", 65536, 10, 400);
}
static void test_model_old_revision(void **state) {
    check_model("-t ext2 -r 0 -b 1024 -O none", 8192, 11, 400);
}
static void test_model_many_groups(void **state) {
    check_model("-t ext2 -b 1024 -g 1024", 16384, 12, 400);
}
// Too small for what the operations want: -ENOSPC all the time, never damage.
static void test_model_full(void **state) {
    for (uint64_t s = 20; s < 26; s++)
        check_model(s % 2 ? "-t ext2 -b 1024 -m 0" : "-t ext2 -b 4096 -m 0", 1024, s, 300);
}

static void test_many_names(void **state) {
    image_make("-t ext2 -b 1024 -N 3000", 8192);
    sb = host_mount();
    struct inode *dir = ext2_make(sb->root->inode, "d", S_IFDIR | 0755, NULL);
    char name[40];
    for (int n = 0; n < 1500; n++) {
        snprintf(name, sizeof(name), "a-rather-long-name-%d", n);
        struct inode *i = ext2_make(dir, name, S_IFREG | 0644, NULL);
        assert_false(IS_ERR(i));
        inode_put(i);
    }
    assert_int_equal(ext2_drop(sb->root->inode, "d", dir), -ENOTEMPTY);
    for (int n = 0; n < 1500; n++) {
        snprintf(name, sizeof(name), "a-rather-long-name-%d", n);
        struct inode *i = ext2_look(dir, name);
        assert_false(IS_ERR(i));
        if (n % 3)
            assert_int_equal(ext2_drop(dir, name, i), 0);
        inode_put(i);
    }
    inode_put(dir);
    host_unmount(sb);
    image_expect_clean();
}

// Triple indirect blocks and more than 4 GB in a sparse file.
static void test_large_file(void **state) {
    image_make("-t ext2 -b 1024", 8192);
    sb = host_mount();
    struct inode *i = ext2_make(sb->root->inode, "large", S_IFREG | 0644, NULL);
    const uint64_t places[] = {0, 20000, 300000, 80 * MIB, 5 * GIB, 15 * GIB};
    for (unsigned k = 0; k < ARRAY_SIZE(places); k++)
        assert_int_equal(ext2_put(i, places[k], "here", 4), 4);
    assert_int_equal(i->size, 15 * GIB + 4);
    assert_int_equal(ext2_put(i, 17 * GIB, "x", 1), -EFBIG);
    for (unsigned k = 0; k < ARRAY_SIZE(places); k++) {
        uint8_t text[4];
        ext2_get(i, places[k], text, 4);
        assert_memory_equal(text, "here", 4);
    }
    assert_int_equal(inode_truncate(i, 80 * MIB + 2), 0);
    inode_put(i);
    host_unmount(sb);
    image_expect_clean();
    image_save(host_disk.data, host_disk.size);
    assert_int_equal(
        image_shell("debugfs -R 'dump large %s.out' %s 2>/dev/null; test $(stat -c %%s %s.out) = "
                    "%llu; s=$?; rm -f %s.out; exit $s",
                    image_path, image_path, image_path, 80 * MIB + 2, image_path),
        0);
}

// What Linux would not mount as ext2 either, and what is not clean, is refused or left unwritten.
static void test_refused(void **state) {
    const char *options[] = {"-t ext4", "-t ext3", "-t ext4 -O ^has_journal",
                             "-t ext2 -O meta_bg,^resize_inode"};
    for (unsigned k = 0; k < ARRAY_SIZE(options); k++) {
        image_make(options[k], 8192);
        uint8_t *before = malloc(host_disk.size);
        memcpy(before, host_disk.data, host_disk.size);
        assert_null(host_mount());
        assert_memory_equal(before, host_disk.data, host_disk.size);
        free(before);
    }
    assert_int_equal(host_frames, 0);
}
static void test_unclean(void **state) {
    image_make("-t ext2", 8192);
    struct ext2_super *s = (struct ext2_super *)(host_disk.data + EXT2_SUPER_OFFSET);
    s->s_state &= ~EXT2_VALID_FS;
    uint8_t *before = malloc(host_disk.size);
    memcpy(before, host_disk.data, host_disk.size);
    sb = host_mount();
    assert_true(sb->read_only);
    struct inode *i = ext2_look(sb->root->inode, "lost+found");
    assert_false(IS_ERR(i));
    inode_put(i);
    assert_int_equal(PTR_ERR(ext2_make(sb->root->inode, "x", S_IFREG, NULL)), -EROFS);
    host_unmount(sb);
    assert_memory_equal(before, host_disk.data, host_disk.size);
    free(before);
}
// A disk that fails in the middle: errors, no crash, nothing left behind.
static void test_failing_disk(void **state) {
    for (uint64_t s = 30; s < 40; s++) {
        seed = s * 77777;
        image_make("-t ext2 -b 1024", 4096);
        sb = host_mount();
        host_disk.fail_after = rnd(100);
        char name[16];
        for (int n = 0; n < 200; n++) {
            snprintf(name, sizeof(name), "n%d", n);
            struct inode *i = ext2_make(sb->root->inode, name, (n % 5 ? S_IFREG : S_IFDIR) | 0755,
                                        NULL);
            if (IS_ERR(i))
                continue;
            if (n % 5)
                ext2_put(i, rnd(100000), name, sizeof(name));
            if (n % 7 == 0)
                ext2_sync(i);
            if (n % 3 == 0)
                ext2_drop(sb->root->inode, name, i);
            inode_put(i);
        }
        host_unmount(sb);
        assert_int_equal(host_frames, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_1k),
        cmocka_unit_test(test_model_2k),
        cmocka_unit_test(test_model_4k),
        cmocka_unit_test(test_model_default),
        cmocka_unit_test(test_model_old_revision),
        cmocka_unit_test(test_model_many_groups),
        cmocka_unit_test(test_model_full),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_large_file),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unclean),
        cmocka_unit_test(test_failing_disk),
    };
    return cmocka_run_group_tests(tests, image_set_up, image_tear_down);
}
