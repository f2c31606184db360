// Byte streams between connected sockets.
#include "ipc/unix.h"
#include <asm/socket.h>
#include "proc/process.h"
#include "sched/world.h"
#include "sync/waitq.h"

#define PIECE 32768u // bytes of a stream in one message at most

static bool has_room(const struct unix_socket *u, const struct unix_socket *peer) {
    return READ_ONCE(peer->queued_cost) < READ_ONCE(u->base.send_buffer);
}

static int broken_pipe(unsigned flags) {
    if (!(flags & MSG_NOSIGNAL))
        signal_send_world(current, SIGPIPE, NULL);
    return -EPIPE;
}

// 0 when there is room in the peer's queue.
static int wait_for_room(struct unix_socket *u, struct unix_socket *peer, uint64_t deadline) {
    if (has_room(u, peer) || unix_broken(u, peer))
        return 0;
    if (!deadline)
        return -EAGAIN;
    int err = wait_event_until(&u->wait, has_room(u, peer) || unix_broken(u, peer), deadline);
    return err == -ETIMEDOUT ? -EAGAIN : err ? socket_interrupted(deadline) : 0;
}

// Sends one piece; *files go with it, and are then NULL. Bytes or -errno.
static ssize_t send_piece(struct unix_socket *u, struct unix_socket *peer, struct socket_message *m,
                          struct unix_files **files, const struct ucred *cred, uint64_t deadline) {
    int err = wait_for_room(u, peer, deadline);
    if (err)
        return err;
    if (unix_broken(u, peer))
        return -EPIPE;
    struct unix_message *msg = unix_message_make(u, m, MIN(PIECE, u->base.send_buffer));
    if (IS_ERR(msg))
        return PTR_ERR(msg);
    size_t len = msg->len;
    msg->cred = *cred;
    msg->files = *files;
    err = unix_enqueue(peer, msg);
    if (err) {
        msg->files = NULL;
        unix_message_free(msg);
        return err == -ETOOMANYREFS ? err : -EPIPE;
    }
    *files = NULL;
    return len;
}

ssize_t unix_stream_send(struct socket *s, struct socket_message *m, unsigned flags) {
    struct unix_socket *u = unix_of(s), *peer = READ_ONCE(u->peer);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (m->name_len)
        return peer ? -EISCONN : -EOPNOTSUPP;
    if (!peer)
        return -ENOTCONN;
    struct unix_files *files;
    struct ucred cred;
    ssize_t ret = unix_parse_control(m, &files, &cred), done = 0;
    if (ret)
        return ret;
    if (READ_ONCE(u->shut) & SHUT_WRITE)
        ret = -EPIPE;
    uint64_t deadline = socket_send_deadline(s, flags);
    while (m->uio.resid && ret >= 0) {
        ret = send_piece(u, peer, m, &files, &cred, deadline);
        if (ret > 0)
            done += ret;
    }
    if (files)
        unix_files_free(files);
    if (ret == -EPIPE && !done)
        return broken_pipe(flags);
    return done ? done : ret;
}

// ---- receiving ----------------------------------------------------------------------------------

struct reading {
    struct unix_socket *u;
    struct socket_message *m;
    struct unix_message *at; // peeking: the last message looked at
    struct ucred cred;       // of the first message
    size_t done;
    bool peek, begun, other_writer;
};

static bool same_writer(const struct ucred *a, const struct ucred *b) {
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

// The next message that may go into this result, or NULL.
static struct unix_message *next_message(struct reading *r) {
    struct unix_message *msg = unix_next(r->u, r->peek ? r->at : NULL);
    // Who wants to know the writers gets bytes of only one.
    if (msg && r->begun && socket_flag(&r->u->base, SO_PASSCRED) &&
        !same_writer(&msg->cred, &r->cred)) {
        r->other_writer = true;
        return NULL;
    }
    return msg;
}

// Copies from one message. 1: more may follow, 0: the result ends here, -errno.
static int read_message(struct reading *r, struct unix_message *msg) {
    int err = 0;
    if (!r->begun) {
        r->begun = true;
        r->cred = msg->cred;
        unix_address_out(msg->from, r->m);
        err = unix_deliver_cred(r->u, msg, r->m);
    }
    ssize_t n = uio_write_out(&r->m->uio, msg->data + msg->offset, msg->len - msg->offset);
    if (n < 0)
        return n;
    r->done += n;
    r->at = msg;
    bool had_files = msg->files != NULL;
    if (!err)
        err = unix_deliver_files(msg, r->m, r->peek);
    if (!r->peek) {
        msg->offset += n;
        if (msg->offset == msg->len)
            unix_consume(r->u, msg);
    }
    return err ? err : !had_files; // descriptors end a result: they belong to these bytes
}

static int wait_for_data(struct unix_socket *u, uint64_t deadline) {
    if (!deadline)
        return -EAGAIN;
    int err = wait_event_until(
        &u->wait, READ_ONCE(u->queued) || READ_ONCE(u->error) || READ_ONCE(u->shut) & SHUT_READ,
        deadline);
    return err == -ETIMEDOUT ? -EAGAIN : err ? socket_interrupted(deadline) : 0;
}

// Reads what is there. True: the call is over, and *result is what it returns.
static bool read_some(struct reading *r, size_t target, ssize_t *result) {
    // Looked at before the queue: what was sent before the end or the error comes first.
    bool ended = READ_ONCE(r->u->shut) & SHUT_READ, failed = READ_ONCE(r->u->error);
    struct unix_message *msg;
    while (r->m->uio.resid && (msg = next_message(r))) {
        int more = read_message(r, msg);
        if (more <= 0) {
            *result = more < 0 && !r->done ? more : (ssize_t)r->done;
            return true;
        }
    }
    *result = r->done;
    if (r->done >= target || r->other_writer)
        return true;
    if (failed && !r->done)
        *result = -unix_take_error(&r->u->base);
    return ended || failed;
}

ssize_t unix_stream_receive(struct socket *s, struct socket_message *m, unsigned flags) {
    struct unix_socket *u = unix_of(s);
    if (READ_ONCE(u->state) != UNIX_CONNECTED)
        return -EINVAL;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    struct reading r = {.u = u, .m = m, .peek = flags & MSG_PEEK};
    size_t target = flags & MSG_WAITALL ? m->uio.resid : MIN(m->uio.resid, (size_t)1);
    uint64_t deadline = socket_receive_deadline(s, flags);
    if (!m->uio.resid)
        return 0;
    for (;;) {
        ssize_t result;
        mutex_lock(&u->read_lock);
        bool over = read_some(&r, target, &result);
        mutex_unlock(&u->read_lock);
        // A peeker cannot go on later: others may take what it has seen in the meantime.
        if (over || (r.peek && r.done))
            return result;
        int err = wait_for_data(u, deadline);
        if (err)
            return r.done ? (ssize_t)r.done : err;
    }
}
