#include "proc/pool.h"
#include "cpu/clock.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/frame.h"
#include "mm/heap.h"
#include "mm/layout.h"
#include "proc/sched_calls.h"
#include "proc/signal_internal.h"
#include "proc/table.h"

#define NAME_SIZE     32
#define WEIGHT_NORMAL 1024
#define UNLIMITED     UINT64_MAX

struct pool {
    char name[NAME_SIZE];
    uint64_t pages, pages_max;         // A: charged; the limit
    uint64_t processes, processes_max; // A
    uint32_t weight;                   // A
    uint32_t refused_memory,
        refused_forks;      // A: how often a limit was met, for the log and the list
    uint64_t victim_logged; // A: monotonic ns of the last line about a victim; 0: none yet
    uint32_t victims;       // A: ended since without a line
    struct list_node node;  // pools_lock
};

struct pool root_pool = {
    .name = "root",
    .pages_max = UNLIMITED,
    .processes_max = UNLIMITED,
    .weight = WEIGHT_NORMAL,
};
static struct spinlock pools_lock = SPINLOCK_INIT;
static struct list_node pools = LIST_INIT(pools);
// Deleted ones, to be used again: a page fault that read process->pool just before the process moved
// may still count against one, so their memory never becomes anything else.
static struct list_node unused = LIST_INIT(unused);

// Counts n more unless that passes the limit.
static bool count_up(uint64_t *value, uint64_t n, const uint64_t *max) {
    uint64_t sum = __atomic_add_fetch(value, n, __ATOMIC_RELAXED);
    if (likely(sum <= READ_ONCE(*max)))
        return true;
    __atomic_sub_fetch(value, n, __ATOMIC_RELAXED);
    return false;
}

bool pool_charge(struct pool *p, uint64_t pages) {
    if (count_up(&p->pages, pages, &p->pages_max))
        return true;
    if (__atomic_fetch_add(&p->refused_memory, 1, __ATOMIC_RELAXED) == 0)
        log_warning("pool: %s: the memory limit of %llu KiB is reached: further memory is refused",
                    p->name, (unsigned long long)(p->pages_max * (PAGE_SIZE / KIB)));
    return false;
}

void pool_uncharge(struct pool *p, uint64_t pages) {
    __atomic_sub_fetch(&p->pages, pages, __ATOMIC_RELAXED);
}

bool pool_enter(struct pool *p) {
    if (count_up(&p->processes, 1, &p->processes_max))
        return true;
    if (__atomic_fetch_add(&p->refused_forks, 1, __ATOMIC_RELAXED) == 0)
        log_warning("pool: %s: the limit of %llu processes is reached: further forks are refused",
                    p->name, (unsigned long long)p->processes_max);
    return false;
}

void pool_leave(struct pool *p) {
    __atomic_sub_fetch(&p->processes, 1, __ATOMIC_RELAXED);
}

uint32_t pool_weight(const struct pool *p) {
    return READ_ONCE(p->weight);
}

const char *pool_name(const struct pool *p) {
    return p->name;
}

#define VICTIM_INTERVAL NSEC_PER_SEC
#define KIB_PER_PAGE    ((unsigned long)(PAGE_SIZE / KIB))
// A fault needs a page, and perhaps two tables: with less than that left the limit is what failed.
#define NEARLY_FULL 4

void pool_log_victim(struct pool *p, const struct process *victim, uint64_t resident_pages) {
    uint64_t now = clock_monotonic(), last = READ_ONCE(p->victim_logged);
    if ((last && now - last < VICTIM_INTERVAL) ||
        !__atomic_compare_exchange_n(&p->victim_logged, &last, now, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&p->victims, 1, __ATOMIC_RELAXED);
        return;
    }
    uint64_t used = READ_ONCE(p->pages), max = READ_ONCE(p->pages_max);
    uint32_t more = __atomic_exchange_n(&p->victims, 0, __ATOMIC_RELAXED);
    if (more)
        log_error("pool: %s: out of memory: %u more processes were killed", p->name, more);
    if (max != UNLIMITED && used + NEARLY_FULL > max) {
        log_error("pool: %s: out of memory: killing %d (%s): %lu KiB resident; %lu of %lu KiB used",
                  p->name, victim->pid, victim->name, resident_pages * KIB_PER_PAGE,
                  used * KIB_PER_PAGE, max * KIB_PER_PAGE);
        return;
    }
    struct memory_stats m;
    memory_stats(&m);
    log_error(
        "mm: out of memory: killing %d (%s) of pool %s: %lu KiB resident; %lu of %lu KiB free",
        victim->pid, victim->name, p->name, resident_pages * KIB_PER_PAGE, m.free * KIB_PER_PAGE,
        m.total * KIB_PER_PAGE);
}

// ---- /proc/pools ------------------------------------------------------------------------------

static struct pool *find(const char *name) {
    struct pool *p;
    list_for_each (p, &pools, node) {
        if (strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

// "unlimited" or a number with a unit.
static void show_limit(struct textbuf *b, uint64_t value, uint64_t unit, const char *suffix) {
    if (value == UNLIMITED)
        text_printf(b, " %10s", "unlimited");
    else
        text_printf(b, " %9llu%s", (unsigned long long)(value * unit), suffix);
}

static void show(struct textbuf *b, void *arg) {
    struct pool *p;
    text_printf(b, "%-16s %10s %10s %10s %10s %7s %8s %8s\n", "name", "memory", "limit",
                "processes", "limit", "weight", "no-mem", "no-fork");
    spin_lock(&pools_lock);
    list_for_each (p, &pools, node) {
        text_printf(b, "%-16s", p->name);
        show_limit(b, READ_ONCE(p->pages), PAGE_SIZE / KIB, "K");
        show_limit(b, p->pages_max, PAGE_SIZE / KIB, "K");
        show_limit(b, READ_ONCE(p->processes), 1, " ");
        show_limit(b, p->processes_max, 1, " ");
        text_printf(b, " %7u %8u %8u\n", p->weight, p->refused_memory, p->refused_forks);
    }
    spin_unlock(&pools_lock);
}

// A decimal number with an optional K, M or G. -EINVAL.
static int parse_number(const char *s, uint64_t *out) {
    uint64_t n = 0;
    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n))
            return -EINVAL;
    }
    uint64_t unit = *s == 'K' ? KIB : *s == 'M' ? MIB : *s == 'G' ? GIB : 1;
    if (unit != 1)
        s++;
    return *s || __builtin_mul_overflow(n, unit, out) ? -EINVAL : 0;
}

