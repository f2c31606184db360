// Sets that watch sets: no cycles, and no long chains, since wake-ups and poll() recurse along them.
#include "ipc/epoll.h"
#include "lib/errno.h"

// Each search visits a set once: without marks a layered graph would take exponential time.
static uint64_t search;

static struct epoll *as_epoll(const struct file *f) {
    return f->ops == &epoll_file_ops ? f->data : NULL;
}

// Longest chain of sets below `ep`, or -1 when it leads to `forbidden`. The graph has no cycle, and
// chains are at most EPOLL_MAX_DEPTH long: that bounds the recursion.
static int depth_below(struct epoll *ep, const struct epoll *forbidden) {
    if (ep == forbidden)
        return -1;
    if (ep->visited == search)
        return ep->height;
    int depth = 0;
    for (struct tree_node *n = tree_first(&ep->items); n; n = tree_next(n)) {
        struct epoll *inner = as_epoll(tree_entry(n, struct epoll_item, node)->file);
        if (!inner)
            continue;
        int below = depth_below(inner, forbidden);
        if (below < 0)
            return -1;
        depth = MAX(depth, below + 1);
    }
    ep->visited = search;
    ep->height = depth;
    return depth;
}

static int depth_above(struct epoll *ep) {
    if (ep->visited == search)
        return ep->height;
    int depth = 0;
    for (struct epoll_item *i = ep->file->epoll; i; i = i->next_of_file)
        depth = MAX(depth, depth_above(i->ep) + 1);
    ep->visited = search;
    ep->height = depth;
    return depth;
}

int epoll_check_nesting(struct epoll *outer, struct epoll *inner) {
    ASSERT(mutex_held(&epoll_lock));
    search++;
    int below = depth_below(inner, outer);
    search++;
    int above = depth_above(outer);
    return below < 0 || below + above + 1 > EPOLL_MAX_DEPTH ? -ELOOP : 0;
}
