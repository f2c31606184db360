// The surroundings of kernel/fs on the workstation: memory, one thread, one process.
#pragma once
#include "fs/namei.h"
#include "lib/errno.h"

extern long host_frames; // in use
extern void *host_owner; // the table that stands for the calling process
void host_boot(void);    // an empty RAM file system as the root, once
