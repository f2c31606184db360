// The cache of names, inside of fs/: path.c walks over it, the file systems never see it.
#pragma once
#include <linux/limits.h>
#include "fs/inode.h"
#include "sync/spinlock.h"

// Covers all dentries, mounts, and the root and working directory of every fs_context. A cached path
// is walked under it without touching reference counts.
extern struct spinlock dentry_lock;

static inline uint32_t name_hash(const char *name, size_t len) {
    uint32_t h = 0;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + (unsigned char)name[i];
    return h;
}

// The cached child of that name, without a reference, or NULL (not cached). dentry_lock held.
struct dentry *dentry_find(struct dentry *parent, const char *name, size_t len, uint32_t hash);
// The child of that name, asking the file system if need be: a reference, ->inode NULL when there is
// no such name; or ERR_PTR. Takes parent->inode->lock to be held.
struct dentry *dentry_lookup(struct dentry *parent, const char *name, size_t len);
// A name came into being: binds d (negative, from dentry_lookup) to i, taking over the reference.
void dentry_bind(struct dentry *d, struct inode *i);
// The name is gone (unlink, rmdir, replaced by rename): later walks do not find d.
void dentry_delete(struct dentry *d);
// Moves d to another parent and name. `name` is from kmalloc (kstrdup) and taken over. The locks of
// both directories and rename_lock are held.
void dentry_move(struct dentry *d, struct dentry *parent, char *name);
// Frees every unused name of a file system, for unmount.
void dentry_prune(struct superblock *sb);
// Is `d` the same as or below `ancestor`, within one file system? dentry_lock or rename_lock held.
bool dentry_is_below(const struct dentry *d, const struct dentry *ancestor);
// Names in the cache, for /proc/sys/fs/dentry-state.
unsigned dentry_count(void);
