// Inodes, directory entries, file systems, mounts.
#pragma once
#include <linux/stat.h>
#include "fs/file.h"
#include "lib/tree.h"

struct file_system;
struct superblock;
struct pagecache;
struct dentry;
struct statfs;

struct inode_ops {
    // Directories. Called with dir->lock held. New inodes come with one reference. ERR_PTR / -errno.
    struct inode *(*lookup)(struct inode *dir, const char *name, size_t len); // -ENOENT
    // Makes a file, directory, symlink (target) or device node; mode has the S_IF* bits.
    struct inode *(*create)(struct inode *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev, const char *target);
    int (*link)(struct inode *dir, const char *name, size_t len, struct inode *target);
    int (*unlink)(struct inode *dir, const char *name, size_t len, struct inode *victim); // files
    int (*rmdir)(struct inode *dir, const char *name, size_t len, struct inode *victim);  // -ENOTEMPTY
    int (*rename)(struct inode *old_dir, const char *old, size_t old_len, struct inode *new_dir,
                  const char *new, size_t new_len, struct inode *moved, struct inode *replaced);
    // Symbolic links: the target into buf; length or -errno.
    ssize_t (*readlink)(struct inode *i, char *buf, size_t size);
    // procfs magic links (/proc/PID/exe, fd/N): the object itself. Optional.
    struct dentry *(*follow)(struct inode *i);
    int (*truncate)(struct inode *i, uint64_t size);
    // mode, uid, gid or times were changed in the inode: write them back. Optional.
    int (*changed)(struct inode *i);
    // The last reference is gone; nlink == 0 means: free it on disk too.
    void (*evict)(struct inode *i);
};

struct inode {
    uint32_t refs;
    uint64_t ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t size, blocks; // blocks: 512-byte units
    uint64_t rdev;         // device number of a node
    uint64_t atime, mtime, ctime; // realtime ns
    struct mutex lock;     // directories: entries; files: size and data layout
    struct superblock *sb;
    const struct inode_ops *ops;
    const struct file_ops *file_ops;
    struct pagecache *cache; // regular files and block devices
    struct list_node sb_node;
    void *data;            // the file system's
};

struct dentry {
    uint32_t refs;
    char *name;
    struct dentry *parent; // itself at the root of a file system
    struct inode *inode;   // NULL: known not to exist
    struct list_node children, sibling, hash;
    struct mount *mounted; // a file system covers it
    struct mount *mount;   // set in the root of a mounted file system
};

struct superblock {
    const struct file_system *fs;
    struct dentry *root;
    char source[64];       // as shown by mount
    uint64_t dev;
    bool read_only;
    struct list_node inodes;
    const struct superblock_ops {
        int (*statfs)(struct superblock *sb, struct statfs *out);
        int (*sync)(struct superblock *sb);
        void (*unmount)(struct superblock *sb);
    } *ops;
    void *data;
};

struct file_system {
    const char *name;
    bool needs_device;
    // Fills sb (root dentry, ops). source: block device path or text. 0 or -errno.
    int (*mount)(struct superblock *sb, const char *source, unsigned long flags, const char *options);
    struct list_node node;
};
void file_system_register(struct file_system *fs); // boot

struct inode *inode_alloc(struct superblock *sb, uint64_t ino, uint32_t mode); // refs 1
void inode_get(struct inode *i);
void inode_put(struct inode *i);
struct dentry *dentry_alloc_root(struct inode *i);

// Path walking from the calling process's root and working directory (or from `at`).
#define WALK_NOFOLLOW 1u // do not follow a final symbolic link
#define WALK_PARENT   2u // stop at the parent; the last component is left in `last`
#define WALK_DIR      4u // must be a directory
struct dentry *path_walk(struct dentry *at, const char *path, unsigned flags); // reference or ERR_PTR
void dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);
// Absolute path as seen from root; length or -ENAMETOOLONG.
int dentry_path(struct dentry *d, char *buf, size_t size);
// Opens by kernel path. Reference or ERR_PTR.
struct file *file_open(const char *path, int flags, uint32_t mode);
int vfs_mkdir(const char *path, uint32_t mode);
int vfs_mknod(const char *path, uint32_t mode, uint64_t rdev);
int vfs_mount(const char *source, const char *target, const char *fstype, unsigned long flags, const char *options);
// Writes back everything / and unmounts all that can be (power-off).
void vfs_sync_all(void);
void vfs_unmount_all(void);

// Root, working directory and umask of a process.
struct fs_context *fs_context_create(void);
struct fs_context *fs_context_copy(struct fs_context *c);
struct fs_context *fs_context_share(struct fs_context *c);
void fs_context_put(struct fs_context *c);

// Device nodes: makes /dev/NAME appear (name may contain one slash: "pts/0") and binds operations.
#define DEV(major, minor) ((uint64_t)(major) << 8 | (minor)) // minor < 256; Linux's numbers
int dev_register(const char *name, uint32_t mode, uint64_t rdev, const struct file_ops *ops, void *data);
void dev_unregister(const char *name);
// The `data` of the device node that a file was opened through.
void *dev_data(const struct file *f);

// Texts of /proc made on demand: show() prints into a growing buffer.
struct textbuf;
void text_printf(struct textbuf *b, const char *fmt, ...) printf_like(2, 3);
typedef void (*proc_show)(struct textbuf *b, void *arg);
typedef int (*proc_store)(const char *text, size_t n, void *arg); // a write; NULL: read-only
int proc_register(const char *path, proc_show show, proc_store store, void *arg); // "meminfo", "sys/x"
