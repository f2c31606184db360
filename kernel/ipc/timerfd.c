// timerfd: timers that are read like files.
//
// The timer interrupt only notes the first expiry of a period and wakes; the periods that passed are
// counted, and the timer armed again, when somebody reads or asks. So a short period costs nothing
// while nobody looks.
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/timerfd.h>
#include "cpu/clock.h"
#include "ipc/ipc.h"
#include "ipc/timeout.h"
#include "lib/errno.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sched/timer.h"
#include "sync/waitq.h"
#include "syscall/syscall.h"

#define SETTIME_FLAGS (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)

struct timerfd {
    struct mutex change;  // settime, one at a time
    struct spinlock lock; // covers the rest
    struct timer timer;
    bool armed;        // a deadline is set (it may have passed)
    bool follows_wall; // absolute CLOCK_REALTIME: setting the clock moves the expiry
    bool cancel_on_set, cancelled;
    uint64_t deadline; // in the clock's time, of the next expiry that is not counted
    uint64_t interval; // ns, 0: once
    uint64_t expired;  // times, not yet read
    struct waitq wait;
    struct list_node wall_node; // on wall_timers when the clock is CLOCK_REALTIME
};

static struct spinlock wall_lock = SPINLOCK_INIT; // before timerfd->lock
static struct list_node wall_timers = LIST_INIT(wall_timers);

static uint64_t now_of(const struct timerfd *t) {
    return t->follows_wall ? clock_realtime() : clock_monotonic();
}

// Arms the kernel timer for the deadline. Lock held.
static void start(struct timerfd *t) {
    uint64_t now = now_of(t);
    uint64_t delay = t->deadline > now ? t->deadline - now : 0;
    uint64_t monotonic = clock_monotonic();
    timer_arm(&t->timer, delay > UINT64_MAX - 1 - monotonic ? UINT64_MAX - 1 : monotonic + delay);
}

// Counts the expiries up to now and moves the deadline on. Lock held. True if there was one.
static bool advance(struct timerfd *t) {
    uint64_t now = now_of(t);
    if (!t->armed || now < t->deadline)
        return false;
    if (!t->interval) {
        t->expired++;
        t->armed = false;
        return true;
    }
    uint64_t periods = (now - t->deadline) / t->interval + 1;
    t->expired += periods;
    if (__builtin_mul_overflow(periods, t->interval, &periods) ||
        __builtin_add_overflow(t->deadline, periods, &t->deadline))
        t->armed = false; // beyond the end of time
    return true;
}

static void timer_fired(struct timer *timer) {
    struct timerfd *t = container_of(timer, struct timerfd, timer);
    spin_lock(&t->lock);
    bool expired = advance(t);
    // The wall clock may have been set back in between.
    if (!expired && t->armed)
        start(t);
    spin_unlock(&t->lock);
    if (expired)
        waitq_wake(&t->wait, POLLIN);
}

void timerfd_clock_set(void) {
    spin_lock(&wall_lock);
    struct timerfd *t;
    list_for_each (t, &wall_timers, wall_node) {
        spin_lock(&t->lock);
        if (t->follows_wall && t->cancel_on_set)
            t->cancelled = true;
        if (t->follows_wall && t->armed)
            start(t);
        spin_unlock(&t->lock);
        waitq_wake(&t->wait, POLLIN);
    }
    spin_unlock(&wall_lock);
}

// What a read gets: the count, -ECANCELED, or 0 when nothing has happened.
static int64_t take(struct timerfd *t) {
    spin_lock(&t->lock);
    int64_t result;
    if (t->cancelled) {
        t->cancelled = false;
        result = -ECANCELED;
    } else {
        // Periods beyond the first since the interrupt are found only now.
        if (t->expired)
            advance(t);
        result = t->expired & INT64_MAX;
        t->expired = 0;
        if (result && t->armed)
            start(t);
    }
    spin_unlock(&t->lock);
    return result;
}

static bool readable(const struct timerfd *t) {
    return READ_ONCE(t->expired) || READ_ONCE(t->cancelled);
}

static ssize_t timerfd_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct timerfd *t = f->data;
    if (u->resid < sizeof(uint64_t))
        return -EINVAL;
    int64_t count;
    while ((count = take(t)) == 0) {
        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&t->wait, readable(t));
        if (err)
            return err;
    }
    return count < 0 ? count : uio_write_out(u, &count, sizeof(count));
}

static unsigned timerfd_poll(struct file *f, struct poll_table *table) {
    struct timerfd *t = f->data;
    poll_wait(table, &t->wait);
    return readable(t) ? POLLIN : 0;
}

static void timerfd_release(struct file *f) {
    struct timerfd *t = f->data;
    spin_lock(&wall_lock);
    list_remove(&t->wall_node);
    spin_unlock(&wall_lock);
    spin_lock(&t->lock);
    t->armed = false; // timer_fired() does not start it again
    spin_unlock(&t->lock);
    timer_cancel(&t->timer);
    kfree(t);
}

