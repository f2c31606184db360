// termios: the line discipline as a program sees it, on a pseudo-terminal. The same output under
// Linux.
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
#include <time.h>
#include <unistd.h>
#include "asleep.h"

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
static struct termios cooked;

static void type(const char *text) {
    if (write(master, text, strlen(text)) < 0)
        perror("write");
    usleep(2000);
}

#define COMING 30000 // ms: what must come does so before
#define QUIET  50    // ms: what must not come would have come by then

// What the terminal shows: `most` characters, or less when nothing comes for so long.
static char text[8192];
static size_t shown(size_t most, int ms) {
    size_t n = 0;
    struct pollfd p = {master, POLLIN, 0};
    while (n < most && poll(&p, 1, ms) > 0 && (p.revents & POLLIN)) {
        ssize_t r = read(master, text + n, most - n);
        if (r <= 0)
            break;
        n += r;
    }
    text[n] = 0;
    return n;
}
static int shows(const char *want) {
    size_t n = shown(strlen(want), COMING);
    return n == strlen(want) && memcmp(text, want, n) == 0 && shown(sizeof(text) - 1, QUIET) == 0;
}

// One read from the slave, which must give `want`.
static int reads(const char *want) {
    static char buf[8192];
    struct pollfd p = {slave, POLLIN, 0};
    if (poll(&p, 1, COMING) != 1)
        return 0;
    ssize_t n = read(slave, buf, sizeof(buf));
    return n == (ssize_t)strlen(want) && memcmp(buf, want, n) == 0;
}
static int nothing(void) {
    struct pollfd p = {slave, POLLIN, 0};
    return poll(&p, 1, QUIET) == 0;
}
// Waits until so many bytes have come to the slave: Linux hands input over in the background.
static void arrived(int bytes) {
    int n = 0;
    for (int i = 0; i < COMING && (ioctl(slave, FIONREAD, &n) || n < bytes); i++)
        usleep(1000);
}
static void set(const struct termios *t) {
    tcsetattr(slave, TCSANOW, t);
}

static void settings(void) {
    struct termios t, u;
    CHECK("tcgetattr", tcgetattr(slave, &cooked) == 0);
    CHECK("default-lflag",
          cooked.c_lflag == (ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN));
    CHECK("default-iflag", cooked.c_iflag == (ICRNL | IXON));
    CHECK("default-oflag", cooked.c_oflag == (OPOST | ONLCR));
    CHECK("default-speed", cfgetospeed(&cooked) == B38400);
    CHECK("default-chars",
          memcmp(cooked.c_cc, "\003\034\177\025\004\0\1\0\021\023\032\0\022\017\027\026\0", 17) ==
              0);
    t = cooked;
    t.c_cc[VINTR] = 'x';
    cfsetspeed(&t, B9600);
    set(&t);
    tcgetattr(slave, &u);
    CHECK("tcsetattr", u.c_cc[VINTR] == 'x' && cfgetospeed(&u) == B9600);
    CHECK("by-master", tcgetattr(master, &u) == 0 && u.c_cc[VINTR] == 'x');
    set(&cooked);
    CHECK("efault", ioctl(slave, TCGETS, (void *)8) == -1 && errno == EFAULT);
    CHECK("enotty", ioctl(slave, 0x54ff, 0) == -1 && errno == ENOTTY);
    CHECK("not-a-tty", ioctl(open("/dev/null", O_RDWR), TCGETS, &t) == -1 && errno == ENOTTY);
    CHECK("seek", lseek(slave, 0, SEEK_CUR) == -1 && errno == ESPIPE);
    int d = -1;
    CHECK("discipline", ioctl(slave, TIOCGETD, &d) == 0 && d == 0);
}

