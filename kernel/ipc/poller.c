// See poller.h. The first round asks every file and leaves a waiter on each queue it names; after a
// wake-up the files are asked again.
#include "ipc/poller.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "sched/world.h"
#include "sync/waitq.h"

#define ALWAYS (POLLERR | POLLHUP | POLLNVAL) // reported whether asked for or not

struct poller;
struct poll_waiter {
    struct waiter waiter;
    struct poller *poller;
    struct file *file; // reference: the queue lives as long as the file
    uint32_t wanted;
};

#define FIRST_WAITERS 8
#define CHUNK_WAITERS 32
struct waiter_chunk {
    struct waiter_chunk *next;
    unsigned used;
    struct poll_waiter waiters[CHUNK_WAITERS];
};

struct poller {
    struct poll_table table;
    struct waitq wait; // the caller sleeps here
    bool triggered;    // a queue was woken since the last round
    bool no_memory;
    struct file *file; // being asked
    uint32_t wanted;   // of it
    unsigned used;
    struct poll_waiter first[FIRST_WAITERS];
    struct waiter_chunk *chunks;
};

static bool poll_woken(struct waiter *w, uint32_t events) {
    struct poll_waiter *pw = container_of(w, struct poll_waiter, waiter);
    if (events && !(events & pw->wanted))
        return false;
    WRITE_ONCE(pw->poller->triggered, true);
    waitq_wake(&pw->poller->wait, 0);
    return true;
}

static struct poll_waiter *new_waiter(struct poller *p) {
    if (p->used < FIRST_WAITERS)
        return &p->first[p->used++];
    if (!p->chunks || p->chunks->used == CHUNK_WAITERS) {
        struct waiter_chunk *c = kmalloc(sizeof(*c));
        if (!c)
            return NULL;
        c->used = 0;
        c->next = p->chunks;
        p->chunks = c;
    }
    return &p->chunks->waiters[p->chunks->used++];
}

static void add_waiter(struct poll_table *t, struct waitq *q) {
    struct poller *p = container_of(t, struct poller, table);
    struct poll_waiter *pw = new_waiter(p);
    if (!pw) {
        p->no_memory = true;
        return;
    }
    *pw = (struct poll_waiter){
        .waiter = {.fn = poll_woken}, .poller = p, .file = file_get(p->file), .wanted = p->wanted};
    waitq_add(q, &pw->waiter);
}

static void drop_waiter(struct poll_waiter *pw) {
    waitq_remove(&pw->waiter);
    file_put(pw->file);
}

static void poller_finish(struct poller *p) {
    for (unsigned i = 0; i < p->used; i++)
        drop_waiter(&p->first[i]);
    while (p->chunks) {
        struct waiter_chunk *c = p->chunks;
        for (unsigned i = 0; i < c->used; i++)
            drop_waiter(&c->waiters[i]);
        p->chunks = c->next;
        kfree(c);
    }
}

static unsigned ask(struct poller *p, struct pollfd *e, bool leave_waiter) {
    if (e->fd < 0)
        return 0;
    struct file *f = fd_get(e->fd);
    if (!f)
        return POLLNVAL;
    p->file = f;
    p->wanted = (uint16_t)e->events | ALWAYS;
    unsigned ready = file_poll(f, leave_waiter ? &p->table : NULL) & p->wanted;
    file_put(f);
    return ready;
}

int poller_wait(struct pollfd *fds, unsigned count, uint64_t deadline) {
    struct poller p = {.table = {.add = add_waiter}};
    waitq_init(&p.wait);
    bool leave_waiters = deadline != 0;
    int ready = 0, err = 0;
    for (;;) {
        WRITE_ONCE(p.triggered, false);
        for (unsigned i = 0; i < count; i++) {
            // Once something is ready nobody will sleep any more.
            fds[i].revents = ask(&p, &fds[i], leave_waiters && !ready);
            if (fds[i].revents)
                ready++;
            if (i % 256 == 255)
                cond_resched();
        }
        leave_waiters = false;
        if (p.no_memory && !ready)
            err = -ENOMEM;
        if (ready || err || deadline == 0)
            break;
        err = wait_event_until(&p.wait, READ_ONCE(p.triggered), deadline);
        if (err == -ETIMEDOUT) { // one last look
            err = 0;
            deadline = 0;
        } else if (err) {
            break;
        }
    }
    poller_finish(&p);
    return ready ? ready : err;
}
