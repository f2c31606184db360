// The ext2 file system: structures on the disk, and what the files of this folder share.
//
// Locks, in the order in which they are taken:
//   inode->lock        VFS: a directory's entries, a file's size
//   fs->find_lock      one struct inode per inode number
//   ext2_inode.map_lock  block pointers and block count of an inode; held over the input and output
//                      of its data, so that truncation never meets a transfer under way
//   fs->lock           bitmaps, free counts, superblock, pending frees, the copying of inodes into
//                      the table; held by a commit
//   fs->alias_lock     only when blocks are smaller than pages; see ext2_write_data()
// Metadata lives in the page cache of the block device; parts of a page that belong to different
// owners are covered by different locks, and writing a page back while it changes is harmless (it is
// dirty again afterwards).
//
// Why a power cut cannot harm what was fsynced (see also docs/storage.md): metadata may reach the
// disk in any order, with these exceptions, and e2fsck repairs what any order leaves behind.
//   1. A block of pointers or of a directory is initialised on the disk before anything points to it.
//   2. Freed blocks and inodes stay marked as used until a commit has put on the disk that nothing
//      points to them any more; so nothing new is ever put where stale pointers lead.
//   3. A new name is on the disk before the old one goes (rename, link + unlink).
//   4. fsync writes data, then all metadata, then flushes the disk's cache.
#pragma once
#include "block/block.h"
#include "fs/inode.h"
#include "sync/mutex.h"

#define EXT2_MAGIC               0xef53
#define EXT2_SUPER_OFFSET        1024u
#define EXT2_ROOT_INO            2u
#define EXT2_GOOD_OLD_FIRST_INO  11u
#define EXT2_GOOD_OLD_INODE_SIZE 128u
#define EXT2_NAME_MAX            255u
#define EXT2_LINK_MAX            32000u
#define EXT2_VALID_FS            0x0001u // s_state
#define EXT2_ERROR_FS            0x0002u
#define EXT2_INDEX_FL            0x00001000u // i_flags: directory has a hash index
#define EXT2_FOREIGN_FL          0x10080000u // extents, inline data: not ext2's layout

#define EXT2_COMPAT_HAS_JOURNAL   0x0004u
#define EXT2_INCOMPAT_FILETYPE    0x0002u
#define EXT2_RO_COMPAT_SPARSE     0x0001u
#define EXT2_RO_COMPAT_LARGE_FILE 0x0002u

// Little-endian, as this processor is.
struct ext2_super {
    uint32_t s_inodes_count, s_blocks_count, s_r_blocks_count, s_free_blocks_count;
    uint32_t s_free_inodes_count, s_first_data_block, s_log_block_size, s_log_frag_size;
    uint32_t s_blocks_per_group, s_frags_per_group, s_inodes_per_group;
    uint32_t s_mtime, s_wtime;
    uint16_t s_mnt_count, s_max_mnt_count, s_magic, s_state, s_errors, s_minor_rev_level;
    uint32_t s_lastcheck, s_checkinterval, s_creator_os, s_rev_level;
    uint16_t s_def_resuid, s_def_resgid;
    uint32_t s_first_ino; // from here on: s_rev_level >= 1
    uint16_t s_inode_size, s_block_group_nr;
    uint32_t s_feature_compat, s_feature_incompat, s_feature_ro_compat;
    uint8_t s_uuid[16];
    char s_volume_name[16], s_last_mounted[64];
    uint32_t s_algo_bitmap;
    uint8_t s_unused[820];
};
_Static_assert(sizeof(struct ext2_super) == 1024, "layout on disk");

struct ext2_group {
    uint32_t bg_block_bitmap, bg_inode_bitmap, bg_inode_table;
    uint16_t bg_free_blocks_count, bg_free_inodes_count, bg_used_dirs_count, bg_pad;
    uint32_t bg_reserved[3];
};
_Static_assert(sizeof(struct ext2_group) == 32, "layout on disk");

