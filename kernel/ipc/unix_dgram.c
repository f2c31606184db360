// Datagrams and seqpackets: whole messages.
#include "ipc/unix.h"
#include <asm/socket.h>
#include "proc/process.h"
#include "sync/waitq.h"

#define QUEUE_MAX 10u // datagrams waiting at a receiver that is not our partner: max_dgram_qlen

// ---- peers --------------------------------------------------------------------------------------

// Sets u's peer (takes over a reference; NULL: none). Old one or NULL, to be put. unix_lock held.
static struct unix_socket *set_peer(struct unix_socket *u, struct unix_socket *peer) {
    struct unix_socket *old = u->peer;
    list_remove(&u->sender_node);
    WRITE_ONCE(u->peer, peer);
    if (peer && peer->state != UNIX_CLOSED)
        list_add_tail(&peer->senders, &u->sender_node);
    u->state = peer ? UNIX_CONNECTED : UNIX_UNCONNECTED;
    return old;
}

// A datagram socket lost its peer: what it had received is dropped, and a peer that is connected back
// gets an error, as in Linux.
static void disconnected(struct unix_socket *u, struct unix_socket *old) {
    struct list_node messages = LIST_INIT(messages);
    mutex_lock(&u->read_lock);
    mutex_lock(&flight_lock);
    unix_empty_queue(u, &messages);
    mutex_unlock(&flight_lock);
    mutex_unlock(&u->read_lock);
    unix_dispose(&messages);
    spin_lock(&unix_lock);
    if (old->peer == u && !READ_ONCE(old->dead))
        WRITE_ONCE(old->error, ECONNRESET);
    spin_unlock(&unix_lock);
    waitq_wake(&old->wait, 0);
    unix_put(old);
}

static void change_peer(struct unix_socket *u, struct unix_socket *peer) {
    spin_lock(&unix_lock);
    struct unix_socket *old = set_peer(u, peer);
    spin_unlock(&unix_lock);
    waitq_wake(&u->wait, POLLOUT);
    if (old == peer && old)
        unix_put(old);
    else if (old)
        disconnected(u, old);
}

void unix_dgram_disconnect(struct unix_socket *u) {
    change_peer(u, NULL);
}

// A receiver that is connected takes messages only from its own peer.
static bool accepts(const struct unix_socket *to, const struct unix_socket *from) {
    const struct unix_socket *peer = READ_ONCE(to->peer);
    return !peer || peer == from;
}

int unix_dgram_connect(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len,
                       bool nonblock) {
    struct unix_socket *u = unix_of(s);
    if (s->type == SOCK_SEQPACKET)
        return unix_stream_connect(s, a, len, nonblock);
    if (len < sizeof(a->ss_family))
        return -EINVAL;
    if (a->ss_family == AF_UNSPEC) {
        unix_dgram_disconnect(u);
        return 0;
    }
    struct unix_socket *to = unix_find(SOCK_DGRAM, a, len);
    if (IS_ERR(to))
        return PTR_ERR(to);
    int err = socket_flag(s, SO_PASSCRED) ? unix_autobind(u) : 0;
    if (!err && !accepts(to, u))
        err = -EPERM;
    if (err)
        unix_put(to);
    else
        change_peer(u, to);
    return err;
}

// ---- sending ------------------------------------------------------------------------------------

bool unix_dgram_room(const struct unix_socket *u, const struct unix_socket *to) {
    if (READ_ONCE(to->queued_cost) >= READ_ONCE(u->base.send_buffer))
        return false;
    return to == u || READ_ONCE(to->peer) == u || READ_ONCE(to->queued) <= QUEUE_MAX;
}

// The receiver of this message, with a reference. ERR_PTR.
static struct unix_socket *receiver(struct unix_socket *u, struct socket_message *m) {
    if (m->name_len && u->base.type == SOCK_DGRAM)
        return unix_find(SOCK_DGRAM, &m->name, m->name_len);
    spin_lock(&unix_lock);
    struct unix_socket *to = u->peer;
    if (to)
        unix_get(to);
    spin_unlock(&unix_lock);
    return to ? to : ERR_PTR(-ENOTCONN);
}

// Forgets a peer that was closed, unless it was replaced meanwhile.
static void forget_peer(struct unix_socket *u, struct unix_socket *gone) {
    spin_lock(&unix_lock);
    struct unix_socket *old = u->peer == gone ? set_peer(u, NULL) : NULL;
    spin_unlock(&unix_lock);
    if (old)
        disconnected(u, old);
}

static int check_receiver(struct unix_socket *u, struct unix_socket *to) {
    bool seqpacket = u->base.type == SOCK_SEQPACKET;
    if (READ_ONCE(u->shut) & SHUT_WRITE)
        return -EPIPE;
    if (READ_ONCE(to->dead)) {
        if (seqpacket)
            return -EPIPE;
        forget_peer(u, to);
        return -ECONNREFUSED;
    }
    if (!accepts(to, u))
        return -EPERM;
    return READ_ONCE(to->shut) & SHUT_READ ? -EPIPE : 0;
}

