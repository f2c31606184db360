// Pseudo-terminals and job control as programs see them. The same output under Linux.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int passed, failed;
static void check(const char *name, int good, const char *reason) {
    if (good) {
        passed++;
        printf("ok %s\n", name);
    } else {
        failed++;
        printf("not ok %s %s (errno %d)\n", name, reason, errno);
    }
    fflush(stdout);
}
#define CHECK(name, cond) check(name, cond, #cond)

static int master, slave;
static char path[64];

static void open_pair(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    grantpt(master);
    unlockpt(master);
    snprintf(path, sizeof(path), "%s", ptsname(master));
    slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}
static void close_pair(void) {
    close(slave);
    close(master);
}

// Reads what comes within a quarter of a second, or until `want` is in it.
static char got[4096];
static const char *output(const char *want) {
    size_t n = 0;
    struct pollfd p = {master, POLLIN, 0};
    got[0] = 0;
    while (n < sizeof(got) - 1 && poll(&p, 1, want ? 30000 : 250) > 0) {
        ssize_t r = read(master, got + n, sizeof(got) - 1 - n);
        if (r <= 0)
            break;
        n += r;
        got[n] = 0;
        if (want && strstr(got, want))
            break;
    }
    return got;
}
static int type(const char *text) {
    return write(master, text, strlen(text)) == (ssize_t)strlen(text);
}

static void opening(void) {
    int m = posix_openpt(O_RDWR | O_NOCTTY), locked = -1, number = -1;
    CHECK("ptmx", m >= 0);
    CHECK("grantpt", grantpt(m) == 0);
    const char *name = ptsname(m);
    CHECK("ptsname", name && strncmp(name, "/dev/pts/", 9) == 0);
    CHECK("locked", ioctl(m, TIOCGPTLCK, &locked) == 0 && locked == 1);
    CHECK("locked-open", name && open(name, O_RDWR | O_NOCTTY) == -1 && errno == EIO);
    CHECK("unlockpt", unlockpt(m) == 0);
    CHECK("number", ioctl(m, TIOCGPTN, &number) == 0 && name && atoi(name + 9) == number);
    int peer = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK("peer", peer >= 0 && isatty(peer));
    CHECK("master-isatty", isatty(m));
    close(peer);
    close(m);
    CHECK("name-gone", !name || access(name, F_OK) == -1);
}

static void transfer(void) {
    char buf[64];
    open_pair();
    CHECK("type", type("hello\n"));
    CHECK("line", read(slave, buf, sizeof(buf)) == 6 && memcmp(buf, "hello\n", 6) == 0);
    CHECK("echo", strcmp(output("hello\r\n"), "hello\r\n") == 0);
    CHECK("write", write(slave, "a\nb\n", 4) == 4);
    CHECK("onlcr", strcmp(output("b\r\n"), "a\r\nb\r\n") == 0);
    type("x\177y\003");
    usleep(10000);
    CHECK("flushed",
          fcntl(slave, F_SETFL, O_NONBLOCK) == 0 && read(slave, buf, 9) == -1 && errno == EAGAIN);
    output(NULL);
    close_pair();
}

static void sizes(void) {
    struct winsize w = {33, 101, 5, 6}, seen = {0};
    open_pair();
    CHECK("set-size", ioctl(master, TIOCSWINSZ, &w) == 0);
    CHECK("get-size", ioctl(slave, TIOCGWINSZ, &seen) == 0 && memcmp(&w, &seen, sizeof(w)) == 0);
    close_pair();
}

