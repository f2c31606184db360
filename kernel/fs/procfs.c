// /proc: the tree of registered texts. What belongs to processes is in proc_pid.c.
//
// Names of processes come and go, so nothing here is cached: every walk makes fresh inodes.
#include <asm/statfs.h>
#include <linux/magic.h>
#include "fs/procfs.h"
#include "fs/mount.h"
#include "lib/errno.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "sync/spinlock.h"

struct proc_node { // never freed
    struct list_node sibling, children;
    struct proc_node *parent;
    uint64_t ino;
    uint32_t mode;
    proc_show show;
    proc_store store;
    void *arg;
    char name[32];
};

static struct spinlock tree_lock = SPINLOCK_INIT; // the lists
static struct proc_node root = {
    .children = LIST_INIT(root.children), .parent = &root, .ino = 1, .mode = S_IFDIR | 0555};
static uint64_t last_ino = 1;

static struct proc_node *find_child(struct proc_node *dir, const char *name, size_t len) {
    struct proc_node *n, *found = NULL;
    spin_lock(&tree_lock);
    list_for_each (n, &dir->children, sibling) {
        if (strlen(n->name) == len && !memcmp(n->name, name, len)) {
            found = n;
            break;
        }
    }
    spin_unlock(&tree_lock);
    return found;
}

static struct proc_node *add_child(struct proc_node *dir, const char *name, size_t len,
                                   uint32_t mode) {
    struct proc_node *n = kzalloc(sizeof(*n));
    if (!n || len >= sizeof(n->name)) {
        kfree(n);
        return NULL;
    }
    memcpy(n->name, name, len);
    n->mode = mode;
    n->parent = dir;
    list_init(&n->children);
    spin_lock(&tree_lock);
    n->ino = ++last_ino;
    list_add_tail(&dir->children, &n->sibling);
    spin_unlock(&tree_lock);
    return n;
}

int proc_register(const char *path, proc_show show, proc_store store, void *arg) {
    struct proc_node *dir = &root;
    const char *slash;
    while ((slash = strchr(path, '/'))) {
        struct proc_node *next = find_child(dir, path, slash - path);
        if (!next)
            next = add_child(dir, path, slash - path, S_IFDIR | 0555);
        if (!next)
            return -ENOMEM;
        dir = next;
        path = slash + 1;
    }
    if (find_child(dir, path, strlen(path)))
        return -EEXIST;
    struct proc_node *n = add_child(dir, path, strlen(path), S_IFREG | (store ? 0644 : 0444));
    if (!n)
        return -ENOMEM;
    n->show = show;
    n->store = store;
    n->arg = arg;
    return 0;
}

// ---- files -------------------------------------------------------------------------------------

// What a text file's inode->file_ops work with: show prints, the open file keeps the print.
struct proc_text {
    struct inode *inode;
    int (*show)(struct textbuf *b, struct inode *i);
    struct mutex lock; // the buffer
    struct textbuf text;
};

static int show_node(struct textbuf *b, struct inode *i) {
    struct proc_node *n = i->data;
    if (n->show)
        n->show(b, n->arg);
    return 0;
}

static int text_open(struct inode *i, struct file *f) {
    struct proc_text *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    mutex_init(&t->lock);
    t->inode = i;
    t->show = i->fifo; // see proc_text_inode()
    f->data = t;
    return 0;
}

static void text_release(struct file *f) {
    struct proc_text *t = f->data;
    text_free(&t->text);
    kfree(t);
}

// A read at the start makes the text, later ones go on in it: a reader sees one moment.
static ssize_t text_read(struct file *f, struct uio *u, uint64_t *pos) {
    struct proc_text *t = f->data;
    ssize_t n = 0;
    mutex_lock(&t->lock);
    if (*pos == 0) {
        text_free(&t->text);
        n = t->show(&t->text, t->inode);
    }
    if (!n && t->text.failed)
        n = -ENOMEM;
    if (!n && *pos < t->text.len) {
        n = uio_write_out(u, t->text.data + *pos, t->text.len - *pos);
        if (n > 0)
            *pos += n;
    }
    mutex_unlock(&t->lock);
    return n;
}

#define STORE_MAX 512u

static ssize_t text_write_file(struct file *f, struct uio *u, uint64_t *pos) {
    struct inode *i = f->inode;
    struct proc_node *n = i->data;
    char text[STORE_MAX];
    if (i->fifo != show_node || !n->store)
        return -EACCES;
    if (u->resid >= sizeof(text))
        return -EINVAL;
    ssize_t len = uio_read_in(u, text, u->resid);
    if (len <= 0)
        return len;
    text[len] = 0;
    int err = n->store(text, len, n->arg);
    *pos += len;
    return err ? err : len;
}

static const struct file_ops text_ops = {
    .open = text_open, .release = text_release, .read = text_read, .write = text_write_file};

