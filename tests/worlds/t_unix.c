/* linux: no */
// AF_UNIX sockets. Same result under Linux 6.1; later versions free cycles of sockets at other times.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static volatile sig_atomic_t got_signal;
static void on_signal(int sig) {
    got_signal = sig;
}

static int polled(int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    poll(&p, 1, 0);
    return p.revents;
}

static void pair(int type, int s[2]) {
    if (socketpair(AF_UNIX, type, 0, s))
        check(0, "socketpair", "type %d", type);
}

static void close2(int s[2]) {
    close(s[0]);
    close(s[1]);
}

static void test_stream(void) {
    int s[2], v;
    char buf[64] = {0};
    socklen_t len = sizeof(v);
    pair(SOCK_STREAM, s);
    struct stat st;
    fstat(s[0], &st);
    check(S_ISSOCK(st.st_mode), "is a socket", "mode %o", st.st_mode);
    CHECK_EQUAL("poll fresh", polled(s[0]), POLLOUT);
    CHECK_EQUAL("send", send(s[0], "hello ", 6, 0), 6);
    CHECK_EQUAL("write", write(s[0], "world", 5), 5);
    CHECK_EQUAL("poll readable", polled(s[1]), POLLIN | POLLOUT);
    CHECK_EQUAL("FIONREAD", (ioctl(s[1], FIONREAD, &v), v), 11);
    CHECK_EQUAL("peek", recv(s[1], buf, 8, MSG_PEEK), 8);
    CHECK_EQUAL("peek across", memcmp(buf, "hello wo", 8), 0);
    CHECK_EQUAL("receive across", recv(s[1], buf, 64, 0), 11);
    CHECK_EQUAL("contents", memcmp(buf, "hello world", 11), 0);
    CHECK_ERROR("nothing", recv(s[1], buf, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_ERROR("already connected",
                sendto(s[0], "x", 1, 0, (void *)&(struct sockaddr_un){AF_UNIX, "x"}, 4), EISCONN);
    getsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, &len);
    CHECK_EQUAL("SO_TYPE", v, SOCK_STREAM);
    getsockopt(s[0], SOL_SOCKET, SO_DOMAIN, &v, &len);
    CHECK_EQUAL("SO_DOMAIN", v, AF_UNIX);
    struct ucred cred;
    len = sizeof(cred);
    CHECK_EQUAL("SO_PEERCRED", getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
    CHECK_EQUAL("peer is us", cred.pid, getpid());
    CHECK_ERROR("bad option", setsockopt(s[0], SOL_SOCKET, 9999, &v, sizeof(v)), ENOPROTOOPT);
    CHECK_EQUAL("shutdown", shutdown(s[0], SHUT_WR), 0);
    CHECK_EQUAL("end of file", recv(s[1], buf, 1, 0), 0);
    check(polled(s[1]) & POLLRDHUP, "RDHUP", "not");
    signal(SIGPIPE, on_signal);
    CHECK_ERROR("EPIPE", send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQUAL("no signal", got_signal, 0);
    CHECK_ERROR("EPIPE again", write(s[0], "x", 1), EPIPE);
    CHECK_EQUAL("signal", got_signal, SIGPIPE);
    CHECK_EQUAL("other direction", write(s[1], "y", 1), 1);
    CHECK_EQUAL("other direction read", read(s[0], buf, 9), 1);
    write(s[1], "unread", 6);
    close(s[0]);
    CHECK_ERROR("reset: unread data", recv(s[1], buf, 1, 0), ECONNRESET);
    CHECK_EQUAL("then end of file", recv(s[1], buf, 1, 0), 0);
    check(polled(s[1]) & POLLHUP, "HUP", "not");
    close(s[1]);
}

static void test_flow(void) {
    int s[2];
    static char block[65536];
    pair(SOCK_STREAM | SOCK_NONBLOCK, s);
    long total = 0, n, back = 0;
    while ((n = send(s[0], block, sizeof(block), 0)) > 0)
        total += n;
    check(n == -1 && errno == EAGAIN && total >= 65536, "buffer fills", "%ld", total);
    CHECK_EQUAL("not writable", polled(s[0]) & POLLOUT, 0);
    while ((n = recv(s[1], block, sizeof(block), 0)) > 0)
        back += n;
    CHECK_EQUAL("all arrives", back, total);
    CHECK_EQUAL("writable", polled(s[0]), POLLOUT);
    close2(s);
    pair(SOCK_STREAM, s);
    pid_t child = fork();
    if (child == 0) {
        close(s[1]);
        for (int i = 0; i < 40; i++)
            if (write(s[0], block, 50000) != 50000)
                _exit(1);
        _exit(0);
    }
    close(s[0]);
    static char big[2000001];
    CHECK_EQUAL("WAITALL", recv(s[1], big, 1500000, MSG_WAITALL), 1500000);
    CHECK_EQUAL("WAITALL to the end", recv(s[1], big, sizeof(big), MSG_WAITALL), 500000);
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL("writer", status, 0);
    close(s[1]);
    pair(SOCK_STREAM, s);
    struct timeval t = {0, 20000};
    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    CHECK_ERROR("receive time-out", recv(s[0], block, 1, 0), EAGAIN);
    close2(s);
}

static void test_messages(int type, const char *name) {
    int s[2];
    char buf[64], text[64];
    pair(type, s);
    send(s[0], "one", 3, 0);
    send(s[0], "", 0, 0);
    send(s[0], "three", 5, 0);
    snprintf(text, 64, "%s: one message", name);
    CHECK_EQUAL(text, recv(s[1], buf, 64, 0), 3);
    snprintf(text, 64, "%s: empty message", name);
    CHECK_EQUAL(text, recv(s[1], buf, 64, 0), 0);
    struct iovec v = {buf, 2};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    snprintf(text, 64, "%s: truncated", name);
    CHECK_EQUAL(text, recvmsg(s[1], &m, MSG_PEEK), 2);
    snprintf(text, 64, "%s: MSG_TRUNC", name);
    CHECK_EQUAL(text, m.msg_flags & MSG_TRUNC, MSG_TRUNC);
    snprintf(text, 64, "%s: real length", name);
    CHECK_EQUAL(text, recv(s[1], buf, 2, MSG_TRUNC), 5);
    static char huge[1 << 20];
    snprintf(text, 64, "%s: too long", name);
    CHECK_ERROR(text, send(s[0], huge, sizeof(huge), 0), EMSGSIZE);
    long n = 0;
    while (send(s[0], huge, 1000, MSG_DONTWAIT) == 1000)
        n++;
    snprintf(text, 64, "%s: fills", name);
    check(errno == EAGAIN && n > 5, text, "%ld messages", n);
    while (recv(s[1], huge, 1000, MSG_DONTWAIT) == 1000)
        n--;
    snprintf(text, 64, "%s: none lost", name);
    CHECK_EQUAL(text, n, 0);
    close(s[1]);
    snprintf(text, 64, "%s: peer gone", name);
    CHECK_ERROR(text, send(s[0], "x", 1, MSG_NOSIGNAL), type == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
    close(s[0]);
}

static socklen_t address(struct sockaddr_un *a, const char *path) {
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    if (path[0] == '@') {
        memcpy(a->sun_path + 1, path + 1, strlen(path) - 1);
        return offsetof(struct sockaddr_un, sun_path) + strlen(path);
    }
    strcpy(a->sun_path, path);
    return sizeof(*a);
}

static void test_connect(const char *path, const char *name, int type) {
    char text[80], buf[16];
    struct sockaddr_un a, b;
    socklen_t len = address(&a, path), blen = sizeof(b);
#define NAME(t) (snprintf(text, 80, "%s: %s", name, t), text)
    int l = socket(AF_UNIX, type, 0), c = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    CHECK_ERROR(NAME("nobody there"), connect(c, (void *)&a, len),
                path[0] == '@' ? ECONNREFUSED : ENOENT);
    CHECK_EQUAL(NAME("bind"), bind(l, (void *)&a, len), 0);
    check(bind(l, (void *)&a, len) == -1 && (errno == EINVAL || errno == EADDRINUSE),
          NAME("bind twice"), "no error");
    CHECK_ERROR(NAME("name taken"), bind(c, (void *)&a, len), EADDRINUSE);
    CHECK_ERROR(NAME("not listening"), connect(c, (void *)&a, len), ECONNREFUSED);
    CHECK_ERROR(NAME("accept before listen"), accept(l, NULL, NULL), EINVAL);
    CHECK_EQUAL(NAME("listen"), listen(l, 1), 0);
    int v = 0;
    socklen_t vlen = sizeof(v);
    getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &v, &vlen);
    CHECK_EQUAL(NAME("SO_ACCEPTCONN"), v, 1);
    CHECK_EQUAL(NAME("poll idle listener"), polled(l), 0);
    CHECK_EQUAL(NAME("connect"), connect(c, (void *)&a, len), 0);
    CHECK_ERROR(NAME("connect twice"), connect(c, (void *)&a, len), EISCONN);
    CHECK_EQUAL(NAME("poll listener"), polled(l), POLLIN);
    CHECK_EQUAL(NAME("send before accept"), send(c, "early", 5, 0), 5);
    int more[4], made = 0;
    for (int i = 0; i < 4; i++)
        more[i] = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    while (made < 4 && connect(more[made], (void *)&a, len) == 0)
        made++;
    check(made == 1 && errno == EAGAIN, NAME("backlog full"), "%d more", made);
    int s = accept4(l, (void *)&b, &blen, SOCK_CLOEXEC);
    check(s >= 0, NAME("accept"), "%d", s);
    CHECK_EQUAL(NAME("unnamed peer"), blen, 2);
    CHECK_EQUAL(NAME("receive"), recv(s, buf, 16, 0), 5);
    blen = sizeof(b);
    CHECK_EQUAL(NAME("getpeername"), getpeername(c, (void *)&b, &blen), 0);
    check(!strcmp(b.sun_path + (path[0] == '@'), path + (path[0] == '@')) ||
              !memcmp(b.sun_path, a.sun_path, blen - 2),
          NAME("peer's name"), "%s", b.sun_path);
    close(l); // one connection was never accepted
    char c1;
    CHECK_ERROR(NAME("not accepted: reset"), recv(more[0], &c1, 1, 0), ECONNRESET);
    CHECK_EQUAL(NAME("accepted lives on"), send(s, "late", 4, 0), 4);
    CHECK_EQUAL(NAME("and arrives"), recv(c, buf, 16, 0), 4);
    CHECK_ERROR(NAME("listener gone"), connect(more[3], (void *)&a, len), ECONNREFUSED);
    if (path[0] != '@')
        CHECK_EQUAL(NAME("unlink"), unlink(path), 0);
    for (int i = 0; i < 4; i++)
        close(more[i]);
    close(s);
    close(c);
#undef NAME
}

static void test_datagram_names(void) {
    struct sockaddr_un a, b;
    char buf[16];
    int x = socket(AF_UNIX, SOCK_DGRAM, 0), y = socket(AF_UNIX, SOCK_DGRAM, 0);
    socklen_t len = address(&a, "@t_unix-dgram"), blen = sizeof(b);
    CHECK_EQUAL("dgram: bind", bind(x, (void *)&a, len), 0);
    CHECK_EQUAL("dgram: autobind", bind(y, (void *)&(struct sockaddr_un){.sun_family = AF_UNIX}, 2),
                0);
    getsockname(y, (void *)&b, &blen);
    CHECK_EQUAL("dgram: autobind length", blen, 8);
    CHECK_ERROR("dgram: not connected", send(y, "x", 1, 0), ENOTCONN);
    CHECK_EQUAL("dgram: sendto", sendto(y, "dg", 2, 0, (void *)&a, len), 2);
    struct sockaddr_un from;
    socklen_t flen = sizeof(from);
    CHECK_EQUAL("dgram: recvfrom", recvfrom(x, buf, 16, 0, (void *)&from, &flen), 2);
    check(flen == blen && !memcmp(&from, &b, blen), "dgram: sender", "length %d", (int)flen);
    CHECK_EQUAL("dgram: answer", sendto(x, "re", 2, 0, (void *)&from, flen), 2);
    CHECK_EQUAL("dgram: connect", connect(y, (void *)&a, len), 0);
    CHECK_EQUAL("dgram: send", send(y, "more", 4, 0), 4);
    close(x);
    CHECK_ERROR("dgram: receiver gone", send(y, "x", 1, 0), ECONNREFUSED);
    CHECK_ERROR("dgram: what it had received is lost", recv(y, buf, 16, MSG_DONTWAIT), EAGAIN);
    close(y);
    CHECK_ERROR("listen on datagram", listen(socket(AF_UNIX, SOCK_DGRAM, 0), 1), EOPNOTSUPP);
}

// ---- descriptors and credentials ----------------------------------------------------------------

static int send_fd(int s, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {"f", 1};
    struct msghdr m = {NULL, 0, &v, 1, control, sizeof(control), 0};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), &fd, sizeof(int));
    return sendmsg(s, &m, 0);
}

static int receive_fd(int s, int flags, int *result_flags) {
    char control[CMSG_SPACE(sizeof(int))] = {0}, c;
    struct iovec v = {&c, 1};
    struct msghdr m = {NULL, 0, &v, 1, control, sizeof(control), 0};
    int fd = -1;
    if (recvmsg(s, &m, flags) != 1)
        return -1;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (h && h->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(h), sizeof(int));
    *result_flags = m.msg_flags;
    return fd;
}

static void test_rights(int type, const char *name) {
    int s[2], p[2], flags = 0;
    char text[64], c = 0;
#define NAME(t) (snprintf(text, 64, "%s: %s", name, t), text)
    pair(type, s);
    pipe(p);
    CHECK_EQUAL(NAME("send a descriptor"), send_fd(s[0], p[1]), 1);
    close(p[1]);
    int seen = receive_fd(s[1], MSG_PEEK, &flags);
    check(seen >= 0, NAME("peek gives one too"), "%d", seen);
    close(seen);
    int fd = receive_fd(s[1], MSG_CMSG_CLOEXEC, &flags);
    check(fd >= 0, NAME("receive it"), "%d", fd);
    CHECK_EQUAL(NAME("cloexec"), fcntl(fd, F_GETFD), FD_CLOEXEC);
    CHECK_EQUAL(NAME("use it"), write(fd, "q", 1), 1);
    CHECK_EQUAL(NAME("it is the pipe"), read(p[0], &c, 1), 1);
    close(fd);
    CHECK_EQUAL(NAME("last one closed"), read(p[0], &c, 1), 0);
    close(p[0]);
    pipe(p);
    send_fd(s[0], p[1]);
    close(p[1]);
    CHECK_EQUAL(NAME("read without control"), read(s[1], &c, 1), 1);
    CHECK_EQUAL(NAME("drops the descriptor"), read(p[0], &c, 1), 0);
    close(p[0]);
    pipe(p);
    send_fd(s[0], p[1]);
    close(p[1]);
    close2(s);
    CHECK_EQUAL(NAME("closing drops it too"), read(p[0], &c, 1), 0);
    close(p[0]);
    CHECK_ERROR(NAME("bad descriptor"), (pair(type, s), send_fd(s[0], 999)), EBADF);
    close2(s);
#undef NAME
}

// Sockets that hold each other in their queues, and a pipe's end with them: when the last descriptor
// outside is closed, all must go, and the pipe shows it.
static void test_cycle(void) {
    int s[2], t[2], p[2];
    char c;
    struct pollfd f = {-1, POLLIN, 0};
    pair(SOCK_STREAM, s);
    pipe(p);
    send_fd(s[0], s[1]); // into s[1]'s own queue
    send_fd(s[0], p[1]);
    close(p[1]);
    close2(s);
    f.fd = p[0];
    CHECK_EQUAL("cycle of one is freed", poll(&f, 1, 10000), 1);
    CHECK_EQUAL("cycle of one: end of file", read(p[0], &c, 1), 0);
    close(p[0]);
    pair(SOCK_DGRAM, s);
    pair(SOCK_STREAM, t);
    pipe(p);
    send_fd(s[0], t[0]);
    send_fd(s[0], t[1]);
    send_fd(t[0], s[0]);
    send_fd(t[0], s[1]);
    send_fd(t[0], p[1]);
    close(p[1]);
    close2(s);
    f.fd = p[0];
    CHECK_EQUAL("reachable: stays", poll(&f, 1, 0), 0);
    close2(t);
    CHECK_EQUAL("cycle of two is freed", poll(&f, 1, 10000), 1);
    close(p[0]);
    pipe(p); // a long chain, each in the next one's queue
    int inner = dup(p[1]);
    for (int i = 0; i < 2000; i++) {
        pair(SOCK_STREAM, s);
        if (send_fd(s[0], inner) != 1)
            break;
        close(inner);
        close(s[0]);
        inner = s[1];
    }
    close(p[1]);
    f.fd = p[0];
    CHECK_EQUAL("chain holds", poll(&f, 1, 0), 0);
    close(inner);
    CHECK_EQUAL("chain is freed", poll(&f, 1, 10000), 1);
    close(p[0]);
}

static void test_cred(void) {
    int s[2], on = 1;
    pair(SOCK_DGRAM, s);
    setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
    pid_t child = fork();
    if (child == 0)
        _exit(send(s[0], "c", 1, 0) != 1);
    char control[CMSG_SPACE(sizeof(struct ucred))], c;
    struct iovec v = {&c, 1};
    struct msghdr m = {NULL, 0, &v, 1, control, sizeof(control), 0};
    CHECK_EQUAL("credentials: message", recvmsg(s[1], &m, 0), 1);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    check(h && h->cmsg_type == SCM_CREDENTIALS, "credentials: there", "none");
    struct ucred cred = {0};
    if (h)
        memcpy(&cred, CMSG_DATA(h), sizeof(cred));
    CHECK_EQUAL("credentials: pid", cred.pid, child);
    CHECK_EQUAL("credentials: uid", cred.uid, getuid());
    waitpid(child, NULL, 0);
    send(s[0], "d", 1, 0);
    m.msg_controllen = 4;
    m.msg_control = control;
    recvmsg(s[1], &m, 0);
    CHECK_EQUAL("no room: MSG_CTRUNC", m.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
    close2(s);
}

static void test_several(void) {
    int s[2];
    char a[4][8];
    struct iovec v[4];
    struct mmsghdr m[4] = {0};
    pair(SOCK_DGRAM, s);
    for (int i = 0; i < 4; i++) {
        v[i] = (struct iovec){a[i], i + 1};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    CHECK_EQUAL("sendmmsg", sendmmsg(s[0], m, 4, 0), 4);
    for (int i = 0; i < 4; i++)
        v[i].iov_len = 8;
    CHECK_EQUAL("recvmmsg", recvmmsg(s[1], m, 4, MSG_WAITFORONE, NULL), 4);
    CHECK_EQUAL("recvmmsg length", m[3].msg_len, 4);
    close2(s);
}

int main(void) {
    char dir[] = "/tmp/unixXXXXXX", path[64];
    CHECK_ERROR("unknown family", socket(40 + 5, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERROR("unknown type", socket(AF_UNIX, 9, 0), ESOCKTNOSUPPORT);
    CHECK_ERROR("unknown protocol", socket(AF_UNIX, SOCK_STREAM, 77), EPROTONOSUPPORT);
    CHECK_ERROR("not a socket", listen(1, 1), ENOTSOCK);
    test_stream();
    test_flow();
    test_messages(SOCK_DGRAM, "dgram");
    test_messages(SOCK_SEQPACKET, "seqpacket");
    mkdtemp(dir);
    snprintf(path, sizeof(path), "%s/s", dir);
    test_connect(path, "path", SOCK_STREAM);
    test_connect("@t_unix-stream", "abstract", SOCK_STREAM);
    test_connect(path, "seqpacket path", SOCK_SEQPACKET);
    rmdir(dir);
    test_datagram_names();
    test_rights(SOCK_STREAM, "stream rights");
    test_rights(SOCK_DGRAM, "dgram rights");
    test_cycle();
    test_cred();
    test_several();
    return check_end();
}