static void editing(void) {
    type("abd\177c\n");
    CHECK("erase", reads("abc\n"));
    CHECK("erase-echo", shows("abd\b \bc\r\n"));
    type("wrong\025right\n");
    CHECK("kill", reads("right\n"));
    CHECK("kill-echo", shows("wrong\b \b\b \b\b \b\b \b\b \bright\r\n"));
    type("one two\027x\n");
    CHECK("werase", reads("one x\n"));
    CHECK("werase-echo", shows("one two\b \b\b \b\b \bx\r\n"));
    type("a\026\003\n");
    CHECK("lnext", reads("a\003\n"));
    CHECK("lnext-echo", shows("a^\b^C\r\n"));
    type("ab\022c\n");
    CHECK("reprint", reads("abc\n"));
    CHECK("reprint-echo", shows("ab^R\r\nabc\r\n"));
    type("part\004");
    CHECK("eof-partial", reads("part"));
    type("\004");
    CHECK("eof", reads(""));
    CHECK("eof-once", nothing());
    type("one\ntwo\n");
    CHECK("line-1", reads("one\n"));
    CHECK("line-2", reads("two\n"));
    CHECK("eof-echo", shows("partone\r\ntwo\r\n"));
    type("a\tb\177\177\177\n");
    CHECK("tab-erase", reads("\n"));
    CHECK("tab-echo", shows("a\tb\b \b\b\b\b\b\b\b\b\b \b\r\n"));
    type("cr\r");
    CHECK("icrnl", reads("cr\n"));
    CHECK("icrnl-echo", shows("cr\r\n"));
}

static void utf8(void) {
    struct termios t = cooked;
    t.c_iflag |= IUTF8;
    set(&t);
    type("\xe2\x82\xac\xc3\xa9\177\n");
    CHECK("utf8-erase", reads("\xe2\x82\xac\n"));
    CHECK("utf8-echo", shows("\xe2\x82\xac\xc3\xa9\b \b\r\n"));
    set(&cooked);
}

static void long_line(void) {
    static char big[6000];
    struct termios t = cooked;
    t.c_lflag &= ~ECHO;
    set(&t);
    memset(big, 'a', sizeof(big));
    for (int i = 0; i < 6; i++) {
        ssize_t n = write(master, big, 1000);
        (void)n;
        usleep(2000);
    }
    type("\n");
    usleep(20000);
    static char back[8192];
    ssize_t n = read(slave, back, sizeof(back));
    CHECK("long-line", n == 4096 && back[4095] == '\n');
    set(&cooked);
    tcflush(slave, TCIOFLUSH);
}

static void echo(void) {
    struct termios t = cooked;
    t.c_lflag &= ~ECHO;
    set(&t);
    type("secret\n");
    CHECK("no-echo", shows(""));
    reads("secret\n");
    t.c_lflag |= ECHONL;
    set(&t);
    type("secret\n");
    CHECK("echonl", shows("\r\n"));
    reads("secret\n");
    t = cooked;
    t.c_lflag &= ~ECHOCTL;
    set(&t);
    type("\001\n");
    CHECK("no-echoctl", shows("\001\r\n"));
    reads("\001\n");
    set(&cooked);
}

static void output(void) {
    struct termios t = cooked;
    dprintf(slave, "a\nb");
    CHECK("onlcr", shows("a\r\nb"));
    t.c_oflag = 0;
    set(&t);
    dprintf(slave, "a\nb");
    CHECK("no-opost", shows("a\nb"));
    t.c_oflag = OPOST | OCRNL | XTABS;
    set(&t);
    dprintf(slave, "\r\tx");
    CHECK("ocrnl-xtabs", shows("\n       x"));
    set(&cooked);
    CHECK("tcdrain", tcdrain(slave) == 0);
    CHECK("tcsendbreak", tcsendbreak(slave, 0) == 0);
}

