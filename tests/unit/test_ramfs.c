/* sources: kernel/fs/uio.c kernel/fs/dentry.c kernel/fs/context.c kernel/fs/path.c kernel/fs/inode.c kernel/fs/names.c kernel/fs/rename.c kernel/fs/open.c kernel/fs/ramfs.c kernel/fs/mount.c kernel/fs/pagecache.c kernel/fs/pagecache_io.c kernel/fs/cachetree.c kernel/fs/writeback.c kernel/fs/file.c kernel/fs/lock.c kernel/lib/tree.c tests/unit/fs_host.c */
// Path walking, RAM files and the page cache: chosen cases, and random operations against a model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fs/mount.h"
#include "fs_host.h"
#include "mm/layout.h"

static int put(const char *path, const char *text) {
    struct file *f = file_open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (IS_ERR(f))
        return PTR_ERR(f);
    ssize_t n = file_write_kernel(f, text, strlen(text), 0);
    file_put(f);
    return n < 0 ? n : 0;
}

static const char *get(const char *path) {
    static char text[64];
    struct file *f = file_open(path, O_RDONLY, 0);
    if (IS_ERR(f))
        return "(none)";
    ssize_t n = file_read_kernel(f, text, sizeof(text) - 1, 0);
    file_put(f);
    text[n < 0 ? 0 : n] = 0;
    return text;
}

static int exists(const char *path) {
    struct dentry *d = path_walk(NULL, path, WALK_NOFOLLOW);
    if (IS_ERR(d))
        return PTR_ERR(d);
    dentry_put(d);
    return 0;
}

static void walking(void **state) {
    assert_int_equal(vfs_mkdir("/a", 0755), 0);
    assert_int_equal(vfs_mkdir("/a/b", 0755), 0);
    assert_int_equal(put("/a/b/f", "text"), 0);
    assert_string_equal(get("//a/./b/../b//f"), "text");
    assert_string_equal(get("/../../a/b/f"), "text");
    assert_int_equal(exists("/a/b/f/"), -ENOTDIR);
    assert_int_equal(exists("/a/x/f"), -ENOENT);
    assert_int_equal(exists(""), -ENOENT);
    assert_int_equal(name_symlink(NULL, "/link", "a/b"), 0);
    assert_int_equal(name_symlink(NULL, "/a/up", "../link/f"), 0);
    assert_string_equal(get("/link/f"), "text");
    assert_string_equal(get("/a/up"), "text");
    assert_int_equal(name_symlink(NULL, "/me", "me"), 0);
    assert_int_equal(put("/me", "x"), -ELOOP);
    assert_int_equal(exists("/me/x"), -ELOOP);
    char buf[64];
    struct dentry *d = path_walk(NULL, "/link/f", 0);
    assert_int_equal(dentry_path(d, buf, sizeof(buf)), 6);
    assert_string_equal(buf, "/a/b/f");
    assert_int_equal(name_rename(NULL, "/a", NULL, "/c", false), 0);
    assert_int_equal(dentry_path(d, buf, sizeof(buf)), 6);
    assert_string_equal(buf, "/c/b/f");
    dentry_put(d);
    assert_int_equal(name_rename(NULL, "/c", NULL, "/c/b/x", false), -EINVAL);
}

