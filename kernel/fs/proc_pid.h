// The texts of /proc/PID. tid: the thread that is meant, 0: the process. 0 or -errno.
#pragma once
#include "fs/procfs.h"
#include "proc/process.h"

int pid_stat_show(struct textbuf *b, struct process *p, int tid);
int pid_status_show(struct textbuf *b, struct process *p, int tid);
int pid_statm_show(struct textbuf *b, struct process *p, int tid);
int pid_cmdline_show(struct textbuf *b, struct process *p, int tid);
int pid_comm_show(struct textbuf *b, struct process *p, int tid);
int pid_environ_show(struct textbuf *b, struct process *p, int tid);
int pid_maps_show(struct textbuf *b, struct process *p, int tid);
int pid_limits_show(struct textbuf *b, struct process *p, int tid);
int pid_mounts_show(struct textbuf *b, struct process *p, int tid);
int pid_mountinfo_show(struct textbuf *b, struct process *p, int tid);
int pid_wchan_show(struct textbuf *b, struct process *p, int tid);
