// Messages of AF_UNIX sockets and their queues.
#include "ipc/unix.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "sync/waitq.h"

struct unix_message *unix_message_make(struct unix_socket *u, struct socket_message *m, size_t n) {
    n = MIN(n, m->uio.resid);
    struct unix_message *msg = kmalloc(sizeof(*msg) + n);
    if (!msg)
        return ERR_PTR(-ENOBUFS);
    *msg = (struct unix_message){.len = n};
    for (size_t done = 0; done < n;) {
        ssize_t moved = uio_read_in(&m->uio, msg->data + done, n - done);
        if (moved <= 0) {
            kfree(msg);
            return ERR_PTR(-EFAULT);
        }
        done += moved;
    }
    msg->from = unix_address_get(READ_ONCE(u->address));
    return msg;
}

void unix_message_free(struct unix_message *msg) {
    if (msg->files)
        unix_files_free(msg->files);
    if (msg->from)
        unix_address_put(msg->from);
    kfree(msg);
}

static int append(struct unix_socket *to, struct unix_message *msg) {
    spin_lock(&to->lock);
    int err = to->dead ? -ECONNREFUSED : to->shut & SHUT_READ ? -EPIPE : 0;
    if (!err) {
        list_add_tail(&to->queue, &msg->node);
        WRITE_ONCE(to->queued, to->queued + 1);
        WRITE_ONCE(to->queued_cost, to->queued_cost + msg->len + UNIX_MESSAGE_COST);
    }
    spin_unlock(&to->lock);
    return err;
}

int unix_enqueue(struct unix_socket *to, struct unix_message *msg) {
    int err;
    if (msg->files) {
        mutex_lock(&flight_lock);
        err = unix_flight_begin(msg->files);
        if (!err && (err = append(to, msg)))
            unix_flight_end(msg->files);
        mutex_unlock(&flight_lock);
    } else {
        err = append(to, msg);
    }
    if (!err)
        waitq_wake_one(&to->wait, POLLIN | POLLRDNORM);
    return err;
}

struct unix_message *unix_next(struct unix_socket *u, struct unix_message *at) {
    spin_lock(&u->lock);
    struct list_node *next = at ? at->node.next : u->queue.next;
    struct unix_message *msg = next == &u->queue ? NULL
                                                 : list_entry(next, struct unix_message, node);
    spin_unlock(&u->lock);
    return msg;
}

// Datagrams come from many sockets: those connected to u may be polling for room.
static void wake_senders(struct unix_socket *u) {
    waitq_wake(&u->room, POLLOUT);
    spin_lock(&unix_lock);
    struct unix_socket *s;
    list_for_each (s, &u->senders, sender_node)
        waitq_wake(&s->wait, POLLOUT | POLLWRNORM);
    spin_unlock(&unix_lock);
}

void unix_consume(struct unix_socket *u, struct unix_message *msg) {
    spin_lock(&u->lock);
    list_remove(&msg->node);
    WRITE_ONCE(u->queued, u->queued - 1);
    WRITE_ONCE(u->queued_cost, u->queued_cost - msg->len - UNIX_MESSAGE_COST);
    spin_unlock(&u->lock);
    unix_message_free(msg);
    if (u->base.type == SOCK_DGRAM)
        wake_senders(u);
    else if (u->peer) // of a connection: stays until release
        waitq_wake(&u->peer->wait, POLLOUT | POLLWRNORM);
}

void unix_take_queue(struct unix_socket *u, struct list_node *list) {
    spin_lock(&u->lock);
    while (!list_empty(&u->queue)) {
        struct list_node *n = u->queue.next;
        list_remove(n);
        list_add_tail(list, n);
    }
    u->queued = 0;
    u->queued_cost = 0;
    spin_unlock(&u->lock);
}
