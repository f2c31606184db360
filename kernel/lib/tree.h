// Intrusive balanced search tree (red-black). Used for regions of an address space, timers, run
// queues, page caches. No locking: the owner of the tree says which lock covers it.
#pragma once
#include "lib/compiler.h"

struct tree_node {
    struct tree_node *parent, *left, *right;
    bool red;
};
struct tree {
    struct tree_node *root;
};

// Orders two nodes: true when `a` comes before `b`. Equal nodes keep the order of insertion.
typedef bool (*tree_less)(const struct tree_node *a, const struct tree_node *b);

// Inserts `n`, which must be on no tree. O(log n).
void tree_insert(struct tree *t, struct tree_node *n, tree_less less);
// Removes `n`, which must be on `t`. O(log n).
void tree_remove(struct tree *t, struct tree_node *n);
// Smallest, next, previous, largest; NULL at the end or for an empty tree.
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_last(const struct tree *t);
struct tree_node *tree_next(const struct tree_node *n);
struct tree_node *tree_prev(const struct tree_node *n);

#define tree_entry(ptr, type, member) container_of(ptr, type, member)
