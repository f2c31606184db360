// Path walking: names, ".", "..", symbolic links, mount points.
//
// As long as every name is in the cache the walk holds dentry_lock and takes no references. Where
// the file system or a symbolic link must be asked it takes a reference to where it stands, lets go
// of the lock, and continues from there.
#include "fs/namei.h"
#include "fs/context.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"

struct walk {
    struct dentry *root; // reference: "/" and the end of ".."
    struct dentry *d;    // where we stand
    struct dentry *base; // the dentry that we hold a reference to, or NULL; == d when unlocked
    const char *p;       // what is left of the path
    char *buffer;        // holds it once a link was followed
    unsigned flags, links;
    bool must_be_dir; // the last component had a trailing slash
    struct path_last *last;
};

// Releases dentry_lock with a reference to where we stand.
static void walk_unlock(struct walk *w) {
    struct dentry *old = NULL;
    if (w->base != w->d) {
        dentry_get(w->d);
        old = w->base;
        w->base = w->d;
    }
    spin_unlock(&dentry_lock);
    if (old)
        dentry_put(old);
}

static struct dentry *step_up(struct walk *w, struct dentry *d) {
    while (d != w->root) {
        if (d->parent != d) {
            d = d->parent;
            break;
        }
        if (!d->mount || !d->mount->mountpoint)
            return d;
        d = d->mount->mountpoint; // the root of a mounted file system
    }
    while (d->mounted)
        d = d->mounted->root;
    return d;
}

char *link_target(struct inode *i) {
    char *buf = kmalloc(PATH_MAX);
    if (!buf)
        return ERR_PTR(-ENOMEM);
    ssize_t n = i->ops->readlink ? i->ops->readlink(i, buf, PATH_MAX - 1) : -EINVAL;
    if (n <= 0) {
        kfree(buf);
        return ERR_PTR(n ? n : -ENOENT);
    }
    buf[n] = 0;
    return buf;
}

// Continues at the target of the link `link`, then with what is left of the path. Lock held on entry
// and on return.
static int follow(struct walk *w, struct dentry *link) {
    w->d = link;
    walk_unlock(w);
    int err = 0;
    struct dentry *target = NULL;
    if (++w->links > LINKS_MAX) {
        err = -ELOOP;
    } else if (link->inode->ops->follow) {
        target = link->inode->ops->follow(link->inode);
        if (IS_ERR(target))
            err = PTR_ERR(target);
    } else {
        char *text = link_target(link->inode);
        size_t n = IS_ERR(text) ? 0 : strlen(text), rest = strlen(w->p);
        if (IS_ERR(text)) {
            err = PTR_ERR(text);
        } else if (n + 1 + rest + 1 > PATH_MAX) {
            err = -ENAMETOOLONG;
            kfree(text);
        } else {
            if (rest || w->must_be_dir)
                text[n++] = '/';
            memcpy(text + n, w->p, rest + 1);
            kfree(w->buffer);
            w->p = w->buffer = text;
        }
    }
    if (target && !err) {
        w->base = w->d = target;
        dentry_put(link);
    }
    spin_lock(&dentry_lock);
    if (!err && !target)
        w->d = *w->p == '/' ? w->root : link->parent;
    return err;
}

// Asks the file system for a name. Lock held on entry and on return, when we stand at the child with
// a reference.
static int look_up(struct walk *w, const char *name, size_t len) {
    walk_unlock(w);
    struct dentry *dir = w->d;
    mutex_lock(&dir->inode->lock);
    struct dentry *child = dentry_lookup(dir, name, len);
    mutex_unlock(&dir->inode->lock);
    if (!IS_ERR(child)) {
        w->base = w->d = child;
        dentry_put(dir);
    }
    spin_lock(&dentry_lock);
    return IS_ERR(child) ? PTR_ERR(child) : 0;
}

// Takes one component off the path. 0, 1 (stopped before the last one) or -errno. Lock held.
static int component(struct walk *w) {
    const char *name = w->p;
    size_t len = 0;
    uint32_t hash = 0;
    if (!w->d->inode || !S_ISDIR(w->d->inode->mode))
        return -ENOTDIR;
    for (; name[len] && name[len] != '/'; len++)
        hash = hash * 31 + (unsigned char)name[len];
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    const char *rest = name + len;
    while (*rest == '/')
        rest++;
    bool slash = name[len] == '/', is_last = !*rest;
    if (is_last && (w->flags & WALK_PARENT)) {
        memcpy(w->last->name, name, len);
        w->last->name[len] = 0;
        w->last->len = len;
        w->last->slash = slash;
        return 1;
    }
    w->p = rest;
    w->must_be_dir = slash;
    if (name[0] == '.' && len == 1)
        return 0;
    if (name[0] == '.' && name[1] == '.' && len == 2) {
        w->d = step_up(w, w->d);
        return 0;
    }
    struct dentry *child = dentry_find(w->d, name, len, hash);
    if (!child) {
        int err = look_up(w, name, len);
        if (err)
            return err;
        child = w->d;
    }
    if (!child->inode)
        return -ENOENT;
    if (S_ISLNK(child->inode->mode) && (!is_last || slash || !(w->flags & WALK_NOFOLLOW)))
        return follow(w, child);
    while (child->mounted)
        child = child->mounted->root;
    w->d = child;
    return 0;
}

