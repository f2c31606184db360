// Directories: blocks of entries, read from front to end. A hash index (dir_index) lies in what looks
// like unused entries: it is ignored when reading and given up at the first change.
#include "cpu/clock.h"
#include "fs/ext2/ext2.h"
#include "lib/string.h"

// A position in a directory. cursor_next() moves from entry to entry and holds the current block.
struct cursor {
    struct inode *dir;
    uint64_t block, blocks; // next block to load, number of blocks
    uint32_t offset;        // of the next entry in the current block; block size: load the next
    bool loaded;
    struct ext2_meta meta;
    struct ext2_entry *previous; // in the same block
};

static struct cursor cursor_at(struct inode *dir, uint64_t block) {
    struct ext2_fs *fs = ext2_fs(dir);
    return (struct cursor){.dir = dir,
                           .block = block,
                           .blocks = dir->size >> fs->block_shift,
                           .offset = fs->block_size};
}

static void cursor_end(struct cursor *c) {
    if (c->loaded)
        ext2_meta_put(&c->meta);
    c->loaded = false;
}

static int map_locked(struct inode *dir, uint64_t n, enum ext2_map_mode mode, uint32_t *block) {
    mutex_lock(&ext2_inode(dir)->map_lock);
    int err = ext2_map(dir, n, mode, block);
    mutex_unlock(&ext2_inode(dir)->map_lock);
    return err;
}

static int cursor_load(struct cursor *c) {
    uint32_t block;
    cursor_end(c);
    int err = map_locked(c->dir, c->block, MAP_FIND, &block);
    if (!err && !block)
        err = ext2_damage(ext2_fs(c->dir), "directory %lu has a hole", (unsigned long)c->dir->ino);
    if (!err)
        err = ext2_meta_get(ext2_fs(c->dir), block, &c->meta);
    if (err)
        return err;
    c->loaded = true;
    c->block++;
    c->offset = 0;
    c->previous = NULL;
    return 0;
}

// The next entry, used or not. 1, 0 at the end, -EIO. The caller calls cursor_end() in any case.
static int cursor_next(struct cursor *c, struct ext2_entry **entry) {
    struct ext2_fs *fs = ext2_fs(c->dir);
    if (c->offset == fs->block_size) {
        if (c->block >= c->blocks)
            return 0;
        int err = cursor_load(c);
        if (err)
            return err;
    } else if (c->offset > 0) {
        c->previous = *entry;
    }
    struct ext2_entry *e = (struct ext2_entry *)((char *)c->meta.data + c->offset);
    uint32_t left = fs->block_size - c->offset;
    if (left < EXT2_ENTRY_SIZE(1) || e->rec_len % 4 || e->rec_len > left ||
        e->rec_len < EXT2_ENTRY_SIZE(e->name_len) || e->inode > fs->inodes_count)
        return ext2_damage(fs, "directory %lu has a bad entry", (unsigned long)c->dir->ino);
    c->offset += e->rec_len;
    *entry = e;
    return 1;
}

int ext2_find_entry(struct inode *dir, const char *name, size_t len, struct ext2_slot *slot) {
    struct cursor c = cursor_at(dir, 0);
    struct ext2_entry *e;
    int more;
    while ((more = cursor_next(&c, &e)) == 1)
        if (e->inode && e->name_len == len && memcmp(e->name, name, len) == 0) {
            *slot = (struct ext2_slot){c.meta, e, c.previous};
            return 0; // the slot keeps the block
        }
    cursor_end(&c);
    return more < 0 ? more : -ENOENT;
}

