#include "proc/signal_queue.h"
#include "lib/string.h"
#include "mm/heap.h"

int signal_next(signal_set set) {
    if (!set)
        return 0;
    if (set & SIGNALS_SYNCHRONOUS)
        set &= SIGNALS_SYNCHRONOUS;
    return __builtin_ctzll(set) + 1;
}

int signal_enqueue(signal_set *pending, struct list_node *queue, int sig, const siginfo_t *info,
                   unsigned *count, uint64_t limit) {
    if (sig < SIGNAL_RT_MIN && (*pending & SIGNAL_BIT(sig)))
        return 0;
    struct queued_signal *q = *count < limit ? kmalloc(sizeof(*q)) : NULL;
    if (q) {
        if (info) {
            q->info = *info;
        } else {
            memset(&q->info, 0, sizeof(q->info));
            q->info.si_code = SI_KERNEL;
        }
        q->info.si_signo = sig;
        list_add_tail(queue, &q->node);
        (*count)++;
    } else if (sig >= SIGNAL_RT_MIN && info && info->si_code < 0) {
        return -EAGAIN;
    }
    *pending |= SIGNAL_BIT(sig);
    return 0;
}

void signal_take(signal_set *pending, struct list_node *queue, int sig, siginfo_t *info,
                 unsigned *count) {
    struct queued_signal *q, *found = NULL;
    bool more = false;
    list_for_each (q, queue, node) {
        if (q->info.si_signo != sig)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = q;
    }
    if (!more)
        *pending &= ~SIGNAL_BIT(sig);
    if (found) {
        *info = found->info;
        list_remove(&found->node);
        kfree(found);
        (*count)--;
    } else {
        memset(info, 0, sizeof(*info));
        info->si_signo = sig;
        info->si_code = SI_USER;
    }
}

void signal_discard(signal_set *pending, struct list_node *queue, signal_set set, unsigned *count) {
    if (!(*pending & set))
        return;
    struct queued_signal *q, *next;
    list_for_each_safe(q, next, queue, node) {
        if (!(SIGNAL_BIT(q->info.si_signo) & set))
            continue;
        list_remove(&q->node);
        kfree(q);
        (*count)--;
    }
    *pending &= ~set;
}
