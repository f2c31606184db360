// Futexes: waiting, waking, moving waiters. A waiter is on the list of its key's bucket; the bucket's
// lock makes "the value is still as expected" and "now I wait" one step.
#include "proc/futex.h"
#include <asm/mman.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include "cpu/clock.h"
#include "cpu/percpu.h"
#include "fs/file.h"
#include "mm/space.h"
#include "mm/uaccess.h"
#include "proc/process.h"
#include "proc/signal_internal.h"
#include "proc/user_time.h"
#include "syscall/syscall.h"

#define BUCKETS 256
static struct bucket {
    struct spinlock lock;
    struct list_node waiters; // struct futex_waiter, in order of arrival; .next NULL: never used
} aligned_to(64) buckets[BUCKETS];

struct futex_waiter {
    struct list_node node;
    struct bucket *bucket; // written with the old and the new bucket's lock held
    struct futex_key key;
    uint32_t bitset;
    bool woken;         // bucket's lock
    struct waitq queue; // the waiter alone
};

static int get_key(uint32_t __user *addr, bool private, struct futex_key *key) {
    uint64_t a = (uint64_t)addr;
    struct space *s = current_process()->space;
    if (a & 3)
        return -EINVAL;
    if (a >= USER_END)
        return -EFAULT;
    *key = (struct futex_key){s, a};
    if (private)
        return 0;
    mutex_lock(&s->lock);
    const struct region *r = space_find(s, a);
    if (r && (r->flags & MAP_SHARED) && r->file)
        *key = (struct futex_key){r->file->inode, a - r->start + (r->pgoff << PAGE_SHIFT)};
    mutex_unlock(&s->lock);
    return r ? 0 : -EFAULT;
}

static struct bucket *bucket_of(const struct futex_key *key) {
    return &buckets[futex_hash(key, BUCKETS)];
}

static void lock_bucket(struct bucket *b) {
    spin_lock(&b->lock);
    if (!b->waiters.next)
        list_init(&b->waiters);
}

static void lock_two(struct bucket *a, struct bucket *b) {
    lock_bucket(a < b ? a : b);
    if (a != b)
        lock_bucket(a < b ? b : a);
}

static void unlock_two(struct bucket *a, struct bucket *b) {
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

// Wakes up to `count` waiters. b->lock is held. The waiter cannot vanish while it is: it takes the
// lock itself before it leaves.
static int wake_locked(struct bucket *b, const struct futex_key *key, int count, uint32_t bitset) {
    struct futex_waiter *w, *next;
    int woken = 0;
    list_for_each_safe(w, next, &b->waiters, node) {
        if (woken >= count)
            break;
        if (!futex_key_equal(&w->key, key) || !(w->bitset & bitset))
            continue;
        list_remove(&w->node);
        w->woken = true;
        waitq_wake(&w->queue, 0);
        woken++;
    }
    return woken;
}

static int wake(uint32_t __user *addr, bool private, int count, uint32_t bitset) {
    struct futex_key key;
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, private, &key);
    if (err)
        return err;
    struct bucket *b = bucket_of(&key);
    lock_bucket(b);
    int woken = wake_locked(b, &key, count, bitset);
    spin_unlock(&b->lock);
    return woken;
}

void futex_wake_user(uint32_t __user *addr, int count) {
    // The waiter may have used the private or the shared form; for private memory both are one key.
    (void)wake(addr, false, count, FUTEX_BITSET_MATCH_ANY);
}

// Enqueues w when *addr == expected, else -EAGAIN. The page may have to be brought in between.
static int enqueue_if_equal(struct futex_waiter *w, uint32_t __user *addr, uint32_t expected) {
    for (;;) {
        uint32_t value;
        struct bucket *b = bucket_of(&w->key);
        lock_bucket(b);
        int err = get_user_u32_atomic(&value, addr);
        if (!err && value == expected) {
            w->bucket = b;
            list_add_tail(&b->waiters, &w->node);
        }
        spin_unlock(&b->lock);
        if (!err)
            return value == expected ? 0 : -EAGAIN;
        if (get_user(value, addr))
            return -EFAULT;
    }
}

