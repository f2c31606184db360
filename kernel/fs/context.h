// Root, working directory and umask of a process, inside of fs/.
#pragma once
#include "fs/inode.h"

struct fs_context {
    uint32_t refs; // atomic
    uint32_t umask;
    struct dentry *root, *cwd; // references; dentry_lock
};

// The calling process's, or the one of kernel worlds.
struct fs_context *fs_context(void);
// Root or working directory of c, with a reference.
struct dentry *fs_context_root(struct fs_context *c);
struct dentry *fs_context_cwd(struct fs_context *c);
// Replace them, taking over the reference.
void fs_context_set_root(struct fs_context *c, struct dentry *d);
void fs_context_set_cwd(struct fs_context *c, struct dentry *d);
// Boot: the root file system is there; kernel worlds and the first process start in it.
void fs_context_init(struct dentry *root);
