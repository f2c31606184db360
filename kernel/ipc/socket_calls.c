// Socket system calls but those that move data (socket_msg.c) and options (socket_options.c).
#include "cpu/clock.h"
#include "ipc/socket.h"
#include "ipc/timeout.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "syscall/syscall.h"

static const struct socket_family *families[AF_MAX];

void socket_family_register(const struct socket_family *f) {
    families[f->family] = f;
}

// ---- the socket as a file -----------------------------------------------------------------------

static ssize_t socket_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct socket *s = f->data;
    struct socket_message m = {.uio = *u};
    if (!u->resid)
        return 0;
    return s->ops->receive(s, &m, f->flags & O_NONBLOCK ? MSG_DONTWAIT : 0);
}

static ssize_t socket_write(struct file *f, struct uio *u, uint64_t *pos) {
    struct socket *s = f->data;
    struct socket_message m = {.uio = *u};
    return s->ops->send(s, &m, f->flags & O_NONBLOCK ? MSG_DONTWAIT : 0);
}

static unsigned socket_poll(struct file *f, struct poll_table *t) {
    struct socket *s = f->data;
    return s->ops->poll(s, t);
}

static long socket_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct socket *s = f->data;
    return s->ops->ioctl ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;
}

static void socket_release(struct file *f) {
    struct socket *s = f->data;
    if (s) // an accept that failed leaves none
        s->ops->release(s);
}

const struct file_ops socket_file_ops = {
    .read = socket_read,
    .write = socket_write,
    .seek = file_no_seek,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .release = socket_release,
};

struct file *socket_file_alloc(struct socket *s, unsigned flags) {
    struct file *f = file_alloc_anon("socket", &socket_file_ops, s, O_RDWR | (flags & O_NONBLOCK));
    if (!IS_ERR(f) && s)
        s->file = f;
    return f;
}

struct socket *socket_get(int fd, struct file **f) {
    *f = fd_get(fd);
    if (!*f)
        return ERR_PTR(-EBADF);
    struct socket *s = file_socket(*f);
    if (s)
        return s;
    file_put(*f);
    return ERR_PTR(-ENOTSOCK);
}

static uint64_t deadline_of(uint64_t timeout, unsigned flags) {
    if (flags & MSG_DONTWAIT)
        return 0;
    return timeout == UINT64_MAX ? UINT64_MAX : deadline_after_ns(timeout);
}

uint64_t socket_send_deadline(const struct socket *s, unsigned flags) {
    return deadline_of(READ_ONCE(s->send_timeout), flags);
}

uint64_t socket_receive_deadline(const struct socket *s, unsigned flags) {
    return deadline_of(READ_ONCE(s->receive_timeout), flags);
}

struct ucred socket_current_cred(void) {
    const struct process *p = current_process();
    if (!p)
        return (struct ucred){0};
    return (struct ucred){p->pid, p->euid, p->egid};
}

// ---- addresses ----------------------------------------------------------------------------------

int address_from_user(struct __kernel_sockaddr_storage *a, const void __user *user, int len) {
    if (len < 0 || len > (int)sizeof(*a))
        return -EINVAL;
    return len ? copy_from_user(a, user, len) : 0;
}

int address_to_user(const struct __kernel_sockaddr_storage *a, unsigned len, void __user *user,
                    int __user *user_len) {
    int room;
    if (get_user(room, user_len))
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (copy_to_user(user, a, MIN((unsigned)room, len)))
        return -EFAULT;
    return put_user((int)len, user_len); // the full length, even if it was cut
}

// ---- creation -----------------------------------------------------------------------------------

static int socket_create(int family, int type, int protocol, struct socket **out) {
    if (family < 0 || family >= AF_MAX || !families[family])
        return -EAFNOSUPPORT;
    if (type & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC))
        return -EINVAL;
    return families[family]->create(type & SOCK_TYPE_MASK, protocol, out);
}

// A new socket with its file. ERR_PTR.
static struct file *socket_open(int family, int type, int protocol) {
    struct socket *s;
    int err = socket_create(family, type, protocol, &s);
    if (err)
        return ERR_PTR(err);
    struct file *f = socket_file_alloc(s, type & O_NONBLOCK);
    if (IS_ERR(f))
        s->ops->release(s);
    return f;
}

