// Sockets: the system calls (socket_calls.c, socket_msg.c, socket_options.c) above, protocol families
// (unix*.c) below. A family registers itself and supplies struct socket_ops.
#pragma once
#include <linux/socket.h>
#include "fs/file.h"
#include "lib/errno.h"

// Linux's numbers that its UAPI headers leave to the C library: socket(2), send(2), recv(2).
#define AF_UNSPEC 0
#define AF_UNIX   1
#define AF_MAX    46

#define SOCK_STREAM    1
#define SOCK_DGRAM     2
#define SOCK_RAW       3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf
#define SOCK_NONBLOCK  O_NONBLOCK
#define SOCK_CLOEXEC   O_CLOEXEC

#define SHUT_RD   0
#define SHUT_WR   1
#define SHUT_RDWR 2

#define MSG_OOB          0x1
#define MSG_PEEK         0x2
#define MSG_CTRUNC       0x8
#define MSG_TRUNC        0x20
#define MSG_DONTWAIT     0x40
#define MSG_EOR          0x80
#define MSG_WAITALL      0x100
#define MSG_ERRQUEUE     0x2000
#define MSG_NOSIGNAL     0x4000
#define MSG_WAITFORONE   0x10000
#define MSG_CMSG_CLOEXEC 0x40000000

#define SCM_RIGHTS      1
#define SCM_CREDENTIALS 2
#define SCM_MAX_FD      253

struct ucred {
    int32_t pid;
    uint32_t uid, gid;
};

// Header of one control message; data follows, both padded to 8 bytes.
struct cmsghdr {
    size_t cmsg_len; // with the header
    int cmsg_level, cmsg_type;
};
#define CMSG_ALIGN(n) ROUND_UP((n), sizeof(size_t))

struct msghdr { // as user programs pass it
    void *msg_name;
    int msg_namelen;
    struct iovec *msg_iov;
    size_t msg_iovlen;
    void *msg_control;
    size_t msg_controllen;
    unsigned msg_flags;
};
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned msg_len;
};

struct socket_ops;
struct socket {
    const struct socket_ops *ops;
    struct file *file; // its open file; NULL while there is none
    int family, type, protocol;
    // Options of SOL_SOCKET that mean the same in every family; single words, no lock.
    uint32_t flags; // bit n: boolean option number n (SO_KEEPALIVE, SO_PASSCRED, ...)
    uint32_t send_buffer, receive_buffer;   // bytes
    uint64_t send_timeout, receive_timeout; // ns, UINT64_MAX: none
    int32_t linger[2];                      // stored only
    int32_t priority;                       // stored only
};

// One message to send or to receive into.
struct socket_message {
    struct uio uio;
    struct __kernel_sockaddr_storage name; // address: of the receiver, or of the sender as result
    unsigned name_len;                     // 0: none
    bool want_name;                        // receiving: the caller asked for it
    void *control;                         // sending: a kernel copy; receiving: user memory
    size_t control_len;                    // its size
    size_t control_used;                   // receiving: bytes filled
    unsigned flags;                        // result: MSG_TRUNC, MSG_CTRUNC, MSG_EOR
    bool cloexec;                          // received descriptors get FD_CLOEXEC
};

// All may sleep, none is called with a lock held. `nonblock`: -EAGAIN (connect: -EAGAIN as AF_UNIX
// does, -EINPROGRESS for others) instead of waiting. NULL operations: -EOPNOTSUPP.
struct socket_ops {
    int (*bind)(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len);
    int (*connect)(struct socket *s, const struct __kernel_sockaddr_storage *a, unsigned len,
                   bool nonblock);
    int (*pair)(struct socket *a, struct socket *b); // socketpair()
    int (*listen)(struct socket *s, int backlog);
    // Gives `f` (an empty socket file) the next connection: sets f->data and its ->file.
    int (*accept)(struct socket *s, struct file *f, bool nonblock);
    // Own or peer's address; its length or -errno.
    int (*name)(struct socket *s, bool peer, struct __kernel_sockaddr_storage *a);
    int (*shutdown)(struct socket *s, int how);
    unsigned (*poll)(struct socket *s, struct poll_table *t);
    // flags: MSG_*. Bytes or -errno.
    ssize_t (*send)(struct socket *s, struct socket_message *m, unsigned flags);
    ssize_t (*receive)(struct socket *s, struct socket_message *m, unsigned flags);
    // Options beyond the common ones; values are at most 256 bytes. -ENOPROTOOPT for unknown ones.
    int (*set_option)(struct socket *s, int level, int name, const void *value, unsigned len);
    int (*get_option)(struct socket *s, int level, int name, void *value, unsigned *len);
    // The pending error (positive), cleared by asking: SO_ERROR.
    int (*take_error)(struct socket *s);
    long (*ioctl)(struct socket *s, unsigned cmd, unsigned long arg);
    // The last descriptor is gone.
    void (*release)(struct socket *s);
};

struct socket_family {
    int family;
    // A new unconnected socket in *out; type without flags. 0, -ESOCKTNOSUPPORT, -EPROTONOSUPPORT,
    // -ENOMEM.
    int (*create)(int type, int protocol, struct socket **out);
};
// Boot only.
void socket_family_register(const struct socket_family *f);

extern const struct file_ops socket_file_ops;
// The socket behind a file, or NULL.
static inline struct socket *file_socket(const struct file *f) {
    return f->ops == &socket_file_ops ? f->data : NULL;
}
// A new open file for s (sets s->file); NULL: an empty one for accept. ERR_PTR.
struct file *socket_file_alloc(struct socket *s, unsigned flags);
// Deadlines of a call by its flags and the socket's time-outs: 0 for non-blocking.
uint64_t socket_send_deadline(const struct socket *s, unsigned flags);
uint64_t socket_receive_deadline(const struct socket *s, unsigned flags);
// What an interrupted call returns: -ERESTARTSYS, or -EINTR when a time-out is set.
static inline int socket_interrupted(uint64_t deadline) {
    return deadline == UINT64_MAX ? -ERESTARTSYS : -EINTR;
}
static inline bool socket_flag(const struct socket *s, int option) {
    return READ_ONCE(s->flags) >> option & 1;
}
// The calling process, for SCM_CREDENTIALS and SO_PEERCRED.
struct ucred socket_current_cred(void);

// ---- between socket_calls.c and its helpers -----------------------------------------------------
// Adds a control message for the receiver; sets MSG_CTRUNC when it does not fit. 0 or -EFAULT.
int control_put(struct socket_message *m, int level, int type, const void *data, size_t len);
// The socket behind fd with a reference to *f. ERR_PTR(-EBADF), ERR_PTR(-ENOTSOCK).
struct socket *socket_get(int fd, struct file **f);
int address_from_user(struct __kernel_sockaddr_storage *a, const void __user *user, int len);
int address_to_user(const struct __kernel_sockaddr_storage *a, unsigned len, void __user *user,
                    int __user *user_len);
