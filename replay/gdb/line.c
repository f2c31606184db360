#define _GNU_SOURCE // accept4()
#include "replay/gdb/line.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include "replay/gdb/debugger.h"

// ---- opening -----------------------------------------------------------------------------------------
static int complain(char *error, size_t n, const char *path, const char *why) {
    snprintf(error, n, "%s: %s", path, why);
    return -1;
}

static int open_terminal(struct line *l, const char *path) {
    struct termios t;
    l->door = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (l->door < 0 || tcgetattr(l->door, &t))
        return -1;
    cfmakeraw(&t);
    // TCSAFLUSH: what was said before is not meant for us.
    return tcsetattr(l->door, TCSAFLUSH, &t);
}

// A socket that nobody serves any more is in the way. (Without waiting: at one that is served others may queue.)
static bool is_stale(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
                 errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static int open_socket(struct line *l, const char *path, const struct stat *there) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    if (there && S_ISSOCK(there->st_mode) && is_stale(&address))
        unlink(path);
    l->door = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->door < 0)
        return -1;
    return bind(l->door, (struct sockaddr *)&address, sizeof(address)) ? -1 : listen(l->door, 1);
}

static int watch(struct line *l, int how, int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(l->events, how, fd, &event);
}

int line_open(struct line *l, const char *path, int leave_fd, char *error, size_t n) {
    struct stat st;
    bool there = stat(path, &st) == 0;
    *l = (struct line){.door = -1, .client = -1, .leave_fd = leave_fd, .events = -1};
    l->terminal = there && S_ISCHR(st.st_mode);
    l->events = epoll_create1(EPOLL_CLOEXEC);
    if (l->events < 0 ||
        (l->terminal ? open_terminal(l, path) : open_socket(l, path, there ? &st : NULL)) ||
        watch(l, EPOLL_CTL_ADD, l->door) || (leave_fd >= 0 && watch(l, EPOLL_CTL_ADD, leave_fd))) {
        complain(error, n, path, strerror(errno));
        line_close(l, NULL);
        return -1;
    }
    return 0;
}

void line_close(struct line *l, const char *path) {
    line_hang_up(l);
    if (l->door >= 0)
        close(l->door);
    if (l->events >= 0)
        close(l->events);
    if (path && !l->terminal)
        unlink(path);
}

// ---- clients -----------------------------------------------------------------------------------------
// Until `fd` is ready for `events`. False: the user wants the end, or `limit` ms passed.
static bool await(struct line *l, int fd, short events, int limit) {
    struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = l->leave_fd, .events = POLLIN}};
    int n;
    do {
        n = poll(p, 2, limit);
    } while (n < 0 && errno == EINTR);
    l->left |= n > 0 && p[1].revents;
    return n > 0 && !l->left;
}

static bool user_leaves(struct line *l) {
    struct pollfd p = {.fd = l->leave_fd, .events = POLLIN};
    l->left |= l->leave_fd >= 0 && poll(&p, 1, 0) > 0;
    return l->left;
}

static void lost(struct line *l) {
    l->gone = true;
    if (l->terminal) {
        l->dead = true;
        watch(l, EPOLL_CTL_DEL, l->door);
    }
}

// Bytes that are there now into the empty buffer: more than 0, 0 if there are none yet, -1: there will be none.
static int fill(struct line *l, int fd) {
    ssize_t n = read(fd, l->bytes, sizeof(l->bytes));
    l->at = 0;
    l->end = n > 0 ? (size_t)n : 0;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        lost(l);
        return -1;
    }
    return n > 0;
}

// A terminal cannot say that somebody has come, but a client begins with a packet; what lies before is left
// over from the one before.
bool line_knock(void *opaque) {
    struct line *l = opaque;
    if (!l->terminal || user_leaves(l))
        return true;
    while (l->at == l->end || l->bytes[l->at] != '$') {
        if (l->at < l->end)
            l->at++;
        else if (fill(l, l->door) <= 0)
            return false;
    }
    return true;
}

bool line_waiting(struct line *l) {
    return l->terminal && !l->dead && line_knock(l);
}

bool line_accept(struct line *l) {
    while (!user_leaves(l)) {
        if (line_waiting(l)) {
            l->client = l->door;
        } else if (!l->terminal) {
            l->at = l->end = 0;
            l->client = accept4(l->door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        }
        if (l->client >= 0)
            break;
        await(l, l->dead ? -1 : l->door, POLLIN, -1); // whoever knocked may be gone again
    }
    l->gone = l->dead;
    if (l->client >= 0 && !l->terminal) { // others wait until this one has left
        watch(l, EPOLL_CTL_DEL, l->door);
        watch(l, EPOLL_CTL_ADD, l->client);
    }
    return l->client >= 0;
}

void line_hang_up(struct line *l) {
    if (l->client >= 0 && !l->terminal) {
        close(l->client); // and out of the set with it
        watch(l, EPOLL_CTL_ADD, l->door);
    }
    l->client = -1;
}

// ---- bytes -------------------------------------------------------------------------------------------
int line_get(void *opaque, bool wait) {
    struct line *l = opaque;
    while (l->at == l->end) {
        if (l->gone || user_leaves(l))
            return CHANNEL_GONE;
        if (fill(l, l->client) != 0)
            continue;
        if (!wait)
            return CHANNEL_NOTHING;
        await(l, l->client, POLLIN, -1);
    }
    return l->bytes[l->at++];
}

void line_send(void *opaque, const void *bytes, size_t n) {
    struct line *l = opaque;
    for (const uint8_t *from = bytes; n && !l->gone && !l->left;) {
        ssize_t sent = write(l->client, from, n);
        if (sent > 0) {
            from += sent;
            n -= (size_t)sent;
        } else if (errno != EAGAIN && errno != EINTR) {
            lost(l);
        } else if (!await(l, l->client, POLLOUT, LINE_SLOW_MS)) {
            l->gone = true;
        }
    }
}
