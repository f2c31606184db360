// Descriptors: dup, close-on-exec, limits, fcntl, sharing of positions. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static char path[] = "/tmp/t_fdXXXXXX";

static void test_dup(int fd) {
    int a = dup(fd);
    CHECK_EQUAL("dup is lowest", a, fd + 1);
    lseek(a, 5, SEEK_SET);
    CHECK_EQUAL("dup shares position", lseek(fd, 0, SEEK_CUR), 5);
    CHECK_EQUAL("dup2 same", dup2(fd, fd), fd);
    CHECK_ERROR("dup3 same", dup3(fd, fd, 0), EINVAL);
    CHECK_EQUAL("dup2 far", dup2(fd, 200), 200);
    CHECK_EQUAL("F_DUPFD", fcntl(fd, F_DUPFD, 150), 150);
    CHECK_EQUAL("F_DUPFD again", fcntl(fd, F_DUPFD_CLOEXEC, 150), 151);
    CHECK_EQUAL("cloexec", fcntl(151, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL("no cloexec", fcntl(150, F_GETFD), 0);
    CHECK_EQUAL("dup3 cloexec", dup3(fd, 150, O_CLOEXEC), 150);
    CHECK_EQUAL("now cloexec", fcntl(150, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL("dup2 clears it", dup2(fd, 150), 150);
    CHECK_EQUAL("cleared", fcntl(150, F_GETFD), 0);
    CHECK_EQUAL("close", close(a), 0);
    CHECK_ERROR("close again", close(a), EBADF);
    CHECK_ERROR("close negative", close(-1), EBADF);
    CHECK_ERROR("dup of closed", dup(a), EBADF);
    CHECK_ERROR("dup2 to negative", dup2(fd, -1), EBADF);
    CHECK_EQUAL("close_range", syscall(SYS_close_range, 150, 200, 0), 0);
    CHECK_ERROR("closed by range", fcntl(200, F_GETFD), EBADF);
    CHECK_ERROR("close_range backwards", syscall(SYS_close_range, 9, 8, 0), EINVAL);
}

static void test_flags(int fd) {
    CHECK_EQUAL("F_GETFL mode", fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
    CHECK_EQUAL("F_SETFL", fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_RDONLY), 0);
    CHECK_EQUAL("flags set", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK),
                O_RDWR | O_APPEND | O_NONBLOCK);
    fcntl(fd, F_SETFL, 0);
    int on = 1;
    CHECK_EQUAL("FIONBIO", ioctl(fd, FIONBIO, &on), 0);
    CHECK_EQUAL("nonblocking", fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    fcntl(fd, F_SETFL, 0);
    CHECK_EQUAL("FIOCLEX", ioctl(fd, FIOCLEX), 0);
    CHECK_EQUAL("FIOCLEX works", fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL("FIONCLEX", ioctl(fd, FIONCLEX), 0);
    CHECK_EQUAL("F_SETFD", fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    CHECK_EQUAL("F_GETFD", fcntl(fd, F_GETFD), FD_CLOEXEC);
    fcntl(fd, F_SETFD, 0);
    CHECK_ERROR("unknown fcntl", fcntl(fd, 999), EINVAL);
    CHECK_ERROR("fcntl of closed", fcntl(99, F_GETFL), EBADF);
    CHECK_ERROR("ioctl of file", ioctl(fd, TIOCGWINSZ, path), ENOTTY);
}

static void test_limit(void) {
    struct rlimit old, low = {20, 20};
    getrlimit(RLIMIT_NOFILE, &old);
    low.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_NOFILE, &low);
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    int error = errno;
    CHECK_EQUAL("limit error", error, EMFILE);
    CHECK_EQUAL("last descriptor", last, 19);
    CHECK_ERROR("dup at limit", dup(0), EMFILE);
    CHECK_ERROR("dup2 above limit", dup2(0, 20), EBADF);
    CHECK_ERROR("F_DUPFD above limit", fcntl(0, F_DUPFD, 20), EINVAL);
    close(10);
    CHECK_EQUAL("hole is filled", open("/dev/null", O_RDONLY), 10);
    for (fd = 4; fd < 20; fd++)
        close(fd);
    setrlimit(RLIMIT_NOFILE, &old);
    low.rlim_cur = old.rlim_cur;
    int count = 0, fds[300];
    while (count < 300 && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
        count++;
    CHECK_EQUAL("many descriptors", count, 300);
    while (count)
        close(fds[--count]);
}

static void test_fork(int fd) {
    lseek(fd, 0, SEEK_SET);
    int own = open(path, O_RDWR), status;
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        read(fd, &c, 1);
        close(own);
        _exit(fcntl(own, F_GETFD) == -1 ? 7 : 8);
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("child's end", WEXITSTATUS(status), 7);
    CHECK_EQUAL("position shared with child", lseek(fd, 0, SEEK_CUR), 1);
    CHECK_EQUAL("descriptor not closed here", fcntl(own, F_GETFD), 0);
    close(own);
}

// Started again through exec: says which of two descriptors are open.
static void test_exec(char *program) {
    int keep = open("/dev/null", O_RDONLY), gone = open("/dev/null", O_RDONLY | O_CLOEXEC), status;
    char a[12], b[12];
    snprintf(a, sizeof(a), "%d", keep);
    snprintf(b, sizeof(b), "%d", gone);
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, a, b, NULL);
        _exit(99);
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("close on exec", WEXITSTATUS(status), 1);
    close(keep);
    close(gone);
}

int main(int argc, char **argv) {
    if (argc == 3)
        return (fcntl(atoi(argv[1]), F_GETFD) >= 0) + 2 * (fcntl(atoi(argv[2]), F_GETFD) >= 0);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    int fd = mkstemp(path);
    CHECK_EQUAL("file", write(fd, "0123456789", 10), 10);
    test_dup(fd);
    test_flags(fd);
    test_limit();
    test_fork(fd);
    test_exec("/proc/self/exe");
    unlink(path);
    return check_end();
}
