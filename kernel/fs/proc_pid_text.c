// The texts of /proc/PID, in the formats of proc(5).
#include "fs/proc_pid.h"
#include <linux/mman.h>
#include "cpu/clock.h"
#include "fs/dentry.h"
#include "fs/mount.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"

#define TICKS_PER_SEC 100u // of times in /proc (USER_HZ)
#define TO_TICKS(ns)  ((unsigned long)((ns) / (NSEC_PER_SEC / TICKS_PER_SEC)))

// Of the process (tid 0) or a thread of it. ERR_PTR(-ENOMEM), ERR_PTR(-ESRCH). process_info holds a
// group list: too large for the stack.
static struct process_info *get_info(struct process *p, int tid) {
    struct process_info *i = kmalloc(sizeof(*i));
    if (!i)
        return ERR_PTR(-ENOMEM);
    if (!tid) {
        process_info(p, i);
    } else if (!process_thread_info(p, tid, i)) {
        kfree(i);
        return ERR_PTR(-ESRCH);
    }
    return i;
}

#define KB_PER_PAGE ((unsigned long)(PAGE_SIZE / 1024))

struct sizes {
    uint64_t virtual, resident; // pages
    uint64_t brk_start, arg_start, arg_end, env_start, env_end;
};

static struct sizes get_sizes(struct process *p) {
    struct sizes n = {0};
    struct space *s = process_space(p);
    if (s) {
        mutex_lock(&s->lock);
        n = (struct sizes){s->pages_virtual, s->pages_mapped, s->brk_start, s->arg_start,
                           s->arg_end,       s->env_start,    s->env_end};
        mutex_unlock(&s->lock);
        space_put(s);
    }
    return n;
}

int pid_stat_show(struct textbuf *b, struct process *p, int tid) {
    struct process_info *i = get_info(p, tid);
    if (IS_ERR(i))
        return (int)PTR_ERR(i);
    struct sizes n = get_sizes(p);
    text_printf(b, "%d (%s) %c %d %d %d %lu %d 0 ", tid ? tid : i->pid, i->name, i->state, i->ppid,
                i->pgrp, i->session, (unsigned long)i->tty, i->tty_pgrp);
    text_printf(b, "%lu %lu %lu %lu ", i->min_faults, i->child_min_faults, i->maj_faults,
                i->child_maj_faults);
    text_printf(b, "%lu %lu %lu %lu ", TO_TICKS(i->user_time), TO_TICKS(i->system_time),
                TO_TICKS(i->child_user_time), TO_TICKS(i->child_system_time));
    text_printf(b, "%d %d %u 0 %lu %lu %lu %lu ", 20 + i->nice, i->nice, i->threads,
                TO_TICKS(i->start_time), (unsigned long)(n.virtual * PAGE_SIZE), n.resident, ~0ul);
    // startcode .. kstkeip are not told; then the first 32 signals of each set, as Linux has them.
    text_printf(b, "0 0 0 0 0 %lu %lu %lu %lu 0 0 0 ", i->pending & 0x7fffffff,
                i->blocked & 0x7fffffff, i->ignored & 0x7fffffff, i->caught & 0x7fffffff);
    text_printf(b, "%d %u 0 0 0 0 0 0 0 %lu %lu %lu %lu %lu %d\n", i->exit_signal, i->cpu,
                n.brk_start, n.arg_start, n.arg_end, n.env_start, n.env_end, i->exit_code);
    kfree(i);
    return 0;
}

static const char *state_name(char state) {
    switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "disk sleep";
    case 'T': return "stopped";
    case 'Z': return "zombie";
    default: return "dead";
    }
}

