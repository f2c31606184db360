// Pipes and FIFOs: what pipe.c (data) and fifo.c (opening by name) share.
#pragma once
#include "fs/file.h"
#include "ipc/pipe_ring.h"

struct pipe {
    struct mutex lock; // the ring's contents and capacity, and the counts below when changed
    struct pipe_ring ring;
    uint32_t readers, writers; // open files that may read / write; looked at without the lock
    uint32_t opened_readers, opened_writers; // ever: what an opener of the other side waits for
    struct waitq read_wait;                  // for bytes, or the end of the writers
    struct waitq write_wait;                 // for room, or the end of the readers
    uint32_t files;                          // open files of a FIFO; covered by fifo_lock
};

extern const struct file_ops pipe_file_ops;

struct pipe *pipe_alloc(void); // NULL: no memory
void pipe_free(struct pipe *p);
// An open file of the pipe with these flags comes or goes. Wakes whom it concerns. Attaching tells,
// as of that very moment, whether the other side is there, and how often it was ever opened.
bool pipe_attach(struct pipe *p, unsigned flags, uint32_t *others);
void pipe_detach(struct pipe *p, unsigned flags);
// The operations of both kinds of file.
ssize_t pipe_read(struct file *f, struct uio *u, uint64_t *pos);
ssize_t pipe_write(struct file *f, struct uio *u, uint64_t *pos);
unsigned pipe_poll(struct file *f, struct poll_table *t);
long pipe_ioctl(struct file *f, unsigned cmd, unsigned long arg);