static void mounting(void **state) {
    long before = host_frames;
    assert_int_equal(vfs_mkdir("/mnt", 0755), 0);
    assert_int_equal(vfs_mount("x", "/mnt", "nofs", 0, ""), -ENODEV);
    assert_int_equal(vfs_mount("x", "/mnt", "tmpfs", 0, "size=16k"), 0);
    assert_int_equal(put("/mnt/f", "in"), 0);
    assert_int_equal(vfs_mkdir("/mnt/d", 0755), 0);
    assert_int_equal(put("/mnt/d/g", "in"), 0);
    assert_int_equal(exists("/mnt/../mnt/f"), 0);
    assert_int_equal(name_rename(NULL, "/mnt/f", NULL, "/f", false), -EXDEV);
    assert_int_equal(name_rmdir(NULL, "/mnt"), -EBUSY);
    struct file *f = file_open("/mnt/f", O_RDWR, 0);
    char page[PAGE_SIZE] = {1};
    assert_int_equal(file_write_kernel(f, page, PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
    assert_int_equal(file_write_kernel(f, page, PAGE_SIZE, 2 * PAGE_SIZE), PAGE_SIZE);
    assert_int_equal(file_write_kernel(f, page, PAGE_SIZE, 3 * PAGE_SIZE), -ENOSPC);
    assert_int_equal(mount_remove(path_walk(NULL, "/mnt", 0), false), -EBUSY);
    file_put(f);
    assert_int_equal(mount_remove(path_walk(NULL, "/mnt", 0), false), 0);
    assert_int_equal(exists("/mnt/f"), -ENOENT);
    assert_int_equal(host_frames, before); // unmounting freed every page
    assert_int_equal(name_rmdir(NULL, "/mnt"), 0);
}

// Names /r/0 .. /r/7 and /r/d/0 .. /r/d/7: files with contents, or directories, or nothing.
#define NAMES 16
static struct {
    enum { NOTHING, FILE_, DIR_ } kind;
    unsigned content; // shared by hard links
} model[NAMES];
static unsigned contents[4096], content_count;

static const char *name_of(unsigned n) {
    static char name[2][16];
    static int turn;
    turn = !turn;
    snprintf(name[turn], sizeof(name[0]), n < 8 ? "/r/%u" : "/r/d/%u", n % 8);
    return name[turn];
}

static int model_rename(unsigned a, unsigned b) {
    if (model[a].kind == NOTHING)
        return -ENOENT;
    if (model[b].kind != NOTHING) {
        if (a == b || (model[a].kind == FILE_ && model[b].kind == FILE_ &&
                       model[a].content == model[b].content))
            return 0;
        if (model[a].kind != model[b].kind)
            return model[a].kind == DIR_ ? -ENOTDIR : -EISDIR;
    }
    model[b] = model[a];
    model[a].kind = NOTHING;
    return 0;
}

static void one_operation(void) {
    unsigned a = rand() % NAMES, b = rand() % NAMES;
    char text[16];
    int want = 0, got;
    switch (rand() % 6) {
    case 0: // write
        snprintf(text, sizeof(text), "%u", contents[content_count] = rand() % 1000);
        got = put(name_of(a), text);
        if (model[a].kind == DIR_) {
            want = -EISDIR;
        } else if (model[a].kind == FILE_) {
            contents[model[a].content] = contents[content_count];
        } else {
            model[a].kind = FILE_;
            model[a].content = content_count++;
        }
        break;
    case 1:
        got = vfs_mkdir(name_of(a), 0755);
        want = model[a].kind == NOTHING ? 0 : -EEXIST;
        if (!want)
            model[a].kind = DIR_;
        break;
    case 2:
        got = name_unlink(NULL, name_of(a));
        want = model[a].kind == FILE_ ? 0 : model[a].kind == DIR_ ? -EISDIR : -ENOENT;
        if (!want)
            model[a].kind = NOTHING;
        break;
    case 3:
        got = name_rmdir(NULL, name_of(a));
        want = model[a].kind == DIR_ ? 0 : model[a].kind == FILE_ ? -ENOTDIR : -ENOENT;
        if (!want)
            model[a].kind = NOTHING;
        break;
    case 4:
        got = name_rename(NULL, name_of(a), NULL, name_of(b), false);
        want = model_rename(a, b);
        break;
    default: {
        struct dentry *d = path_walk(NULL, name_of(a), 0);
        got = IS_ERR(d) ? PTR_ERR(d) : name_link(d, NULL, name_of(b));
        if (!IS_ERR(d))
            dentry_put(d);
        want = model[a].kind == NOTHING   ? -ENOENT
               : model[b].kind != NOTHING ? -EEXIST
               : model[a].kind == DIR_    ? -EPERM
                                          : 0;
        if (!want)
            model[b] = model[a];
    }
    }
    assert_int_equal(got, want);
}

static bool count_entry(struct dir_context *c, const char *name, size_t len, uint64_t ino,
                        unsigned type) {
    ((unsigned *)(c + 1))[0]++;
    return true;
}

static unsigned listed(const char *path) {
    struct {
        struct dir_context c;
        unsigned count;
    } l = {.c.emit = count_entry};
    struct file *f = file_open(path, O_RDONLY | O_DIRECTORY, 0);
    assert_false(IS_ERR(f));
    f->ops->iterate(f, &l.c);
    file_put(f);
    return l.count - 2;
}

static void compare(void) {
    unsigned in_r = 1, in_d = 0;
    for (unsigned n = 0; n < NAMES; n++) {
        char text[16];
        unsigned *count = n < 8 ? &in_r : &in_d;
        *count += model[n].kind != NOTHING;
        assert_int_equal(exists(name_of(n)), model[n].kind == NOTHING ? -ENOENT : 0);
        if (model[n].kind != FILE_)
            continue;
        snprintf(text, sizeof(text), "%u", contents[model[n].content]);
        assert_string_equal(get(name_of(n)), text);
    }
    assert_int_equal(listed("/r"), in_r);
    assert_int_equal(listed("/r/d"), in_d);
}

static void random_names(void **state) {
    long before = host_frames;
    assert_int_equal(vfs_mkdir("/r", 0755), 0);
    assert_int_equal(vfs_mkdir("/r/d", 0755), 0);
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        if (content_count > 4000)
            content_count = 2000; // old ones are overwritten long since
        one_operation();
        if (i % 16 == 0)
            compare();
    }
    for (unsigned n = 0; n < NAMES; n++)
        model[n].kind == DIR_ ? name_rmdir(NULL, name_of(n)) : name_unlink(NULL, name_of(n));
    assert_int_equal(name_rmdir(NULL, "/r/d"), 0);
    assert_int_equal(name_rmdir(NULL, "/r"), 0);
    assert_int_equal(host_frames, before);
}

#define DATA (40 * PAGE_SIZE)

// Reads, writes and truncates at random against a flat array.
static void random_data(void **state) {
    static unsigned char model_data[DATA], buf[DATA];
    uint64_t size = 0;
    long before = host_frames;
    struct file *f = file_open("/data", O_CREAT | O_RDWR, 0600);
    srand(2);
    for (unsigned i = 0; i < 5000; i++) {
        size_t at = rand() % DATA, n = rand() % (rand() % 4 ? 300 : 3 * PAGE_SIZE);
        n = MIN(n, DATA - at);
        if (rand() % 8 == 0) {
            assert_int_equal(inode_truncate(f->inode, at), 0);
            if (at < size)
                memset(model_data + at, 0, size - at);
            size = at;
        } else if (rand() % 2) {
            memset(buf, rand(), n);
            assert_int_equal(file_write_kernel(f, buf, n, at), n);
            memcpy(model_data + at, buf, n);
            if (n)
                size = MAX(size, at + n);
        } else {
            ssize_t want = at >= size ? 0 : MIN(n, size - at);
            assert_int_equal(file_read_kernel(f, buf, n, at), want);
            assert_memory_equal(buf, model_data + at, want);
        }
        assert_int_equal(f->inode->size, size);
    }
    file_put(f);
    assert_int_equal(name_unlink(NULL, "/data"), 0);
    assert_int_equal(host_frames, before);
}

static int setup(void **state) {
    host_boot();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walking),
        cmocka_unit_test(mounting),
        cmocka_unit_test(random_names),
        cmocka_unit_test(random_data),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
