// AF_UNIX sockets: what the unix_*.c files share.
//
//   unix_socket.c  creation, release, options, poll        unix_name.c    addresses, bind
//   unix_connect.c listen, connect, accept, pairs          unix_queue.c   messages and their queues
//   unix_stream.c  byte streams                            unix_dgram.c   datagrams, seqpacket
//   unix_rights.c  descriptors and credentials in messages unix_gc.c      cycles of sockets in flight
//
// Order of locks: flight_lock (mutex), unix_lock (spin), socket->lock (spin), wait queues.
#pragma once
#include <linux/un.h>
#include "ipc/socket.h"

struct inode;

enum unix_state { UNIX_UNCONNECTED, UNIX_LISTENING, UNIX_CONNECTED, UNIX_CLOSED };

// A bound name. Shared by the socket, connections accepted through it and messages sent from it.
struct unix_address {
    uint32_t refs;
    unsigned len;               // of the whole sockaddr_un that is used
    struct inode *inode;        // in the file system; NULL: abstract
    struct list_node hash;      // abstract names; covered by unix_lock
    struct unix_socket *socket; // bound to it now, or NULL; covered by unix_lock
    struct sockaddr_un name;
    char end; // a path of 108 bytes has no zero of its own
};

// Files in one message.
struct unix_files {
    unsigned count;
    struct file *file[];
};

struct unix_message {
    struct list_node node;
    size_t len, offset;        // bytes; those already read (streams)
    struct unix_address *from; // reference or NULL
    struct ucred cred;
    struct unix_files *files; // counted in flight while the message is in a queue; or NULL
    char data[];
};

struct unix_socket {
    struct socket base;        // first
    uint32_t refs;             // its file or backlog entry, its peers
    struct list_node all_node; // flight_lock
    // Covered by unix_lock. A stream's peer is set once and stays until release.
    enum unix_state state;
    struct unix_socket *peer;     // reference
    struct unix_address *address; // set once
    struct list_node senders;     // datagram sockets whose peer this is, by sender_node
    struct list_node sender_node;
    struct list_node pending; // listening: connections not yet accepted, by pending_node
    struct list_node pending_node;
    unsigned pending_count, backlog;
    struct ucred peer_cred, listen_cred;
    // Covered by lock; single words are also looked at without it.
    struct spinlock lock;
    struct list_node queue; // of struct unix_message
    unsigned queued;
    size_t queued_cost;
    uint8_t shut; // SHUT_READ | SHUT_WRITE
    bool dead;    // released: nothing is queued any more
    int error;    // pending, positive

    struct mutex read_lock; // one reader at a time; only readers (and release) remove messages
    struct mutex bind_lock; // binding, which sleeps in the file system
    struct waitq wait;      // whatever changes here
    struct waitq room;      // senders and connectors from elsewhere, waiting for room
    // unix_gc.c, covered by flight_lock.
    uint32_t in_flight; // references that are held by messages in queues
    bool reachable;
    struct unix_socket *next_reached;
};

#define SHUT_READ  1u
#define SHUT_WRITE 2u

extern struct spinlock unix_lock;
extern const struct socket_ops unix_stream_ops, unix_dgram_ops;

static inline struct unix_socket *unix_of(struct socket *s) {
    return container_of(s, struct unix_socket, base);
}

// unix_socket.c
int unix_create(int type, int protocol, struct socket **out);
void unix_get(struct unix_socket *u);
void unix_put(struct unix_socket *u);
// Closes a socket or a connection nobody accepted; drops the reference of its file or backlog.
void unix_close(struct unix_socket *u);
bool unix_broken(const struct unix_socket *u, const struct unix_socket *peer); // no more sending
int unix_take_error(struct socket *s);

