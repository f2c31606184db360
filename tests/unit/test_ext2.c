/* sources: kernel/fs/ext2/super.c kernel/fs/ext2/check.c kernel/fs/ext2/meta.c kernel/fs/ext2/balloc.c kernel/fs/ext2/ialloc.c kernel/fs/ext2/inode.c kernel/fs/ext2/map.c kernel/fs/ext2/truncate.c kernel/fs/ext2/dir.c kernel/fs/ext2/namei.c kernel/fs/ext2/symlink.c kernel/fs/ext2/file.c kernel/block/block.c kernel/block/partition.c kernel/fs/inode.c tests/unit/ext2_host.c */
// The real ext2 code on images that Debian's mke2fs made, judged by e2fsck: random operations against
// a model, full disks, and power cuts at random points.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sys/wait.h>
#include "ext2_host.h"

static char image_path[64];

static uint64_t seed;
static uint64_t rnd(uint64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static int run(const char *fmt, ...) {
    char cmd[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    int status = system(cmd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void save_image(const void *data, size_t size) {
    FILE *f = fopen(image_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void *load_image(size_t *size) {
    FILE *f = fopen(image_path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = ftell(f);
    rewind(f);
    void *data = malloc(*size);
    assert_int_equal(fread(data, 1, *size, f), *size);
    fclose(f);
    return data;
}

static void make_image(const char *options, unsigned kib) {
    assert_int_equal(run("rm -f %s && mke2fs -q -F %s %s %u >/dev/null 2>&1", image_path, options,
                         image_path, kib),
                     0);
    size_t size;
    void *data = load_image(&size);
    host_disk_set(data, size);
    free(data);
}

static void expect_clean(void) {
    save_image(host_disk.data, host_disk.size);
    int code = run("e2fsck -fn %s >%s.log 2>&1", image_path, image_path);
    if (code)
        run("cat %s.log", image_path);
    assert_int_equal(code, 0);
}

// ---- thin calls as the VFS makes them ----
static struct inode *look(struct inode *dir, const char *name) {
    mutex_lock(&dir->lock);
    struct inode *i = dir->ops->lookup(dir, name, strlen(name));
    mutex_unlock(&dir->lock);
    return i;
}
static struct inode *make(struct inode *dir, const char *name, uint32_t mode, const char *target) {
    mutex_lock(&dir->lock);
    struct inode *i = dir->ops->create(dir, name, strlen(name), mode, 0, target);
    mutex_unlock(&dir->lock);
    return i;
}
static int drop(struct inode *dir, const char *name, struct inode *victim) {
    mutex_lock(&dir->lock);
    int err = (S_ISDIR(victim->mode) ? dir->ops->rmdir : dir->ops->unlink)(dir, name, strlen(name),
                                                                           victim);
    mutex_unlock(&dir->lock);
    return err;
}
static ssize_t put(struct inode *i, uint64_t pos, const void *data, size_t n) {
    struct file f = {.inode = i, .ops = i->file_ops};
    struct uio_vec v = {(void *)data, n};
    struct uio u = {&v, 1, n, true};
    return f.ops->write(&f, &u, &pos);
}
static int sync_file(struct inode *i) {
    struct file f = {.inode = i};
    return i->file_ops->fsync(&f, false);
}
static void get(struct inode *i, uint64_t pos, uint8_t *data, size_t n) {
    for (size_t done = 0; done < n;) {
        struct frame *f;
        assert_int_equal(pagecache_get(i->cache, (pos + done) / PAGE_SIZE, &f), 0);
        size_t offset = (pos + done) % PAGE_SIZE, k = MIN(PAGE_SIZE - offset, n - done);
        memcpy(data + done, (char *)frame_virt(f) + offset, k);
        frame_put(f);
        done += k;
    }
}

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
    struct inode *dir = open_node(nodes[n].parent), *i = look(dir, nodes[n].name);
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
static void random_name(char *to) {
    static unsigned serial;
    int len = snprintf(to, 40, "f%u", serial++);
    for (int pad = rnd(4) ? 0 : rnd(30); pad > 0; pad--)
        to[len++] = 'x';
    to[len] = 0;
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
    struct inode *i = make(dir, x->name, x->type | 0644, x->target);
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
    ssize_t done = put(i, pos, data, len);
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
    struct inode *dir = open_node(nodes[n].parent), *i = look(dir, nodes[n].name);
    assert_int_equal(drop(dir, nodes[n].name, i), 0);
    if (nodes[n].type == S_IFREG && --contents[nodes[n].data].links == 0) {
        // Open but without a name: still there.
        struct content *c = &contents[nodes[n].data];
        uint8_t *now = malloc(FILE_MAX);
        get(i, 0, now, c->size);
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
            get(i, 0, now, c->size);
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
    make_image(options, kib);
    for (int round = 0; round < 4; round++) {
        sb = host_mount();
        assert_non_null(sb);
        verify();
        random_operations(count);
        verify();
        host_unmount(sb);
        assert_int_equal(host_frames, 0);
        expect_clean();
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
    make_image("-t ext2 -b 1024 -N 3000", 8192);
    sb = host_mount();
    struct inode *dir = make(sb->root->inode, "d", S_IFDIR | 0755, NULL);
    char name[40];
    for (int n = 0; n < 1500; n++) {
        snprintf(name, sizeof(name), "a-rather-long-name-%d", n);
        struct inode *i = make(dir, name, S_IFREG | 0644, NULL);
        assert_false(IS_ERR(i));
        inode_put(i);
    }
    assert_int_equal(drop(sb->root->inode, "d", dir), -ENOTEMPTY);
    for (int n = 0; n < 1500; n++) {
        snprintf(name, sizeof(name), "a-rather-long-name-%d", n);
        struct inode *i = look(dir, name);
        assert_false(IS_ERR(i));
        if (n % 3)
            assert_int_equal(drop(dir, name, i), 0);
        inode_put(i);
    }
    inode_put(dir);
    host_unmount(sb);
    expect_clean();
}

// Triple indirect blocks and more than 4 GB in a sparse file.
static void test_large_file(void **state) {
    make_image("-t ext2 -b 1024", 8192);
    sb = host_mount();
    struct inode *i = make(sb->root->inode, "large", S_IFREG | 0644, NULL);
    const uint64_t places[] = {0, 20000, 300000, 80 * MIB, 5 * GIB, 15 * GIB};
    for (unsigned k = 0; k < ARRAY_SIZE(places); k++)
        assert_int_equal(put(i, places[k], "here", 4), 4);
    assert_int_equal(i->size, 15 * GIB + 4);
    assert_int_equal(put(i, 17 * GIB, "x", 1), -EFBIG);
    for (unsigned k = 0; k < ARRAY_SIZE(places); k++) {
        uint8_t text[4];
        get(i, places[k], text, 4);
        assert_memory_equal(text, "here", 4);
    }
    assert_int_equal(inode_truncate(i, 80 * MIB + 2), 0);
    inode_put(i);
    host_unmount(sb);
    expect_clean();
    save_image(host_disk.data, host_disk.size);
    assert_int_equal(
        run("debugfs -R 'dump large %s.out' %s 2>/dev/null; test $(stat -c %%s %s.out) = "
            "%llu; s=$?; rm -f %s.out; exit $s",
            image_path, image_path, image_path, 80 * MIB + 2, image_path),
        0);
}

// What Linux would not mount as ext2 either, and what is not clean, is refused or left unwritten.
static void test_refused(void **state) {
    const char *options[] = {"-t ext4", "-t ext3", "-t ext4 -O ^has_journal",
                             "-t ext2 -O meta_bg,^resize_inode"};
    for (unsigned k = 0; k < ARRAY_SIZE(options); k++) {
        make_image(options[k], 8192);
        uint8_t *before = malloc(host_disk.size);
        memcpy(before, host_disk.data, host_disk.size);
        assert_null(host_mount());
        assert_memory_equal(before, host_disk.data, host_disk.size);
        free(before);
    }
    assert_int_equal(host_frames, 0);
}
static void test_unclean(void **state) {
    make_image("-t ext2", 8192);
    struct ext2_super *s = (struct ext2_super *)(host_disk.data + EXT2_SUPER_OFFSET);
    s->s_state &= ~EXT2_VALID_FS;
    uint8_t *before = malloc(host_disk.size);
    memcpy(before, host_disk.data, host_disk.size);
    sb = host_mount();
    assert_true(sb->read_only);
    struct inode *i = look(sb->root->inode, "lost+found");
    assert_false(IS_ERR(i));
    inode_put(i);
    assert_int_equal(PTR_ERR(make(sb->root->inode, "x", S_IFREG, NULL)), -EROFS);
    host_unmount(sb);
    assert_memory_equal(before, host_disk.data, host_disk.size);
    free(before);
}
// A disk that fails in the middle: errors, no crash, nothing left behind.
static void test_failing_disk(void **state) {
    for (uint64_t s = 30; s < 40; s++) {
        seed = s * 77777;
        make_image("-t ext2 -b 1024", 4096);
        sb = host_mount();
        host_disk.fail_after = rnd(100);
        char name[16];
        for (int n = 0; n < 200; n++) {
            snprintf(name, sizeof(name), "n%d", n);
            struct inode *i = make(sb->root->inode, name, (n % 5 ? S_IFREG : S_IFDIR) | 0755, NULL);
            if (IS_ERR(i))
                continue;
            if (n % 5)
                put(i, rnd(100000), name, sizeof(name));
            if (n % 7 == 0)
                sync_file(i);
            if (n % 3 == 0)
                drop(sb->root->inode, name, i);
            inode_put(i);
        }
        host_unmount(sb);
        assert_int_equal(host_frames, 0);
    }
}

// ---- power cuts ----
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
        struct inode *i = make(dir_of(p->name[0]), p->name[0] + 2, S_IFREG | 0644, NULL);
        if (IS_ERR(i))
            return;
        inode_put(i);
        p->exists = true;
        return;
    }
    struct inode *dir = dir_of(p->name[0]), *i = look(dir, p->name[0] + 2);
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
        ssize_t n = put(i, 0, data, p->size);
        p->size = n > 0 ? n : 0;
        free(data);
    } else if (what <= 4) {
        assert_int_equal(sync_file(i), 0);
        strcpy(p->name[1], p->name[0]);
        p->kept = true;
        snapshot();
    } else if (what == 5) {
        p->kept = false;
        p->exists = false;
        snapshot();
        assert_int_equal(drop(dir, p->name[0] + 2, i), 0);
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
                err = drop(dir, p->name[0] + 2, i);
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
        struct inode *t = look(cut_dirs[0], name);
        if (IS_ERR(t))
            t = make(cut_dirs[0], name, S_IFDIR | 0755, NULL);
        else
            drop(cut_dirs[0], name, t);
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
    struct inode *dir = look(sb->root->inode, (char[]){path[0], 0});
    if (IS_ERR(dir))
        return false;
    struct inode *i = look(dir, path + 2);
    inode_put(dir);
    if (IS_ERR(i))
        return false;
    bool good = i->size == p->size;
    uint8_t *now = malloc(p->size + 1);
    if (good)
        get(i, 0, now, p->size);
    for (size_t k = 0; k < p->size && good; k++)
        good = now[k] == p->byte;
    free(now);
    inode_put(i);
    return good;
}

static void check_cut(const uint8_t *disk, size_t size, size_t end, uint64_t s) {
    save_image(disk, size);
    int code = run("e2fsck -fy %s >%s.log 2>&1", image_path, image_path);
    if (code & ~3)
        fail_msg("seed %lu cut %zu: e2fsck cannot repair (%d)", s, end, code);
    assert_int_equal(run("e2fsck -fn %s >/dev/null 2>&1", image_path), 0);
    void *repaired = load_image(&size);
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
            run("cat %s.log", image_path);
            fail_msg("seed %lu cut %zu: %s (or %s) was fsynced and is damaged", s, end, p->name[0],
                     p->name[1]);
        }
    }
    host_unmount(sb);
}

static void power_cuts(const char *options, unsigned kib, uint64_t s, unsigned cuts) {
    seed = s * 0x9e3779b97f4a7c15ull + 3;
    make_image(options, kib);
    sb = host_mount();
    for (int k = 0; k < 3; k++)
        cut_dirs[k] = make(sb->root->inode, (char[]){'0' + k, 0}, S_IFDIR | 0755, NULL);
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

static int set_up(void **state) {
    snprintf(image_path, sizeof(image_path), "/tmp/test_ext2.%d", getpid());
    setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    return 0;
}
static int tear_down(void **state) {
    run("rm -f %s %s.log", image_path, image_path);
    free(host_disk.data);
    host_disk.data = NULL;
    return 0;
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
        cmocka_unit_test(test_power_cut),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
