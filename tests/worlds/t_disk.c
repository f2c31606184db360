/* run: $(mktemp -d) */
// Exercises the file system at the directory given as argument: a mounted volume, or any directory on
// Linux. Prints one line per check.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int good, bad;

static void check(const char *name, int ok, const char *fmt, ...) {
    if (ok) {
        good++;
        printf("ok %s\n", name);
        return;
    }
    va_list ap;
    bad++;
    printf("not ok %s ", name);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf(" (errno %d)\n", errno);
}
#define CHECK(name, cond) check(name, (cond), "%s", #cond)

static void fill(char *p, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++)
        p[i] = (seed = seed * 1103515245 + 12345) >> 16;
}
static int put_file(const char *name, const void *data, size_t n) {
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0)
        return -1;
    ssize_t done = write(fd, data, n);
    return close(fd) || done != (ssize_t)n ? -1 : 0;
}
static int same_file(const char *name, const void *data, size_t n) {
    char *now = malloc(n + 1);
    int fd = open(name, O_RDONLY);
    size_t done = 0;
    ssize_t k;
    while (fd >= 0 && done <= n && (k = read(fd, now + done, n + 1 - done)) > 0)
        done += k;
    int same = fd >= 0 && done == n && !memcmp(now, data, n);
    close(fd);
    free(now);
    return same;
}
static long count_names(const char *dir) {
    DIR *d = opendir(dir);
    long n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void contents(void) {
    static char data[300000];
    struct stat st;
    fill(data, sizeof(data), 1);
    CHECK("write", put_file("a", data, sizeof(data)) == 0);
    CHECK("read", same_file("a", data, sizeof(data)));
    int fd = open("a", O_RDWR);
    CHECK("fsync", fsync(fd) == 0 && fdatasync(fd) == 0);
    CHECK("pwrite", pwrite(fd, "hello", 5, 4094) == 5);
    memcpy(data + 4094, "hello", 5);
    CHECK("pwrite-read", same_file("a", data, sizeof(data)));
    CHECK("truncate", ftruncate(fd, 5000) == 0 && same_file("a", data, 5000));
    CHECK("grow", ftruncate(fd, 9000) == 0 && fstat(fd, &st) == 0 && st.st_size == 9000);
    memset(data + 5000, 0, 4000);
    CHECK("grow-zeroes", same_file("a", data, 9000));
    close(fd);
    fd = open("a", O_WRONLY | O_APPEND);
    CHECK("append", write(fd, "end", 3) == 3);
    memcpy(data + 9000, "end", 3);
    close(fd);
    CHECK("append-read", same_file("a", data, 9003));
    CHECK("unlink", unlink("a") == 0 && access("a", F_OK) < 0 && errno == ENOENT);
}

static void sparse(void) {
    struct stat st;
    char c[4];
    int fd = open("sparse", O_CREAT | O_RDWR, 0600);
    CHECK("sparse-write", pwrite(fd, "far", 3, 3ll << 30) == 3);
    CHECK("sparse-size", fstat(fd, &st) == 0 && st.st_size == (3ll << 30) + 3);
    CHECK("sparse-blocks", st.st_blocks * 512ll < 200000);
    CHECK("sparse-hole", pread(fd, c, 1, 1 << 30) == 1 && c[0] == 0);
    CHECK("sparse-read", pread(fd, c, 4, 3ll << 30) == 3 && !memcmp(c, "far", 3));
    close(fd);
    CHECK("sparse-unlink", unlink("sparse") == 0);
}

static void mapped(void) {
    static char data[20000];
    fill(data, sizeof(data), 2);
    put_file("map", data, sizeof(data));
    int fd = open("map", O_RDWR);
    char *p = mmap(NULL, sizeof(data), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK("mmap", p != MAP_FAILED);
    if (p != MAP_FAILED) {
        CHECK("mmap-read", !memcmp(p, data, sizeof(data)));
        p[12345] = data[12345] ^= 0x5a;
        CHECK("msync", msync(p, sizeof(data), MS_SYNC) == 0);
        CHECK("mmap-coherent", same_file("map", data, sizeof(data)));
        munmap(p, sizeof(data));
    }
    close(fd);
    unlink("map");
}

static void names(void) {
    struct stat a, b;
    char target[300];
    put_file("n1", "one", 3);
    put_file("n2", "two", 3);
    CHECK("link", link("n1", "n3") == 0 && stat("n1", &a) == 0 && a.st_nlink == 2);
    CHECK("link-same", stat("n3", &b) == 0 && a.st_ino == b.st_ino);
    CHECK("rename", rename("n1", "n4") == 0 && same_file("n4", "one", 3) && access("n1", F_OK));
    CHECK("rename-over", rename("n2", "n4") == 0 && same_file("n4", "two", 3));
    CHECK("rename-link-left", stat("n3", &b) == 0 && b.st_nlink == 1);
    CHECK("mkdir", mkdir("d1", 0755) == 0 && mkdir("d1/d2", 0700) == 0);
    CHECK("mkdir-links", stat("d1", &a) == 0 && a.st_nlink == 3);
    CHECK("mkdir-exists", mkdir("d1", 0755) < 0 && errno == EEXIST);
    CHECK("rmdir-full", rmdir("d1") < 0 && errno == ENOTEMPTY);
    CHECK("rename-dir", mkdir("d3", 0755) == 0 && rename("d1/d2", "d3/d4") == 0);
    CHECK("dotdot", stat("d3/d4/..", &a) == 0 && stat("d3", &b) == 0 && a.st_ino == b.st_ino);
    CHECK("rename-into-itself", rename("d3", "d3/d4/x") < 0 && errno == EINVAL);
    CHECK("rmdir", rmdir("d3/d4") == 0 && rmdir("d3") == 0 && rmdir("d1") == 0);
    CHECK("symlink", symlink("n4", "s1") == 0 && same_file("s1", "two", 3));
    CHECK("readlink", readlink("s1", target, sizeof(target)) == 2 && !memcmp(target, "n4", 2));
    memset(target, 'x', 250);
    target[250] = 0;
    CHECK("symlink-long", symlink(target, "s2") == 0 && readlink("s2", target, 300) == 250);
    char *longest = malloc(300);
    memset(longest, 'n', 256);
    longest[255] = 0;
    CHECK("name-255", put_file(longest, "x", 1) == 0 && unlink(longest) == 0);
    longest[255] = 'n';
    longest[256] = 0;
    CHECK("name-256", open(longest, O_CREAT | O_WRONLY, 0644) < 0 && errno == ENAMETOOLONG);
    free(longest);
    CHECK("fifo", mkfifo("fifo", 0600) == 0 && stat("fifo", &a) == 0 && S_ISFIFO(a.st_mode));
    unlink("fifo");
    unlink("s1");
    unlink("s2");
    unlink("n3");
    unlink("n4");
    CHECK("empty-again", count_names(".") == 2);
}

static void unlinked(void) {
    char c[8] = "";
    int fd = open("gone", O_CREAT | O_RDWR, 0600);
    CHECK("unlinked-open", unlink("gone") == 0 && write(fd, "alive", 5) == 5);
    CHECK("unlinked-read", pread(fd, c, 8, 0) == 5 && !memcmp(c, "alive", 5));
    close(fd);
}

static void many(void) {
    char name[64];
    int ok = 1;
    mkdir("many", 0755);
    for (int i = 0; i < 500 && ok; i++) {
        snprintf(name, sizeof(name), "many/file-with-a-name-%d", i);
        ok = put_file(name, name, strlen(name)) == 0;
    }
    CHECK("many-create", ok);
    CHECK("many-list", count_names("many") == 502);
    for (int i = 0; i < 500 && ok; i++) {
        snprintf(name, sizeof(name), "many/file-with-a-name-%d", i);
        ok = same_file(name, name, strlen(name)) && unlink(name) == 0;
    }
    CHECK("many-remove", ok && rmdir("many") == 0);
}

static void attributes(void) {
    struct stat st;
    struct statfs fs;
    put_file("attr", "x", 1);
    struct timespec t[2] = {{1000000000, 0}, {1234567890, 0}};
    CHECK("chmod", chmod("attr", 04751) == 0 && stat("attr", &st) == 0);
    CHECK("chmod-seen", (st.st_mode & 07777) == 04751);
    CHECK("utimens", utimensat(AT_FDCWD, "attr", t, 0) == 0 && stat("attr", &st) == 0);
    CHECK("utimens-seen", st.st_atime == 1000000000 && st.st_mtime == 1234567890);
    CHECK("statfs", statfs(".", &fs) == 0 && fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks);
    unlink("attr");
}

int main(int argc, char **argv) {
    if (argc != 2 || chdir(argv[1]) != 0 || mkdir("t_disk", 0755) != 0 || chdir("t_disk") != 0) {
        fprintf(stderr, "usage: t_disk DIRECTORY (writable, without t_disk in it)\n");
        return 2;
    }
    contents();
    sparse();
    mapped();
    names();
    unlinked();
    many();
    attributes();
    sync();
    CHECK("clean-up", chdir("..") == 0 && rmdir("t_disk") == 0);
    printf("end %d ok, %d not ok\n", good, bad);
    return bad != 0;
}
