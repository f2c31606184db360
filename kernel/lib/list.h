// Intrusive doubly linked circular list. The head is a list_node too; an empty head and an
// unlinked node point to themselves. No locking: the owner of the head says which lock covers it.
#pragma once
#include "lib/compiler.h"

struct list_node {
    struct list_node *next, *prev;
};

#define LIST_INIT(name) \
    { &(name), &(name) }

static inline void list_init(struct list_node *n) {
    n->next = n->prev = n;
}
static inline bool list_empty(const struct list_node *head) {
    return head->next == head;
}
// How many entries there are: a walk.
static inline unsigned list_count(const struct list_node *head) {
    unsigned n = 0;
    for (const struct list_node *at = head->next; at != head; at = at->next)
        n++;
    return n;
}
// True when `n` was initialised and is on no list.
static inline bool list_unlinked(const struct list_node *n) {
    return n->next == n;
}

static inline void list_insert_after(struct list_node *at, struct list_node *n) {
    n->prev = at;
    n->next = at->next;
    at->next->prev = n;
    __atomic_store_n(&at->next, n, __ATOMIC_RELEASE); // last: epoll walks forwards without the lock
}
static inline void list_add_head(struct list_node *head, struct list_node *n) {
    list_insert_after(head, n);
}
static inline void list_add_tail(struct list_node *head, struct list_node *n) {
    list_insert_after(head->prev, n);
}
// Unlinks `n` and leaves it initialised, so removing twice is harmless.
static inline void list_remove(struct list_node *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first(head, type, member) \
    (list_empty(head) ? NULL : container_of((head)->next, type, member))
#define list_for_each(var, head, member)                                                     \
    for (var = container_of((head)->next, __typeof__(*var), member); &var->member != (head); \
         var = container_of(var->member.next, __typeof__(*var), member))
// The loop body may remove `var` from the list.
#define list_for_each_safe(var, tmp, head, member)                      \
    for (var = container_of((head)->next, __typeof__(*var), member),    \
        tmp = container_of(var->member.next, __typeof__(*var), member); \
         &var->member != (head);                                        \
         var = tmp, tmp = container_of(tmp->member.next, __typeof__(*tmp), member))
