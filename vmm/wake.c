// Waking a running vCPU from a file: a waiter stands on each wait queue that the file's poll() names, and
// kicks the vCPU out of the guest when it is woken.
#include "vmm/wake.h"
#include "fs/file.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"

#define QUEUES_MAX 2 // no file names more

struct wake_source {
    struct vcpu *vcpu;
    struct file *file;
    struct poll_table table;
    struct waiter waiters[QUEUES_MAX];
    unsigned count;
};

static bool readable(uint32_t events) {
    return !events || (events & (POLLIN | POLLHUP | POLLERR));
}

// Any context, the queue's lock is held.
static bool woken(struct waiter *w, uint32_t events) {
    struct wake_source *s = w->arg;
    if (readable(events))
        vcpu_kick(s->vcpu);
    return false;
}

static void add_queue(struct poll_table *t, struct waitq *q) {
    struct wake_source *s = container_of(t, struct wake_source, table);
    if (s->count == QUEUES_MAX)
        return;
    struct waiter *w = &s->waiters[s->count++];
    w->fn = woken;
    w->arg = s;
    waitq_add(q, w);
}

static void source_free(struct wake_source *s) {
    if (!s)
        return;
    for (unsigned i = 0; i < s->count; i++)
        waitq_remove(&s->waiters[i]);
    file_put(s->file);
    kfree(s);
}

int wake_source_set(struct vcpu *v, struct file *f) {
    source_free(v->wake);
    v->wake = NULL;
    if (!f)
        return 0;
    struct wake_source *s = kzalloc(sizeof(*s));
    if (!s) {
        file_put(f);
        return -ENOMEM;
    }
    s->vcpu = v;
    s->file = f;
    s->table = (struct poll_table){.add = add_queue, .lasting = true};
    v->wake = s;
    if (f->ops->poll(f, &s->table) & POLLIN)
        vcpu_kick(v);
    return 0;
}

bool wake_source_ready(struct vcpu *v) {
    return v->wake->file->ops->poll(v->wake->file, NULL) & (POLLIN | POLLHUP | POLLERR);
}

long wake_ioctl(struct vcpu *v, unsigned long arg) {
    int32_t fd;
    if (get_user(fd, (int32_t __user *)arg))
        return -EFAULT;
    struct file *f = NULL;
    if (fd != -1) {
        f = fd_get(fd);
        if (!f)
            return -EBADF;
        if (!f->ops->poll) { // always readable: a mistake (and a vCPU must not hold itself)
            file_put(f);
            return -EPERM;
        }
    }
    return wake_source_set(v, f);
}
