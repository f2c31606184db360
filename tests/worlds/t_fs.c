// Files, directories, links, renaming, listing, times, mappings. Same result under Linux.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

static int make_file(const char *path, const char *text) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int content_is(const char *path, const char *text) {
    char buf[256] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, buf, sizeof(buf));
    close(fd);
    return n == (ssize_t)strlen(text) && !memcmp(buf, text, n);
}

static void test_open(void) {
    CHECK_EQUAL("create", make_file("f", "hello"), 0);
    check(content_is("f", "hello"), "read back", "differs");
    CHECK_ERROR("O_EXCL", open("f", O_CREAT | O_EXCL | O_RDWR, 0600), EEXIST);
    CHECK_ERROR("absent", open("absent", O_RDONLY), ENOENT);
    CHECK_ERROR("empty path", open("", O_RDONLY), ENOENT);
    CHECK_ERROR("file as directory", open("f/x", O_RDONLY), ENOTDIR);
    CHECK_ERROR("trailing slash of a file", open("f/", O_RDONLY), ENOTDIR);
    CHECK_ERROR("O_DIRECTORY of a file", open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERROR("directory for writing", open(".", O_WRONLY), EISDIR);
    CHECK_ERROR("create with trailing slash", open("new/", O_CREAT | O_WRONLY, 0600), EISDIR);
    char name[300];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    CHECK_ERROR("long name", open(name, O_RDONLY), ENAMETOOLONG);
    name[255] = 0;
    CHECK_ERROR("longest name", open(name, O_RDONLY), ENOENT);
    CHECK_ERROR("bad pointer", open(bad_memory, O_RDONLY), EFAULT);
    int fd = open("f", O_RDONLY);
    CHECK_ERROR("write to read-only", write(fd, "x", 1), EBADF);
    CHECK_ERROR("read to bad memory", read(fd, bad_memory, 1), EFAULT);
    CHECK_ERROR("ftruncate read-only", ftruncate(fd, 0), EINVAL);
    close(fd);
    fd = open("f", O_WRONLY);
    CHECK_ERROR("read of write-only", read(fd, name, 1), EBADF);
    close(fd);
    mode_t old = umask(027);
    fd = open("masked", O_CREAT | O_WRONLY, 0666);
    struct stat st;
    fstat(fd, &st);
    CHECK_EQUAL("umask", st.st_mode & 0777, 0640);
    umask(old);
    close(fd);
    unlink("masked");
}

static void test_position(void) {
    char buf[16] = "";
    int fd = open("p", O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK_EQUAL("write", write(fd, "0123456789", 10), 10);
    CHECK_EQUAL("seek set", lseek(fd, 4, SEEK_SET), 4);
    CHECK_EQUAL("read", read(fd, buf, 3), 3);
    check(!memcmp(buf, "456", 3), "read what", "%.3s", buf);
    CHECK_EQUAL("seek cur", lseek(fd, -2, SEEK_CUR), 5);
    CHECK_EQUAL("seek end", lseek(fd, 2, SEEK_END), 12);
    CHECK_EQUAL("read at end", read(fd, buf, 1), 0);
    CHECK_ERROR("seek before start", lseek(fd, -1, SEEK_SET), EINVAL);
    CHECK_ERROR("seek whence", lseek(fd, 0, 99), EINVAL);
    CHECK_EQUAL("write behind end", write(fd, "x", 1), 1);
    CHECK_EQUAL("hole", pread(fd, buf, 3, 10), 3);
    check(!memcmp(buf, "\0\0x", 3), "hole is zero", "differs");
    CHECK_EQUAL("pwrite", pwrite(fd, "AB", 2, 1), 2);
    CHECK_EQUAL("position unmoved", lseek(fd, 0, SEEK_CUR), 13);
    CHECK_EQUAL("pread", pread(fd, buf, 4, 0), 4);
    check(!memcmp(buf, "0AB3", 4), "pwrite what", "%.4s", buf);
    CHECK_ERROR("pread negative", pread(fd, buf, 1, -1), EINVAL);
    struct iovec v[3] = {{buf, 2}, {buf + 8, 0}, {buf + 2, 3}};
    lseek(fd, 3, SEEK_SET);
    CHECK_EQUAL("readv", readv(fd, v, 3), 5);
    check(!memcmp(buf, "34567", 5), "readv what", "%.5s", buf);
    CHECK_EQUAL("writev none", writev(fd, v, 0), 0);
    volatile int many = 5000;
    CHECK_ERROR("writev many", writev(fd, v, many), EINVAL);
    CHECK_EQUAL("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE), 13);
    CHECK_ERROR("SEEK_DATA behind end", lseek(fd, 20, SEEK_DATA), ENXIO);
    CHECK_EQUAL("truncate", ftruncate(fd, 5), 0);
    CHECK_EQUAL("grow", ftruncate(fd, 8), 0);
    CHECK_EQUAL("read grown", pread(fd, buf, 16, 3), 5);
    check(!memcmp(buf, "34\0\0\0", 5), "grown is zero", "differs");
    close(fd);
    fd = open("p", O_WRONLY | O_APPEND);
    lseek(fd, 0, SEEK_SET);
    CHECK_EQUAL("append", write(fd, "zz", 2), 2);
    CHECK_EQUAL("append position", lseek(fd, 0, SEEK_CUR), 10);
    close(fd);
    CHECK_EQUAL("truncate by name", truncate("p", 0), 0);
    struct stat st;
    stat("p", &st);
    CHECK_EQUAL("size", st.st_size, 0);
}

static void test_large(void) {
    static char a[300000], b[300000];
    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = i * 7 + i / 4096;
    int fd = open("large", O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK_EQUAL("large write", write(fd, a, sizeof(a)), sizeof(a));
    CHECK_EQUAL("large read", pread(fd, b, sizeof(b), 0), sizeof(b));
    check(!memcmp(a, b, sizeof(a)), "large contents", "differ");
    CHECK_EQUAL("far write", pwrite(fd, "x", 1, 1ll << 33), 1);
    struct stat st;
    fstat(fd, &st);
    CHECK_EQUAL("far size", st.st_size, (1ll << 33) + 1);
    check(st.st_blocks < 2000, "sparse", "%ld blocks", (long)st.st_blocks);
    int out = open("copy", O_CREAT | O_RDWR | O_TRUNC, 0600);
    off_t from = 1000;
    CHECK_EQUAL("sendfile", sendfile(out, fd, &from, 200000), 200000);
    CHECK_EQUAL("sendfile offset", from, 201000);
    CHECK_EQUAL("copy read", pread(out, b, 200000, 0), 200000);
    check(!memcmp(a + 1000, b, 200000), "copy contents", "differ");
    close(out);
    close(fd);
    unlink("large");
    unlink("copy");
}

static void test_names(void) {
    struct stat a, b;
    CHECK_EQUAL("mkdir", mkdir("d", 0755), 0);
    CHECK_ERROR("mkdir again", mkdir("d", 0755), EEXIST);
    CHECK_ERROR("mkdir dot", mkdir(".", 0755), EEXIST);
    CHECK_EQUAL("mkdir slash", mkdir("d/e/", 0755), 0);
    CHECK_ERROR("mkdir without parent", mkdir("d/x/y", 0755), ENOENT);
    stat("d", &a);
    CHECK_EQUAL("directory links", a.st_nlink, 3);
    CHECK_ERROR("rmdir not empty", rmdir("d"), ENOTEMPTY);
    CHECK_ERROR("rmdir dot", rmdir("d/."), EINVAL);
    CHECK_ERROR("rmdir dot dot", rmdir("d/e/.."), ENOTEMPTY);
    CHECK_ERROR("rmdir file", rmdir("f"), ENOTDIR);
    CHECK_ERROR("unlink directory", unlink("d"), EISDIR);
    CHECK_ERROR("unlink absent", unlink("absent"), ENOENT);
    CHECK_EQUAL("dot dot", stat("d/e/..", &b), 0);
    check(a.st_ino == b.st_ino, "dot dot is parent", "differs");
    CHECK_EQUAL("rmdir", rmdir("d/e"), 0);
    CHECK_EQUAL("link", link("f", "d/g"), 0);
    CHECK_ERROR("link exists", link("f", "d/g"), EEXIST);
    CHECK_ERROR("link of directory", link("d", "h"), EPERM);
    stat("f", &a);
    stat("d/g", &b);
    check(a.st_ino == b.st_ino && a.st_nlink == 2, "linked", "%lu %lu %lu", a.st_ino, b.st_ino,
          a.st_nlink);
    int fd = open("d/g", O_RDONLY);
    CHECK_EQUAL("unlink open", unlink("d/g"), 0);
    char c;
    CHECK_EQUAL("read unlinked name", read(fd, &c, 1), 1);
    close(fd);
    fd = open("gone", O_CREAT | O_RDWR, 0600);
    unlink("gone");
    CHECK_EQUAL("write unlinked", write(fd, "still", 5), 5);
    fstat(fd, &a);
    CHECK_EQUAL("unlinked links", a.st_nlink, 0);
    CHECK_EQUAL("unlinked size", a.st_size, 5);
    close(fd);
    CHECK_EQUAL("mkfifo", mkfifo("fifo", 0600), 0);
    lstat("fifo", &a);
    check(S_ISFIFO(a.st_mode), "is a fifo", "%o", a.st_mode);
    CHECK_EQUAL("unlink fifo", unlink("fifo"), 0);
    rmdir("d");
}

static void test_symlinks(void) {
    char buf[64] = "";
    struct stat a, b;
    CHECK_EQUAL("symlink", symlink("f", "s"), 0);
    CHECK_EQUAL("readlink", readlink("s", buf, sizeof(buf)), 1);
    CHECK_EQUAL("readlink cut", readlink("s", buf, 1), 1);
    CHECK_ERROR("readlink of file", readlink("f", buf, sizeof(buf)), EINVAL);
    check(content_is("s", "hello"), "through link", "differs");
    lstat("s", &a);
    check(S_ISLNK(a.st_mode) && a.st_size == 1, "lstat", "%o %ld", a.st_mode, (long)a.st_size);
    stat("s", &a);
    stat("f", &b);
    check(a.st_ino == b.st_ino, "stat follows", "differs");
    CHECK_ERROR("O_NOFOLLOW", open("s", O_RDONLY | O_NOFOLLOW), ELOOP);
    CHECK_ERROR("symlink exists", symlink("x", "s"), EEXIST);
    CHECK_ERROR("empty target", symlink("", "empty"), ENOENT);
    symlink("loop2", "loop1");
    symlink("loop1", "loop2");
    CHECK_ERROR("loop", open("loop1", O_RDONLY), ELOOP);
    symlink("made", "dangling");
    CHECK_ERROR("dangling", open("dangling", O_RDONLY), ENOENT);
    CHECK_ERROR("dangling exclusive", open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
    int fd = open("dangling", O_CREAT | O_WRONLY, 0600);
    check(fd >= 0 && !access("made", F_OK), "create through link", "fd %d", fd);
    close(fd);
    mkdir("dir", 0755);
    symlink("dir", "dirlink");
    make_file("dir/in", "in");
    check(content_is("dirlink/in", "in"), "directory link", "differs");
    check(content_is("dirlink/../dirlink/./in", "in"), "mixed path", "differs");
    lstat("dirlink/", &a);
    check(S_ISDIR(a.st_mode), "trailing slash follows", "%o", a.st_mode);
    CHECK_ERROR("rmdir of link", rmdir("dirlink"), ENOTDIR);
    fd = open("s", O_PATH | O_NOFOLLOW);
    check(fd >= 0, "O_PATH", "fd %d", fd);
    fstat(fd, &a);
    check(S_ISLNK(a.st_mode), "O_PATH of link", "%o", a.st_mode);
    CHECK_ERROR("O_PATH read", read(fd, buf, 1), EBADF);
    CHECK_EQUAL("readlinkat empty", readlinkat(fd, "", buf, sizeof(buf)), 1);
    close(fd);
    const char *names[] = {"s", "loop1", "loop2", "dangling", "made", "dirlink", "dir/in"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        unlink(names[i]);
    rmdir("dir");
}

static void test_rename(void) {
    struct stat a, b;
    make_file("r1", "one");
    make_file("r2", "two");
    stat("r1", &a);
    CHECK_EQUAL("rename over", rename("r1", "r2"), 0);
    stat("r2", &b);
    check(a.st_ino == b.st_ino && content_is("r2", "one"), "renamed", "differs");
    CHECK_ERROR("old name", access("r1", F_OK), ENOENT);
    CHECK_EQUAL("rename to itself", rename("r2", "r2"), 0);
    link("r2", "r3");
    CHECK_EQUAL("rename same file", rename("r2", "r3"), 0);
    CHECK_EQUAL("both stay", access("r2", F_OK), 0);
    CHECK_ERROR("absent", rename("absent", "x"), ENOENT);
    mkdir("da", 0755);
    mkdir("db", 0755);
    mkdir("da/sub", 0755);
    CHECK_ERROR("into itself", rename("da", "da/sub/x"), EINVAL);
    CHECK_ERROR("onto ancestor", rename("da/sub", "da"), ENOTEMPTY);
    CHECK_ERROR("directory onto file", rename("db", "r2"), ENOTDIR);
    CHECK_ERROR("file onto directory", rename("r2", "db"), EISDIR);
    CHECK_ERROR("onto full directory", rename("db", "da"), ENOTEMPTY);
    CHECK_ERROR("dot", rename("da/.", "x"), EBUSY);
    CHECK_EQUAL("onto empty directory", rename("da", "db"), 0);
    CHECK_EQUAL("child moved along", access("db/sub", F_OK), 0);
    make_file("db/sub/file", "x");
    CHECK_EQUAL("to other directory", rename("db/sub", "moved"), 0);
    check(content_is("moved/file", "x"), "moved contents", "differs");
    stat("moved/..", &a);
    stat(".", &b);
    check(a.st_ino == b.st_ino, "dot dot after rename", "differs");
    stat("db", &a);
    CHECK_EQUAL("links after rename", a.st_nlink, 2);
    CHECK_ERROR("no replace", syscall(SYS_renameat2, AT_FDCWD, "r2", AT_FDCWD, "r3", 1), EEXIST);
    char cwd[256];
    char *old = getcwd(NULL, 0);
    chdir("moved");
    rename("../moved", "../other");
    check(getcwd(cwd, sizeof(cwd)) && strstr(cwd, "/other"), "cwd after rename", "%s", cwd);
    chdir(old);
    free(old);
    unlink("other/file");
    rmdir("other");
    rmdir("db");
    unlink("r2");
    unlink("r3");
}

// Removes files while listing the directory, as rm -r does: each must be seen once.
static void test_listing(void) {
    enum { FILES = 500 };
    static char seen[FILES];
    char name[32];
    int found = 0, twice = 0, dots = 0, types = 0;
    mkdir("list", 0755);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "list/file%d", i);
        make_file(name, "");
    }
    DIR *d = opendir("list");
    struct dirent *e;
    while ((e = readdir(d))) {
        int i;
        if (e->d_name[0] == '.') {
            dots++;
            continue;
        }
        if (sscanf(e->d_name, "file%d", &i) != 1 || i < 0 || i >= FILES)
            continue;
        found++;
        twice += seen[i]++;
        types += e->d_type == DT_REG || e->d_type == DT_UNKNOWN;
        snprintf(name, sizeof(name), "list/file%d", i);
        unlink(name);
    }
    CHECK_EQUAL("all seen", found, FILES);
    CHECK_EQUAL("none twice", twice, 0);
    CHECK_EQUAL("dots", dots, 2);
    CHECK_EQUAL("types", types, FILES);
    rewinddir(d);
    dots = 0;
    while (readdir(d))
        dots++;
    CHECK_EQUAL("empty after", dots, 2);
    closedir(d);
    CHECK_EQUAL("remove it", rmdir("list"), 0);
    char buf[8];
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    CHECK_ERROR("buffer too small", syscall(SYS_getdents64, fd, buf, sizeof(buf)), EINVAL);
    CHECK_ERROR("read of directory", read(fd, buf, 1), EISDIR);
    close(fd);
    fd = open("f", O_RDONLY);
    CHECK_ERROR("list a file", syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOTDIR);
    close(fd);
}

static void test_cwd(void) {
    char path[256], *old = getcwd(NULL, 0);
    mkdir("cwd", 0755);
    CHECK_EQUAL("chdir", chdir("cwd"), 0);
    snprintf(path, sizeof(path), "%s/cwd", old);
    char now[256];
    check(getcwd(now, sizeof(now)) && !strcmp(now, path), "getcwd", "%s", now);
    CHECK_ERROR("getcwd short", syscall(SYS_getcwd, now, 2), ERANGE);
    CHECK_EQUAL("remove the cwd", rmdir("../cwd"), 0);
    CHECK_ERROR("getcwd removed", syscall(SYS_getcwd, now, sizeof(now)), ENOENT);
    CHECK_ERROR("create in removed", open("x", O_CREAT | O_WRONLY, 0600), ENOENT);
    int fd = open(old, O_RDONLY);
    CHECK_EQUAL("fchdir", fchdir(fd), 0);
    CHECK_EQUAL("openat", faccessat(fd, "f", R_OK, 0), 0);
    close(fd);
    CHECK_ERROR("chdir to file", chdir("f"), ENOTDIR);
    CHECK_ERROR("bad dirfd", faccessat(99, "f", R_OK, 0), EBADF);
    free(old);
}

static void test_attributes(void) {
    struct stat st;
    CHECK_EQUAL("chmod", chmod("f", 0751), 0);
    stat("f", &st);
    CHECK_EQUAL("mode", st.st_mode, S_IFREG | 0751);
    CHECK_EQUAL("executable", access("f", X_OK), 0);
    chmod("f", 0644);
    CHECK_ERROR("not executable", access("f", X_OK), EACCES);
    struct timespec t[2] = {{1000, 5}, {2000, 7}};
    CHECK_EQUAL("utimensat", utimensat(AT_FDCWD, "f", t, 0), 0);
    stat("f", &st);
    check(st.st_atime == 1000 && st.st_mtime == 2000 && st.st_mtim.tv_nsec == 7, "times", "%ld %ld",
          (long)st.st_atime, (long)st.st_mtime);
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_nsec = UTIME_NOW;
    int fd = open("f", O_RDWR);
    CHECK_EQUAL("futimens", futimens(fd, t), 0);
    fstat(fd, &st);
    check(st.st_atime == 1000 && st.st_mtime > 2000, "omit and now", "%ld %ld", (long)st.st_atime,
          (long)st.st_mtime);
    t[0].tv_nsec = -1;
    CHECK_ERROR("bad time", futimens(fd, t), EINVAL);
    close(fd);
    struct statx sx;
    CHECK_EQUAL("statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx), 0);
    CHECK_EQUAL("statx size", sx.stx_size, 5);
    CHECK_EQUAL("statx inode", sx.stx_ino, st.st_ino);
    struct statfs sf;
    CHECK_EQUAL("statfs", statfs(".", &sf), 0);
    check(sf.f_bsize >= 512 && sf.f_bfree <= sf.f_blocks, "statfs values", "%ld", sf.f_bsize);
    CHECK_ERROR("fstatat flags", fstatat(AT_FDCWD, "f", &st, 0x40000000), EINVAL);
}

static void test_map(void) {
    int fd = open("map", O_CREAT | O_RDWR | O_TRUNC, 0600);
    ftruncate(fd, 8192);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    check(shared != MAP_FAILED && private != MAP_FAILED, "mmap", "failed");
    char c = 0;
    shared[5000] = 'm';
    CHECK_EQUAL("map to read", pread(fd, &c, 1, 5000), 1);
    CHECK_EQUAL("map value", c, 'm');
    pwrite(fd, "w", 1, 100);
    CHECK_EQUAL("write to map", shared[100], 'w');
    CHECK_EQUAL("write to private map", private[100], 'w');
    private[100] = 'p';
    CHECK_EQUAL("private stays private", shared[100], 'w');
    CHECK_EQUAL("msync", msync(shared, 8192, MS_SYNC), 0);
    munmap(shared, 8192);
    munmap(private, 8192);
    close(fd);
    fd = open("map", O_RDONLY);
    check(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES,
          "map read-only for writing", "allowed");
    close(fd);
    unlink("map");
    fd = syscall(SYS_memfd_create, "mem", 0);
    CHECK_EQUAL("memfd", ftruncate(fd, 4096), 0);
    char *mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    mem[1] = 'x';
    pread(fd, &c, 1, 1);
    CHECK_EQUAL("memfd value", c, 'x');
    munmap(mem, 4096);
    close(fd);
}

static void test_devices(void) {
    char buf[64];
    int fd = open("/dev/null", O_RDWR);
    CHECK_EQUAL("null read", read(fd, buf, 8), 0);
    CHECK_EQUAL("null write", write(fd, buf, 8), 8);
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    memset(buf, 1, sizeof(buf));
    CHECK_EQUAL("zero", read(fd, buf, sizeof(buf)), sizeof(buf));
    check(!buf[0] && !buf[63], "zeroes", "differ");
    close(fd);
    fd = open("/dev/full", O_RDWR);
    CHECK_ERROR("full", write(fd, buf, 1), ENOSPC);
    close(fd);
    fd = open("/dev/urandom", O_RDONLY);
    CHECK_EQUAL("urandom", read(fd, buf, sizeof(buf)), sizeof(buf));
    close(fd);
    struct stat st;
    stat("/dev/null", &st);
    check(S_ISCHR(st.st_mode) && st.st_rdev == 0x103, "null's number", "%lx", st.st_rdev);
    fd = open("/proc/self/stat", O_RDONLY);
    int n = read(fd, buf, sizeof(buf));
    check(n > 10 && atoi(buf) == getpid(), "/proc/self", "%d", n);
    close(fd);
    fd = open("f", O_RDONLY);
    char link[64], target[256], here[256];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof(target) - 1);
    target[n < 0 ? 0 : n] = 0;
    getcwd(here, sizeof(here) - 2);
    strcat(here, "/f");
    check(!strcmp(target, here), "fd link", "%s", target);
    check(content_is(link, "hello"), "open through fd link", "differs");
    close(fd);
}

int main(void) {
    char dir[] = "/tmp/t_fsXXXXXX";
    if (!mkdtemp(dir) || chdir(dir)) {
        printf("not ok work directory %s\n", strerror(errno));
        return 1;
    }
    umask(022);
    test_open();
    test_position();
    test_large();
    test_names();
    test_symlinks();
    test_rename();
    test_listing();
    test_cwd();
    test_attributes();
    test_map();
    test_devices();
    unlink("f");
    unlink("p");
    chdir("/");
    CHECK_EQUAL("nothing left", rmdir(dir), 0);
    return check_end();
}
