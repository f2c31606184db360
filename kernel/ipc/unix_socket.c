// AF_UNIX sockets: creation, release, options, readiness.
#include "ipc/unix.h"
#include <asm/ioctls.h>
#include <asm/socket.h>
#include "boot/main.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sync/waitq.h"

#define DEFAULT_BUFFER 212992u // bytes, as Linux

struct spinlock unix_lock = SPINLOCK_INIT;

int unix_create(int type, int protocol, struct socket **out) {
    if (protocol && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW)
        type = SOCK_DGRAM; // as BSD and Linux
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    struct unix_socket *u = kzalloc(sizeof(*u));
    if (!u)
        return -ENOMEM;
    u->base = (struct socket){.ops = type == SOCK_STREAM ? &unix_stream_ops : &unix_dgram_ops,
                              .family = AF_UNIX,
                              .type = type,
                              .protocol = protocol,
                              .send_buffer = DEFAULT_BUFFER,
                              .receive_buffer = DEFAULT_BUFFER,
                              .send_timeout = UINT64_MAX,
                              .receive_timeout = UINT64_MAX};
    u->refs = 1;
    list_init(&u->senders);
    list_init(&u->sender_node);
    list_init(&u->pending);
    list_init(&u->pending_node);
    list_init(&u->queue);
    spin_init(&u->lock);
    mutex_init(&u->read_lock);
    mutex_init(&u->bind_lock);
    waitq_init(&u->wait);
    waitq_init(&u->room);
    unix_list_socket(u);
    *out = &u->base;
    return 0;
}

void unix_get(struct unix_socket *u) {
    __atomic_fetch_add(&u->refs, 1, __ATOMIC_RELAXED);
}