struct inode *proc_text_inode(struct superblock *sb, uint64_t ino, uint32_t mode,
                              const struct inode_ops *ops,
                              int (*show)(struct textbuf *, struct inode *)) {
    struct inode *i = inode_alloc(sb, ino, mode);
    if (!i)
        return ERR_PTR(-ENOMEM);
    i->ops = ops;
    i->file_ops = &text_ops;
    i->fifo = show; // no FIFO has these operations, so the field is free for the printer
    return i;
}

// ---- directories -------------------------------------------------------------------------------

static const struct inode_ops node_ops;
static const struct file_ops dir_ops;

static struct inode *node_inode(struct superblock *sb, struct proc_node *n) {
    struct inode *i = proc_text_inode(sb, n->ino, n->mode, &node_ops, show_node);
    if (IS_ERR(i))
        return i;
    i->data = n;
    if (S_ISDIR(n->mode)) {
        i->nlink = 2;
        i->file_ops = &dir_ops;
    }
    return i;
}

static struct inode *node_lookup(struct inode *dir, const char *name, size_t len) {
    struct proc_node *n = find_child(dir->data, name, len);
    if (n)
        return node_inode(dir->sb, n);
    return dir->data == &root ? pid_lookup(dir, name, len) : ERR_PTR(-ENOENT);
}

static int node_truncate(struct inode *i, uint64_t size) {
    return 0;
} // `echo x > /proc/sys/...`

static const struct inode_ops node_ops = {.lookup = node_lookup, .truncate = node_truncate};

int proc_parse_number(const char *name, size_t len) {
    int n = 0;
    if (!len || len > 9 || (name[0] == '0' && len > 1))
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        n = n * 10 + (name[i] - '0');
    }
    return n;
}

// Positions: 0 and 1 are dots, then the registered names, self, thread-self; processes from FIRST_PID.
#define FIRST_PID 1000000u

static bool emit_pids(struct dir_context *c) {
    int pids[64];
    unsigned n;
    char name[12];
    while ((n = proc_pids(c->pos - FIRST_PID, pids, ARRAY_SIZE(pids)))) {
        for (unsigned k = 0; k < n; k++) {
            size_t len = scnprintf(name, sizeof(name), "%d", pids[k]);
            c->pos = FIRST_PID + pids[k];
            if (!c->emit(c, name, len, (uint64_t)pids[k] << 24, MODE_TO_DT(S_IFDIR)))
                return false;
            c->pos++;
        }
    }
    return true;
}

// The registered child number `index` of a directory, or NULL.
static struct proc_node *child_at(struct proc_node *dir, uint64_t index) {
    struct proc_node *n, *found = NULL;
    spin_lock(&tree_lock);
    list_for_each (n, &dir->children, sibling) {
        if (index-- == 0) {
            found = n;
            break;
        }
    }
    spin_unlock(&tree_lock);
    return found;
}

static int dir_iterate(struct file *f, struct dir_context *c) {
    static const char *const links[] = {"self", "thread-self"};
    struct proc_node *dir = f->inode->data, *n;
    for (; c->pos < 2; c->pos++)
        if (!c->emit(c, "..", c->pos + 1, c->pos ? dir->parent->ino : dir->ino,
                     MODE_TO_DT(S_IFDIR)))
            return 0;
    for (; c->pos < FIRST_PID && (n = child_at(dir, c->pos - 2)); c->pos++)
        if (!c->emit(c, n->name, strlen(n->name), n->ino, MODE_TO_DT(n->mode)))
            return 0;
    if (dir != &root)
        return 0;
    if (c->pos < FIRST_PID - 2)
        c->pos = FIRST_PID - 2;
    for (; c->pos < FIRST_PID; c->pos++) {
        const char *name = links[c->pos - (FIRST_PID - 2)];
        if (!c->emit(c, name, strlen(name), c->pos, MODE_TO_DT(S_IFLNK)))
            return 0;
    }
    emit_pids(c);
    return 0;
}

static const struct file_ops dir_ops = {.iterate = dir_iterate};

static int proc_statfs(struct superblock *sb, struct statfs *out) {
    out->f_type = PROC_SUPER_MAGIC;
    return 0;
}

static const struct superblock_ops super_ops = {.statfs = proc_statfs};

static int proc_mount(struct superblock *sb, const char *source, unsigned long flags,
                      const char *options) {
    sb->uncached = true;
    sb->ops = &super_ops;
    struct inode *i = node_inode(sb, &root);
    if (IS_ERR(i))
        return PTR_ERR(i);
    sb->root = dentry_alloc_root(i);
    if (!sb->root)
        inode_put(i);
    return sb->root ? 0 : -ENOMEM;
}

static struct file_system procfs = {.name = "proc", .mount = proc_mount};

void procfs_init(void) {
    file_system_register(&procfs);
    proc_system_init();
    vfs_mkdir("/proc", 0555);
    int err = vfs_mount("proc", "/proc", "proc", 0, "");
    if (err)
        panic("fs: cannot mount /proc, error %d", -err);
}
