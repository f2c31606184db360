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

#ifndef S_IFMT // hidden by <linux/stat.h> when a C library is there (unit tests)
#define S_IFMT      0170000
#define S_IFSOCK    0140000
#define S_IFLNK     0120000
#define S_IFREG     0100000
#define S_IFBLK     0060000
#define S_IFDIR     0040000
#define S_IFCHR     0020000
#define S_IFIFO     0010000
#define S_ISUID     0004000
#define S_ISGID     0002000
#define S_ISLNK(m)  (((m)&S_IFMT) == S_IFLNK)
#define S_ISREG(m)  (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m)  (((m)&S_IFMT) == S_IFDIR)
#define S_ISCHR(m)  (((m)&S_IFMT) == S_IFCHR)
#define S_ISBLK(m)  (((m)&S_IFMT) == S_IFBLK)
#define S_ISFIFO(m) (((m)&S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)
#endif
// d_type of a directory entry is the mode's type bits (Linux: DT_*).
#define MODE_TO_DT(mode) (((mode)&S_IFMT) >> 12)

// Lock order: rename_lock (fs/rename.c) > inode->lock of directories (an ancestor before its
// descendants; two that are not related, by address) > inode->lock of a file > page cache's
// writeback lock > spin locks (dentry_lock > inode_list_lock).
struct inode_ops {
    // Directories. Called with dir->lock held. New inodes come with one reference. ERR_PTR / -errno.
    struct inode *(*lookup)(struct inode *dir, const char *name, size_t len); // -ENOENT
    // Makes a file, directory, symlink (target) or device node; mode has the S_IF* bits.
    struct inode *(*create)(struct inode *dir, const char *name, size_t len, uint32_t mode,
                            uint64_t rdev, const char *target);
    int (*link)(struct inode *dir, const char *name, size_t len, struct inode *target);
    int (*unlink)(struct inode *dir, const char *name, size_t len, struct inode *victim); // files
    int (*rmdir)(struct inode *dir, const char *name, size_t len,
                 struct inode *victim); // -ENOTEMPTY
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
    uint32_t refs; // atomic; 1 -> 0 only under inode_list_lock
    uint64_t ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t size, blocks;        // blocks: 512-byte units
    uint64_t rdev;                // device number of a node
    uint64_t atime, mtime, ctime; // realtime ns
    struct mutex lock;            // directories: entries; files: size and data layout
    struct superblock *sb;
    const struct inode_ops *ops;
    const struct file_ops *file_ops;
    struct pagecache *cache;        // regular files and block devices
    struct list_node sb_node, hash; // inode_list_lock
    bool evicting;                  // inode_list_lock
    struct inode_locks *locks;      // record locks and flock (fs/lock.c); allocated once
    int writers;         // atomic: open for writing (> 0) or executed (< 0), regular files
    void *fifo, *socket; // ipc's
    void *data;          // the file system's
};

// A name in the tree, cached. All fields but refs are covered by dentry_lock (fs/dentry.c); ->inode
// changes only from NULL to an inode, so who holds a reference to a positive dentry may read it.
struct dentry {
    uint32_t refs; // atomic; 0: unused but cached. Children hold a reference to their parent.
    uint32_t name_hash;
    uint16_t name_len;
    bool deleted;          // the name is gone: shown as "(deleted)"
    char *name;            // terminated; points to inline_name or to the heap (after rename)
    struct dentry *parent; // itself at the root of a file system
    struct inode *inode;   // NULL: known not to exist
    struct superblock *sb;
    struct list_node children, sibling, hash, lru;
    struct mount *mounted; // a file system covers it
    struct mount *mount;   // set in the root of a mounted file system
    char inline_name[];
};

// A mounted file system. Covered by dentry_lock; lives as long as it is mounted.
struct mount {
    struct list_node node;
    struct superblock *sb;
    struct dentry *root;       // reference held
    struct dentry *mountpoint; // reference held; NULL: the root file system
};

struct superblock {
    const struct file_system *fs;
    struct dentry *root;
    char source[64]; // as shown by mount
    uint64_t dev;
    bool read_only;
    bool uncached;           // names come and go by themselves (procfs): every walk asks lookup()
    uint64_t next_ino;       // for RAM file systems: atomic
    struct list_node inodes; // inode_list_lock
    const struct superblock_ops {
        int (*statfs)(struct superblock *sb, struct statfs *out);
        int (*sync)(struct superblock *sb);
        void (*unmount)(struct superblock *sb);
    } * ops;
    void *data;
};

struct file_system {
    const char *name;
    bool needs_device;
    // Fills sb (root dentry, ops). source: block device path or text. 0 or -errno.
    int (*mount)(struct superblock *sb, const char *source, unsigned long flags,
                 const char *options);
    struct list_node node;
};
void file_system_register(struct file_system *fs); // boot

