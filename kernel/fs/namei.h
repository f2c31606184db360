// Walking paths and changing names, inside of fs/.
#pragma once
#include "fs/dentry.h"

// The last component of a path, which a walk with WALK_PARENT did not look at. Its directory may end
// in "." or "..": see path_last_is_dots(). len 0: the path is a root directory.
struct path_last {
    char name[NAME_MAX + 1];
    size_t len;
    bool slash; // it was followed by a slash: only a directory will do
};

static inline bool path_last_is_dots(const struct path_last *l) {
    return l->len == 0 ||
           (l->name[0] == '.' && (l->len == 1 || (l->len == 2 && l->name[1] == '.')));
}

// As path_walk() with WALK_PARENT: the directory with a reference, the last component in *last.
struct dentry *path_walk_parent(struct dentry *at, const char *path, struct path_last *last);
// Walks to the parent, locks it and looks the last component up. On success *dir is referenced and
// its inode locked, and the (perhaps negative) child is returned with a reference: end with
// path_unlock(). -EEXIST, -EBUSY and the like for "." and ".." are up to the caller, who gives the
// error that they should have as `dots`.
struct dentry *path_lock(struct dentry *at, const char *path, struct path_last *last, int dots,
                         struct dentry **dir);
void path_unlock(struct dentry *dir, struct dentry *child);

// Symbolic links followed in one walk before -ELOOP (Linux: MAXSYMLINKS).
#define LINKS_MAX 40u
// A link's target into a fresh buffer of PATH_MAX bytes (kfree), terminated. ERR_PTR.
char *link_target(struct inode *i);

// The work of the calls that change names; paths are kernel strings, `at` as in path_walk().
int name_mkdir(struct dentry *at, const char *path, uint32_t mode);
int name_mknod(struct dentry *at, const char *path, uint32_t mode, uint64_t rdev);
int name_symlink(struct dentry *at, const char *path, const char *target);
int name_unlink(struct dentry *at, const char *path);
int name_rmdir(struct dentry *at, const char *path);
int name_link(struct dentry *target, struct dentry *at, const char *path);
int name_rename(struct dentry *old_at, const char *old, struct dentry *new_at, const char *new,
                bool no_replace);
// Makes a file in a locked directory for a negative `child`: mode complete, umask applied by the
// caller. 0 or -errno.
int name_create(struct dentry *dir, struct dentry *child, uint32_t mode, uint64_t rdev,
                const char *target);

// A path argument of a system call: short ones stay on the stack.
struct user_path {
    char *s;
    char small[200];
};
// 0, -EFAULT, -ENAMETOOLONG, -ENOMEM. After success, user_path_put().
int user_path_get(struct user_path *p, const char __user *from);
void user_path_put(struct user_path *p);
// Gets the string and walks it from dirfd. Reference or ERR_PTR.
struct dentry *user_walk(int dirfd, const char __user *path, unsigned walk_flags);
