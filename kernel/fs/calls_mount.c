// mount and umount2.
#include <linux/mount.h>
#include "fs/mount.h"
#include "fs/namei.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "syscall/syscall.h"

// umount2(2)
#define MNT_FORCE       1
#define MNT_DETACH      2
#define UMOUNT_NOFOLLOW 8

// An optional string argument into buf; empty when it is NULL. 0, -EFAULT, -EINVAL (too long).
static int get_string(char *buf, size_t size, const char __user *from) {
    buf[0] = 0;
    long n = from ? strncpy_from_user(buf, from, size) : 0;
    return n == -ENAMETOOLONG ? -EINVAL : n < 0 ? n : 0;
}

static int remount(const char *target, unsigned long flags) {
    struct dentry *d = path_walk(NULL, target, 0);
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = mount_remount(d, flags & MS_RDONLY);
    dentry_put(d);
    return err;
}

long sys_mount(const char __user *source, const char __user *target, const char __user *type,
               unsigned long flags, const void __user *data) {
    struct {
        struct user_path target;
        char source[256], type[32], options[256];
    } *a = kmalloc(sizeof(*a));
    if (!a)
        return -ENOMEM;
    int err = user_path_get(&a->target, target);
    if (err)
        goto out;
    err = get_string(a->source, sizeof(a->source), source);
    if (!err)
        err = get_string(a->type, sizeof(a->type), type);
    if (!err)
        err = get_string(a->options, sizeof(a->options), data);
    if (!err && (flags & (MS_BIND | MS_MOVE | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)))
        err = -EINVAL;
    if (!err)
        err = flags & MS_REMOUNT ? remount(a->target.s, flags)
                                 : vfs_mount(a->source, a->target.s, a->type, flags, a->options);
    user_path_put(&a->target);
out:
    kfree(a);
    return err;
}

long sys_umount2(const char __user *target, int flags) {
    if (flags & ~(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW))
        return -EINVAL;
    struct dentry *d = user_walk(AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? WALK_NOFOLLOW : 0);
    return IS_ERR(d) ? PTR_ERR(d) : mount_remove(d, flags & MNT_DETACH);
}
