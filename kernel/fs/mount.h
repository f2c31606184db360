// Mounted file systems, inside of fs/.
#pragma once
#include "fs/inode.h"

struct textbuf;

// For files without a name: pipes, sockets, eventfd, memfd.
extern struct superblock anon_superblock;
// A fresh inode number of a RAM file system.
uint64_t superblock_new_ino(struct superblock *sb);
// Boot: the store of files without a name (fs/ramfs.c).
void shmem_init(void);
// Boot: mounts `fs` as the root of everything.
void mount_root(struct file_system *fs);
// Unmounts what is mounted at d (the root of the mounted tree). 0, -EINVAL (no mount there), -EBUSY.
// lazy: a busy one is only taken out of sight (MNT_DETACH). Takes over the reference to d.
int mount_remove(struct dentry *d, bool lazy);
// Changes read-only of the file system mounted at d. 0 or -EINVAL.
int mount_remount(struct dentry *d, bool read_only);
// /proc/mounts, /proc/filesystems.
void mounts_show(struct textbuf *b);
void mountinfo_show(struct textbuf *b);
void filesystems_show(struct textbuf *b);