static int send_to(struct unix_socket *u, struct unix_socket *to, struct unix_message *msg,
                   uint64_t deadline) {
    // A seqpacket's reader wakes its peer, a datagram's all that wait for room there.
    struct waitq *q = u->base.type == SOCK_SEQPACKET ? &u->wait : &to->room;
    for (;;) {
        int err = check_receiver(u, to);
        if (err)
            return err;
        if (unix_dgram_room(u, to)) {
            err = unix_enqueue(to, msg);
            return err ? (err == -ETOOMANYREFS ? err : check_receiver(u, to)) : 0;
        }
        if (!deadline)
            return -EAGAIN;
        err = wait_event_until(q, unix_dgram_room(u, to) || unix_broken(u, to), deadline);
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : socket_interrupted(deadline);
    }
}

ssize_t unix_dgram_send(struct socket *s, struct socket_message *m, unsigned flags) {
    struct unix_socket *u = unix_of(s);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    int error = unix_take_error(s);
    if (error)
        return -error;
    if (s->type == SOCK_SEQPACKET && READ_ONCE(u->state) != UNIX_CONNECTED)
        return -ENOTCONN;
    if (m->uio.resid > s->send_buffer - 32)
        return -EMSGSIZE;
    struct unix_files *files;
    struct ucred cred;
    ssize_t ret = unix_parse_control(m, &files, &cred);
    if (!ret && socket_flag(s, SO_PASSCRED) && !READ_ONCE(u->address))
        ret = unix_autobind(u);
    struct unix_message *msg = ret ? ERR_PTR(ret) : unix_message_make(u, m, m->uio.resid);
    if (IS_ERR(msg)) {
        if (files)
            unix_files_free(files);
        return PTR_ERR(msg);
    }
    msg->files = files;
    msg->cred = cred;
    size_t len = msg->len;
    struct unix_socket *to = receiver(u, m);
    ret = IS_ERR(to) ? PTR_ERR(to) : send_to(u, to, msg, socket_send_deadline(s, flags));
    if (ret)
        unix_message_free(msg);
    if (!IS_ERR(to))
        unix_put(to);
    return ret ? ret : (ssize_t)len;
}

// ---- receiving ----------------------------------------------------------------------------------

static ssize_t read_datagram(struct unix_socket *u, struct unix_message *msg,
                             struct socket_message *m, unsigned flags) {
    bool peek = flags & MSG_PEEK;
    unix_address_out(msg->from, m);
    ssize_t n = msg->len ? uio_write_out(&m->uio, msg->data, msg->len) : 0;
    int err = n < 0 ? n : 0;
    if ((size_t)n < msg->len && !err)
        m->flags |= MSG_TRUNC;
    if (!err)
        err = unix_deliver_cred(u, msg, m);
    if (err && !peek) // the datagram is lost; so are its files
        m->control = NULL;
    int files_err = err && peek ? 0 : unix_deliver_files(msg, m, peek);
    ssize_t ret = flags & MSG_TRUNC ? (ssize_t)msg->len : n;
    if (!peek)
        unix_consume(u, msg);
    return err ? err : files_err ? files_err : ret;
}

// Takes one message. True: *result is what the call returns.
static bool try_receive(struct unix_socket *u, struct socket_message *m, unsigned flags,
                        uint64_t deadline, ssize_t *result) {
    int error = unix_take_error(&u->base);
    if (error) {
        *result = -error;
        return true;
    }
    bool ended = READ_ONCE(u->shut) & SHUT_READ; // before the queue: what came before counts
    mutex_lock(&u->read_lock);
    struct unix_message *msg = unix_next(u, NULL);
    if (msg)
        *result = read_datagram(u, msg, m, flags);
    mutex_unlock(&u->read_lock);
    if (msg)
        return true;
    // The end; a non-blocking reader of datagrams sees only that there is nothing, as in Linux.
    if (ended && (deadline || u->base.type == SOCK_SEQPACKET)) {
        *result = 0;
        return true;
    }
    *result = -EAGAIN;
    return !deadline;
}

ssize_t unix_dgram_receive(struct socket *s, struct socket_message *m, unsigned flags) {
    struct unix_socket *u = unix_of(s);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (s->type == SOCK_SEQPACKET && READ_ONCE(u->state) != UNIX_CONNECTED)
        return -ENOTCONN;
    uint64_t deadline = socket_receive_deadline(s, flags);
    ssize_t result;
    while (!try_receive(u, m, flags, deadline, &result)) {
        int err = wait_event_until(
            &u->wait, READ_ONCE(u->queued) || READ_ONCE(u->error) || READ_ONCE(u->shut) & SHUT_READ,
            deadline);
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : socket_interrupted(deadline);
    }
    return result;
}