// A write that stopped output may hold up; it has come to that, or to its end.
static pid_t write_held(void) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(write(slave, "held", 4) != 4);
    siginfo_t ended = {0};
    while (!ended.si_pid && !threads_asleep(pid)) {
        usleep(1000);
        waitid(P_PID, pid, &ended, WEXITED | WNOHANG | WNOWAIT);
    }
    return pid;
}
static int written(pid_t pid) {
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void flow(void) {
    struct termios t = cooked;
    t.c_lflag &= ~ECHO;
    set(&t);
    type("\023behind\n");
    CHECK("behind-xoff", reads("behind\n")); // so the stop character was heard, too
    set(&cooked);
    pid_t pid = write_held();
    CHECK("xoff", shows(""));
    type("\021");
    CHECK("xon", shows("held") && written(pid));
    CHECK("tcflow-off", tcflow(slave, TCOOFF) == 0);
    pid = write_held();
    CHECK("tcflow-held", shows(""));
    CHECK("tcflow-on", tcflow(slave, TCOON) == 0 && shows("held") && written(pid));
    CHECK("tcflow-invalid", tcflow(slave, 9) == -1 && errno == EINVAL);
    type("abc\n");
    arrived(4);
    CHECK("tcflush", tcflush(slave, TCIFLUSH) == 0 && nothing());
    CHECK("tcflush-invalid", tcflush(slave, 9) == -1 && errno == EINVAL);
    CHECK("tcflush-echo", shows("abc\r\n"));
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void raw(void) {
    struct termios t = cooked;
    char buf[32];
    int n;
    cfmakeraw(&t);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    set(&t);
    type("a\r\003\004");
    CHECK("raw", reads("a\r\003\004"));
    CHECK("raw-no-echo", shows(""));
    t.c_cc[VMIN] = 0;
    set(&t);
    CHECK("min0-time0", read(slave, buf, sizeof(buf)) == 0);
    t.c_cc[VTIME] = 3;
    set(&t);
    double begin = now();
    CHECK("min0-time3", read(slave, buf, sizeof(buf)) == 0);
    CHECK("min0-time3-took", now() - begin > 0.2);
    type("ab");
    arrived(2);
    CHECK("min0-data", read(slave, buf, sizeof(buf)) == 2);
    t.c_cc[VMIN] = 5;
    t.c_cc[VTIME] = 2;
    set(&t);
    type("abc");
    CHECK("min5-time2", read(slave, buf, sizeof(buf)) == 3);
    t.c_cc[VTIME] = 0;
    set(&t);
    type("abc");
    arrived(3);
    CHECK("min5-poll", nothing());
    CHECK("fionread", ioctl(slave, FIONREAD, &n) == 0 && n == 3);
    type("de");
    CHECK("min5", reads("abcde"));
    fcntl(slave, F_SETFL, O_NONBLOCK);
    CHECK("nonblock", read(slave, buf, 1) == -1 && errno == EAGAIN);
    fcntl(slave, F_SETFL, 0);
    set(&cooked);
}

static void queues(void) {
    int n = -1;
    CHECK("outq", ioctl(slave, TIOCOUTQ, &n) == 0 && n == 0);
    type("abc\nde");
    arrived(4);
    CHECK("fionread-lines", ioctl(slave, FIONREAD, &n) == 0 && n == 4);
    tcflush(slave, TCIFLUSH);
    CHECK("outq-echo", shows("abc\r\nde"));
    CHECK("pgrp-not-ours", tcgetpgrp(slave) == -1 && errno == ENOTTY);
    CHECK("excl", ioctl(slave, TIOCEXCL) == 0 && ioctl(slave, TIOCNXCL) == 0);
    CHECK("ttyname", ttyname(slave) && strncmp(ttyname(slave), "/dev/pts/", 9) == 0);
}

int main(void) {
    signal(SIGHUP, SIG_IGN);
    master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK("open", master >= 0 && slave >= 0);
    settings();
    editing();
    utf8();
    long_line();
    echo();
    output();
    flow();
    raw();
    queues();
    printf("end %d ok, %d not ok\n", passed, failed);
    return failed != 0;
}