#define EXT2_DIRECT 12u
#define EXT2_BLOCKS 15u // 12 direct, then single, double, triple indirect
struct ext2_raw_inode {
    uint16_t i_mode, i_uid;
    uint32_t i_size, i_atime, i_ctime, i_mtime, i_dtime;
    uint16_t i_gid, i_links_count;
    uint32_t i_blocks, i_flags, i_osd1;
    uint32_t i_block[EXT2_BLOCKS];
    uint32_t i_generation, i_file_acl, i_size_high, i_faddr;
    uint16_t i_frag, i_pad, i_uid_high, i_gid_high;
    uint32_t i_reserved;
};
_Static_assert(sizeof(struct ext2_raw_inode) == 128, "layout on disk");

struct ext2_entry {
    uint32_t inode; // 0: unused
    uint16_t rec_len;
    uint8_t name_len, file_type;
    char name[];
};
#define EXT2_ENTRY_SIZE(name_len) ROUND_UP(8u + (name_len), 4u)

struct ext2_extent {
    uint32_t start, count;
};
#define EXT2_PENDING_MAX 1024u

struct ext2_fs {
    // Fixed while mounted.
    struct superblock *sb;
    struct block_device *dev;
    uint32_t block_size, block_shift, inode_size, inodes_per_group, blocks_per_group;
    uint32_t group_count, inodes_count, blocks_count, first_data_block, first_ino;
    uint32_t pointers; // block numbers in an indirect block
    bool has_file_type, has_large_files;
    bool read_only;    // decided at mount, and after damage; a remount does not change it
    bool writable;     // mounted for writing: says so on the disk, and "clean" at the end
    uint64_t max_size; // of a file
    struct frame *super_frame;
    struct mutex find_lock, alias_lock;

    struct mutex lock;        // from here on, and bitmaps, group descriptors, inode table
    struct ext2_super *super; // in super_frame
    uint64_t commits;         // grows with every commit
    bool damaged;             // an error was found: the state on the disk will say so
    unsigned pending_blocks, pending_inodes; // entries used below
    uint64_t pending_block_count;
    struct ext2_extent pending_block[EXT2_PENDING_MAX];
    struct {
        uint32_t ino;
        bool is_dir;
    } pending_inode[EXT2_PENDING_MAX];
};

// Beside struct inode; inode->data.
struct ext2_inode {
    struct mutex map_lock;
    uint32_t block[EXT2_BLOCKS];           // map_lock (fast symlinks: the target, fixed)
    uint32_t last_block;                   // map_lock: allocated last, 0: none
    uint32_t flags, acl_block, generation; // flags: inode->lock
    uint64_t born, linked;                 // fs->commits when it was created, got another name
};

static inline struct ext2_fs *ext2_fs(const struct inode *i) {
    return i->sb->data;
}
static inline struct ext2_inode *ext2_inode(const struct inode *i) {
    return i->data;
}

// --- meta.c: blocks of metadata in the device's page cache ---
struct ext2_meta {
    struct frame *frame;
    void *data; // the block
    uint64_t index;
};
// Any block of the file system. 0, -EIO (bad number or disk error), -ENOMEM. May sleep.
int ext2_meta_get(struct ext2_fs *fs, uint32_t block, struct ext2_meta *m);
void ext2_meta_put(struct ext2_meta *m);
void ext2_meta_dirty(struct ext2_fs *fs, struct ext2_meta *m);
// Puts the block on the disk now, before anything that follows.
int ext2_meta_write_through(struct ext2_fs *fs, uint32_t block, struct ext2_meta *m);
// Writes `count` blocks of file data from the direct map. Where blocks are smaller than pages, a
// page of the device's cache may hold metadata and file data side by side; what it holds of these
// blocks is replaced too, so that writing the page back later brings no old data back.
int ext2_write_data(struct ext2_fs *fs, uint32_t block, uint32_t count, const void *data);
// The descriptor of a group (in m, to be put).
int ext2_group_get(struct ext2_fs *fs, uint32_t group, struct ext2_meta *m, struct ext2_group **g);
// True when `count` blocks from `block` on lie within the file system.
bool ext2_blocks_valid(const struct ext2_fs *fs, uint32_t block, uint32_t count);
// Damage was found on the disk: logs, marks the file system so, makes it read-only. -EIO.
int ext2_damage(struct ext2_fs *fs, const char *fmt, ...) printf_like(2, 3);

