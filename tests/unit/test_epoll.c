/* sources: kernel/ipc/epoll.c kernel/ipc/epoll_nest.c kernel/lib/tree.c */
// The ready list of epoll with files whose readiness and wake-ups the test decides.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "ipc/epoll.h"
#include "ipc/ipc.h"
#include "ipc/poller.h"
#include "ipc/timeout.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/uaccess.h"
#include "sched/world.h"
#include "syscall/syscall.h"

// Not <stdlib.h>: its signal and time types are not the kernel's.
void *calloc(size_t n, size_t size);
void free(void *p);

// ---- the surroundings ---------------------------------------------------------------------------

struct source { // a file that the test makes ready
    struct waitq wait;
    unsigned ready;
    bool wake_when_asked; // an event comes just after the answer was given
};

static struct file *files[600];
static bool bad_user_memory;

void mutex_init(struct mutex *m) {
    m->owner = NULL;
}
void mutex_lock(struct mutex *m) {
    assert_null(m->owner);
    m->owner = (void *)1;
}
void mutex_unlock(struct mutex *m) {
    m->owner = NULL;
}
bool mutex_held(const struct mutex *m) {
    return m->owner != NULL;
}
void waitq_init(struct waitq *q) {
    *q = (struct waitq)WAITQ_INIT(*q);
}
void waitq_add(struct waitq *q, struct waiter *w) {
    w->queue = q;
    list_add_tail(&q->waiters, &w->node);
}
void waitq_remove(struct waiter *w) {
    list_remove(&w->node);
}
void waitq_wake(struct waitq *q, uint32_t events) {
    struct waiter *w, *next;
    list_for_each_safe(w, next, &q->waiters, node) w->fn(w, events);
}
void waitq_prepare(struct waitq *q, struct waiter *w, bool interruptible) {
    (void)q, (void)w, (void)interruptible;
}
int waitq_sleep(struct waiter *w, bool interruptible, uint64_t deadline) {
    return (void)w, (void)interruptible, (void)deadline, -ETIMEDOUT;
}
void waitq_finish(struct waiter *w) {
    (void)w;
}
uint64_t deadline_after_ns(uint64_t ns) {
    return ns;
}
int deadline_from_timespec(const struct __kernel_timespec *ts, uint64_t *deadline) {
    return (void)ts, *deadline = 0, 0;
}
int signal_use_mask(const void *mask, size_t size) {
    return (void)mask, (void)size, 0;
}
void signal_restore_mask(void) {}
int copy_to_user(void *dst, const void *src, size_t n) {
    if (bad_user_memory)
        return -EFAULT;
    memcpy(dst, src, n);
    return 0;
}
int copy_from_user(void *dst, const void *src, size_t n) {
    memcpy(dst, src, n);
    return 0;
}
int64_t file_no_seek(struct file *f, int64_t offset, int whence) {
    return (void)f, (void)offset, (void)whence, -ESPIPE;
}
struct file *file_alloc_anon(const char *name, const struct file_ops *ops, void *data,
                             unsigned flags) {
    struct file *f = calloc(1, sizeof(*f));
    *f = (struct file){.refs = 1, .ops = ops, .data = data, .flags = flags, .name = name};
    return f;
}
int fd_install(struct file *f, int min, bool cloexec) {
    (void)cloexec;
    while (files[min])
        min++;
    files[min] = f;
    return min;
}
struct file *fd_get(int fd) {
    return files[fd] ? (files[fd]->refs++, files[fd]) : NULL;
}
void file_put(struct file *f) {
    if (--f->refs)
        return;
    if (f->epoll)
        epoll_file_closed(f);
    f->ops->release(f);
    free(f);
}
static void close_fd(int fd) {
    struct file *f = files[fd];
    files[fd] = NULL;
    file_put(f);
}

static unsigned source_poll(struct file *f, struct poll_table *t) {
    struct source *s = f->data;
    poll_wait(t, &s->wait);
    unsigned ready = s->ready;
    if (s->wake_when_asked && !t) {
        s->wake_when_asked = false;
        waitq_wake(&s->wait, EPOLLIN);
    }
    return ready;
}
static void source_release(struct file *f) {
    struct source *s = f->data;
    assert_true(list_empty(&s->wait.waiters)); // nobody may be left on a queue that goes away
    free(s);
}
static const struct file_ops source_ops = {.poll = source_poll, .release = source_release};

static int new_source(void) {
    struct source *s = calloc(1, sizeof(*s));
    waitq_init(&s->wait);
    return fd_install(file_alloc_anon("source", &source_ops, s, 0), 3, false);
}
static void set_ready(int fd, unsigned events) {
    struct source *s = files[fd]->data;
    s->ready = events;
    if (events)
        waitq_wake(&s->wait, events);
}
static long control(int ep, int op, int fd, unsigned events) {
    struct epoll_event e = {.events = events, .data = fd};
    return sys_epoll_ctl(ep, op, fd, &e);
}
static struct epoll_event got[600];
static long look(int ep, int max) {
    return sys_epoll_wait(ep, got, max, 0);
}

