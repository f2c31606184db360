/* sources: kernel/lib/tree.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "lib/tree.h"

struct item {
    struct tree_node node;
    unsigned key, serial;
};

static bool item_less(const struct tree_node *a, const struct tree_node *b) {
    return tree_entry(a, const struct item, node)->key <
           tree_entry(b, const struct item, node)->key;
}

// Checks parent links, colours and black heights; returns the black height.
static int check_subtree(const struct tree_node *n, const struct tree_node *parent) {
    if (!n)
        return 1;
    assert_ptr_equal(n->parent, parent);
    if (n->red) {
        assert_false(n->left && n->left->red);
        assert_false(n->right && n->right->red);
    }
    int left = check_subtree(n->left, n), right = check_subtree(n->right, n);
    assert_int_equal(left, right);
    return left + !n->red;
}

static void check_tree(const struct tree *t, size_t count) {
    assert_false(t->root && t->root->red);
    check_subtree(t->root, NULL);
    size_t seen = 0;
    const struct item *last = NULL;
    for (struct tree_node *n = tree_first(t); n; n = tree_next(n)) {
        const struct item *i = tree_entry(n, struct item, node);
        if (last) {
            assert_true(last->key < i->key || (last->key == i->key && last->serial < i->serial));
            assert_ptr_equal(tree_prev(n), &last->node);
        }
        last = i;
        seen++;
    }
    assert_int_equal(seen, count);
    assert_ptr_equal(tree_last(t), last ? &last->node : NULL);
}

static void test_empty(void **state) {
    (void)state;
    struct tree t = {0};
    assert_null(tree_first(&t));
    assert_null(tree_last(&t));
}

static void test_random(void **state) {
    (void)state;
    enum { N = 500 };
    static struct item items[N];
    static bool in[N];
    struct tree t = {0};
    size_t count = 0;
    unsigned serial = 0;
    srand(1);
    for (int step = 0; step < 20000; step++) {
        unsigned k = (unsigned)rand() % N;
        if (in[k]) {
            tree_remove(&t, &items[k].node);
            count--;
        } else {
            items[k].key = (unsigned)rand() % 200; // duplicates keep their order of insertion
            items[k].serial = serial++;
            tree_insert(&t, &items[k].node, item_less);
            count++;
        }
        in[k] = !in[k];
        if (step % 50 == 0)
            check_tree(&t, count);
    }
    for (int k = 0; k < N; k++)
        if (in[k]) {
            tree_remove(&t, &items[k].node);
            check_tree(&t, --count);
        }
    assert_null(t.root);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_empty), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
