#include "mm/notify.h"
#include "mm/rmap.h"

// Covers all_notifiers. Held during flush(), so that who finds nothing pending also knows that the
// flush which took the mark is over.
static struct mutex flush_lock = MUTEX_INIT(flush_lock);
static struct list_node all_notifiers = LIST_INIT(all_notifiers);

void pt_notify(struct space *s, uint64_t start, uint64_t end) {
    s->invalidations++;
    struct space_notifier *n;
    list_for_each (n, &s->notifiers, node) {
        n->invalidate(n, start, end);
        __atomic_store_n(&n->pending, true, __ATOMIC_RELEASE); // only now: see notify_flush()
    }
}

void notify_write_protect_all(struct space *s) {
    spin_lock(&tables_lock);
    s->invalidations++;
    struct space_notifier *n;
    list_for_each (n, &s->notifiers, node) {
        n->write_protect_all(n);
        __atomic_store_n(&n->pending, true, __ATOMIC_RELEASE);
    }
    spin_unlock(&tables_lock);
}

void notify_flush(struct space *s) {
    if (s ? list_empty(&s->notifiers) : list_empty(&all_notifiers))
        return;
    mutex_lock(&flush_lock);
    struct space_notifier *n;
    list_for_each (n, &all_notifiers, all_node)
        if (__atomic_exchange_n(&n->pending, false, __ATOMIC_ACQ_REL) && n->flush)
            n->flush(n);
    mutex_unlock(&flush_lock);
}

void space_add_notifier(struct space *s, struct space_notifier *n) {
    n->pending = false;
    mutex_lock(&flush_lock);
    list_add_tail(&all_notifiers, &n->all_node);
    mutex_unlock(&flush_lock);
    spin_lock(&tables_lock);
    list_add_tail(&s->notifiers, &n->node);
    spin_unlock(&tables_lock);
}

void space_remove_notifier(struct space *s, struct space_notifier *n) {
    (void)s;
    spin_lock(&tables_lock);
    list_remove(&n->node);
    spin_unlock(&tables_lock);
    mutex_lock(&flush_lock);
    list_remove(&n->all_node);
    mutex_unlock(&flush_lock);
}
