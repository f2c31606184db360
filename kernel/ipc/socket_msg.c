// send*, recv*: bringing in the user's structures around the family's send() and receive().
#include <linux/time_types.h>
#include <linux/uio.h>
#include "ipc/socket.h"
#include "ipc/timeout.h"
#include "cpu/clock.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

#define FEW_PIECES  8u
#define CONTROL_MAX 20480u     // bytes of control messages sent, as Linux's optmem_max
#define LENGTH_MAX  0x7ffff000 // of one transfer, as Linux's MAX_RW_COUNT

_Static_assert(sizeof(struct uio_vec) == sizeof(struct iovec), "an iovec is copied over it");

// A message with the storage that its uio points to.
struct call {
    struct socket_message m;
    struct uio_vec few[FEW_PIECES], *pieces;
};

static void call_finish(struct call *c) {
    if (c->pieces != c->few)
        kfree(c->pieces);
}

// Fills c->m.uio from the user's array of pieces. 0 or -errno; call_finish() in any case.
static int call_pieces(struct call *c, const struct iovec __user *user, size_t count) {
    c->pieces = c->few;
    if (count > UIO_MAXIOV)
        return -EMSGSIZE;
    if (count > FEW_PIECES && !(c->pieces = kmalloc(count * sizeof(struct uio_vec)))) {
        c->pieces = c->few;
        return -ENOMEM;
    }
    if (copy_from_user(c->pieces, user, count * sizeof(struct uio_vec)))
        return -EFAULT;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if ((ssize_t)c->pieces[i].len < 0)
            return -EINVAL;
        c->pieces[i].len = MIN(c->pieces[i].len, LENGTH_MAX - total);
        total += c->pieces[i].len;
    }
    c->m.uio = (struct uio){.vec = c->pieces, .vec_count = count, .resid = total};
    return 0;
}

static void call_buffer(struct call *c, void __user *buf, size_t len) {
    c->pieces = c->few;
    uio_init(&c->m.uio, c->few, buf, MIN(len, (size_t)LENGTH_MAX), false);
}

static unsigned call_flags(const struct file *f, unsigned flags) {
    return flags | (f->flags & O_NONBLOCK ? MSG_DONTWAIT : 0);
}

// ---- sending ------------------------------------------------------------------------------------

long sys_sendto(int fd, const void __user *buf, size_t len, unsigned flags,
                const void __user *address, int address_len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct call c = {0};
    call_buffer(&c, (void *)buf, len);
    long ret = 0;
    if (address) {
        ret = address_from_user(&c.m.name, address, address_len);
        c.m.name_len = address_len;
    }
    if (!ret)
        ret = s->ops->send(s, &c.m, call_flags(f, flags));
    file_put(f);
    return ret;
}

static long send_copied(struct socket *s, struct call *c, const struct msghdr *h, unsigned flags) {
    int err = 0;
    if (h->msg_name) {
        int len = MIN(h->msg_namelen, (int)sizeof(c->m.name));
        err = address_from_user(&c->m.name, h->msg_name, len);
        c->m.name_len = err ? 0 : len;
    }
    if (!err)
        err = call_pieces(c, h->msg_iov, h->msg_iovlen);
    if (err || !h->msg_controllen)
        return err ? err : s->ops->send(s, &c->m, flags);
    if (h->msg_controllen > CONTROL_MAX)
        return -ENOBUFS;
    c->m.control = kmalloc(h->msg_controllen);
    if (!c->m.control)
        return -ENOBUFS;
    c->m.control_len = h->msg_controllen;
    long ret = -EFAULT;
    if (!copy_from_user(c->m.control, h->msg_control, h->msg_controllen))
        ret = s->ops->send(s, &c->m, flags);
    kfree(c->m.control);
    return ret;
}

static long send_message(struct file *f, const struct msghdr __user *user, unsigned flags) {
    struct msghdr h;
    if (get_user(h, user))
        return -EFAULT;
    struct call c = {.pieces = c.few};
    long ret = send_copied(f->data, &c, &h, call_flags(f, flags));
    call_finish(&c);
    return ret;
}

long sys_sendmsg(int fd, const struct msghdr __user *message, unsigned flags) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long ret = send_message(f, message, flags);
    file_put(f);
    return ret;
}

