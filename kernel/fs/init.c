// The boot of this area: root, its content, /dev, /proc.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/clock.h"
#include "fs/cpio.h"
#include "fs/devfs.h"
#include "fs/inode.h"
#include "fs/mount.h"
#include "fs/pagecache.h"
#include "fs/procfs.h"
#include "lib/log.h"

static void unpack_initrd(void) {
    paddr_t start = boot_info.initrd_start, end = boot_info.initrd_end;
    if (start >= end) {
        log_warning("fs: no initial file system: the boot loader gave no module");
        return;
    }
    uint64_t bytes, before = clock_monotonic();
    unsigned files = cpio_unpack(phys_to_virt(start), end - start, &bytes);
    frame_release_range(start, end);
    log_info("fs: root: %u files, %lu KiB, unpacked in %lu ms", files, (unsigned long)(bytes / KIB),
             (clock_monotonic() - before) / 1000000);
}

void fs_init(void) {
    file_system_register(&ramfs);
    shmem_init();
    mount_root(&ramfs);
    unpack_initrd();
    vfs_mkdir("/tmp", 01777);
    devfs_init();
    procfs_init();
    pagecache_start_writeback();
}