long sys_socket(int family, int type, int protocol) {
    struct file *f = socket_open(family, type, protocol);
    return IS_ERR(f) ? PTR_ERR(f) : fd_install(f, 0, type & SOCK_CLOEXEC);
}

static int connect_pair(struct file *const f[2]) {
    struct socket *a = file_socket(f[0]), *b = file_socket(f[1]);
    return a->ops->pair ? a->ops->pair(a, b) : -EOPNOTSUPP;
}

long sys_socketpair(int family, int type, int protocol, int __user *fds) {
    struct file *f[2];
    for (int i = 0; i < 2; i++) {
        f[i] = socket_open(family, type, protocol);
        if (IS_ERR(f[i])) {
            if (i)
                file_put(f[0]);
            return PTR_ERR(f[i]);
        }
    }
    int err = connect_pair(f);
    int fd[2] = {-1, -1};
    for (int i = 0; i < 2 && !err; i++) {
        fd[i] = fd_reserve(0, type & SOCK_CLOEXEC);
        err = MIN(fd[i], 0);
    }
    if (!err)
        err = copy_to_user(fds, fd, sizeof(fd));
    for (int i = 0; i < 2; i++) {
        if (!err) {
            fd_fill(fd[i], f[i]);
            continue;
        }
        if (fd[i] >= 0)
            fd_unreserve(fd[i]);
        file_put(f[i]);
    }
    return err;
}

// ---- connections --------------------------------------------------------------------------------

long sys_bind(int fd, const void __user *address, int len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct __kernel_sockaddr_storage a = {0};
    int err = address_from_user(&a, address, len);
    if (!err)
        err = s->ops->bind ? s->ops->bind(s, &a, len) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

long sys_connect(int fd, const void __user *address, int len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct __kernel_sockaddr_storage a = {0};
    int err = address_from_user(&a, address, len);
    if (!err)
        err = s->ops->connect ? s->ops->connect(s, &a, len, f->flags & O_NONBLOCK) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

#define SOMAXCONN 4096

long sys_listen(int fd, int backlog) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    if ((unsigned)backlog > SOMAXCONN)
        backlog = SOMAXCONN;
    int err = s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP;
    file_put(f);
    return err;
}

static long accept_into(struct socket *s, struct file *new, bool nonblock, void __user *address,
                        int __user *len) {
    int err = s->ops->accept ? s->ops->accept(s, new, nonblock) : -EOPNOTSUPP;
    if (err || !address)
        return err;
    struct __kernel_sockaddr_storage a;
    struct socket *peer = new->data;
    int n = peer->ops->name(peer, true, &a);
    if (n < 0)
        return -ECONNABORTED; // it has gone already
    return address_to_user(&a, n, address, len);
}

long sys_accept4(int fd, void __user *address, int __user *len, int flags) {
    if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        return -EINVAL;
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    // The descriptor and the file come first: a connection taken must not be lost for want of them.
    int new_fd = fd_reserve(0, flags & SOCK_CLOEXEC);
    long err = MIN(new_fd, 0);
    struct file *new = err ? NULL : socket_file_alloc(NULL, flags);
    if (!err && IS_ERR(new))
        err = PTR_ERR(new);
    else if (!err && (err = accept_into(s, new, f->flags & O_NONBLOCK, address, len)))
        file_put(new);
    if (!err)
        fd_fill(new_fd, new);
    else if (new_fd >= 0)
        fd_unreserve(new_fd);
    file_put(f);
    return err ? err : new_fd;
}

long sys_accept(int fd, void __user *address, int __user *len) {
    return sys_accept4(fd, address, len, 0);
}

static long get_name(int fd, bool peer, void __user *address, int __user *len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct __kernel_sockaddr_storage a;
    int n = s->ops->name(s, peer, &a);
    file_put(f);
    return n < 0 ? n : address_to_user(&a, n, address, len);
}

long sys_getsockname(int fd, void __user *address, int __user *len) {
    return get_name(fd, false, address, len);
}

long sys_getpeername(int fd, void __user *address, int __user *len) {
    return get_name(fd, true, address, len);
}

long sys_shutdown(int fd, int how) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    int err = -EINVAL;
    if (how == SHUT_RD || how == SHUT_WR || how == SHUT_RDWR)
        err = s->ops->shutdown ? s->ops->shutdown(s, how) : -EOPNOTSUPP;
    file_put(f);
    return err;
}
