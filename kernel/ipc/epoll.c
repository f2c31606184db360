// Epoll: a set of watched files and a list of those that may be ready.
//
// A wake-up of a watched file's queue puts its item on the ready list. epoll_wait() takes the list,
// asks each file again and reports what holds; level-triggered items that were ready go back on it.
//
// Order of locks: epoll_lock, ep->lock (an outer set's before an inner's), then, both spinning, a
// wait queue's lock before ep->ready_lock.
#include "ipc/epoll.h"
#include "ipc/ipc.h"
#include "ipc/poller.h"
#include "ipc/timeout.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "proc/signal.h"
#include "sched/world.h"
#include "syscall/syscall.h"

// Modes, not conditions. EPOLLWAKEUP (keeping the machine from suspending) has nothing to do here.
#define FLAG_BITS (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP)
#define EXCLUSIVE_BITS \
    (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

// A wake-up with an event that no file reports: only for the worlds in epoll_wait().
#define SLEEPERS_ONLY EPOLLMSG

struct mutex epoll_lock = MUTEX_INIT(epoll_lock);

// ---- the ready list -----------------------------------------------------------------------------

// ep->ready_lock held.
static void put_ready(struct epoll *ep, struct epoll_item *i) {
    if (list_unlinked(&i->ready))
        list_add_tail(&ep->ready, &i->ready);
}

static bool mark_ready(struct epoll_item *i) {
    struct epoll *ep = i->ep;
    spin_lock(&ep->ready_lock);
    put_ready(ep, i);
    spin_unlock(&ep->ready_lock);
    bool somebody = !list_empty(&ep->wait.waiters);
    waitq_wake(&ep->wait, EPOLLIN);
    return somebody;
}

static bool file_woke(struct waiter *w, uint32_t events) {
    struct epoll_item *i = w->arg;
    uint32_t wanted = READ_ONCE(i->events) & ~FLAG_BITS;
    if (!wanted || (events && !(events & wanted)))
        return false;
    return mark_ready(i);
}

struct item_table {
    struct poll_table table;
    struct epoll_item *item;
};

static void add_queue(struct poll_table *t, struct waitq *q) {
    struct epoll_item *i = container_of(t, struct item_table, table)->item;
    ASSERT(i->queues < EPOLL_QUEUES);
    struct waiter *w = &i->waiters[i->queues++];
    *w = (struct waiter){.fn = file_woke, .arg = i, .exclusive = (i->events & EPOLLEXCLUSIVE) != 0};
    waitq_add(q, w);
}

static void put_back(struct epoll_item *i) {
    spin_lock(&i->ep->ready_lock);
    put_ready(i->ep, i);
    spin_unlock(&i->ep->ready_lock);
}

static void take_out(struct epoll_item *i) {
    spin_lock(&i->ep->ready_lock);
    list_remove(&i->ready);
    spin_unlock(&i->ep->ready_lock);
}

static unsigned item_poll(struct epoll_item *i) {
    return file_poll(i->file, NULL) & i->events & ~FLAG_BITS;
}

// What to report of an item on the ready list; 0: nothing, and it is not on the list any more. An item
// is off the list before it is asked for the last time, so that what happens then puts it on again;
// only one that is reported as long as it is ready may stay where it is.
static unsigned ask_ready(struct epoll_item *i, bool once, bool *taken) {
    unsigned events = once ? 0 : item_poll(i);
    *taken = !events;
    if (!events) {
        take_out(i);
        events = item_poll(i);
    }
    return events;
}

// Puts the items up to `i` behind all others: those had their turn.
static void rotate(struct epoll *ep, struct epoll_item *i) {
    spin_lock(&ep->ready_lock);
    list_remove(&ep->ready);
    list_insert_after(&i->ready, &ep->ready);
    spin_unlock(&ep->ready_lock);
}

// Reports up to `max` ready items. Their number, or -EFAULT.
//
// Walks the list without its lock: others only append to it, since taking off needs ep->lock as well.
// What is appended meanwhile, perhaps something reported already, is left for the next call.
static int collect(struct epoll *ep, struct epoll_event __user *out, int max) {
    struct epoll_item *stays = NULL;
    bool fault = false, again = false, last = false;
    int count = 0;
    mutex_lock(&ep->lock);
    const struct list_node *end = READ_ONCE(ep->ready.prev);
    struct list_node *n = READ_ONCE(ep->ready.next), *next;
    for (; n != &ep->ready && !last; n = next) {
        struct epoll_item *i = list_entry(n, struct epoll_item, ready);
        bool once = i->events & (EPOLLET | EPOLLONESHOT), taken;
        last = n == end;
        next = READ_ONCE(n->next);
        struct epoll_event e = {.events = ask_ready(i, once, &taken), .data = i->data};
        if (!taken)
            stays = i;
        if (!e.events)
            continue;
        fault = copy_to_user(&out[count], &e, sizeof(e));
        if (taken && (fault || !once)) {
            put_back(i);
            again = true;
        } else if (taken && i->events & EPOLLONESHOT) {
            i->events &= FLAG_BITS;
        }
        if (fault || ++count == max)
            break;
    }
    if (stays && !last)
        rotate(ep, stays);
    mutex_unlock(&ep->lock);
    if (again) // who slept on meanwhile; for watchers of the set nothing has changed
        waitq_wake(&ep->wait, SLEEPERS_ONLY);
    return fault && !count ? -EFAULT : count;
}

// Is anything ready? Drops from the list what no longer is.
static unsigned epoll_poll(struct file *f, struct poll_table *t) {
    struct epoll *ep = f->data;
    poll_wait(t, &ep->wait);
    if (list_empty(&ep->ready))
        return 0;
    unsigned events = 0;
    mutex_lock(&ep->lock);
    while (!events && !list_empty(&ep->ready)) {
        struct epoll_item *i = list_first(&ep->ready, struct epoll_item, ready);
        bool taken;
        events = ask_ready(i, false, &taken);
        if (events && taken)
            put_back(i);
    }
    mutex_unlock(&ep->lock);
    return events ? POLLIN | POLLRDNORM : 0;
}

// ---- the set ------------------------------------------------------------------------------------

static bool item_less(const struct tree_node *a, const struct tree_node *b) {
    const struct epoll_item *x = tree_entry(a, struct epoll_item, node);
    const struct epoll_item *y = tree_entry(b, struct epoll_item, node);
    return x->file != y->file ? x->file < y->file : x->fd < y->fd;
}

static struct epoll_item *find(struct epoll *ep, struct file *f, int fd) {
    struct epoll_item key = {.file = f, .fd = fd};
    for (struct tree_node *n = ep->items.root; n;) {
        if (item_less(&key.node, n))
            n = n->left;
        else if (item_less(n, &key.node))
            n = n->right;
        else
            return tree_entry(n, struct epoll_item, node);
    }
    return NULL;
}

// The item must have been asked once after waiters or events changed: it may be ready already.
static void ask_now(struct epoll_item *i, struct poll_table *t) {
    if (file_poll(i->file, t) & i->events & ~FLAG_BITS)
        mark_ready(i);
}

static int epoll_add(struct epoll *ep, struct file *f, int fd, const struct epoll_event *e) {
    if (f->ops == &epoll_file_ops) {
        if (e->events & EPOLLEXCLUSIVE)
            return -EINVAL;
        int err = epoll_check_nesting(ep, f->data);
        if (err)
            return err;
    }
    struct epoll_item *i = kmalloc(sizeof(*i));
    if (!i)
        return -ENOMEM;
    *i = (struct epoll_item){.next_of_file = f->epoll,
                             .ep = ep,
                             .file = f,
                             .fd = fd,
                             .events = e->events | EPOLLERR | EPOLLHUP,
                             .data = e->data};
    list_init(&i->ready);
    mutex_lock(&ep->lock);
    tree_insert(&ep->items, &i->node, item_less);
    f->epoll = i;
    struct item_table t = {.table = {.add = add_queue, .lasting = true}, .item = i};
    ask_now(i, &t.table);
    mutex_unlock(&ep->lock);
    return 0;
}

// epoll_lock and ep->lock held.
static void epoll_remove(struct epoll_item *i) {
    struct epoll *ep = i->ep;
    for (unsigned k = 0; k < i->queues; k++)
        waitq_remove(&i->waiters[k]);
    spin_lock(&ep->ready_lock);
    list_remove(&i->ready);
    spin_unlock(&ep->ready_lock);
    tree_remove(&ep->items, &i->node);
    struct epoll_item **link = &i->file->epoll;
    while (*link != i)
        link = &(*link)->next_of_file;
    *link = i->next_of_file;
    kfree(i);
}

static int epoll_modify(struct epoll_item *i, const struct epoll_event *e) {
    if ((i->events | e->events) & EPOLLEXCLUSIVE)
        return -EINVAL;
    mutex_lock(&i->ep->lock);
    i->data = e->data;
    // Visible before the file is asked: a wake-up in between uses the new events.
    __atomic_store_n(&i->events, e->events | EPOLLERR | EPOLLHUP, __ATOMIC_SEQ_CST);
    ask_now(i, NULL);
    mutex_unlock(&i->ep->lock);
    return 0;
}

void epoll_file_closed(struct file *f) {
    mutex_lock(&epoll_lock);
    while (f->epoll) {
        struct epoll *ep = f->epoll->ep;
        mutex_lock(&ep->lock);
        epoll_remove(f->epoll);
        mutex_unlock(&ep->lock);
    }
    mutex_unlock(&epoll_lock);
}

static void epoll_release(struct file *f) {
    struct epoll *ep = f->data;
    mutex_lock(&epoll_lock);
    mutex_lock(&ep->lock);
    struct tree_node *n;
    while ((n = tree_first(&ep->items)))
        epoll_remove(tree_entry(n, struct epoll_item, node));
    mutex_unlock(&ep->lock);
    mutex_unlock(&epoll_lock);
    kfree(ep);
}

const struct file_ops epoll_file_ops = {
    .seek = file_no_seek,
    .poll = epoll_poll,
    .release = epoll_release,
};

// ---- system calls -------------------------------------------------------------------------------

long sys_epoll_create1(int flags) {
    if (flags & ~EPOLL_CLOEXEC)
        return -EINVAL;
    struct epoll *ep = kzalloc(sizeof(*ep));
    if (!ep)
        return -ENOMEM;
    mutex_init(&ep->lock);
    spin_init(&ep->ready_lock);
    list_init(&ep->ready);
    waitq_init(&ep->wait);
    ep->file = file_alloc_anon("eventpoll", &epoll_file_ops, ep, O_RDWR);
    if (IS_ERR(ep->file)) {
        long err = PTR_ERR(ep->file);
        kfree(ep);
        return err;
    }
    return fd_install(ep->file, 0, flags & EPOLL_CLOEXEC);
}

long sys_epoll_create(int size) {
    return size > 0 ? sys_epoll_create1(0) : -EINVAL;
}

static int control(struct epoll *ep, int op, struct file *f, int fd, const struct epoll_event *e) {
    if (e->events & EPOLLEXCLUSIVE && (op != EPOLL_CTL_ADD || e->events & ~EXCLUSIVE_BITS))
        return -EINVAL;
    mutex_lock(&epoll_lock);
    struct epoll_item *i = find(ep, f, fd);
    int ret = i ? 0 : -ENOENT;
    if (op == EPOLL_CTL_ADD) {
        ret = i ? -EEXIST : epoll_add(ep, f, fd, e);
    } else if (i && op == EPOLL_CTL_MOD) {
        ret = epoll_modify(i, e);
    } else if (i) {
        mutex_lock(&ep->lock);
        epoll_remove(i);
        mutex_unlock(&ep->lock);
    }
    mutex_unlock(&epoll_lock);
    return ret;
}

long sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event __user *event) {
    struct epoll_event e = {0};
    if (op != EPOLL_CTL_DEL && get_user(e, event))
        return -EFAULT;
    struct file *set = fd_get(epfd), *f = fd_get(fd);
    int ret = 0;
    if (!set || !f)
        ret = -EBADF;
    else if (!f->ops->poll) // regular files and directories are always ready
        ret = -EPERM;
    else if (set == f || set->ops != &epoll_file_ops)
        ret = -EINVAL;
    else if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
        ret = -EINVAL;
    else
        ret = control(set->data, op, f, fd, &e);
    if (f)
        file_put(f);
    if (set)
        file_put(set);
    return ret;
}