static long timerfd_ioctl(struct file *f, unsigned cmd, unsigned long arg) {
    struct timerfd *t = f->data;
    uint64_t ticks;
    if (cmd != TFD_IOC_SET_TICKS)
        return -ENOTTY;
    if (copy_from_user(&ticks, (const void __user *)arg, sizeof(ticks)))
        return -EFAULT;
    if (!ticks)
        return -EINVAL;
    spin_lock(&t->lock);
    t->expired = ticks;
    spin_unlock(&t->lock);
    waitq_wake(&t->wait, POLLIN);
    return 0;
}

static const struct file_ops timerfd_ops = {
    .read = timerfd_read,
    .seek = file_no_seek,
    .poll = timerfd_poll,
    .ioctl = timerfd_ioctl,
    .release = timerfd_release,
};

long sys_timerfd_create(int clock, int flags) {
    if (flags & ~(TFD_CLOEXEC | TFD_NONBLOCK))
        return -EINVAL;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_REALTIME_ALARM && clock != CLOCK_BOOTTIME_ALARM)
        return -EINVAL;
    struct timerfd *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    mutex_init(&t->change);
    spin_init(&t->lock);
    timer_init(&t->timer, timer_fired, t);
    waitq_init(&t->wait);
    list_init(&t->wall_node);
    struct file *f = file_alloc_anon("timerfd", &timerfd_ops, t, O_RDWR | (flags & O_NONBLOCK));
    if (IS_ERR(f)) {
        kfree(t);
        return PTR_ERR(f);
    }
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM) {
        spin_lock(&wall_lock);
        list_add_tail(&wall_timers, &t->wall_node);
        spin_unlock(&wall_lock);
    }
    return fd_install(f, 0, flags & O_CLOEXEC);
}

static struct __kernel_timespec to_timespec(uint64_t ns) {
    return (struct __kernel_timespec){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};
}

// The time left and the interval. Lock held.
static void get_time(struct timerfd *t, struct __kernel_itimerspec *value) {
    uint64_t left = 0;
    if (t->expired && t->interval && advance(t) && t->armed)
        start(t);
    if (t->armed) {
        uint64_t now = now_of(t);
        left = t->deadline > now ? t->deadline - now : 1; // about to fire: 0 would mean disarmed
    }
    *value = (struct __kernel_itimerspec){to_timespec(t->interval), to_timespec(left)};
}

static void set_time(struct timerfd *t, int flags, uint64_t value, uint64_t interval) {
    bool wall = !list_unlinked(&t->wall_node);
    t->follows_wall = wall && (flags & TFD_TIMER_ABSTIME);
    t->cancel_on_set = t->follows_wall && (flags & TFD_TIMER_CANCEL_ON_SET);
    t->cancelled = false;
    t->expired = 0;
    t->interval = interval;
    t->armed = value != 0;
    if (!t->armed)
        return;
    t->deadline = value;
    if (!(flags & TFD_TIMER_ABSTIME) &&
        __builtin_add_overflow(value, clock_monotonic(), &t->deadline))
        t->deadline = UINT64_MAX;
    start(t);
}

static struct timerfd *timerfd_get(int fd, struct file **f) {
    *f = fd_get(fd);
    if (!*f)
        return ERR_PTR(-EBADF);
    if ((*f)->ops == &timerfd_ops)
        return (*f)->data;
    file_put(*f);
    return ERR_PTR(-EINVAL);
}

long sys_timerfd_settime(int fd, int flags, const struct __kernel_itimerspec __user *new_value,
                         struct __kernel_itimerspec __user *old_value) {
    struct __kernel_itimerspec value, old;
    uint64_t first, interval;
    if (copy_from_user(&value, new_value, sizeof(value)))
        return -EFAULT;
    if ((flags & ~SETTIME_FLAGS) || timespec_to_ns(&value.it_value, &first) ||
        timespec_to_ns(&value.it_interval, &interval))
        return -EINVAL;
    struct file *f;
    struct timerfd *t = timerfd_get(fd, &f);
    if (IS_ERR(t))
        return PTR_ERR(t);
    mutex_lock(&t->change);
    spin_lock(&t->lock);
    get_time(t, &old);
    t->armed = false; // a timer that fires now does nothing
    spin_unlock(&t->lock);
    timer_cancel(&t->timer); // waits for timer_fired(), so not under its lock
    spin_lock(&t->lock);
    set_time(t, flags, first, interval);
    spin_unlock(&t->lock);
    mutex_unlock(&t->change);
    file_put(f);
    return old_value && copy_to_user(old_value, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_timerfd_gettime(int fd, struct __kernel_itimerspec __user *out) {
    struct file *f;
    struct timerfd *t = timerfd_get(fd, &f);
    if (IS_ERR(t))
        return PTR_ERR(t);
    struct __kernel_itimerspec value;
    spin_lock(&t->lock);
    get_time(t, &value);
    spin_unlock(&t->lock);
    file_put(f);
    return copy_to_user(out, &value, sizeof(value));
}