static struct dentry *walk(struct dentry *at, const char *path, unsigned flags,
                           struct path_last *last) {
    struct fs_context *context = fs_context();
    struct walk w = {.p = path, .flags = flags, .last = last};
    if (last)
        last->len = last->name[0] = last->slash = 0;
    if (!*path && !(flags & WALK_EMPTY))
        return ERR_PTR(-ENOENT);
    spin_lock(&dentry_lock);
    w.root = context->root;
    dentry_get(w.root);
    w.d = *path == '/' ? w.root : at ? at : context->cwd;
    int err = 0;
    while (!err) {
        while (*w.p == '/')
            w.p++;
        if (!*w.p)
            break;
        err = component(&w);
    }
    if (!err && (w.must_be_dir || (flags & WALK_DIR)) && !S_ISDIR(w.d->inode->mode))
        err = -ENOTDIR;
    if (err == 1 || !err) {
        walk_unlock(&w);
        err = 0;
    } else {
        spin_unlock(&dentry_lock);
    }
    kfree(w.buffer);
    dentry_put(w.root);
    if (err && w.base)
        dentry_put(w.base);
    return err ? ERR_PTR(err) : w.d;
}

struct dentry *path_walk(struct dentry *at, const char *path, unsigned flags) {
    struct path_last ignored;
    return walk(at, path, flags, flags & WALK_PARENT ? &ignored : NULL);
}

struct dentry *path_walk_parent(struct dentry *at, const char *path, struct path_last *last) {
    return walk(at, path, WALK_PARENT, last);
}

struct dentry *path_lock(struct dentry *at, const char *path, struct path_last *last, int dots,
                         struct dentry **dir) {
    struct dentry *parent = path_walk_parent(at, path, last);
    if (IS_ERR(parent))
        return parent;
    if (path_last_is_dots(last)) {
        dentry_put(parent);
        return ERR_PTR(dots);
    }
    mutex_lock(&parent->inode->lock);
    struct dentry *child = dentry_lookup(parent, last->name, last->len);
    if (IS_ERR(child)) {
        mutex_unlock(&parent->inode->lock);
        dentry_put(parent);
        return child;
    }
    *dir = parent;
    return child;
}

void path_unlock(struct dentry *dir, struct dentry *child) {
    mutex_unlock(&dir->inode->lock);
    dentry_put(child);
    dentry_put(dir);
}

int dentry_path(struct dentry *d, char *buf, size_t size) {
    struct fs_context *context = fs_context();
    size_t at = size;
    int ret = -ENAMETOOLONG;
    if (size < 2)
        return ret;
    buf[--at] = 0;
    spin_lock(&dentry_lock);
    while (d != context->root) {
        if (d->parent == d) {
            if (!d->mount || !d->mount->mountpoint)
                break;
            d = d->mount->mountpoint;
            continue;
        }
        if (d->name_len + 1u > at)
            goto out;
        at -= d->name_len;
        memcpy(buf + at, d->name, d->name_len);
        buf[--at] = '/';
        d = d->parent;
    }
    if (!buf[at])
        buf[--at] = '/';
    ret = size - 1 - at;
    memmove(buf, buf + at, ret + 1);
out:
    spin_unlock(&dentry_lock);
    return ret;
}

int user_path_get(struct user_path *p, const char __user *from) {
    p->s = p->small;
    long n = strncpy_from_user(p->small, from, sizeof(p->small));
    if (n != -ENAMETOOLONG)
        return n < 0 ? n : 0;
    p->s = kmalloc(PATH_MAX);
    if (!p->s)
        return -ENOMEM;
    n = strncpy_from_user(p->s, from, PATH_MAX);
    if (n < 0)
        kfree(p->s);
    return n < 0 ? n : 0;
}

void user_path_put(struct user_path *p) {
    if (p->s != p->small)
        kfree(p->s);
}

struct dentry *user_walk(int dirfd, const char __user *path, unsigned walk_flags) {
    struct user_path p;
    int err = user_path_get(&p, path);
    if (err)
        return ERR_PTR(err);
    struct dentry *at = dirfd_dentry(dirfd, p.s, walk_flags & WALK_EMPTY), *d = at;
    if (!IS_ERR(at)) {
        d = path_walk(at, p.s, walk_flags);
        if (at)
            dentry_put(at);
    }
    user_path_put(&p);
    return d;
}
