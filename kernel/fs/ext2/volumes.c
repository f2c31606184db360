// Our volumes: ext2 file systems whose label begins with "cv:" (mke2fs -t ext2 -L cv:NAME) are
// mounted at /vmfs/volumes/NAME when the machine starts. Everything else is left alone: its
// superblock is looked at and nothing is written.
#include "boot/main.h"
#include "fs/ext2/ext2.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"

#define MARK    "cv:"
#define VOLUMES "/vmfs/volumes"

// The label of an ext2, ext3 or ext4 file system; why: empty, or the reason for which we cannot mount
// it. False: there is none on the device.
static bool read_label(struct block_device *d, char label[17], char *why, size_t size) {
    struct ext2_super *s = kmalloc(sizeof(*s));
    label[0] = why[0] = 0;
    if (!s)
        return false;
    bool found = block_read(d, EXT2_SUPER_OFFSET / SECTOR_SIZE, 2, s) == 0 &&
                 s->s_magic == EXT2_MAGIC;
    if (found) {
        memcpy(label, s->s_volume_name, 16);
        if (ext2_check_super(s, d->sectors, why, size) == 0)
            why[0] = 0;
    }
    label[16] = 0;
    for (char *p = label; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    kfree(s);
    return found;
}

static bool good_name(const char *name) {
    if (name[0] == 0 || name[0] == '.')
        return false;
    for (; *name; name++)
        if (!(*name >= 'a' && *name <= 'z') && !(*name >= 'A' && *name <= 'Z') &&
            !(*name >= '0' && *name <= '9') && *name != '-' && *name != '_' && *name != '.')
            return false;
    return true;
}

static void mount_volume(struct block_device *d, const char *name) {
    char source[24], target[40];
    snprintf(source, sizeof(source), "/dev/%s", d->name);
    snprintf(target, sizeof(target), VOLUMES "/%s", name);
    int err = vfs_mkdir(target, 0755);
    if (err == -EEXIST) {
        log_warning("volumes: %s: there is a volume %s already, left alone", d->name, name);
        return;
    }
    if (!err)
        err = vfs_mount(source, target, "ext2", 0, "");
    if (err)
        log_warning("volumes: %s: volume %s is not mounted (error %d)", d->name, name, -err);
    else
        log_info("volumes: %s: volume %s mounted at %s", d->name, name, target);
}

static void try_device(struct block_device *d, void *arg) {
    char label[17], why[80];
    if (block_has_partitions(d))
        return;
    if (!read_label(d, label, why, sizeof(why)))
        log_info("volumes: %s: not a volume of ours, left alone", d->name);
    else if (strncmp(label, MARK, strlen(MARK)) != 0)
        log_info("volumes: %s: ext file system '%s' without our mark, left alone", d->name, label);
    else if (!good_name(label + strlen(MARK)))
        log_warning("volumes: %s: label '%s' makes no name, left alone", d->name, label);
    else if (why[0])
        log_warning("volumes: %s: '%s' cannot be mounted: %s; left alone", d->name, label, why);
    else
        mount_volume(d, label + strlen(MARK));
}

void volumes_init(void) {
    file_system_register(&ext2_file_system);
    vfs_mkdir("/vmfs", 0755);
    vfs_mkdir(VOLUMES, 0755);
    block_for_each(try_device, NULL);
}
