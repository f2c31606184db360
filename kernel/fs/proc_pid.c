// /proc/PID: directories of processes and threads. The texts are in proc_pid_text.c.
#include "fs/proc_pid.h"
#include "fs/context.h"
#include "fs/current.h"
#include "fs/mount.h"
#include "lib/errno.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

// inode->data: which process (or thread of it) and what of it.
struct pid_ref {
    int pid, tid; // tid 0: the process
    int index;    // into entries[]; PID_DIR: the directory itself
    int fd;       // of fd/N, else -1
};
#define PID_DIR -1

enum { ENTRY_TEXT, ENTRY_LINK, ENTRY_FD_DIR, ENTRY_TASK_DIR };

static const struct pid_entry {
    const char *name;
    int type;
    int (*show)(struct textbuf *b, struct process *p, int tid);
    bool in_task; // also under task/TID
} entries[] = {
    {"stat", ENTRY_TEXT, pid_stat_show, true},
    {"status", ENTRY_TEXT, pid_status_show, true},
    {"statm", ENTRY_TEXT, pid_statm_show, true},
    {"cmdline", ENTRY_TEXT, pid_cmdline_show, true},
    {"comm", ENTRY_TEXT, pid_comm_show, true},
    {"environ", ENTRY_TEXT, pid_environ_show, true},
    {"maps", ENTRY_TEXT, pid_maps_show, true},
    {"limits", ENTRY_TEXT, pid_limits_show, true},
    {"mounts", ENTRY_TEXT, pid_mounts_show, true},
    {"mountinfo", ENTRY_TEXT, pid_mountinfo_show, true},
    {"wchan", ENTRY_TEXT, pid_wchan_show, true},
    {"cwd", ENTRY_LINK, NULL, true},
    {"root", ENTRY_LINK, NULL, true},
    {"exe", ENTRY_LINK, NULL, true},
    {"fd", ENTRY_FD_DIR, NULL, true},
    {"task", ENTRY_TASK_DIR, NULL, false},
};

static const struct inode_ops pid_ops, link_ops, self_ops;
static const struct file_ops pid_dir_ops;

static struct inode *ref_inode(struct superblock *sb, uint32_t mode, const struct inode_ops *ops,
                               struct pid_ref ref, int (*show)(struct textbuf *, struct inode *)) {
    uint64_t ino = (uint64_t)(ref.tid ? ref.tid : ref.pid) << 24 | (uint64_t)(ref.index + 1) << 17 |
                   (ref.fd + 1u);
    if (ref.tid)
        ino |= BIT(60);
    struct inode *i = proc_text_inode(sb, ino, mode, ops, show);
    if (IS_ERR(i))
        return i;
    i->data = kmalloc(sizeof(ref));
    if (!i->data) {
        inode_put(i);
        return ERR_PTR(-ENOMEM);
    }
    memcpy(i->data, &ref, sizeof(ref));
    if (S_ISDIR(mode)) {
        i->nlink = 2;
        i->file_ops = &pid_dir_ops;
    }
    return i;
}

static void pid_evict(struct inode *i) {
    kfree(i->data);
}

static int show_entry(struct textbuf *b, struct inode *i) {
    struct pid_ref *ref = i->data;
    struct process *p = process_find(ref->pid);
    if (!p)
        return -ESRCH;
    int err = entries[ref->index].show(b, p, ref->tid);
    process_put(p);
    return err;
}

// ---- names -------------------------------------------------------------------------------------

static bool has_thread(struct process *p, int tid) {
    unsigned max = 64, n;
    bool found = false;
    for (;;) {
        int *ids = kmalloc(max * sizeof(*ids));
        if (!ids)
            return false;
        n = process_threads(p, ids, max);
        for (unsigned k = 0; k < MIN(n, max); k++)
            found |= ids[k] == tid;
        kfree(ids);
        if (n <= max)
            return found;
        max = n;
    }
}

static struct file *fd_of(const struct pid_ref *ref, int fd) {
    struct process *p = process_find(ref->pid);
    struct file_table *t = p ? process_files(p) : NULL;
    struct file *f = NULL;
    int at = fd;
    if (t) {
        f = files_next(t, &at);
        if (f && at != fd) {
            file_put(f);
            f = NULL;
        }
        files_put(t);
    }
    if (p)
        process_put(p);
    return f;
}