void unix_put(struct unix_socket *u) {
    if (__atomic_sub_fetch(&u->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (u->address)
        unix_address_put(u->address);
    kfree(u);
}

static bool has_connection(const struct unix_socket *u) {
    return u->base.type != SOCK_DGRAM;
}

// The other end sees end of file; and an error when data that it sent was never read.
static void hang_up(struct unix_socket *peer, bool reset) {
    spin_lock(&peer->lock);
    peer->shut = SHUT_READ | SHUT_WRITE;
    if (reset)
        peer->error = ECONNRESET;
    spin_unlock(&peer->lock);
    waitq_wake(&peer->wait, 0);
}

// Takes u out of everything others can find it by. Its backlog goes to `pending`.
static struct unix_socket *detach(struct unix_socket *u, struct list_node *pending) {
    spin_lock(&unix_lock);
    u->state = UNIX_CLOSED;
    struct unix_socket *peer = u->peer;
    u->peer = NULL;
    list_remove(&u->sender_node);
    while (!list_empty(&u->pending)) {
        struct list_node *n = u->pending.next;
        list_remove(n);
        list_add_tail(pending, n);
    }
    spin_unlock(&unix_lock);
    return peer;
}

// Datagram sockets connected to u keep their reference until they notice; they may be polling.
static void wake_senders(struct unix_socket *u) {
    spin_lock(&unix_lock);
    while (!list_empty(&u->senders)) {
        struct unix_socket *s = list_first(&u->senders, struct unix_socket, sender_node);
        list_remove(&s->sender_node);
        waitq_wake(&s->wait, 0);
    }
    spin_unlock(&unix_lock);
}

void unix_close(struct unix_socket *u) {
    struct list_node pending = LIST_INIT(pending), messages = LIST_INIT(messages);
    bool embryo = !u->base.file; // nobody accepted it
    unix_unbind(u);
    mutex_lock(&flight_lock); // its backlog and queue leave the graph together
    struct unix_socket *peer = detach(u, &pending);
    spin_lock(&u->lock);
    u->dead = true;
    u->shut = SHUT_READ | SHUT_WRITE;
    spin_unlock(&u->lock);
    unix_empty_queue(u, &messages);
    mutex_unlock(&flight_lock);
    if (peer) {
        if (has_connection(u))
            hang_up(peer, embryo || !list_empty(&messages));
        unix_put(peer);
    }
    waitq_wake(&u->room, 0);
    wake_senders(u);
    while (!list_empty(&pending)) {
        struct unix_socket *p = list_first(&pending, struct unix_socket, pending_node);
        list_remove(&p->pending_node);
        unix_close(p); // has no backlog of its own: one level
    }
    unix_unlist_socket(u);
    unix_dispose(&messages);
    unix_put(u);
}

static void unix_release(struct socket *s) {
    struct unix_socket *u = unix_of(s);
    unix_close(u);
}

bool unix_broken(const struct unix_socket *u, const struct unix_socket *peer) {
    return READ_ONCE(u->shut) & SHUT_WRITE || READ_ONCE(peer->dead) ||
           READ_ONCE(peer->shut) & SHUT_READ;
}

int unix_take_error(struct socket *s) {
    return __atomic_exchange_n(&unix_of(s)->error, 0, __ATOMIC_ACQ_REL);
}

static void add_shut(struct unix_socket *u, uint8_t what) {
    spin_lock(&u->lock);
    u->shut |= what;
    spin_unlock(&u->lock);
    waitq_wake(&u->wait, 0);
}

static int unix_shutdown(struct socket *s, int how) {
    struct unix_socket *u = unix_of(s), *peer = NULL;
    uint8_t own = how == SHUT_RD ? SHUT_READ : how == SHUT_WR ? SHUT_WRITE : SHUT_READ | SHUT_WRITE;
    uint8_t other = (own & SHUT_READ ? SHUT_WRITE : 0) | (own & SHUT_WRITE ? SHUT_READ : 0);
    add_shut(u, own);
    spin_lock(&unix_lock);
    if (has_connection(u) && (peer = u->peer))
        unix_get(peer);
    spin_unlock(&unix_lock);
    if (peer) {
        add_shut(peer, other);
        unix_put(peer);
    }
    return 0;
}

static unsigned readable_events(const struct unix_socket *u) {
    unsigned events = 0;
    uint8_t shut = READ_ONCE(u->shut);
    if (READ_ONCE(u->error))
        events |= POLLERR;
    if (shut == (SHUT_READ | SHUT_WRITE))
        events |= POLLHUP;
    if (shut & SHUT_READ)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (READ_ONCE(u->queued) || !list_empty(&u->pending))
        events |= POLLIN | POLLRDNORM;
    if (has_connection(u) && READ_ONCE(u->state) == UNIX_UNCONNECTED)
        events |= POLLHUP;
    return events;
}

static bool writable(struct unix_socket *u) {
    if (READ_ONCE(u->state) == UNIX_LISTENING)
        return false;
    if (has_connection(u)) {
        // A quarter of the buffer: a writer is not woken for every little bit of room.
        struct unix_socket *peer = READ_ONCE(u->peer);
        return !peer || READ_ONCE(peer->queued_cost) * 4 <= u->base.send_buffer;
    }
    spin_lock(&unix_lock);
    bool room = !u->peer || unix_dgram_room(u, u->peer);
    spin_unlock(&unix_lock);
    return room;
}

static unsigned unix_poll(struct socket *s, struct poll_table *t) {
    struct unix_socket *u = unix_of(s);
    poll_wait(t, &u->wait);
    return readable_events(u) | (writable(u) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0);
}

static int unix_get_option(struct socket *s, int level, int name, void *value, unsigned *len) {
    struct unix_socket *u = unix_of(s);
    if (level != SOL_SOCKET || (name != SO_PEERCRED && name != SO_ACCEPTCONN))
        return level == SOL_SOCKET ? -ENOPROTOOPT : -EOPNOTSUPP;
    if (name == SO_ACCEPTCONN) {
        int v = READ_ONCE(u->state) == UNIX_LISTENING;
        *len = MIN(*len, sizeof(v));
        memcpy(value, &v, *len);
        return 0;
    }
    spin_lock(&unix_lock);
    struct ucred cred = u->peer_cred;
    spin_unlock(&unix_lock);
    if (!cred.pid) // never connected
        cred.uid = cred.gid = UINT32_MAX;
    *len = MIN(*len, sizeof(cred));
    memcpy(value, &cred, *len);
    return 0;
}

static int unix_set_option(struct socket *s, int level, int name, const void *value, unsigned len) {
    return level == SOL_SOCKET ? -ENOPROTOOPT : -EOPNOTSUPP;
}

// Bytes that a read would give: all of a stream, the next datagram.
static int bytes_queued(struct unix_socket *u) {
    size_t n = 0;
    spin_lock(&u->lock);
    struct unix_message *msg;
    list_for_each (msg, &u->queue, node) {
        n += msg->len - msg->offset;
        if (u->base.type != SOCK_STREAM)
            break;
    }
    spin_unlock(&u->lock);
    return MIN(n, (size_t)INT32_MAX);
}

static long unix_ioctl(struct socket *s, unsigned cmd, unsigned long arg) {
    struct unix_socket *u = unix_of(s);
    if (cmd == FIONREAD) {
        if (READ_ONCE(u->state) == UNIX_LISTENING)
            return -EINVAL;
        return put_user(bytes_queued(u), (int __user *)arg);
    }
    if (cmd == TIOCOUTQ) {
        struct unix_socket *peer = has_connection(u) ? READ_ONCE(u->peer) : NULL;
        return put_user((int)(peer ? READ_ONCE(peer->queued_cost) : 0), (int __user *)arg);
    }
    return -ENOTTY;
}

const struct socket_ops unix_stream_ops = {
    .bind = unix_bind,
    .connect = unix_stream_connect,
    .pair = unix_pair,
    .listen = unix_listen,
    .accept = unix_accept,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .poll = unix_poll,
    .send = unix_stream_send,
    .receive = unix_stream_receive,
    .set_option = unix_set_option,
    .get_option = unix_get_option,
    .take_error = unix_take_error,
    .ioctl = unix_ioctl,
    .release = unix_release,
};

// Datagrams and, by the type in struct socket, seqpackets: connections of messages.
const struct socket_ops unix_dgram_ops = {
    .bind = unix_bind,
    .connect = unix_dgram_connect,
    .pair = unix_pair,
    .listen = unix_listen,
    .accept = unix_accept,
    .name = unix_name,
    .shutdown = unix_shutdown,
    .poll = unix_poll,
    .send = unix_dgram_send,
    .receive = unix_dgram_receive,
    .set_option = unix_set_option,
    .get_option = unix_get_option,
    .take_error = unix_take_error,
    .ioctl = unix_ioctl,
    .release = unix_release,
};

static const struct socket_family unix_family = {AF_UNIX, unix_create};

void ipc_init(void) {
    socket_family_register(&unix_family);
    unix_collector_start();
}