// Takes w off its list unless it was woken; returns whether it was.
static bool dequeue(struct futex_waiter *w) {
    for (;;) {
        struct bucket *b = READ_ONCE(w->bucket);
        spin_lock(&b->lock);
        if (b != w->bucket) { // requeued meanwhile
            spin_unlock(&b->lock);
            continue;
        }
        bool woken = w->woken;
        list_remove(&w->node);
        spin_unlock(&b->lock);
        return woken;
    }
}

// 0: woken; -EAGAIN: the value differs; -ETIMEDOUT; -ERESTARTSYS; -EFAULT, -EINVAL.
static int wait(uint32_t __user *addr, bool private, uint32_t expected, uint64_t deadline,
                uint32_t bitset) {
    struct futex_waiter w = {.bitset = bitset};
    if (!bitset)
        return -EINVAL;
    int err = get_key(addr, private, &w.key);
    if (err)
        return err;
    waitq_init(&w.queue);
    err = enqueue_if_equal(&w, addr, expected);
    if (err)
        return err;
    err = wait_event_until(&w.queue, READ_ONCE(w.woken), deadline);
    return dequeue(&w) ? 0 : err;
}

enum { RESTART_VALUE, RESTART_BITSET, RESTART_PRIVATE }; // in syscall_restart.args

static long wait_again(struct syscall_restart *r) {
    int err = wait(r->remaining, r->args[RESTART_PRIVATE], r->args[RESTART_VALUE], r->deadline,
                   r->args[RESTART_BITSET]);
    return err == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : err;
}

static long wait_call(uint32_t __user *addr, bool private, uint32_t value,
                      const void __user *timeout, int op, uint32_t bitset) {
    uint64_t deadline = UINT64_MAX;
    if (timeout) {
        int err = user_timespec(timeout, &deadline);
        if (err)
            return err;
        if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT) // relative
            deadline = time_after(clock_monotonic(), deadline);
        else if (op & FUTEX_CLOCK_REALTIME)
            deadline = realtime_to_monotonic(deadline);
    }
    int err = wait(addr, private, value, deadline, bitset);
    if (err != -ERESTARTSYS || !timeout)
        return err;
    current->signals.restart = (struct syscall_restart){.fn = wait_again,
                                                        .deadline = deadline,
                                                        .remaining = addr,
                                                        .args = {value, bitset, private}};
    return -ERESTART_RESTARTBLOCK;
}

// Wakes `wake_count` waiters of `from` and moves up to `move_count` others to `to`.
static int requeue(uint32_t __user *from, bool private, int wake_count, int move_count,
                   uint32_t __user *to, const uint32_t *expected) {
    struct futex_key key_from, key_to;
    struct futex_waiter *w, *next;
    if (wake_count < 0 || move_count < 0)
        return -EINVAL;
    int err = get_key(from, private, &key_from);
    if (!err)
        err = get_key(to, private, &key_to);
    if (err)
        return err;
    struct bucket *a = bucket_of(&key_from), *b = bucket_of(&key_to);
    lock_two(a, b);
    while (expected) {
        uint32_t value;
        err = get_user_u32_atomic(&value, from);
        if (!err && value == *expected)
            break;
        unlock_two(a, b);
        if (!err)
            return -EAGAIN;
        if (get_user(value, from))
            return -EFAULT;
        lock_two(a, b);
    }
    int done = wake_locked(a, &key_from, wake_count, FUTEX_BITSET_MATCH_ANY), moved = 0;
    if (!futex_key_equal(&key_from, &key_to)) {
        list_for_each_safe(w, next, &a->waiters, node) {
            if (moved >= move_count)
                break;
            if (!futex_key_equal(&w->key, &key_from))
                continue;
            list_remove(&w->node);
            list_add_tail(&b->waiters, &w->node);
            w->key = key_to;
            WRITE_ONCE(w->bucket, b);
            moved++;
        }
    }
    unlock_two(a, b);
    return done + moved;
}