static int wait_ready(struct epoll *ep, struct epoll_event __user *out, int max,
                      uint64_t deadline) {
    for (;;) {
        int n = list_empty(&ep->ready) ? 0 : collect(ep, out, max);
        if (n || !deadline)
            return n;
        int err = wait_event_until(&ep->wait, !list_empty(&ep->ready), deadline);
        if (err == -ETIMEDOUT)
            deadline = 0; // one last look
        else if (err)
            return -EINTR; // never restarted: epoll_wait(2), signal(7)
    }
}

static long epoll_wait_fd(int epfd, struct epoll_event __user *out, int max, uint64_t deadline) {
    if (max <= 0 || max > INT32_MAX / (int)sizeof(*out))
        return -EINVAL;
    struct file *f = fd_get(epfd);
    if (!f)
        return -EBADF;
    long ret = f->ops == &epoll_file_ops ? wait_ready(f->data, out, max, deadline) : -EINVAL;
    file_put(f);
    return ret;
}

long sys_epoll_wait(int epfd, struct epoll_event __user *events, int max, int timeout_ms) {
    return epoll_wait_fd(epfd, events, max, deadline_after_ms(timeout_ms));
}

static long wait_with_mask(int epfd, struct epoll_event __user *events, int max, uint64_t deadline,
                           const void __user *mask, size_t mask_size) {
    int err = signal_use_mask(mask, mask_size);
    if (err)
        return err;
    long ret = epoll_wait_fd(epfd, events, max, deadline);
    if (ret != -EINTR && mask)
        signal_restore_mask();
    return ret;
}

long sys_epoll_pwait(int epfd, struct epoll_event __user *events, int max, int timeout_ms,
                     const void __user *mask, size_t mask_size) {
    return wait_with_mask(epfd, events, max, deadline_after_ms(timeout_ms), mask, mask_size);
}

long sys_epoll_pwait2(int epfd, struct epoll_event __user *events, int max,
                      const struct __kernel_timespec __user *timeout, const void __user *mask,
                      size_t mask_size) {
    uint64_t deadline;
    int err = deadline_from_timespec(timeout, &deadline);
    return err ? err : wait_with_mask(epfd, events, max, deadline, mask, mask_size);
}