int pid_status_show(struct textbuf *b, struct process *p, int tid) {
    struct process_info *i = get_info(p, tid);
    if (IS_ERR(i))
        return (int)PTR_ERR(i);
    struct sizes n = get_sizes(p);
    const struct credentials *c = &i->credentials;
    text_printf(b, "Name:\t%s\nState:\t%c (%s)\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                i->name, i->state, state_name(i->state), i->pid, tid ? tid : i->pid, i->ppid);
    text_printf(b, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid, c->suid,
                c->fsuid, c->gid, c->egid, c->sgid, c->fsgid);
    text_printf(b, "Groups:\t");
    for (uint32_t k = 0; k < c->group_count; k++)
        text_printf(b, "%u ", c->groups[k]);
    text_printf(b, "\nVmSize:\t%8lu kB\nVmRSS:\t%8lu kB\nThreads:\t%u\n", n.virtual * KB_PER_PAGE,
                n.resident * KB_PER_PAGE, i->threads);
    text_printf(b, "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\n",
                i->pending, i->shared_pending, i->blocked, i->ignored);
    text_printf(b, "SigCgt:\t%016lx\nvoluntary_ctxt_switches:\t%lu\n", i->caught, i->switches);
    kfree(i);
    return 0;
}

int pid_statm_show(struct textbuf *b, struct process *p, int tid) {
    struct sizes n = get_sizes(p);
    text_printf(b, "%lu %lu 0 0 0 %lu 0\n", n.virtual, n.resident, n.virtual);
    return 0;
}

int pid_comm_show(struct textbuf *b, struct process *p, int tid) {
    struct process_info *i = get_info(p, tid);
    if (IS_ERR(i))
        return (int)PTR_ERR(i);
    text_printf(b, "%s\n", i->name);
    kfree(i);
    return 0;
}

#define STRINGS_MAX (128 * KIB) // of arguments or environment that are shown

static int show_memory(struct textbuf *b, struct process *p, bool environment) {
    struct space *s = process_space(p);
    if (!s)
        return 0;
    char *buf = kmalloc(PAGE_SIZE);
    if (buf) {
        uint64_t at = environment ? s->env_start : s->arg_start;
        uint64_t end = environment ? s->env_end : s->arg_end;
        end = at <= end ? MIN(end, at + STRINGS_MAX) : at; // the process may set them
        while (at < end) {
            long n = space_copy(s, at, buf, MIN(PAGE_SIZE, end - at), false);
            if (n <= 0)
                break;
            text_write(b, buf, n);
            at += n;
        }
    }
    kfree(buf);
    space_put(s);
    return buf ? 0 : -ENOMEM;
}

int pid_cmdline_show(struct textbuf *b, struct process *p, int tid) {
    return show_memory(b, p, false);
}

int pid_environ_show(struct textbuf *b, struct process *p, int tid) {
    return show_memory(b, p, true);
}

struct maps {
    struct textbuf *b;
    struct space *space;
    char *path;
};

static void show_region(struct region *r, void *arg) {
    struct maps *m = arg;
    const struct inode *i = r->file ? r->file->inode : NULL;
    uint64_t dev = i ? i->sb->dev : 0;
    const char *name = "";
    if (r->file) {
        if (file_describe(r->file, m->path, PATH_MAX) >= 0)
            name = m->path;
    } else if (r->flags & MAP_GROWSDOWN) {
        name = "[stack]";
    } else if (r->start >= m->space->brk_start && r->end <= ROUND_UP(m->space->brk, PAGE_SIZE)) {
        name = "[heap]";
    }
    text_printf(m->b, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu %*s%s\n", r->start, r->end,
                r->prot & PROT_READ ? 'r' : '-', r->prot & PROT_WRITE ? 'w' : '-',
                r->prot & PROT_EXEC ? 'x' : '-', r->flags & MAP_SHARED ? 's' : 'p',
                i ? (unsigned long)(r->pgoff * PAGE_SIZE) : 0ul, (unsigned)(dev >> 8),
                (unsigned)(dev & 0xff), i ? i->ino : 0ul, *name ? 16 : 0, "", name);
}

int pid_maps_show(struct textbuf *b, struct process *p, int tid) {
    struct space *s = process_space(p);
    struct maps m = {b, s, kmalloc(PATH_MAX)};
    if (s) {
        if (m.path)
            space_for_each(s, show_region, &m);
        space_put(s);
    }
    kfree(m.path);
    return m.path ? 0 : -ENOMEM;
}

int pid_limits_show(struct textbuf *b, struct process *p, int tid) {
    static const struct {
        const char *name, *unit;
        int resource;
    } rows[] = {
        {"Max cpu time", "seconds", RLIMIT_CPU},
        {"Max file size", "bytes", RLIMIT_FSIZE},
        {"Max data size", "bytes", RLIMIT_DATA},
        {"Max stack size", "bytes", RLIMIT_STACK},
        {"Max core file size", "bytes", RLIMIT_CORE},
        {"Max resident set", "bytes", RLIMIT_RSS},
        {"Max processes", "processes", RLIMIT_NPROC},
        {"Max open files", "files", RLIMIT_NOFILE},
        {"Max locked memory", "bytes", RLIMIT_MEMLOCK},
        {"Max address space", "bytes", RLIMIT_AS},
        {"Max file locks", "locks", RLIMIT_LOCKS},
        {"Max pending signals", "signals", RLIMIT_SIGPENDING},
        {"Max msgqueue size", "bytes", RLIMIT_MSGQUEUE},
        {"Max nice priority", "", RLIMIT_NICE},
        {"Max realtime priority", "", RLIMIT_RTPRIO},
        {"Max realtime timeout", "us", RLIMIT_RTTIME},
    };
    text_printf(b, "%-26s%-21s%-21s%-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (unsigned k = 0; k < ARRAY_SIZE(rows); k++) {
        const struct rlimit *l = &p->limits[rows[k].resource];
        text_printf(b, "%-26s", rows[k].name);
        for (int hard = 0; hard < 2; hard++) {
            unsigned long v = hard ? l->rlim_max : l->rlim_cur;
            if (v == RLIM_INFINITY)
                text_printf(b, "%-21s", "unlimited");
            else
                text_printf(b, "%-21lu", v);
        }
        text_printf(b, "%-10s\n", rows[k].unit);
    }
    return 0;
}

int pid_mounts_show(struct textbuf *b, struct process *p, int tid) {
    mounts_show(b);
    return 0;
}

int pid_mountinfo_show(struct textbuf *b, struct process *p, int tid) {
    mountinfo_show(b);
    return 0;
}

int pid_wchan_show(struct textbuf *b, struct process *p, int tid) {
    text_printf(b, "0");
    return 0;
}
