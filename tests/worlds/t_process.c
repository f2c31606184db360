// fork, exec, wait, job control, sessions, limits. Same result under Linux.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static const char *self;
static volatile sig_atomic_t children;
static void on_child(int sig) {
    children++;
}

static int wait_status(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static pid_t start_exec(const char *what) {
    pid_t pid = fork();
    if (!pid) {
        execl(self, self, what, (char *)NULL);
        _exit(126);
    }
    return pid;
}

static void test_fork_wait(void) {
    static int shared = 1;
    int status;
    pid_t pid = fork();
    if (!pid) {
        shared = 2;
        _exit(getppid() > 0 ? 7 : 8);
    }
    CHECK_EQUAL("waitpid", waitpid(pid, &status, 0), pid);
    CHECK_EQUAL("exit status", status, 7 << 8);
    CHECK_EQUAL("memory is a copy", shared, 1);
    CHECK_ERROR("no child left", waitpid(-1, &status, 0), ECHILD);
    CHECK_ERROR("bad options", waitpid(-1, &status, 0x100), EINVAL);
    int go[2];
    char c;
    if (pipe(go) != 0)
        abort();
    pid = fork();
    if (!pid)
        _exit(read(go[0], &c, 1) != 1);
    CHECK_EQUAL("WNOHANG", waitpid(pid, &status, WNOHANG), 0);
    CHECK_EQUAL("the child goes on", write(go[1], "x", 1), 1);
    close(go[0]);
    close(go[1]);
    siginfo_t info;
    CHECK_EQUAL("waitid WNOWAIT", waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
    check(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 0, "waitid's info",
          "pid %d code %d status %d", info.si_pid, info.si_code, info.si_status);
    struct rusage usage;
    CHECK_EQUAL("still there", wait4(pid, &status, 0, &usage), pid);
}

static void test_exec(void) {
    CHECK_EQUAL("exec", wait_status(start_exec("exit3")), 3 << 8);
    CHECK_EQUAL("arguments", wait_status(start_exec("args")), 0);
    pid_t pid = vfork();
    if (!pid) {
        execl(self, self, "exit3", (char *)NULL);
        _exit(126);
    }
    CHECK_EQUAL("vfork and exec", wait_status(pid), 3 << 8);
    char *argv[] = {(char *)self, "exit3", NULL}, *envp[] = {NULL};
    check(posix_spawn(&pid, self, NULL, NULL, argv, envp) == 0, "posix_spawn", "failed");
    CHECK_EQUAL("spawned", wait_status(pid), 3 << 8);
    CHECK_ERROR("no such program", execl("/nonexistent", "x", (char *)NULL), ENOENT);
    CHECK_ERROR("a directory", execl("/", "x", (char *)NULL), EACCES);
    char path[] = "/tmp/t_processXXXXXX";
    int fd = mkstemp(path);
    fchmod(fd, 0755);
    check(write(fd, "#!", 2) == 2, "script written", "not");
    check(write(fd, self, strlen(self)) > 0 && write(fd, " script \n", 9) == 9, "its line", "not");
    close(fd);
    pid = fork();
    if (!pid) {
        execl(path, "name", path, (char *)NULL);
        _exit(126);
    }
    CHECK_EQUAL("script", wait_status(pid), 0);
    fd = open(path, O_TRUNC | O_WRONLY);
    check(write(fd, "\177ELF nonsense", 13) == 13, "bad program written", "not");
    close(fd);
    CHECK_ERROR("bad program", execl(path, "x", (char *)NULL), ENOEXEC);
    chmod(path, 0644);
    CHECK_ERROR("not executable", execl(path, "x", (char *)NULL), EACCES);
    unlink(path);
    char *big = malloc(200000);
    memset(big, 'x', 199999);
    big[199999] = 0;
    CHECK_ERROR("too long", execl(self, self, big, (char *)NULL), E2BIG);
    free(big);
}

static void test_signals_over_exec(void) {
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, on_child);
    CHECK_EQUAL("ignored stays, handler goes", wait_status(start_exec("signals")), 0);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int kept = fcntl(fd, F_DUPFD, 50);
    CHECK_EQUAL("close on exec", wait_status(start_exec("files")), 0);
    close(fd);
    close(kept);
}

static void test_job_control(void) {
    int status;
    signal(SIGCHLD, on_child);
    children = 0;
    pid_t pid = fork();
    if (!pid) {
        setpgid(0, 0);
        for (;;)
            pause();
    }
    setpgid(pid, pid);
    CHECK_EQUAL("getpgid", getpgid(pid), pid);
    kill(pid, SIGSTOP);
    CHECK_EQUAL("wait for the stop", waitpid(pid, &status, WUNTRACED), pid);
    check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "stopped", "%x", status);
    CHECK_EQUAL("reported once", waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
    kill(pid, SIGCONT);
    CHECK_EQUAL("wait for the continuation", waitpid(pid, &status, WCONTINUED), pid);
    check(WIFCONTINUED(status), "continued", "%x", status);
    kill(-pid, SIGTSTP);
    CHECK_EQUAL("stop by terminal signal", waitpid(pid, &status, WUNTRACED), pid);
    kill(pid, SIGKILL); // ends a stopped process
    CHECK_EQUAL("wait for the end", waitpid(pid, &status, 0), pid);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "killed while stopped", "%x", status);
    check(children >= 3, "SIGCHLD for each", "%d", children);
    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (!pid)
        _exit(0);
    CHECK_ERROR("ignored SIGCHLD leaves no zombie", waitpid(pid, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void test_sessions(void) {
    int status;
    CHECK_ERROR("no such group", setpgid(0, NOBODY), EPERM);
    CHECK_ERROR("not a child", setpgid(1, 0), ESRCH);
    pid_t pid = fork();
    if (!pid) {
        int ok = setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid();
        ok = ok && setsid() == -1 && errno == EPERM && setpgid(0, 0) == -1 && errno == EPERM;
        _exit(!ok);
    }
    waitpid(pid, &status, 0);
    CHECK_EQUAL("setsid", status, 0);
}

// A grandchild whose parent ends comes to the nearest subreaper.
static void test_orphans(void) {
    int p[2], status;
    pid_t orphan = 0;
    if (pipe(p) != 0)
        abort();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = fork();
    if (!pid) {
        pid_t inner = fork();
        if (!inner) {
            usleep(20000);
            _exit(getppid() == 0);
        }
        check(write(p[1], &inner, sizeof(inner)) == sizeof(inner), "told", "not");
        _exit(0);
    }
    waitpid(pid, &status, 0);
    check(read(p[0], &orphan, sizeof(orphan)) == sizeof(orphan), "orphan's number", "none");
    CHECK_EQUAL("orphan comes to the subreaper", waitpid(orphan, &status, 0), orphan);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    // A stopped orphaned group is hung up.
    pid = fork();
    if (!pid) {
        pid_t inner = fork();
        if (!inner) {
            setpgid(0, 0);
            raise(SIGSTOP);
            _exit(0);
        }
        waitpid(inner, &status, WUNTRACED);
        check(write(p[1], &inner, sizeof(inner)) == sizeof(inner), "stopped one told", "not");
        _exit(0);
    }
    waitpid(pid, &status, 0);
    check(read(p[0], &orphan, sizeof(orphan)) == sizeof(orphan), "its number", "none");
    int gone = 0;
    for (int i = 0; i < 3000 && !gone; i++) {
        gone = kill(orphan, 0) == -1;
        usleep(10000);
    }
    check(gone, "SIGHUP to stopped orphans", "it is still there");
}

static volatile int strange_signals;
static void on_strange(int sig) {
    strange_signals++;
}

// With CLONE_PARENT the caller's parent hears of the end, as it hears of the caller's: by SIGCHLD, whatever
// signal the caller asked for.
static void test_sibling(void) {
    const int strange = 58;
    signal(strange, on_strange);
    pid_t pid = fork();
    if (pid == 0) {
        syscall(SYS_clone, (long)CLONE_PARENT | strange, 0L, 0L, 0L, 0L);
        _exit(0);
    }
    CHECK_EQUAL("sibling: two children ended",
                (wait4(-1, NULL, __WALL, NULL) > 0) + (wait4(-1, NULL, __WALL, NULL) > 0), 2);
    CHECK_EQUAL("sibling: no signal of its choice", strange_signals, 0);
    signal(strange, SIG_DFL);
}

static void test_others(void) {
    struct rlimit limit;
    struct utsname names;
    cpu_set_t cpus;
    char name[16];
    CHECK_EQUAL("uname", uname(&names), 0);
    CHECK_EQUAL("sysname", strcmp(names.sysname, "Linux"), 0);
    CHECK_EQUAL("RLIMIT_STACK", getrlimit(RLIMIT_STACK, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    limit.rlim_max = 1;
    CHECK_ERROR("soft over hard", setrlimit(RLIMIT_STACK, &limit), EINVAL);
    CHECK_EQUAL("PR_SET_NAME", prctl(PR_SET_NAME, "a-rather-long-name"), 0);
    CHECK_EQUAL("PR_GET_NAME", prctl(PR_GET_NAME, name), 0);
    CHECK_EQUAL("15 characters", strcmp(name, "a-rather-long-n"), 0);
    CHECK_EQUAL("affinity", sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    check(CPU_COUNT(&cpus) >= 1, "processors", "none");
    CHECK_EQUAL("nice", setpriority(PRIO_PROCESS, 0, 5), 0);
    CHECK_EQUAL("nice value", getpriority(PRIO_PROCESS, 0), 5);
    CHECK_ERROR("clone flags", clone(NULL, NULL, 0, NULL), EINVAL);
}

// What this program does when it is started by itself.
static int child(int argc, char **argv) {
    if (!strcmp(argv[1], "exit3"))
        return 3;
    if (!strcmp(argv[1], "args"))
        return argc != 2 || strcmp(argv[0], self) || argv[2];
    if (!strcmp(argv[1], "script"))
        return argc != 4 ||
               strcmp(argv[2], argv[3]); // by its path, then what it was given: that path
    if (!strcmp(argv[1], "signals")) {
        struct sigaction a, b;
        sigaction(SIGUSR1, NULL, &a);
        sigaction(SIGUSR2, NULL, &b);
        return a.sa_handler != SIG_IGN || b.sa_handler != SIG_DFL;
    }
    if (!strcmp(argv[1], "files"))
        return fcntl(50, F_GETFD) == -1 || fcntl(3, F_GETFD) != -1;
    return 99;
}

int main(int argc, char **argv) {
    char path[256];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    self = n > 0 ? path : argv[0];
    if (argc > 1)
        return child(argc, argv);
    test_fork_wait();
    test_exec();
    test_signals_over_exec();
    test_job_control();
    test_sessions();
    test_orphans();
    test_sibling();
    test_others();
    return check_end();
}
