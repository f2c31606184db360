// Sockets in flight: those whose descriptor was sent over an AF_UNIX socket and is still in a queue.
//
// A socket may be in its own queue, or two in each other's. When nobody has them open any more, only
// the queues hold them, and counting references alone would keep them for ever. So, as with garbage
// in any graph: a socket is a root when it has references from outside of queues (of its file, more
// than are in flight). What can be reached from the roots through queues and backlogs stays; the
// queues of all other sockets are emptied, and that ends them.
//
// flight_lock is held whenever a message with files enters or leaves a queue, a connection leaves a
// backlog, and during a search. So during a search a file without references from outside cannot get
// any: those come only from a queue.
//
// Freeing a message may close a socket, which frees its queue, and so on along a chain of any length:
// messages are freed by a loop over a list, not by recursion.
#include "ipc/unix.h"
#include "sched/world.h"

struct mutex flight_lock = MUTEX_INIT(flight_lock);

struct waitq flight_wait = WAITQ_INIT(flight_wait);

#define FILES_MAX 65536u // in flight in the whole system

static struct list_node all_sockets = LIST_INIT(all_sockets); // flight_lock
static unsigned files_in_flight;                              // flight_lock
unsigned sockets_in_flight;                                   // flight_lock

static struct spinlock dispose_lock = SPINLOCK_INIT; // covers the three below
static struct list_node disposed = LIST_INIT(disposed);
static bool disposing;     // a world is in the loop of unix_dispose()
static bool search_wanted; // something was closed since the last search

void unix_list_socket(struct unix_socket *u) {
    mutex_lock(&flight_lock);
    list_add_tail(&all_sockets, &u->all_node);
    mutex_unlock(&flight_lock);
}

void unix_unlist_socket(struct unix_socket *u) {
    mutex_lock(&flight_lock);
    list_remove(&u->all_node);
    mutex_unlock(&flight_lock);
}

static struct unix_socket *as_unix(const struct file *f) {
    struct socket *s = file_socket(f);
    return s && s->family == AF_UNIX ? unix_of(s) : NULL;
}

int unix_flight_begin(struct unix_files *files) {
    ASSERT(mutex_held(&flight_lock));
    if (files_in_flight + files->count > FILES_MAX)
        return -ETOOMANYREFS;
    files_in_flight += files->count;
    for (unsigned i = 0; i < files->count; i++) {
        struct unix_socket *u = as_unix(files->file[i]);
        if (u) {
            u->in_flight++;
            sockets_in_flight++;
        }
    }
    waitq_wake(&flight_wait, 0);
    return 0;
}

void unix_flight_end(struct unix_files *files) {
    ASSERT(mutex_held(&flight_lock));
    files_in_flight -= files->count;
    for (unsigned i = 0; i < files->count; i++) {
        struct unix_socket *u = as_unix(files->file[i]);
        if (u) {
            u->in_flight--;
            sockets_in_flight--;
        }
    }
}

// ---- the search ---------------------------------------------------------------------------------

static void reach(struct unix_socket *u, struct unix_socket **work) {
    if (u->reachable)
        return;
    u->reachable = true;
    u->next_reached = *work;
    *work = u;
}

// What u's queue and backlog lead to.
static void reach_from(struct unix_socket *u, struct unix_socket **work) {
    spin_lock(&unix_lock);
    struct unix_socket *p;
    list_for_each (p, &u->pending, pending_node)
        reach(p, work);
    spin_unlock(&unix_lock);
    spin_lock(&u->lock);
    struct unix_message *msg;
    list_for_each (msg, &u->queue, node) {
        for (unsigned i = 0; msg->files && i < msg->files->count; i++) {
            struct unix_socket *inner = as_unix(msg->files->file[i]);
            if (inner)
                reach(inner, work);
        }
    }
    spin_unlock(&u->lock);
}

static void mark(void) {
    struct unix_socket *work = NULL, *u;
    list_for_each (u, &all_sockets, all_node)
        u->reachable = false;
    list_for_each (u, &all_sockets, all_node)
        if (u->base.file && __atomic_load_n(&u->base.file->refs, __ATOMIC_ACQUIRE) > u->in_flight)
            reach(u, &work);
    while ((u = work)) {
        work = u->next_reached;
        reach_from(u, &work);
        cond_resched();
    }
}

void unix_empty_queue(struct unix_socket *u, struct list_node *list) {
    ASSERT(mutex_held(&flight_lock));
    struct list_node *before = list->prev;
    unix_take_queue(u, list);
    for (struct list_node *n = before->next; n != list; n = n->next) {
        struct unix_message *msg = list_entry(n, struct unix_message, node);
        if (msg->files)
            unix_flight_end(msg->files);
    }
}

// Empties the queues of what was not reached; appends their messages to `list`.
static void sweep(struct list_node *list) {
    struct unix_socket *u;
    list_for_each (u, &all_sockets, all_node)
        if (!u->reachable)
            unix_empty_queue(u, list);
}

static void search(struct list_node *garbage) {
    mutex_lock(&flight_lock);
    if (sockets_in_flight) {
        mark();
        sweep(garbage);
    }
    mutex_unlock(&flight_lock);
}

// ---- freeing ------------------------------------------------------------------------------------

// Moves all of `from` to the end of `to`.
static void append_all(struct list_node *to, struct list_node *from) {
    while (!list_empty(from)) {
        struct list_node *n = from->next;
        list_remove(n);
        list_add_tail(to, n);
    }
}

static struct unix_message *next_disposed(bool *search_now) {
    struct unix_message *msg = list_first(&disposed, struct unix_message, node);
    *search_now = !msg && search_wanted;
    if (msg)
        list_remove(&msg->node);
    else
        search_wanted = false;
    return msg;
}

void unix_dispose(struct list_node *messages) {
    struct list_node garbage = LIST_INIT(garbage);
    spin_lock(&dispose_lock);
    append_all(&disposed, messages);
    search_wanted |= READ_ONCE(sockets_in_flight) != 0;
    if (disposing) { // we are inside of that loop, or another world is: it goes on
        spin_unlock(&dispose_lock);
        return;
    }
    disposing = true;
    for (;;) {
        bool search_now;
        struct unix_message *msg = next_disposed(&search_now);
        if (!msg && !search_now)
            break;
        spin_unlock(&dispose_lock);
        if (msg)
            unix_message_free(msg); // may close sockets, which call unix_dispose() again
        else
            search(&garbage);
        spin_lock(&dispose_lock);
        append_all(&disposed, &garbage);
    }
    disposing = false;
    spin_unlock(&dispose_lock);
}