// "memory=64M", "processes=100", "weight=512".
static int set_value(struct pool *p, const char *word) {
    const char *value = strchr(word, '=');
    uint64_t n;
    if (!value || parse_number(value + 1, &n))
        return -EINVAL;
    size_t length = (size_t)(value - word);
    if (length == 6 && !strncmp(word, "memory", 6))
        p->pages_max = n / PAGE_SIZE;
    else if (length == 9 && !strncmp(word, "processes", 9))
        p->processes_max = n;
    else if (length == 6 && !strncmp(word, "weight", 6) && n >= 1 && n <= 65536)
        p->weight = (uint32_t)n;
    else
        return -EINVAL;
    return 0;
}

static int set_values(struct pool *p, char *words[], unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        int err = set_value(p, words[i]);
        if (err)
            return err;
    }
    return 0;
}

static int create(const char *name, char *words[], unsigned count) {
    if (strlen(name) >= NAME_SIZE)
        return -ENAMETOOLONG;
    spin_lock(&pools_lock);
    struct pool *p = list_first(&unused, struct pool, node);
    if (p)
        list_remove(&p->node);
    else
        p = kzalloc(sizeof(*p));
    if (!p) {
        spin_unlock(&pools_lock);
        return -ENOMEM;
    }
    strlcpy(p->name, name, sizeof(p->name));
    p->pages_max = p->processes_max = UNLIMITED;
    p->weight = WEIGHT_NORMAL;
    p->refused_memory = p->refused_forks = p->victims = 0;
    p->victim_logged = 0;
    int err = find(name) ? -EEXIST : set_values(p, words, count);
    list_add_tail(err ? &unused : &pools, &p->node);
    spin_unlock(&pools_lock);
    return err;
}

// Pages that are in use already stay with the old pool; new ones are charged to the new one.
static int move(const char *name, const char *pid_text) {
    uint64_t pid = (uint64_t)current_process()->pid;
    struct world *w;
    if (pid_text && (parse_number(pid_text, &pid) || pid >= PID_MAX))
        return -EINVAL;
    int err = 0;
    spin_lock(&process_lock);
    struct process *p = process_find_locked((int)pid);
    spin_lock(&pools_lock);
    struct pool *pool = find(name);
    if (!pool || !p || p->state == PROCESS_ZOMBIE || p->exiting) {
        err = pool ? -ESRCH : -ENOENT;
    } else if (!pool_enter(pool)) {
        err = -EAGAIN;
    } else {
        pool_leave(p->pool);
        p->pool = pool;
    }
    spin_unlock(&pools_lock);
    if (!err) {
        spin_lock(&p->signal_lock);
        list_for_each (w, &p->worlds, process_node)
            sched_update_weight(w);
        spin_unlock(&p->signal_lock);
    }
    spin_unlock(&process_lock);
    return err;
}

static int delete (const char *name) {
    spin_lock(&pools_lock);
    struct pool *p = find(name);
    int err = !p ? -ENOENT : p == &root_pool || p->pages || p->processes ? -EBUSY : 0;
    if (!err) {
        list_remove(&p->node);
        list_add_tail(&unused, &p->node);
    }
    spin_unlock(&pools_lock);
    return err;
}

static int set(const char *name, char *words[], unsigned count) {
    spin_lock(&pools_lock);
    struct pool *p = find(name);
    int err = !p ? -ENOENT : p == &root_pool ? -EPERM : set_values(p, words, count);
    spin_unlock(&pools_lock);
    return err;
}

#define WORDS_MAX 6

static int store(const char *text, size_t n, void *arg) {
    char line[160], *words[WORDS_MAX];
    unsigned count = 0;
    if (current_process()->euid != 0)
        return -EPERM;
    if (n >= sizeof(line))
        return -EINVAL;
    memcpy(line, text, n);
    line[n] = '\0';
    for (char *s = line; *s;) {
        while (*s == ' ' || *s == '\n')
            *s++ = '\0';
        if (!*s)
            break;
        if (count == WORDS_MAX)
            return -EINVAL;
        words[count++] = s;
        while (*s && *s != ' ' && *s != '\n')
            s++;
    }
    if (count >= 2 && !strcmp(words[0], "create"))
        return create(words[1], words + 2, count - 2);
    if (count >= 3 && !strcmp(words[0], "set"))
        return set(words[1], words + 2, count - 2);
    if ((count == 2 || count == 3) && !strcmp(words[0], "move"))
        return move(words[1], count == 3 ? words[2] : NULL);
    if (count == 2 && !strcmp(words[0], "delete"))
        return delete (words[1]);
    return -EINVAL;
}

void pool_init(void) {
    list_add_tail(&pools, &root_pool.node);
    if (proc_register("pools", show, store, NULL) < 0)
        log_warning("pool: /proc/pools cannot be made");
}
