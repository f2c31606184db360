// Epoll sets: what epoll.c (system calls, ready list) and epoll_nest.c (loops) share.
#pragma once
#include <linux/eventpoll.h>
#include "fs/file.h"
#include "lib/tree.h"

#define EPOLL_QUEUES 4 // most queues that one file's poll() names

// A file in a set. Structure (tree, list of the file) is covered by epoll_lock, the ready list by
// ep->ready_lock, events and data by ep->lock.
struct epoll_item {
    struct tree_node node;           // ep->items, by (file, fd)
    struct list_node ready;          // ep->ready
    struct epoll_item *next_of_file; // file->epoll
    struct epoll *ep;
    struct file *file; // no reference: epoll_file_closed() removes the item in time
    int fd;
    uint32_t events; // as asked; only the flag bits are left when a one-shot item has fired
    uint64_t data;
    unsigned queues;
    struct waiter waiters[EPOLL_QUEUES];
};

struct epoll {
    struct file *file; // its own open file
    struct mutex lock; // scanning and changing the items
    struct tree items;
    struct spinlock ready_lock; // interrupt handlers add to the ready list
    struct list_node ready;     // items that may be ready
    struct waitq wait;          // epoll_wait() and whoever watches this set
    uint64_t visited;           // epoll_nest.c
    int height;
};

#define EPOLL_MAX_DEPTH 4 // of sets in sets, as Linux

extern const struct file_ops epoll_file_ops;
extern struct mutex epoll_lock; // all sets: adding, removing, closing

// May `inner` be watched by `outer`? 0 or -ELOOP. epoll_lock held.
int epoll_check_nesting(struct epoll *outer, struct epoll *inner);
