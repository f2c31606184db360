// Red-black tree: every path from the root to a leaf has the same number of black nodes and no red
// node has a red child, so the height is at most 2 log2(n + 1). NULL children count as black.
#include "lib/tree.h"

static inline bool is_red(const struct tree_node *n) {
    return n && n->red;
}

// Puts `to` (may be NULL) where `from` hangs.
static void replace(struct tree *t, struct tree_node *from, struct tree_node *to) {
    struct tree_node *p = from->parent;
    if (!p)
        t->root = to;
    else if (p->left == from)
        p->left = to;
    else
        p->right = to;
    if (to)
        to->parent = p;
}

// The right child of n takes its place, n becomes its left child.
static void rotate_left(struct tree *t, struct tree_node *n) {
    struct tree_node *up = n->right;
    replace(t, n, up);
    n->right = up->left;
    if (n->right)
        n->right->parent = n;
    up->left = n;
    n->parent = up;
}

static void rotate_right(struct tree *t, struct tree_node *n) {
    struct tree_node *up = n->left;
    replace(t, n, up);
    n->left = up->right;
    if (n->left)
        n->left->parent = n;
    up->right = n;
    n->parent = up;
}

static void insert_fixup(struct tree *t, struct tree_node *n) {
    while (is_red(n->parent)) {
        struct tree_node *p = n->parent, *g = p->parent; // a red node is never the root
        bool left = p == g->left;
        struct tree_node *uncle = left ? g->right : g->left;
        if (is_red(uncle)) {
            p->red = uncle->red = false;
            g->red = true;
            n = g;
            continue;
        }
        if (n == (left ? p->right : p->left)) { // inner grandchild: make it an outer one
            n = p;
            if (left)
                rotate_left(t, n);
            else
                rotate_right(t, n);
            p = n->parent;
        }
        p->red = false;
        g->red = true;
        if (left)
            rotate_right(t, g);
        else
            rotate_left(t, g);
    }
    t->root->red = false;
}

void tree_insert(struct tree *t, struct tree_node *n, tree_less less) {
    struct tree_node **link = &t->root, *parent = NULL;
    while (*link) {
        parent = *link;
        link = less(n, parent) ? &parent->left : &parent->right;
    }
    *n = (struct tree_node){.parent = parent, .red = true};
    *link = n;
    insert_fixup(t, n);
}

// The paths through n (child of p, may be NULL) are one black node short.
static void remove_fixup(struct tree *t, struct tree_node *n, struct tree_node *p) {
    while (p && !is_red(n)) {
        bool left = n == p->left;
        struct tree_node *sibling = left ? p->right : p->left; // exists: it has black nodes below
        if (sibling->red) {
            sibling->red = false;
            p->red = true;
            if (left)
                rotate_left(t, p);
            else
                rotate_right(t, p);
            sibling = left ? p->right : p->left;
        }
        struct tree_node *near = left ? sibling->left : sibling->right;
        struct tree_node *far = left ? sibling->right : sibling->left;
        if (!is_red(near) && !is_red(far)) {
            sibling->red = true;
            n = p;
            p = n->parent;
            continue;
        }
        if (!is_red(far)) {
            near->red = false;
            sibling->red = true;
            if (left)
                rotate_right(t, sibling);
            else
                rotate_left(t, sibling);
            far = sibling;
            sibling = near;
        }
        sibling->red = p->red;
        p->red = far->red = false;
        if (left)
            rotate_left(t, p);
        else
            rotate_right(t, p);
        return;
    }
    if (n)
        n->red = false;
}

void tree_remove(struct tree *t, struct tree_node *n) {
    struct tree_node *child, *parent;
    bool lost_black;
    if (n->left && n->right) { // the successor, which has no left child, takes n's place
        struct tree_node *s = n->right;
        while (s->left)
            s = s->left;
        child = s->right;
        lost_black = !s->red;
        parent = s->parent == n ? s : s->parent;
        if (s->parent != n) {
            replace(t, s, child);
            s->right = n->right;
            s->right->parent = s;
        }
        replace(t, n, s);
        s->left = n->left;
        s->left->parent = s;
        s->red = n->red;
    } else {
        child = n->left ? n->left : n->right;
        parent = n->parent;
        lost_black = !n->red;
        replace(t, n, child);
    }
    if (lost_black)
        remove_fixup(t, child, parent);
    n->parent = n->left = n->right = NULL;
}

struct tree_node *tree_first(const struct tree *t) {
    struct tree_node *n = t->root;
    while (n && n->left)
        n = n->left;
    return n;
}

struct tree_node *tree_last(const struct tree *t) {
    struct tree_node *n = t->root;
    while (n && n->right)
        n = n->right;
    return n;
}

struct tree_node *tree_next(const struct tree_node *n) {
    if (n->right) {
        n = n->right;
        while (n->left)
            n = n->left;
        return (struct tree_node *)n;
    }
    while (n->parent && n == n->parent->right)
        n = n->parent;
    return n->parent;
}

struct tree_node *tree_prev(const struct tree_node *n) {
    if (n->left) {
        n = n->left;
        while (n->right)
            n = n->right;
        return (struct tree_node *)n;
    }
    while (n->parent && n == n->parent->left)
        n = n->parent;
    return n->parent;
}
