// Device nodes: from the number of a node to its driver. Inside of fs/.
#pragma once
#include "fs/inode.h"

struct device;

// The device of that kind and number with a reference, or NULL.
struct device *device_find(bool block, uint64_t rdev);
void device_put(struct device *d);
// The operations that opening its node gives; read by open only.
struct device {
    struct list_node node;
    uint32_t refs;
    bool block;
    uint64_t rdev;
    const struct file_ops *ops;
    void *data;
    char name[];
};

struct textbuf;
// /proc/devices.
void devices_show(struct textbuf *b);
// Boot: mounts /dev, makes memory devices and the links to /proc/self/fd.
void devfs_init(void);