// ---- tests --------------------------------------------------------------------------------------

static void test_level_edge(void **unused) {
    (void)unused;
    int ep = sys_epoll_create1(0), a = new_source();
    assert_int_equal(control(ep, EPOLL_CTL_ADD, a, EPOLLIN), 0);
    assert_int_equal(look(ep, 9), 0);
    set_ready(a, EPOLLOUT); // not asked for
    assert_int_equal(look(ep, 9), 0);
    set_ready(a, EPOLLIN);
    assert_int_equal(look(ep, 9), 1);
    assert_int_equal(look(ep, 9), 1);
    set_ready(a, 0);
    assert_int_equal(look(ep, 9), 0);
    assert_int_equal(control(ep, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLET), 0);
    set_ready(a, EPOLLIN);
    assert_int_equal(look(ep, 9), 1);
    assert_int_equal(look(ep, 9), 0);
    // An event between the question and the end of epoll_wait() is not lost.
    set_ready(a, EPOLLIN);
    ((struct source *)files[a]->data)->wake_when_asked = true;
    assert_int_equal(look(ep, 9), 1);
    assert_int_equal(look(ep, 9), 1);
    assert_int_equal(look(ep, 9), 0);
    assert_int_equal(control(ep, EPOLL_CTL_MOD, a, EPOLLIN | EPOLLONESHOT), 0);
    assert_int_equal(look(ep, 9), 1);
    set_ready(a, EPOLLIN | EPOLLHUP);
    assert_int_equal(look(ep, 9), 0);
    close_fd(a);
    close_fd(ep);
}

static void test_fair_and_fault(void **unused) {
    (void)unused;
    int ep = sys_epoll_create1(0), fd[5];
    bool seen[600] = {false};
    for (int i = 0; i < 5; i++) {
        fd[i] = new_source();
        control(ep, EPOLL_CTL_ADD, fd[i], EPOLLIN | (i < 2 ? EPOLLET : 0));
        set_ready(fd[i], EPOLLIN);
    }
    bad_user_memory = true;
    assert_int_equal(look(ep, 9), -EFAULT);
    bad_user_memory = false;
    for (int i = 0; i < 5; i++) { // none lost, each once before any comes again
        assert_int_equal(look(ep, 1), 1);
        assert_false(seen[got[0].data]);
        seen[got[0].data] = true;
    }
    assert_int_equal(look(ep, 9), 3);
    close_fd(ep); // before its files
    for (int i = 0; i < 5; i++)
        close_fd(fd[i]);
}

static void test_nesting(void **unused) {
    (void)unused;
    int s = new_source(), ep[8];
    for (int i = 0; i < 8; i++)
        ep[i] = sys_epoll_create1(0);
    control(ep[0], EPOLL_CTL_ADD, s, EPOLLIN);
    for (int i = 0; i < 4; i++)
        assert_int_equal(control(ep[i + 1], EPOLL_CTL_ADD, ep[i], EPOLLIN), 0);
    assert_int_equal(control(ep[5], EPOLL_CTL_ADD, ep[4], EPOLLIN), -ELOOP); // too long
    assert_int_equal(control(ep[0], EPOLL_CTL_ADD, ep[6], EPOLLIN), -ELOOP); // also from below
    assert_int_equal(control(ep[0], EPOLL_CTL_ADD, ep[2], EPOLLIN), -ELOOP); // a cycle
    assert_int_equal(control(ep[3], EPOLL_CTL_ADD, ep[0], EPOLLIN), 0);      // no cycle
    assert_int_equal(look(ep[4], 9), 0);
    set_ready(s, EPOLLIN);
    assert_int_equal(look(ep[4], 9), 1);
    set_ready(s, 0);
    assert_int_equal(look(ep[4], 9), 0);
    close_fd(s);
    for (int i = 0; i < 8; i++)
        close_fd(ep[i]);
}

// Without marks the search would take 20^4 steps for each of these.
static void test_wide_nesting(void **unused) {
    (void)unused;
    enum { WIDTH = 20, LAYERS = 4 };
    int ep[LAYERS][WIDTH];
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < WIDTH; i++) {
            ep[l][i] = sys_epoll_create1(0);
            for (int k = 0; l && k < WIDTH; k++)
                assert_int_equal(control(ep[l][i], EPOLL_CTL_ADD, ep[l - 1][k], EPOLLIN), 0);
        }
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < WIDTH; i++)
            close_fd(ep[l][i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_edge), cmocka_unit_test(test_fair_and_fault),
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_wide_nesting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
