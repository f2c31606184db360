// What the calls of this area need to know about the calling process. Kernel worlds have no process:
// they see the first root directory.
#pragma once
#include "lib/compiler.h"

struct file_table;
struct fs_context;

#ifdef UNIT_TEST // supplied by the test
struct fs_context *current_fs(void);
struct file_table *current_files(void);
uint64_t current_file_limit(void);
int current_pid(void);
#else
#include "cpu/percpu.h"
#include "proc/process.h"
#include "sched/world.h"

static inline struct fs_context *current_fs(void) {
    struct process *p = current->process;
    return p ? p->fs : NULL;
}
static inline struct file_table *current_files(void) {
    struct process *p = current->process;
    return p ? p->files : NULL;
}
// RLIMIT_NOFILE.
static inline uint64_t current_file_limit(void) {
    struct process *p = current->process;
    return p ? p->limits[RLIMIT_NOFILE].rlim_cur : 1024;
}
static inline int current_pid(void) {
    struct process *p = current->process;
    return p ? p->pid : 0;
}
#endif
