// Who is asking: the owner of new files, and who may use reserved blocks. Kernel worlds are root.
#pragma once
#include "lib/compiler.h"

#ifdef UNIT_TEST // on the workstation: root
static inline uint32_t caller_uid(void) {
    return 0;
}
static inline uint32_t caller_gid(void) {
    return 0;
}
#else
#include "proc/process.h"

static inline uint32_t caller_uid(void) {
    struct process *p = current_process();
    return p ? p->euid : 0;
}
static inline uint32_t caller_gid(void) {
    struct process *p = current_process();
    return p ? p->egid : 0;
}
#endif
