#include "replay/wire.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

// A descriptor goes with the first byte.
static void attach_fd(struct msghdr *m, union control *control, int fd) {
    memset(control, 0, sizeof(*control));
    m->msg_control = control;
    m->msg_controllen = sizeof(*control);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
}

static void advance(struct iovec parts[2], size_t done) {
    for (int i = 0; i < 2; i++) {
        size_t step = done < parts[i].iov_len ? done : parts[i].iov_len;
        parts[i].iov_base = (char *)parts[i].iov_base + step;
        parts[i].iov_len -= step;
        done -= step;
    }
}

int wire_send(int socket, const void *head, size_t head_size, const void *data, size_t size,
              int fd) {
    struct iovec parts[2] = {{(void *)head, head_size}, {(void *)data, size}};
    union control control;
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
        if (fd >= 0)
            attach_fd(&m, &control, fd);
        ssize_t done = sendmsg(socket, &m, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -EPIPE;
        advance(parts, done);
        fd = -1;
    }
    return 0;
}

static void take_fd(struct msghdr *m, int *fd) {
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
}

int wire_receive(int socket, void *buf, size_t n, int *fd) {
    union control control;
    if (fd)
        *fd = -1;
    for (size_t have = 0; have < n;) {
        struct iovec rest = {(char *)buf + have, n - have};
        struct msghdr m = {.msg_iov = &rest, .msg_iovlen = 1};
        if (fd) {
            m.msg_control = &control;
            m.msg_controllen = sizeof(control);
        }
        ssize_t got = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EPIPE;
        if (fd && *fd < 0)
            take_fd(&m, fd);
        have += got;
    }
    return 0;
}