// A new inode with one reference, zeroed but for ino, mode, nlink 1, times now and a working lock.
// NULL: out of memory.
struct inode *inode_alloc(struct superblock *sb, uint64_t ino, uint32_t mode);
// The inode in memory with that number, with a reference, or NULL. Waits while it is being evicted.
// To make sure that there is only one, call it and inode_alloc() under a lock of your own.
struct inode *inode_find(struct superblock *sb, uint64_t ino);
void inode_get(struct inode *i);
// Takes a reference unless the last one is already gone. For lists that hold no reference.
bool inode_tryget(struct inode *i);
// Tells the file system that mode, owner or times were changed. 0 or -errno.
int inode_changed(struct inode *i);
// The last put writes the page cache back (nlink > 0) or drops it (nlink == 0), then calls evict()
// and frees the inode. May sleep.
void inode_put(struct inode *i);
// Sets atime / mtime and ctime to now and tells the file system.
void inode_accessed(struct inode *i); // as relatime
void inode_modified(struct inode *i);
// Its names changed (link, unlink, rename): ctime only. The caller writes the inode back.
void inode_modified_names(struct inode *i);
// Changes the size of a regular file with all that belongs to it. 0 or -errno. Sleeps; lock not held.
int inode_truncate(struct inode *i, uint64_t size);
// A regular file is written or executed, not both at a time. 0 or -ETXTBSY; each success is undone by
// inode_end_write() or inode_end_exec(). Any context.
int inode_begin_write(struct inode *i);
void inode_end_write(struct inode *i);
int inode_begin_exec(struct inode *i);
void inode_end_exec(struct inode *i);
// May a program be executed from it: 0, or -EACCES (not a regular file, no x bit).
int inode_may_exec(const struct inode *i);
// The root of a file system; takes over the reference to i. NULL: out of memory.
struct dentry *dentry_alloc_root(struct inode *i);

// Path walking from the calling process's root and working directory (or from `at`).
#define WALK_NOFOLLOW 1u // do not follow a final symbolic link
#define WALK_PARENT   2u // stop at the parent; the last component is left in `last`
#define WALK_DIR      4u // must be a directory
#define WALK_EMPTY    8u // an empty path is `at` itself (AT_EMPTY_PATH)
struct dentry *path_walk(struct dentry *at, const char *path,
                         unsigned flags); // reference or ERR_PTR
void dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);
// Absolute path as seen from root; length or -ENAMETOOLONG.
int dentry_path(struct dentry *d, char *buf, size_t size);
// Opens by kernel path. Reference or ERR_PTR.
struct file *file_open(const char *path, int flags, uint32_t mode);
// Opens from `at` (NULL: the calling process's working directory); flags as open(2).
struct file *file_open_at(struct dentry *at, const char *path, int flags, uint32_t mode);
// Opens what dirfd (AT_FDCWD, a directory, or with AT_EMPTY_PATH any file) and path name, for execve:
// O_RDONLY, -EACCES without an x bit. flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
struct file *file_open_exec(int dirfd, const char *path, int flags);
// The directory behind dirfd for a path walk: a reference, NULL for AT_FDCWD or an absolute path,
// ERR_PTR(-EBADF, -ENOTDIR). any: not necessarily a directory (AT_EMPTY_PATH).
struct dentry *dirfd_dentry(int dirfd, const char *path, bool any);
// A file of RAM pages without a name: memfd_create, MAP_SHARED|MAP_ANONYMOUS. ERR_PTR on failure.
// `name` is copied.
struct file *shmem_file_create(const char *name, uint64_t size);
int vfs_mkdir(const char *path, uint32_t mode);
int vfs_mknod(const char *path, uint32_t mode, uint64_t rdev);
int vfs_mount(const char *source, const char *target, const char *fstype, unsigned long flags,
              const char *options);
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
int dev_register(const char *name, uint32_t mode, uint64_t rdev, const struct file_ops *ops,
                 void *data);
void dev_unregister(const char *name);
// The `data` of the device node that a file was opened through.
void *dev_data(const struct file *f);

// RAM file systems (fs/ramfs.c), also the store of /dev.
extern struct file_system ramfs;

// Texts of /proc made on demand: show() prints into a growing buffer.
struct textbuf;
void text_printf(struct textbuf *b, const char *fmt, ...) printf_like(2, 3);
typedef void (*proc_show)(struct textbuf *b, void *arg);
typedef int (*proc_store)(const char *text, size_t n, void *arg); // a write; NULL: read-only
int proc_register(const char *path, proc_show show, proc_store store,
                  void *arg); // "meminfo", "sys/x"