static uint8_t file_type(const struct ext2_fs *fs, uint32_t mode) {
    static const uint8_t types[16] = {
        [1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1, [10] = 7, [12] = 6}; // by S_IFMT >> 12
    return fs->has_file_type ? types[MODE_TO_DT(mode)] : 0;
}

static int dir_changed(struct inode *dir) {
    ext2_inode(dir)->flags &= ~EXT2_INDEX_FL;
    dir->mtime = dir->ctime = clock_realtime();
    return ext2_write_inode(dir);
}

// Puts a name into the room of `e`, which is unused or has slack behind it. What the new entry says
// is complete before the chain of lengths leads to it.
static void insert(struct ext2_fs *fs, struct ext2_entry *e, const char *name, size_t len,
                   const struct inode *target) {
    struct ext2_entry *n = e;
    uint16_t used = e->inode ? EXT2_ENTRY_SIZE(e->name_len) : 0;
    if (used) {
        n = (struct ext2_entry *)((char *)e + used);
        n->rec_len = e->rec_len - used;
    }
    n->name_len = len;
    n->file_type = file_type(fs, target->mode);
    memcpy(n->name, name, len);
    n->inode = target->ino;
    compiler_barrier();
    if (used)
        e->rec_len = used;
}

// A new block at the end of the directory with c on its one, unused entry.
static int append_block(struct cursor *c, struct ext2_entry **e) {
    struct inode *dir = c->dir;
    uint32_t block;
    int err = dir->size + ext2_fs(dir)->block_size > BIT(31)
                  ? -EFBIG
                  : map_locked(dir, c->blocks, MAP_ALLOC_DIR, &block);
    if (err)
        return err;
    dir->size += ext2_fs(dir)->block_size;
    c->blocks++;
    int more = cursor_next(c, e);
    return more < 0 ? more : 0;
}

int ext2_add_entry(struct inode *dir, const char *name, size_t len, const struct inode *target) {
    struct ext2_fs *fs = ext2_fs(dir);
    if (len > EXT2_NAME_MAX)
        return -ENAMETOOLONG;
    struct cursor c = cursor_at(dir, 0);
    struct ext2_entry *e;
    int more;
    while ((more = cursor_next(&c, &e)) == 1) {
        uint32_t used = e->inode ? EXT2_ENTRY_SIZE(e->name_len) : 0;
        if (e->rec_len - used >= EXT2_ENTRY_SIZE(len))
            break;
    }
    int err = more < 0 ? more : more == 0 ? append_block(&c, &e) : 0;
    if (!err) {
        insert(fs, e, name, len, target);
        ext2_meta_dirty(fs, &c.meta);
    }
    cursor_end(&c);
    return err ? err : dir_changed(dir);
}

int ext2_remove_entry(struct inode *dir, const char *name, size_t len) {
    struct ext2_slot s;
    int err = ext2_find_entry(dir, name, len, &s);
    if (err)
        return err;
    if (s.previous)
        s.previous->rec_len += s.entry->rec_len;
    s.entry->inode = 0;
    ext2_meta_dirty(ext2_fs(dir), &s.meta);
    ext2_meta_put(&s.meta);
    return dir_changed(dir);
}

int ext2_change_entry(struct inode *dir, const char *name, size_t len, const struct inode *target) {
    struct ext2_slot s;
    int err = ext2_find_entry(dir, name, len, &s);
    if (err)
        return err;
    s.entry->inode = target->ino;
    s.entry->file_type = file_type(ext2_fs(dir), target->mode);
    ext2_meta_dirty(ext2_fs(dir), &s.meta);
    ext2_meta_put(&s.meta);
    return dir_changed(dir);
}

int ext2_make_empty_dir(struct inode *dir, const struct inode *parent) {
    int err = ext2_add_entry(dir, ".", 1, dir);
    return err ? err : ext2_add_entry(dir, "..", 2, parent);
}

int ext2_dir_is_empty(struct inode *dir) {
    struct cursor c = cursor_at(dir, 0);
    struct ext2_entry *e;
    int more;
    while ((more = cursor_next(&c, &e)) == 1) {
        bool dots = e->name_len <= 2 && e->name[0] == '.' && e->name[e->name_len - 1] == '.';
        if (e->inode && !dots)
            break;
    }
    cursor_end(&c);
    return more < 0 ? more : more == 1 ? -ENOTEMPTY : 0;
}

// ctx->pos is the byte offset of an entry. The block is read from its beginning each time: entries
// may have merged since.
static int ext2_iterate(struct file *f, struct dir_context *ctx) {
    static const uint8_t dt[8] = {0, 8, 4, 2, 6, 1, 12, 10}; // file_type to DT_*
    struct inode *dir = f->inode;
    struct ext2_fs *fs = ext2_fs(dir);
    struct cursor c = cursor_at(dir, ctx->pos >> fs->block_shift);
    struct ext2_entry *e;
    int more;
    while ((more = cursor_next(&c, &e)) == 1) {
        uint64_t end = ((c.block - 1) << fs->block_shift) + c.offset, at = end - e->rec_len;
        if (at < ctx->pos || !e->inode || !e->name_len)
            continue;
        ctx->pos = at;
        if (!ctx->emit(ctx, e->name, e->name_len, e->inode,
                       e->file_type < 8 ? dt[e->file_type] : 0))
            break;
        ctx->pos = end;
    }
    cursor_end(&c);
    return more < 0 ? more : 0;
}

const struct file_ops ext2_dir_file_ops = {.iterate = ext2_iterate, .fsync = ext2_fsync};