// unix_name.c
int unix_bind(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len);
int unix_autobind(struct unix_socket *u);
int unix_name(struct socket *s, bool peer, struct __kernel_sockaddr_storage *a);
// The socket bound to a name, with a reference. ERR_PTR: -ECONNREFUSED, -EPROTOTYPE, -EINVAL, or
// what the path walk says.
struct unix_socket *unix_find(int type, const struct __kernel_sockaddr_storage *a, unsigned len);
void unix_unbind(struct unix_socket *u); // at release
void unix_address_put(struct unix_address *a);
struct unix_address *unix_address_get(struct unix_address *a); // NULL is allowed
void unix_address_out(const struct unix_address *from, struct socket_message *m);

// unix_connect.c
int unix_listen(struct socket *s, int backlog);
int unix_stream_connect(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len,
                        bool nonblock);
int unix_accept(struct socket *s, struct file *f, bool nonblock);
int unix_pair(struct socket *a, struct socket *b);

// unix_dgram.c
int unix_dgram_connect(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len,
                       bool nonblock);
void unix_dgram_disconnect(struct unix_socket *u); // no peer any more
ssize_t unix_dgram_send(struct socket *s, struct socket_message *m, unsigned flags);
ssize_t unix_dgram_receive(struct socket *s, struct socket_message *m, unsigned flags);
// May u send to `to` without waiting?
bool unix_dgram_room(const struct unix_socket *u, const struct unix_socket *to);

// unix_stream.c
ssize_t unix_stream_send(struct socket *s, struct socket_message *m, unsigned flags);
ssize_t unix_stream_receive(struct socket *s, struct socket_message *m, unsigned flags);

// unix_queue.c
#define UNIX_MESSAGE_COST 256u // counted for each message beside its bytes
// A message with up to `n` bytes taken from m, from socket u. ERR_PTR(-ENOBUFS, -EFAULT).
struct unix_message *unix_message_make(struct unix_socket *u, struct socket_message *m, size_t n);
void unix_message_free(struct unix_message *msg);
// Puts it into to's queue and wakes the reader. 0, or -EPIPE when `to` reads no more (then nothing
// is done), -ECONNREFUSED when it is gone.
int unix_enqueue(struct unix_socket *to, struct unix_message *msg);
// The message after `at` (NULL: the first), or NULL. read_lock held.
struct unix_message *unix_next(struct unix_socket *u, struct unix_message *at);
// Takes the message, which must have no files any more, out of the queue, frees it and wakes
// senders. read_lock held.
void unix_consume(struct unix_socket *u, struct unix_message *msg);
// Moves u's whole queue to the end of `list`; its files still count as in flight.
void unix_take_queue(struct unix_socket *u, struct list_node *list);

// unix_rights.c
// Reads m's control messages: *files (or NULL) and *cred, preset to the caller's. 0 or -errno.
int unix_parse_control(struct socket_message *m, struct unix_files **files, struct ucred *cred);
void unix_files_free(struct unix_files *files); // drops the references
// Hands a message's credentials (if u wants them) to the receiver as a control message. 0 or -EFAULT.
int unix_deliver_cred(struct unix_socket *u, struct unix_message *msg, struct socket_message *m);
// The same for its files, if any. `peek`: the message keeps them too. 0 or -EFAULT.
int unix_deliver_files(struct unix_message *msg, struct socket_message *m, bool peek);

// unix_gc.c
extern struct mutex flight_lock;   // which files are in which queue
extern unsigned sockets_in_flight; // covered by flight_lock
extern struct waitq flight_wait;   // woken when files begin to be in flight
// Counts the files of a message that is about to be queued (to) or was taken out (from). 0, or
// -ETOOMANYREFS. flight_lock held.
int unix_flight_begin(struct unix_files *files);
void unix_flight_end(struct unix_files *files);
// Moves u's whole queue to the end of `list`, for unix_dispose(). flight_lock held.
void unix_empty_queue(struct unix_socket *u, struct list_node *list);
// Frees messages taken from queues, also those of sockets that are closed by that, and of cycles
// that nobody can reach any more. No lock held.
void unix_dispose(struct list_node *messages);
void unix_list_socket(struct unix_socket *u);   // creation
void unix_unlist_socket(struct unix_socket *u); // release

// unix_collector.c: starts the world that searches now and then. Boot.
void unix_collector_start(void);
