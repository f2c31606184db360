// Connections of stream and seqpacket sockets: listen, connect, accept; and socketpair().
#include "ipc/unix.h"
#include <asm/socket.h>
#include "proc/process.h"
#include "sync/waitq.h"

int unix_listen(struct socket *s, int backlog) {
    struct unix_socket *u = unix_of(s);
    if (s->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    struct ucred cred = socket_current_cred();
    spin_lock(&unix_lock);
    int err = 0;
    if (!u->address || (u->state != UNIX_UNCONNECTED && u->state != UNIX_LISTENING)) {
        err = -EINVAL;
    } else {
        u->state = UNIX_LISTENING;
        u->backlog = backlog;
        u->listen_cred = u->peer_cred = cred;
    }
    spin_unlock(&unix_lock);
    waitq_wake(&u->room, 0); // the backlog may have grown
    return err;
}

// Makes a and b each other's peers. unix_lock held.
static void link(struct unix_socket *a, struct unix_socket *b, struct ucred of_a,
                 struct ucred of_b) {
    unix_get(a);
    unix_get(b);
    a->peer_cred = of_b;
    b->peer_cred = of_a;
    a->state = b->state = UNIX_CONNECTED;
    WRITE_ONCE(a->peer, b);
    WRITE_ONCE(b->peer, a);
}

int unix_pair(struct socket *a, struct socket *b) {
    struct unix_socket *x = unix_of(a), *y = unix_of(b);
    struct ucred cred = socket_current_cred();
    spin_lock(&unix_lock);
    link(x, y, cred, cred);
    if (a->type == SOCK_DGRAM) {
        list_add_tail(&y->senders, &x->sender_node);
        list_add_tail(&x->senders, &y->sender_node);
    }
    spin_unlock(&unix_lock);
    return 0;
}

static bool backlog_full(const struct unix_socket *l) {
    return READ_ONCE(l->pending_count) > READ_ONCE(l->backlog);
}

// Queues the far end of a connection. 0, -EAGAIN (backlog full), or why there can be none.
static int try_connect(struct unix_socket *u, struct unix_socket *l, struct unix_socket *far) {
    struct ucred cred = socket_current_cred();
    spin_lock(&unix_lock);
    int err = 0;
    if (u->state == UNIX_CONNECTED)
        err = -EISCONN;
    else if (u->state != UNIX_UNCONNECTED)
        err = -EINVAL;
    else if (l->state != UNIX_LISTENING || READ_ONCE(l->shut) & SHUT_READ)
        err = -ECONNREFUSED;
    else if (backlog_full(l))
        err = -EAGAIN;
    if (!err) {
        link(u, far, cred, l->listen_cred);
        far->address = unix_address_get(l->address);
        far->base.flags = l->base.flags; // SO_PASSCRED is inherited
        list_add_tail(&l->pending, &far->pending_node);
        WRITE_ONCE(l->pending_count, l->pending_count + 1);
    }
    spin_unlock(&unix_lock);
    if (!err)
        waitq_wake_one(&l->wait, POLLIN | POLLRDNORM);
    return err;
}

static int connect_to(struct unix_socket *u, struct unix_socket *l, struct unix_socket *far,
                      uint64_t deadline) {
    for (;;) {
        int err = try_connect(u, l, far);
        if (err != -EAGAIN || !deadline)
            return err;
        err = wait_event_until(&l->room, !backlog_full(l) || READ_ONCE(l->state) != UNIX_LISTENING,
                               deadline);
        if (err == -ETIMEDOUT)
            return -EAGAIN;
        if (err)
            return socket_interrupted(deadline);
    }
}

int unix_stream_connect(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len,
                        bool nonblock) {
    struct unix_socket *u = unix_of(s);
    struct unix_socket *l = unix_find(s->type, a, len);
    if (IS_ERR(l))
        return PTR_ERR(l);
    struct socket *far;
    int err = socket_flag(s, SO_PASSCRED) ? unix_autobind(u) : 0;
    if (!err)
        err = unix_create(s->type, 0, &far);
    if (!err) {
        uint64_t deadline = socket_send_deadline(s, nonblock ? MSG_DONTWAIT : 0);
        err = connect_to(u, l, unix_of(far), deadline);
        if (err)
            unix_close(unix_of(far));
    }
    unix_put(l);
    return err;
}

// Takes the oldest connection and gives it its file, in one step for unix_gc.c.
static bool take_pending(struct unix_socket *l, struct file *f) {
    mutex_lock(&flight_lock);
    spin_lock(&unix_lock);
    struct unix_socket *far = list_first(&l->pending, struct unix_socket, pending_node);
    if (far) {
        list_remove(&far->pending_node);
        WRITE_ONCE(l->pending_count, l->pending_count - 1);
        f->data = &far->base;
        far->base.file = f;
    }
    spin_unlock(&unix_lock);
    mutex_unlock(&flight_lock);
    if (far)
        waitq_wake(&l->room, 0);
    return far != NULL;
}

int unix_accept(struct socket *s, struct file *f, bool nonblock) {
    struct unix_socket *l = unix_of(s);
    if (s->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    uint64_t deadline = socket_receive_deadline(s, nonblock ? MSG_DONTWAIT : 0);
    for (;;) {
        if (READ_ONCE(l->state) != UNIX_LISTENING)
            return -EINVAL;
        if (take_pending(l, f))
            return 0;
        if (READ_ONCE(l->shut) & SHUT_READ)
            return -EINVAL;
        if (!deadline)
            return -EAGAIN;
        int err = wait_event_until(
            &l->wait, !list_empty(&l->pending) || READ_ONCE(l->shut) & SHUT_READ, deadline);
        if (err == -ETIMEDOUT)
            return -EAGAIN;
        if (err)
            return socket_interrupted(deadline);
    }
}