long sys_sendmmsg(int fd, struct mmsghdr __user *messages, unsigned count, unsigned flags) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long ret = 0;
    unsigned done = 0;
    for (count = MIN(count, (unsigned)UIO_MAXIOV); done < count; done++) {
        ret = send_message(f, &messages[done].msg_hdr, flags);
        if (ret < 0)
            break;
        if (put_user((unsigned)ret, &messages[done].msg_len)) {
            ret = -EFAULT;
            break;
        }
    }
    file_put(f);
    return done ? done : ret;
}

// ---- receiving ----------------------------------------------------------------------------------

int control_put(struct socket_message *m, int level, int type, const void *data, size_t len) {
    size_t room = m->control_len - m->control_used;
    struct cmsghdr h = {sizeof(h) + len, level, type};
    if (!m->control || room < sizeof(h)) {
        m->flags |= MSG_CTRUNC;
        return 0;
    }
    if (h.cmsg_len > room) { // what fits, as Linux: the receiver sees the length
        m->flags |= MSG_CTRUNC;
        h.cmsg_len = room;
    }
    char __user *to = (char *)m->control + m->control_used;
    if (copy_to_user(to, &h, sizeof(h)) ||
        copy_to_user(to + sizeof(h), data, h.cmsg_len - sizeof(h)))
        return -EFAULT;
    m->control_used += MIN(CMSG_ALIGN(h.cmsg_len), room);
    return 0;
}

long sys_recvfrom(int fd, void __user *buf, size_t len, unsigned flags, void __user *address,
                  int __user *address_len) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    struct call c = {.m.want_name = address != NULL};
    call_buffer(&c, buf, len);
    long ret = s->ops->receive(s, &c.m, call_flags(f, flags));
    if (ret >= 0 && address) {
        int err = address_to_user(&c.m.name, c.m.name_len, address, address_len);
        ret = err ? err : ret;
    }
    file_put(f);
    return ret;
}

static long receive_copied(struct file *f, struct call *c, struct msghdr *h,
                           struct msghdr __user *user, unsigned flags) {
    struct socket *s = f->data;
    if (h->msg_name && h->msg_namelen < 0)
        return -EINVAL;
    int err = call_pieces(c, h->msg_iov, h->msg_iovlen);
    if (err)
        return err;
    c->m.want_name = h->msg_name != NULL;
    c->m.control = h->msg_control;
    c->m.control_len = h->msg_control ? h->msg_controllen : 0;
    c->m.cloexec = flags & MSG_CMSG_CLOEXEC;
    ssize_t ret = s->ops->receive(s, &c->m, flags);
    if (ret < 0)
        return ret;
    unsigned result = c->m.flags | (flags & MSG_CMSG_CLOEXEC);
    if (h->msg_name && address_to_user(&c->m.name, c->m.name_len, h->msg_name, &user->msg_namelen))
        return -EFAULT;
    if (put_user(result, &user->msg_flags) || put_user(c->m.control_used, &user->msg_controllen))
        return -EFAULT;
    return ret;
}

static long receive_message(struct file *f, struct msghdr __user *user, unsigned flags) {
    struct msghdr h;
    if (get_user(h, user))
        return -EFAULT;
    struct call c = {.pieces = c.few};
    long ret = receive_copied(f, &c, &h, user, call_flags(f, flags));
    call_finish(&c);
    return ret;
}

long sys_recvmsg(int fd, struct msghdr __user *message, unsigned flags) {
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long ret = receive_message(f, message, flags);
    file_put(f);
    return ret;
}

// The time-out is looked at only between messages: recvmmsg(2), BUGS.
static long receive_several(struct file *f, struct mmsghdr __user *messages, unsigned count,
                            unsigned flags, uint64_t deadline) {
    unsigned done = 0;
    long ret = 0;
    while (done < count) {
        ret = receive_message(f, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
        if (ret < 0)
            break;
        if (put_user((unsigned)ret, &messages[done].msg_len)) {
            ret = -EFAULT;
            break;
        }
        done++;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        if (deadline != UINT64_MAX && clock_monotonic() >= deadline)
            break;
    }
    return done ? done : ret;
}

long sys_recvmmsg(int fd, struct mmsghdr __user *messages, unsigned count, unsigned flags,
                  struct __kernel_timespec __user *timeout) {
    uint64_t deadline;
    int err = deadline_from_timespec(timeout, &deadline);
    if (err)
        return err;
    struct file *f;
    struct socket *s = socket_get(fd, &f);
    if (IS_ERR(s))
        return PTR_ERR(s);
    long ret = receive_several(f, messages, MIN(count, (unsigned)UIO_MAXIOV), flags, deadline);
    timespec_store_rest(timeout, deadline);
    file_put(f);
    return ret;
}
