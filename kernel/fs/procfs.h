// /proc: texts made on demand. Inside of fs/; other parts use proc_register() of fs/inode.h.
#pragma once
#include "fs/inode.h"

// A text that grows. Out of memory: the rest is missing, and ->failed is set.
struct textbuf {
    char *data;
    size_t len, size;
    bool failed;
};
void text_free(struct textbuf *b);
// Appends bytes as they are.
void text_write(struct textbuf *b, const char *data, size_t n);

// Boot: registers the file system and what does not belong to a process.
void procfs_init(void);
void proc_system_init(void);
// Looks after the load average; every five seconds, from the writeback world.
void loadavg_sample(void);
// Process ids >= min in order into pids[max]; returns how many.
unsigned proc_pids(int min, int *pids, unsigned max);

// ---- between procfs.c and proc_pid.c -----------------------------------------------------------

// Makes an inode whose content is a text: show(b, i) prints it. `ops` for what else it can do.
struct inode *proc_text_inode(struct superblock *sb, uint64_t ino, uint32_t mode,
                              const struct inode_ops *ops,
                              int (*show)(struct textbuf *, struct inode *));
// The directory /proc/NAME of a process, or "self", "thread-self"; ERR_PTR(-ENOENT).
struct inode *pid_lookup(struct inode *root, const char *name, size_t len);
// A number without sign and leading zeros, or -1.
int proc_parse_number(const char *name, size_t len);