static struct inode *lookup_entry(struct inode *dir, const struct pid_ref *ref, const char *name,
                                  size_t len) {
    for (unsigned k = 0; k < ARRAY_SIZE(entries); k++) {
        const struct pid_entry *e = &entries[k];
        if (strlen(e->name) != len || memcmp(e->name, name, len) || (ref->tid && !e->in_task))
            continue;
        struct pid_ref child = {ref->pid, ref->tid, k, -1};
        switch (e->type) {
        case ENTRY_TEXT: return ref_inode(dir->sb, S_IFREG | 0444, &pid_ops, child, show_entry);
        case ENTRY_LINK: return ref_inode(dir->sb, S_IFLNK | 0777, &link_ops, child, NULL);
        default: return ref_inode(dir->sb, S_IFDIR | 0555, &pid_ops, child, NULL);
        }
    }
    return ERR_PTR(-ENOENT);
}

static struct inode *lookup_fd(struct inode *dir, const struct pid_ref *ref, int fd) {
    struct file *f = fd < 0 ? NULL : fd_of(ref, fd);
    if (!f)
        return ERR_PTR(-ENOENT);
    uint32_t mode = S_IFLNK | (file_readable(f) ? 0500 : 0) | (file_writable(f) ? 0300 : 0);
    file_put(f);
    return ref_inode(dir->sb, mode, &link_ops, (struct pid_ref){ref->pid, ref->tid, ref->index, fd},
                     NULL);
}

static struct inode *lookup_task(struct inode *dir, const struct pid_ref *ref, int tid) {
    struct process *p = process_find(ref->pid);
    bool found = p && tid > 0 && has_thread(p, tid);
    if (p)
        process_put(p);
    if (!found)
        return ERR_PTR(-ENOENT);
    return ref_inode(dir->sb, S_IFDIR | 0555, &pid_ops,
                     (struct pid_ref){ref->pid, tid, PID_DIR, -1}, NULL);
}

static struct inode *ref_lookup(struct inode *dir, const char *name, size_t len) {
    const struct pid_ref *ref = dir->data;
    if (ref->index == PID_DIR)
        return lookup_entry(dir, ref, name, len);
    int number = proc_parse_number(name, len);
    if (entries[ref->index].type == ENTRY_FD_DIR)
        return lookup_fd(dir, ref, number);
    return lookup_task(dir, ref, number);
}

struct inode *pid_lookup(struct inode *root, const char *name, size_t len) {
    bool self = len == 4 && !memcmp(name, "self", 4);
    bool thread_self = len == 11 && !memcmp(name, "thread-self", 11);
    if (self || thread_self) {
        struct inode *i = inode_alloc(root->sb, self ? 2 : 3, S_IFLNK | 0777);
        if (!i)
            return ERR_PTR(-ENOMEM);
        i->ops = &self_ops;
        i->rdev = thread_self;
        return i;
    }
    int pid = proc_parse_number(name, len);
    struct process *p = pid > 0 ? process_find(pid) : NULL;
    if (!p)
        return ERR_PTR(-ENOENT);
    process_put(p);
    return ref_inode(root->sb, S_IFDIR | 0555, &pid_ops, (struct pid_ref){pid, 0, PID_DIR, -1},
                     NULL);
}

static ssize_t self_readlink(struct inode *i, char *buf, size_t size) {
    if (!current_pid())
        return -ENOENT;
    if (!i->rdev)
        return scnprintf(buf, size, "%d", current_pid());
    return scnprintf(buf, size, "%d/task/%d", current_pid(), current->tid);
}

// ---- links -------------------------------------------------------------------------------------

// A name for something that is only open: it leads to the same inode.
static struct dentry *file_dentry(struct file *f) {
    struct dentry *d = f->dentry;
    if (d) {
        dentry_get(d);
        return d;
    }
    inode_get(f->inode);
    d = dentry_alloc_root(f->inode);
    if (!d) {
        inode_put(f->inode);
        return ERR_PTR(-ENOMEM);
    }
    return d;
}