// --- super.c ---
extern struct file_system ext2_file_system;
// All metadata that was changed before the call is on the disk when it returns; then gives the
// pending frees to the bitmaps. 0 or -EIO. ext2_commit_locked(): fs->lock held.
int ext2_commit(struct ext2_fs *fs);
int ext2_commit_locked(struct ext2_fs *fs);
// Checks a superblock of a device of `sectors`; why: a sentence for the log. 0, -EINVAL (not ext2),
// -EOPNOTSUPP (a feature that we do not have).
int ext2_check_super(const struct ext2_super *s, uint64_t sectors, char *why, size_t size);

// --- balloc.c, ialloc.c: fs->lock is taken inside ---
// A free block near `goal`, now marked used. 0, -ENOSPC, -EIO.
int ext2_alloc_block(struct ext2_fs *fs, uint32_t goal, uint32_t *block);
// Blocks to which nothing in the cache points any more: free after the next commit.
void ext2_free_blocks(struct ext2_fs *fs, uint32_t block, uint32_t count);
int ext2_alloc_inode(struct ext2_fs *fs, uint32_t parent, bool is_dir, uint32_t *ino);
void ext2_free_inode(struct ext2_fs *fs, uint32_t ino, bool is_dir);
// fs->lock held: pending frees become free in the bitmaps.
void ext2_release_blocks(struct ext2_fs *fs);
void ext2_release_inodes(struct ext2_fs *fs);
// First zero bit in [from, to) of a bitmap, or `to`.
uint32_t ext2_find_zero(const uint8_t *map, uint32_t from, uint32_t to);

// --- inode.c ---
// The inode with that number, with a reference, or ERR_PTR.
struct inode *ext2_get_inode(struct superblock *sb, uint32_t ino);
// A new inode of that mode, on no directory yet, nlink 1. ERR_PTR on failure.
struct inode *ext2_new_inode(struct inode *dir, uint32_t mode, uint64_t rdev);
// Copies the inode into the table (written with the next commit). fs->lock not held.
int ext2_write_inode(struct inode *i);
void ext2_evict(struct inode *i);

// --- map.c, truncate.c: map_lock held ---
enum ext2_map_mode { MAP_FIND, MAP_ALLOC_DATA, MAP_ALLOC_DIR };
// The block that holds block `n` of the file; *block 0: a hole (MAP_FIND). MAP_ALLOC_DIR gives a
// block that is an empty directory block, on the disk too. 0, -EIO, -ENOSPC, -EFBIG.
int ext2_map(struct inode *i, uint64_t n, enum ext2_map_mode mode, uint32_t *block);
// Frees all blocks from block `first` of the file on. 0 or -EIO (the rest was freed).
int ext2_free_from(struct inode *i, uint64_t first);

// --- dir.c: dir->lock held ---
struct ext2_slot { // where an entry is
    struct ext2_meta meta;
    struct ext2_entry *entry, *previous; // previous in the same block, or NULL
};
// 0 with *slot filled (to be put with ext2_meta_put), -ENOENT, -EIO.
int ext2_find_entry(struct inode *dir, const char *name, size_t len, struct ext2_slot *slot);
int ext2_add_entry(struct inode *dir, const char *name, size_t len, const struct inode *target);
int ext2_remove_entry(struct inode *dir, const char *name, size_t len);
// Makes an entry lead to another inode.
int ext2_change_entry(struct inode *dir, const char *name, size_t len, const struct inode *target);
int ext2_make_empty_dir(struct inode *dir, const struct inode *parent);
int ext2_dir_is_empty(struct inode *dir); // 0, -ENOTEMPTY, -EIO
extern const struct file_ops ext2_dir_file_ops;

// --- namei.c, file.c, symlink.c ---
extern const struct inode_ops ext2_dir_ops, ext2_file_inode_ops, ext2_special_inode_ops;
extern const struct inode_ops ext2_symlink_ops;
extern const struct file_ops ext2_file_ops;
extern const struct pagecache_ops ext2_cache_ops;
int ext2_fsync(struct file *f, bool data_only);
int ext2_changed(struct inode *i);
// Stores the target of a new symbolic link.
int ext2_set_symlink(struct inode *i, const char *target);
