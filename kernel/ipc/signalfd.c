// signalfd: a process's pending signals read as records.
//
// Which process: the reading one, as in Linux. A blocking read and poll() wait on its signal_wait.
// An epoll set outlives its callers, so it waits on the file's own queue, which is fed by a waiter on
// the signal_wait of the process that last gave the file to an epoll set; a reference keeps that
// process's structure.
#include <linux/signalfd.h>
#include "ipc/ipc.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "sync/waitq.h"
#include "syscall/syscall.h"

struct signalfd {
    signal_set set;
    struct mutex lock;      // covers source and its waiter
    struct process *source; // reference; NULL: never watched by epoll
    struct waiter waiter;   // on source->signal_wait
    struct waitq wait;
};

static bool forward(struct waiter *w, uint32_t events) {
    struct signalfd *s = w->arg;
    waitq_wake(&s->wait, POLLIN);
    return true;
}

static void set_source(struct signalfd *s, struct process *p) {
    mutex_lock(&s->lock);
    if (s->source != p) {
        struct process *old = s->source;
        if (old)
            waitq_remove(&s->waiter);
        s->source = p;
        if (p) {
            process_get(p);
            s->waiter = (struct waiter){.fn = forward, .arg = s};
            waitq_add(&p->signal_wait, &s->waiter);
        }
        if (old)
            process_put(old);
    }
    mutex_unlock(&s->lock);
}

// One record from what the kernel knows of a signal; signalfd(2).
static void fill_record(struct signalfd_siginfo *r, int sig, const siginfo_t *info) {
    memset(r, 0, sizeof(*r));
    r->ssi_signo = sig;
    r->ssi_errno = info->si_errno;
    r->ssi_code = info->si_code;
    if (sig == SIGCHLD && info->si_code > 0) {
        r->ssi_pid = info->si_pid;
        r->ssi_uid = info->si_uid;
        r->ssi_status = info->si_status;
        r->ssi_utime = info->si_utime;
        r->ssi_stime = info->si_stime;
    } else if (info->si_code == SI_TIMER) {
        r->ssi_tid = info->si_tid;
        r->ssi_overrun = info->si_overrun;
        r->ssi_ptr = (uint64_t)info->si_ptr;
        r->ssi_int = info->si_int;
    } else if (info->si_code <= 0) { // SI_USER, SI_QUEUE, SI_TKILL
        r->ssi_pid = info->si_pid;
        r->ssi_uid = info->si_uid;
        r->ssi_ptr = (uint64_t)info->si_ptr;
        r->ssi_int = info->si_int;
    } else if (info->si_code != SI_KERNEL) {
        r->ssi_addr = (uint64_t)info->si_addr;
    }
}

static ssize_t signalfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct signalfd *s = f->data;
    struct signalfd_siginfo record;
    ssize_t done = 0;
    if (u->resid < sizeof(record))
        return -EINVAL;
    while (u->resid >= sizeof(record)) {
        siginfo_t info;
        int sig = signal_dequeue(s->set, &info);
        if (!sig) {
            if (done)
                break;
            if (f->flags & O_NONBLOCK)
                return -EAGAIN;
            int err = wait_event_interruptible(&current_process()->signal_wait,
                                               signal_pending_set() & READ_ONCE(s->set));
            if (err)
                return err;
            continue;
        }
        fill_record(&record, sig, &info);
        if (uio_write_out(u, &record, sizeof(record)) != sizeof(record))
            return done ? done : -EFAULT;
        done += sizeof(record);
    }
    return done;
}

static unsigned signalfd_poll(struct file *f, struct poll_table *t) {
    struct signalfd *s = f->data;
    if (t && t->lasting)
        set_source(s, current_process());
    poll_wait(t, t && t->lasting ? &s->wait : &current_process()->signal_wait);
    return signal_pending_set() & READ_ONCE(s->set) ? POLLIN : 0;
}

static void signalfd_release(struct file *f) {
    set_source(f->data, NULL);
    kfree(f->data);
}

static const struct file_ops signalfd_ops = {
    .read = signalfd_read,
    .seek = file_no_seek,
    .poll = signalfd_poll,
    .release = signalfd_release,
};

static long signalfd_change(int fd, signal_set set) {
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    bool ours = f->ops == &signalfd_ops;
    if (ours) {
        struct signalfd *s = f->data;
        WRITE_ONCE(s->set, set);
        waitq_wake(&s->wait, POLLIN);
        waitq_wake(&current_process()->signal_wait, POLLIN);
    }
    file_put(f);
    return ours ? fd : -EINVAL;
}

long sys_signalfd4(int fd, const void __user *user_set, size_t size, int flags) {
    signal_set set;
    if ((flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)) || size != sizeof(set))
        return -EINVAL;
    if (copy_from_user(&set, user_set, sizeof(set)))
        return -EFAULT;
    set &= ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
    if (fd != -1)
        return signalfd_change(fd, set);
    struct signalfd *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->set = set;
    mutex_init(&s->lock);
    waitq_init(&s->wait);
    struct file *f = file_alloc_anon("signalfd", &signalfd_ops, s, O_RDWR | (flags & O_NONBLOCK));
    if (IS_ERR(f)) {
        kfree(s);
        return PTR_ERR(f);
    }
    return fd_install(f, 0, flags & O_CLOEXEC);
}

long sys_signalfd(int fd, const void __user *user_set, size_t size) {
    return sys_signalfd4(fd, user_set, size, 0);
}