// ---- FUTEX_WAKE_OP ----------------------------------------------------------------------------

// The encoded operation of futex(2): op:4 cmp:4 oparg:12 cmparg:12.
static int apply_op(uint32_t __user *addr, uint32_t code, bool *condition) {
    int op = (code >> 28) & 7, cmp = (code >> 24) & 15;
    int oparg = (int)(code << 8) >> 20, cmparg = (int)(code << 20) >> 20;
    if (code & ((uint32_t)FUTEX_OP_OPARG_SHIFT << 28))
        oparg = 1 << (oparg & 31);
    uint32_t old, seen;
    if (get_user(old, addr))
        return -EFAULT;
    for (;;) {
        uint32_t value;
        switch (op) {
        case FUTEX_OP_SET: value = (uint32_t)oparg; break;
        case FUTEX_OP_ADD: value = old + (uint32_t)oparg; break;
        case FUTEX_OP_OR: value = old | (uint32_t)oparg; break;
        case FUTEX_OP_ANDN: value = old & ~(uint32_t)oparg; break;
        case FUTEX_OP_XOR: value = old ^ (uint32_t)oparg; break;
        default: return -ENOSYS;
        }
        if (cmpxchg_user(addr, old, value, &seen))
            return -EFAULT;
        if (seen == old)
            break;
        old = seen;
    }
    int v = (int)old;
    switch (cmp) {
    case FUTEX_OP_CMP_EQ: *condition = v == cmparg; return 0;
    case FUTEX_OP_CMP_NE: *condition = v != cmparg; return 0;
    case FUTEX_OP_CMP_LT: *condition = v < cmparg; return 0;
    case FUTEX_OP_CMP_LE: *condition = v <= cmparg; return 0;
    case FUTEX_OP_CMP_GT: *condition = v > cmparg; return 0;
    case FUTEX_OP_CMP_GE: *condition = v >= cmparg; return 0;
    default: return -ENOSYS;
    }
}

// The change of *addr2 needs no lock: who enqueued before it is woken below, who comes after it sees
// the new value.
static int wake_op(uint32_t __user *addr, bool private, int count, int count2,
                   uint32_t __user *addr2, uint32_t code) {
    struct futex_key key2;
    bool condition;
    int err = get_key(addr2, private, &key2);
    if (!err)
        err = apply_op(addr2, code, &condition);
    if (err)
        return err;
    int woken = wake(addr, private, count, FUTEX_BITSET_MATCH_ANY);
    if (woken >= 0 && condition)
        woken += wake(addr2, private, count2, FUTEX_BITSET_MATCH_ANY);
    return woken;
}

long sys_futex(uint32_t __user *addr, int op, uint32_t value, const void __user *timeout,
               uint32_t __user *addr2, uint32_t value3) {
    bool private = op & FUTEX_PRIVATE_FLAG;
    int value2 = (int)(uint64_t)timeout; // some operations put a number here
    int command = op & FUTEX_CMD_MASK;
    if ((op & FUTEX_CLOCK_REALTIME) && command != FUTEX_WAIT_BITSET && command != FUTEX_WAIT)
        return -ENOSYS;
    switch (command) {
    case FUTEX_WAIT: return wait_call(addr, private, value, timeout, op, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET: return wait_call(addr, private, value, timeout, op, value3);
    case FUTEX_WAKE: return wake(addr, private, (int)value, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET: return wake(addr, private, (int)value, value3);
    case FUTEX_REQUEUE: return requeue(addr, private, (int)value, value2, addr2, NULL);
    case FUTEX_CMP_REQUEUE: return requeue(addr, private, (int)value, value2, addr2, &value3);
    case FUTEX_WAKE_OP: return wake_op(addr, private, (int)value, value2, addr2, value3);
    default: return -ENOSYS;
    }
}
