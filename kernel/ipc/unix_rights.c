// Control messages: descriptors (SCM_RIGHTS) and credentials (SCM_CREDENTIALS), unix(7).
#include <asm/socket.h>
#include "ipc/unix.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "proc/process.h"

void unix_files_free(struct unix_files *files) {
    for (unsigned i = 0; i < files->count; i++)
        file_put(files->file[i]);
    kfree(files);
}

static struct unix_files *files_alloc(unsigned room) {
    struct unix_files *f = kmalloc(sizeof(*f) + room * sizeof(f->file[0]));
    if (f)
        f->count = 0;
    return f;
}

static int parse_rights(const int *fds, unsigned count, struct unix_files **files) {
    if (!*files && !(*files = files_alloc(SCM_MAX_FD)))
        return -ENOMEM;
    if (count > SCM_MAX_FD - (*files)->count)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        struct file *f = fd_get(fds[i]);
        if (!f)
            return -EBADF;
        (*files)->file[(*files)->count++] = f;
    }
    return 0;
}

// Only root may claim to be somebody else.
static int check_cred(const struct ucred *c) {
    const struct process *p = current_process();
    const struct credentials *own = &p->credentials;
    if (own->euid == 0)
        return 0;
    bool uid = c->uid == own->uid || c->uid == own->euid || c->uid == own->suid;
    bool gid = c->gid == own->gid || c->gid == own->egid || c->gid == own->sgid;
    return c->pid == p->pid && uid && gid ? 0 : -EPERM;
}

static int parse_one(const struct cmsghdr *h, struct unix_files **files, struct ucred *cred) {
    const void *data = h + 1;
    size_t len = h->cmsg_len - sizeof(*h);
    if (h->cmsg_level != SOL_SOCKET)
        return 0; // another protocol's: ignored
    if (h->cmsg_type == SCM_RIGHTS)
        return len / sizeof(int) ? parse_rights(data, len / sizeof(int), files) : 0;
    if (h->cmsg_type != SCM_CREDENTIALS || len != sizeof(*cred))
        return -EINVAL;
    memcpy(cred, data, sizeof(*cred));
    return check_cred(cred);
}

int unix_parse_control(struct socket_message *m, struct unix_files **files, struct ucred *cred) {
    *files = NULL;
    *cred = socket_current_cred();
    int err = 0;
    for (size_t at = 0; m->control_len - at >= sizeof(struct cmsghdr) && !err;) {
        const struct cmsghdr *h = (const void *)((const char *)m->control + at);
        if (h->cmsg_len < sizeof(*h) || h->cmsg_len > m->control_len - at)
            err = -EINVAL;
        else
            err = parse_one(h, files, cred);
        if (!err)
            at += MIN(CMSG_ALIGN(h->cmsg_len), m->control_len - at);
    }
    if (*files && (err || !(*files)->count)) {
        unix_files_free(*files);
        *files = NULL;
    }
    return err;
}

// The files of a message for the receiver: taken out, or more references to them. NULL: no memory.
static struct unix_files *take_files(struct unix_message *msg, bool peek) {
    struct unix_files *files = msg->files;
    mutex_lock(&flight_lock); // no search may see them half moved
    if (!peek) {
        msg->files = NULL;
        unix_flight_end(files);
    } else if ((files = files_alloc(msg->files->count))) {
        for (; files->count < msg->files->count; files->count++)
            files->file[files->count] = file_get(msg->files->file[files->count]);
    }
    mutex_unlock(&flight_lock);
    return files;
}

// Installs as many as the receiver has room for; the rest is dropped and MSG_CTRUNC says so.
static int install_files(struct unix_files *files, struct socket_message *m) {
    int fds[SCM_MAX_FD];
    unsigned done = 0;
    size_t room = m->control ? m->control_len - m->control_used : 0;
    size_t fit = room > sizeof(struct cmsghdr) ? (room - sizeof(struct cmsghdr)) / sizeof(int) : 0;
    while (done < files->count && done < fit) {
        fds[done] = fd_reserve(0, m->cloexec);
        if (fds[done] < 0)
            break;
        done++;
    }
    int err = 0;
    if (done)
        err = control_put(m, SOL_SOCKET, SCM_RIGHTS, fds, done * sizeof(int));
    for (unsigned i = 0; i < done; i++) {
        if (err)
            fd_unreserve(fds[i]);
        else
            fd_fill(fds[i], file_get(files->file[i]));
    }
    if (done < files->count)
        m->flags |= MSG_CTRUNC;
    return err;
}

int unix_deliver_cred(struct unix_socket *u, struct unix_message *msg, struct socket_message *m) {
    if (!socket_flag(&u->base, SO_PASSCRED))
        return 0;
    return control_put(m, SOL_SOCKET, SCM_CREDENTIALS, &msg->cred, sizeof(msg->cred));
}

int unix_deliver_files(struct unix_message *msg, struct socket_message *m, bool peek) {
    if (!msg->files)
        return 0;
    struct unix_files *files = take_files(msg, peek);
    if (!files) {
        m->flags |= MSG_CTRUNC;
        return 0;
    }
    int err = install_files(files, m);
    unix_files_free(files);
    return err;
}
