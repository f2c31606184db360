// See ext2_image.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sys/wait.h>
#include "ext2_image.h"

char image_path[64];

uint64_t seed;
uint64_t rnd(uint64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

int image_shell(const char *fmt, ...) {
    char cmd[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    int status = system(cmd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

void image_save(const void *data, size_t size) {
    FILE *f = fopen(image_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

void *image_load(size_t *size) {
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

void image_make(const char *options, unsigned kib) {
    assert_int_equal(image_shell("rm -f %s && mke2fs -q -F %s %s %u >/dev/null 2>&1", image_path,
                                 options, image_path, kib),
                     0);
    size_t size;
    void *data = image_load(&size);
    host_disk_set(data, size);
    free(data);
}

void image_expect_clean(void) {
    image_save(host_disk.data, host_disk.size);
    int code = image_shell("e2fsck -fn %s >%s.log 2>&1", image_path, image_path);
    if (code)
        image_shell("cat %s.log", image_path);
    assert_int_equal(code, 0);
}

void random_name(char *to) {
    static unsigned serial;
    int len = snprintf(to, 40, "f%u", serial++);
    for (int pad = rnd(4) ? 0 : rnd(30); pad > 0; pad--)
        to[len++] = 'x';
    to[len] = 0;
}

// ---- thin calls as the VFS makes them ----
struct inode *ext2_look(struct inode *dir, const char *name) {
    mutex_lock(&dir->lock);
    struct inode *i = dir->ops->lookup(dir, name, strlen(name));
    mutex_unlock(&dir->lock);
    return i;
}
struct inode *ext2_make(struct inode *dir, const char *name, uint32_t mode, const char *target) {
    mutex_lock(&dir->lock);
    struct inode *i = dir->ops->create(dir, name, strlen(name), mode, 0, target);
    mutex_unlock(&dir->lock);
    return i;
}
int ext2_drop(struct inode *dir, const char *name, struct inode *victim) {
    mutex_lock(&dir->lock);
    int err = (S_ISDIR(victim->mode) ? dir->ops->rmdir : dir->ops->unlink)(dir, name, strlen(name),
                                                                           victim);
    mutex_unlock(&dir->lock);
    return err;
}
ssize_t ext2_put(struct inode *i, uint64_t pos, const void *data, size_t n) {
    struct file f = {.inode = i, .ops = i->file_ops};
    struct uio_vec v = {(void *)data, n};
    struct uio u = {&v, 1, n, true};
    return f.ops->write(&f, &u, &pos);
}
int ext2_sync(struct inode *i) {
    struct file f = {.inode = i};
    return i->file_ops->fsync(&f, false);
}
void ext2_get(struct inode *i, uint64_t pos, uint8_t *data, size_t n) {
    for (size_t done = 0; done < n;) {
        struct frame *f;
        assert_int_equal(pagecache_get(i->cache, (pos + done) / PAGE_SIZE, &f), 0);
        size_t offset = (pos + done) % PAGE_SIZE, k = MIN(PAGE_SIZE - offset, n - done);
        memcpy(data + done, (char *)frame_virt(f) + offset, k);
        frame_put(f);
        done += k;
    }
}

// ---- the group of tests ----
int image_set_up(void **state) {
    snprintf(image_path, sizeof(image_path), "/tmp/test_ext2.%d", getpid());
    setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    return 0;
}
int image_tear_down(void **state) {
    image_shell("rm -f %s %s.log", image_path, image_path);
    free(host_disk.data);
    host_disk.data = NULL;
    return 0;
}
