// FIFOs: pipes that are found by name. The inode points to its pipe while any file has it open.
#include "fs/inode.h"
#include "ipc/ipc.h"
#include "ipc/pipe.h"
#include "lib/errno.h"
#include "mm/heap.h"

// Covers inode->fifo and pipe->files of all FIFOs.
static struct mutex fifo_lock = MUTEX_INIT(fifo_lock);

static struct pipe *fifo_get(struct inode *i) {
    mutex_lock(&fifo_lock);
    struct pipe *p = i->fifo;
    if (!p)
        i->fifo = p = pipe_alloc();
    if (p)
        p->files++;
    mutex_unlock(&fifo_lock);
    return p;
}

static void fifo_put(struct inode *i, struct pipe *p) {
    mutex_lock(&fifo_lock);
    bool last = --p->files == 0;
    if (last)
        i->fifo = NULL;
    mutex_unlock(&fifo_lock);
    if (last)
        pipe_free(p);
}

// Opening for reading waits for a writer and the reverse; that one may be gone again when we wake,
// so it is the count of openings that matters. `seen`: the count when we attached.
static int wait_for_partner(struct pipe *p, unsigned flags, uint32_t seen) {
    if ((flags & O_ACCMODE) == O_RDONLY)
        return wait_event_interruptible(&p->read_wait, READ_ONCE(p->opened_writers) != seen);
    return wait_event_interruptible(&p->write_wait, READ_ONCE(p->opened_readers) != seen);
}

static int fifo_open(struct inode *i, struct file *f) {
    unsigned mode = f->flags & O_ACCMODE;
    struct pipe *p = fifo_get(i);
    if (!p)
        return -ENOMEM;
    if (mode == O_WRONLY && (f->flags & O_NONBLOCK) && !READ_ONCE(p->readers)) {
        fifo_put(i, p);
        return -ENXIO;
    }
    uint32_t others;
    bool partner = pipe_attach(p, f->flags, &others);
    int err = 0;
    if (!partner && mode != O_RDWR) {
        if (!(f->flags & O_NONBLOCK))
            err = wait_for_partner(p, f->flags, others);
        else // a reader: poll() reports no hang-up until a writer has come and gone
            f->pos = others;
    }
    if (err) {
        pipe_detach(p, f->flags);
        fifo_put(i, p);
        return err;
    }
    f->data = p;
    return 0;
}

static void fifo_release(struct file *f) {
    struct pipe *p = f->data;
    pipe_detach(p, f->flags);
    fifo_put(f->inode, p);
}

const struct file_ops fifo_file_ops = {
    .read = pipe_read,
    .write = pipe_write,
    .seek = file_no_seek,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .open = fifo_open,
    .release = fifo_release,
};
