// The front's end: a machine process, and the operations of target.h asked of it. Every call blocks until the
// answer is there; -EPIPE (or RAN_INTO_DIFFERENCE with a sentence) when the process is gone.
#pragma once
#include <sys/types.h>
#include "replay/target.h"

struct remote {
    int socket; // -1: the process is gone
    pid_t pid;
};

// Asked while a run goes on, whenever `fd` is readable (or was closed by its other end): true interrupts the
// run. It must read what is there, or return true: it is asked again at once.
struct remote_attention {
    int fd; // -1: none
    bool (*readable)(void *opaque);
    void *opaque;
};

void remote_info(struct remote *r, struct target_info *info);
void remote_where(struct remote *r, struct position *p);
// `attention` may be NULL. True: it wanted an end, whatever the run ended with.
bool remote_run(struct remote *r, const struct run_request *request,
                const struct remote_attention *attention, struct run_result *result);
int remote_read_registers(struct remote *r, unsigned cpu, struct target_registers *regs);
int remote_write_registers(struct remote *r, unsigned cpu, const struct target_registers *regs);
long remote_read_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n);
long remote_write_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n);
int remote_translate(struct remote *r, unsigned cpu, uint64_t linear, uint64_t *physical);
uint64_t remote_event_v(struct remote *r, uint64_t event);
uint64_t remote_hash(struct remote *r, bool memory);
void remote_text(struct remote *r, enum target_text what, const char *argument, char *buf,
                 size_t n);
int remote_go_live(struct remote *r, const char *record, char error[256]);
// A copy of the machine as it is now: fork() in its process. 0 or -errno (out of memory, processes).
int remote_fork(struct remote *r, struct remote *copy);
// Ends the process, interrupting its run, and waits for it; one that does not end by itself is killed.
void remote_close(struct remote *r);
