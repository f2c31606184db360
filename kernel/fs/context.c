// Root, working directory and umask: shared by the threads of a process (CLONE_FS), copied by fork.
#include "fs/context.h"
#include "fs/current.h"
#include "fs/dentry.h"
#include "mm/heap.h"

static struct fs_context kernel_context = {.refs = 1, .umask = 0};

struct fs_context *fs_context(void) {
    struct fs_context *c = current_fs();
    return c ? c : &kernel_context;
}

void fs_context_init(struct dentry *root) {
    dentry_get(root);
    dentry_get(root);
    kernel_context.root = kernel_context.cwd = root;
}

struct fs_context *fs_context_create(void) {
    struct fs_context *c = fs_context_copy(&kernel_context);
    if (c)
        c->umask = 022;
    return c;
}

struct fs_context *fs_context_copy(struct fs_context *from) {
    struct fs_context *c = kzalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->refs = 1;
    c->umask = from->umask;
    spin_lock(&dentry_lock);
    c->root = from->root;
    c->cwd = from->cwd;
    dentry_get(c->root);
    dentry_get(c->cwd);
    spin_unlock(&dentry_lock);
    return c;
}

struct fs_context *fs_context_share(struct fs_context *c) {
    __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void fs_context_put(struct fs_context *c) {
    if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    dentry_put(c->root);
    dentry_put(c->cwd);
    kfree(c);
}

static struct dentry *get_locked(struct dentry **field) {
    spin_lock(&dentry_lock);
    struct dentry *d = *field;
    dentry_get(d);
    spin_unlock(&dentry_lock);
    return d;
}

static void set_locked(struct dentry **field, struct dentry *d) {
    spin_lock(&dentry_lock);
    struct dentry *old = *field;
    *field = d;
    spin_unlock(&dentry_lock);
    dentry_put(old);
}

struct dentry *fs_context_root(struct fs_context *c) {
    return get_locked(&c->root);
}
struct dentry *fs_context_cwd(struct fs_context *c) {
    return get_locked(&c->cwd);
}
void fs_context_set_root(struct fs_context *c, struct dentry *d) {
    set_locked(&c->root, d);
}
void fs_context_set_cwd(struct fs_context *c, struct dentry *d) {
    set_locked(&c->cwd, d);
}