static void closing(void) {
    char c;
    struct pollfd p;
    open_pair();
    write(slave, "last", 4);
    close(slave);
    CHECK("data-after-close", read(master, got, 16) == 4);
    CHECK("eio-after-close", read(master, &c, 1) == -1 && errno == EIO);
    p = (struct pollfd){master, POLLIN, 0};
    CHECK("hup-at-master", poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    slave = open(path, O_RDWR | O_NOCTTY);
    p.revents = 0;
    CHECK("reopened", slave >= 0 && poll(&p, 1, 0) == 0);
    close(master);
    CHECK("slave-eof", read(slave, &c, 1) == 0);
    CHECK("slave-eio", write(slave, "x", 1) == -1 && errno == EIO);
    p = (struct pollfd){slave, POLLIN, 0};
    CHECK("hup-at-slave", poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    CHECK("ioctl-eio", tcgetattr(slave, &(struct termios){0}) == -1 && errno == EIO);
    close(slave);
}

static void full(void) {
    static char block[65536];
    size_t done = 0;
    ssize_t n;
    open_pair();
    struct termios t;
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    memset(block, 'z', sizeof(block));
    fcntl(master, F_SETFL, O_NONBLOCK);
    while ((n = write(master, block, sizeof(block))) > 0)
        done += n;
    CHECK("full-eagain", n == -1 && errno == EAGAIN && done >= 4000);
    size_t back = 0;
    while (back < done && (n = read(slave, block, sizeof(block))) > 0)
        back += n;
    CHECK("full-read-back", back == done);
    struct pollfd p = {master, POLLOUT, 0};
    CHECK("room-again", poll(&p, 1, 30000) == 1 && (p.revents & POLLOUT));
    close_pair();
}

// Starts fn in a session of its own with the slave as controlling terminal.
static pid_t session(int (*fn)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid)
        return pid;
    alarm(120); // one that hangs ends by this
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    dup2(slave, 0);
    dup2(slave, 1);
    close(master);
    _exit(fn());
}
static int ends_with(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}
static void say(const char *text) {
    write(1, text, strlen(text));
}

static int child_sleeps(void) {
    say("ready\n");
    pause();
    return 0;
}
static void interrupts(void) {
    open_pair();
    pid_t pid = session(child_sleeps);
    output("ready");
    type("\003");
    int status = ends_with(pid);
    CHECK("intr", WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    close_pair();
    open_pair();
    pid = session(child_sleeps);
    output("ready");
    type("\034");
    status = ends_with(pid);
    CHECK("quit", WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    close_pair();
}
static void hangup(void) {
    open_pair();
    pid_t pid = session(child_sleeps);
    output("ready");
    close(slave);
    close(master);
    int status = ends_with(pid);
    CHECK("hangup", WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

// A shell's life: a job in its own group, stopped by ^Z, continued in the foreground and background.
static int job_shell(void) {
    signal(SIGTTOU, SIG_IGN);
    int status, bad = 0;
    pid_t job = fork();
    if (job == 0) {
        signal(SIGTTOU, SIG_DFL);
        setpgid(0, 0);
        char c;
        while (tcgetpgrp(0) != getpid())
            usleep(1000);
        say("job\n");
        read(0, &c, 1);             // ^Z comes here
        ssize_t n = read(0, &c, 1); // in the background: SIGTTIN, then in the foreground: data
        _exit(n == 1 ? 7 : 1);
    }
    setpgid(job, job);
    if (tcsetpgrp(0, job))
        bad |= 1;
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTSTP)
        bad |= 2;
    tcsetpgrp(0, getpid());
    kill(-job, SIGCONT);
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTTIN)
        bad |= 4;
    tcsetpgrp(0, job);
    kill(-job, SIGCONT);
    say("again\n");
    if (waitpid(job, &status, WUNTRACED) != job || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
        bad |= 8;
    tcsetpgrp(0, getpid());
    return bad;
}
static void job_control(void) {
    open_pair();
    pid_t pid = session(job_shell);
    output("job");
    usleep(50000);
    type("\032");
    output("again");
    type("xx\nyy\n");
    int status = ends_with(pid);
    CHECK("job-tcsetpgrp", WIFEXITED(status) && !(WEXITSTATUS(status) & 1));
    CHECK("job-stop", WIFEXITED(status) && !(WEXITSTATUS(status) & 2));
    CHECK("job-ttin", WIFEXITED(status) && !(WEXITSTATUS(status) & 4));
    CHECK("job-finish", WIFEXITED(status) && !(WEXITSTATUS(status) & 8));
    close_pair();
}

static int background_writer(void) {
    struct termios t;
    int status, bad = 0;
    signal(SIGHUP, SIG_IGN); // giving the terminal up sends it to the foreground group: us
    tcgetattr(0, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(0, TCSANOW, &t);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        if (write(1, "", 1) != 1) // ignored: allowed
            _exit(1);
        signal(SIGTTOU, SIG_DFL);
        write(1, "x", 1);
        _exit(0);
    }
    if (waitpid(job, &status, WUNTRACED) != job || !WIFSTOPPED(status) ||
        WSTOPSIG(status) != SIGTTOU)
        bad |= 1;
    kill(job, SIGKILL);
    waitpid(job, &status, 0);
    int tty = open("/dev/tty", O_RDWR);
    if (tty < 0 || tcgetsid(tty) != getpid())
        bad |= 2;
    if (ioctl(tty, TIOCNOTTY) || open("/dev/tty", O_RDWR) != -1 || errno != ENXIO)
        bad |= 4;
    return bad;
}
static void background(void) {
    open_pair();
    pid_t pid = session(background_writer);
    int status = ends_with(pid);
    CHECK("tostop", WIFEXITED(status) && !(WEXITSTATUS(status) & 1));
    CHECK("dev-tty", WIFEXITED(status) && !(WEXITSTATUS(status) & 2));
    CHECK("notty", WIFEXITED(status) && !(WEXITSTATUS(status) & 4));
    close_pair();
}

static volatile int resized;
static void on_winch(int sig) {
    resized = 1;
}
static int waits_for_size(void) {
    signal(SIGWINCH, on_winch);
    say("ready\n");
    while (!resized)
        usleep(1000);
    struct winsize w = {0};
    ioctl(0, TIOCGWINSZ, &w);
    return w.ws_row == 12 ? 0 : 1;
}
static void size_signal(void) {
    struct winsize w = {12, 40, 0, 0};
    open_pair();
    pid_t pid = session(waits_for_size);
    output("ready");
    ioctl(master, TIOCSWINSZ, &w);
    CHECK("sigwinch", ends_with(pid) == 0);
    close_pair();
}

static void many(void) {
    int ok = 1;
    for (int i = 0; i < 300 && ok; i++) {
        open_pair();
        ok = master >= 0 && slave >= 0;
        close_pair();
    }
    CHECK("open-close-300", ok);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    opening();
    transfer();
    sizes();
    closing();
    full();
    interrupts();
    hangup();
    job_control();
    background();
    size_signal();
    many();
    printf("end %d ok, %d not ok\n", passed, failed);
    return failed != 0;
}
