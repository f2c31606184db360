// Whether a superblock is one that we can mount.
#include "fs/ext2/ext2.h"
#include "lib/printf.h"

struct feature {
    uint32_t bit;
    const char *name; // as in mke2fs -O
};
static const struct feature incompat[] = {
    {0x0001, "compression"},
    {0x0004, "needs_recovery"},
    {0x0008, "journal_dev"},
    {0x0010, "meta_bg"},
    {0x0040, "extents"},
    {0x0080, "64bit"},
    {0x0100, "mmp"},
    {0x0200, "flex_bg"},
    {0x0400, "ea_inode"},
    {0x1000, "dirdata"},
    {0x2000, "metadata_csum_seed"},
    {0x4000, "large_dir"},
    {0x8000, "inline_data"},
    {0x10000, "encrypt"},
    {0x20000, "casefold"},
};
static const struct feature ro_compat[] = {
    {0x0004, "btree_dir"},       {0x0008, "huge_file"},     {0x0010, "uninit_bg"},
    {0x0020, "dir_nlink"},       {0x0040, "extra_isize"},   {0x0100, "quota"},
    {0x0200, "bigalloc"},        {0x0400, "metadata_csum"}, {0x1000, "read-only"},
    {0x2000, "project"},         {0x4000, "shared_blocks"}, {0x8000, "verity"},
    {0x10000, "orphan_present"},
};

static const char *name_of(const struct feature *f, size_t n, uint32_t bits) {
    for (; n > 0; n--, f++)
        if (bits & f->bit)
            return f->name;
    return "of an unknown number";
}

static int check_features(const struct ext2_super *s, char *why, size_t size) {
    if (s->s_rev_level == 0)
        return 0;
    uint32_t no_in = s->s_feature_incompat & ~EXT2_INCOMPAT_FILETYPE;
    uint32_t no_ro = s->s_feature_ro_compat & ~(EXT2_RO_COMPAT_SPARSE | EXT2_RO_COMPAT_LARGE_FILE);
    const char *name = NULL;
    if (no_in)
        name = name_of(incompat, ARRAY_SIZE(incompat), no_in);
    else if (s->s_feature_compat & EXT2_COMPAT_HAS_JOURNAL)
        name = "has_journal";
    else if (no_ro)
        name = name_of(ro_compat, ARRAY_SIZE(ro_compat), no_ro);
    if (!name)
        return 0;
    snprintf(why, size, "feature '%s' is not supported", name);
    return -EOPNOTSUPP;
}

int ext2_check_super(const struct ext2_super *s, uint64_t sectors, char *why, size_t size) {
    if (s->s_magic != EXT2_MAGIC) {
        snprintf(why, size, "no ext2 file system");
        return -EINVAL;
    }
    int err = check_features(s, why, size);
    if (err)
        return err;
    snprintf(why, size, "the superblock is damaged");
    if (s->s_log_block_size > 2) {
        snprintf(why, size, "blocks of more than 4 KiB are not supported");
        return s->s_log_block_size <= 6 ? -EOPNOTSUPP : -EINVAL;
    }
    uint32_t block_size = 1024u << s->s_log_block_size;
    uint32_t inode_size = s->s_rev_level ? s->s_inode_size : EXT2_GOOD_OLD_INODE_SIZE;
    uint32_t first_ino = s->s_rev_level ? s->s_first_ino : EXT2_GOOD_OLD_FIRST_INO;
    if (s->s_rev_level > 1 || inode_size < 128 || inode_size > block_size ||
        (inode_size & (inode_size - 1)) || first_ino < EXT2_GOOD_OLD_FIRST_INO)
        return -EINVAL;
    if (s->s_first_data_block != (block_size == 1024) ||
        s->s_blocks_count <= s->s_first_data_block || s->s_blocks_per_group < 8 ||
        s->s_blocks_per_group > 8 * block_size || s->s_blocks_per_group % 8 ||
        s->s_inodes_per_group == 0 || s->s_inodes_per_group > 8 * block_size)
        return -EINVAL;
    uint64_t groups = DIV_ROUND_UP((uint64_t)s->s_blocks_count - s->s_first_data_block,
                                   s->s_blocks_per_group);
    if (groups * s->s_inodes_per_group != s->s_inodes_count || first_ino > s->s_inodes_count ||
        s->s_inodes_per_group < first_ino)
        return -EINVAL;
    if (s->s_blocks_count > sectors / (block_size / SECTOR_SIZE)) {
        snprintf(why, size, "the file system is larger than its device");
        return -EINVAL;
    }
    return 0;
}