// What a link leads to: a file or a dentry, with a reference.
static int link_object(struct inode *i, struct file **f, struct dentry **d) {
    const struct pid_ref *ref = i->data;
    *f = NULL;
    *d = NULL;
    if (ref->fd >= 0) {
        *f = fd_of(ref, ref->fd);
        return *f ? 0 : -ENOENT;
    }
    struct process *p = process_find(ref->pid);
    if (!p)
        return -ENOENT;
    const char *name = entries[ref->index].name;
    if (!strcmp(name, "exe")) {
        *f = process_exe(p);
    } else {
        struct fs_context *c = process_fs(p);
        if (c) {
            *d = !strcmp(name, "cwd") ? fs_context_cwd(c) : fs_context_root(c);
            fs_context_put(c);
        }
    }
    process_put(p);
    return *f || *d ? 0 : -ENOENT;
}

static struct dentry *link_follow(struct inode *i) {
    struct file *f;
    struct dentry *d;
    int err = link_object(i, &f, &d);
    if (err)
        return ERR_PTR(err);
    if (f) {
        d = file_dentry(f);
        file_put(f);
    }
    return d;
}

static ssize_t link_readlink(struct inode *i, char *buf, size_t size) {
    struct file *f;
    struct dentry *d;
    ssize_t n = link_object(i, &f, &d);
    if (n)
        return n;
    if (f) {
        n = file_describe(f, buf, size);
        file_put(f);
    } else {
        n = dentry_path(d, buf, size);
        dentry_put(d);
    }
    return n;
}

// ---- listings ----------------------------------------------------------------------------------

static void list_entries(const struct pid_ref *ref, struct dir_context *c) {
    static const uint32_t modes[] = {S_IFREG, S_IFLNK, S_IFDIR, S_IFDIR};
    for (; c->pos - 2 < ARRAY_SIZE(entries); c->pos++) {
        const struct pid_entry *e = &entries[c->pos - 2];
        if (ref->tid && !e->in_task)
            continue;
        if (!c->emit(c, e->name, strlen(e->name), c->pos, MODE_TO_DT(modes[e->type])))
            return;
    }
}

static bool emit_number(struct dir_context *c, int n, unsigned type) {
    char name[12];
    return c->emit(c, name, scnprintf(name, sizeof(name), "%d", n), n + 2u, type);
}

static void list_fds(struct process *p, struct dir_context *c) {
    struct file_table *t = process_files(p);
    struct file *f;
    if (!t)
        return;
    for (int fd = c->pos - 2; (f = files_next(t, &fd)); fd++) {
        file_put(f);
        c->pos = fd + 2;
        if (!emit_number(c, fd, MODE_TO_DT(S_IFLNK)))
            break;
        c->pos++;
    }
    files_put(t);
}

static void list_tasks(struct process *p, struct dir_context *c) {
    unsigned max = process_threads(p, NULL, 0) + 8;
    int *ids = kmalloc(max * sizeof(*ids));
    if (!ids)
        return;
    unsigned n = MIN(process_threads(p, ids, max), max);
    for (; c->pos - 2 < n; c->pos++)
        if (!emit_number(c, ids[c->pos - 2], MODE_TO_DT(S_IFDIR)))
            break;
    kfree(ids);
}

static int pid_iterate(struct file *f, struct dir_context *c) {
    const struct pid_ref *ref = f->inode->data;
    struct process *p = process_find(ref->pid);
    if (!p)
        return -ENOENT;
    for (; c->pos < 2; c->pos++)
        if (!c->emit(c, "..", c->pos + 1, f->inode->ino, MODE_TO_DT(S_IFDIR)))
            break;
    if (c->pos >= 2) {
        if (ref->index == PID_DIR)
            list_entries(ref, c);
        else if (entries[ref->index].type == ENTRY_FD_DIR)
            list_fds(p, c);
        else
            list_tasks(p, c);
    }
    process_put(p);
    return 0;
}

static const struct inode_ops pid_ops = {.lookup = ref_lookup, .evict = pid_evict};
static const struct inode_ops link_ops = {
    .readlink = link_readlink, .follow = link_follow, .evict = pid_evict};
static const struct inode_ops self_ops = {.readlink = self_readlink};
static const struct file_ops pid_dir_ops = {.iterate = pid_iterate};

// ---- process ids -------------------------------------------------------------------------------

struct pid_search {
    int min, *pids;
    unsigned count, max;
};

static void collect_pid(struct process *p, void *arg) {
    struct pid_search *s = arg;
    if (p->pid >= s->min && s->count < s->max)
        s->pids[s->count++] = p->pid;
}

unsigned proc_pids(int min, int *pids, unsigned max) {
    struct pid_search s = {min, pids, 0, max};
    process_for_each(collect_pid, &s);
    return s.count;
}
