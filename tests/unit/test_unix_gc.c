/* sources: kernel/ipc/unix_gc.c kernel/ipc/unix_queue.c */
// Which sockets in flight are freed, against a search by a simple model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ipc/unix.h"

struct spinlock unix_lock = SPINLOCK_INIT;
const struct file_ops socket_file_ops;
static int alive, depth, deepest;

bool mutex_held(const struct mutex *m) {
    return m->owner != NULL;
}
void mutex_lock(struct mutex *m) {
    assert_null(m->owner);
    m->owner = (void *)1;
}
void mutex_unlock(struct mutex *m) {
    m->owner = NULL;
}
void waitq_wake(struct waitq *q, uint32_t events) {
    (void)q, (void)events;
}
void waitq_wake_one(struct waitq *q, uint32_t events) {
    (void)q, (void)events;
}
void cond_resched(void) {}
ssize_t uio_read_in(struct uio *u, void *buf, size_t n) {
    return (void)u, (void)buf, n;
}
void unix_address_put(struct unix_address *a) {
    (void)a;
}
struct unix_address *unix_address_get(struct unix_address *a) {
    return a;
}

static struct unix_socket *make(void) {
    struct unix_socket *u = calloc(1, sizeof(*u));
    struct file *f = calloc(1, sizeof(*f));
    u->base = (struct socket){.file = f, .family = AF_UNIX, .type = SOCK_DGRAM};
    list_init(&u->queue);
    list_init(&u->pending);
    list_init(&u->senders);
    *f = (struct file){.refs = 1, .ops = &socket_file_ops, .data = &u->base};
    unix_list_socket(u);
    alive++;
    return u;
}

// As unix_close() does for the queue.
static void close_socket(struct unix_socket *u) {
    struct list_node messages = LIST_INIT(messages);
    deepest = MAX(deepest, ++depth);
    mutex_lock(&flight_lock);
    u->dead = true;
    unix_empty_queue(u, &messages);
    mutex_unlock(&flight_lock);
    unix_unlist_socket(u);
    struct file *f = u->base.file;
    unix_dispose(&messages);
    free(u);
    free(f);
    alive--;
    depth--;
}

void file_put(struct file *f) {
    if (--f->refs == 0)
        close_socket(unix_of(f->data));
}
void unix_files_free(struct unix_files *files) {
    for (unsigned i = 0; i < files->count; i++)
        file_put(files->file[i]);
    free(files);
}

static void send(struct unix_socket *to, struct unix_socket *what) {
    struct unix_message *msg = calloc(1, sizeof(*msg));
    msg->files = calloc(1, sizeof(*msg->files) + sizeof(struct file *));
    msg->files->count = 1;
    msg->files->file[0] = what->base.file;
    what->base.file->refs++;
    assert_int_equal(unix_enqueue(to, msg), 0);
}

// What the unix-gc world does.
static void collect(void) {
    struct list_node nothing = LIST_INIT(nothing);
    unix_dispose(&nothing);
}

static void test_cycles(void **unused) {
    (void)unused;
    struct unix_socket *a = make(), *b = make(), *c = make();
    send(a, a);
    file_put(a->base.file);
    collect();
    assert_int_equal(alive, 2); // itself in its own queue
    send(b, c);
    send(c, b);
    file_put(b->base.file);
    collect();
    assert_int_equal(alive, 2); // c is still open
    file_put(c->base.file);
    collect();
    assert_int_equal(alive, 0);
}

static void test_chain(void **unused) {
    (void)unused;
    struct unix_socket *inner = make();
    for (int i = 0; i < 5000; i++) {
        struct unix_socket *outer = make();
        send(outer, inner);
        file_put(inner->base.file);
        inner = outer;
    }
    assert_int_equal(alive, 5001);
    deepest = 0;
    file_put(inner->base.file);
    assert_int_equal(alive, 0);
    assert_true(deepest <= 2); // a loop, not a recursion
}

// A connection that nobody accepted is reached through its listener.
static void test_backlog(void **unused) {
    (void)unused;
    struct unix_socket *listener = make(), *far = make(), *held = make();
    struct file *f = far->base.file;
    far->base.file = NULL;
    list_add_tail(&listener->pending, &far->pending_node);
    send(far, held);
    file_put(held->base.file);
    file_put(make()->base.file); // a close: search
    assert_int_equal(alive, 3);
    assert_int_equal(far->queued, 1);
    far->base.file = f;
    list_remove(&far->pending_node);
    file_put(f);
    assert_int_equal(alive, 1);
    file_put(listener->base.file);
    assert_int_equal(alive, 0);
}

static void test_random(void **unused) {
    (void)unused;
    enum { N = 12 };
    srand(7);
    for (int round = 0; round < 500; round++) {
        struct unix_socket *s[N];
        bool edge[N][N] = {{false}}, open[N], reach[N];
        for (int i = 0; i < N; i++)
            s[i] = make();
        for (int k = rand() % 30; k > 0; k--) {
            int to = rand() % N, what = rand() % N;
            send(s[to], s[what]);
            edge[to][what] = true;
        }
        for (int i = 0; i < N; i++)
            open[i] = reach[i] = rand() % 3 == 0;
        for (int again = 0; again < N; again++)
            for (int i = 0; i < N; i++)
                for (int k = 0; k < N; k++)
                    if (reach[i] && edge[i][k])
                        reach[k] = true;
        int wanted = 0;
        for (int i = 0; i < N; i++)
            wanted += reach[i];
        for (int i = 0; i < N; i++)
            if (!open[i])
                file_put(s[i]->base.file);
        collect();
        assert_int_equal(alive, wanted);
        for (int i = 0; i < N; i++)
            if (open[i])
                file_put(s[i]->base.file);
        collect();
        assert_int_equal(alive, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cycles), cmocka_unit_test(test_chain),
                                       cmocka_unit_test(test_backlog),
                                       cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
