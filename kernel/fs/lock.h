// Advisory locks on files: flock() of whole files and fcntl() record locks.
#pragma once
#include "fs/inode.h"

// fcntl F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ variants; l in and out. 0 or -errno (-EAGAIN:
// held by somebody else, -EDEADLK, -ERESTARTSYS, -EBADF: file not open for that kind, -EINVAL).
int lock_fcntl(struct file *f, unsigned cmd, struct flock *l);
// flock(): 0, -EWOULDBLOCK, -ERESTARTSYS, -EINVAL, -ENOMEM.
int lock_flock(struct file *f, int op);
// A descriptor of the table `owner` for this file was closed: its record locks there are gone.
void locks_release_owner(struct inode *i, const void *owner);
// The last reference to an open file is gone: its flock and OFD locks with it.
void locks_release_file(struct file *f);
// The inode dies.
void locks_free(struct inode *i);
// Prints all locks in the format of /proc/locks.
struct textbuf;
void locks_show(struct textbuf *b);
