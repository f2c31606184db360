#include "vmm/machine/virtqueue.h"
#include <errno.h>
#include <string.h>
#include <linux/virtio_ring.h>
#include "vmm/machine/pci.h"

#define ENTRY sizeof(struct vring_desc)

// Offsets in the available ring: flags, idx, ring[], used_event. The used ring has the same order.
#define RING_INDEX   2u
#define RING_ENTRIES 4u

static int read_guest(const struct virtqueue *q, uint64_t gpa, void *buf, uint64_t n) {
    const void *p = pci_memory(q->function, gpa, n);
    if (!p)
        return -EINVAL;
    memcpy(buf, p, n);
    return 0;
}

static int write_guest(const struct virtqueue *q, uint64_t gpa, const void *buf, uint64_t n) {
    void *p = pci_memory(q->function, gpa, n);
    if (!p)
        return -EINVAL;
    memcpy(p, buf, n);
    return 0;
}

void virtq_reset(struct virtqueue *q) {
    q->descriptors = q->driver = q->device = 0;
    q->size = (uint16_t)q->max_size;
    q->vector = 0xffff;
    q->enabled = q->event_idx = q->indirect = false;
    q->next_available = q->next_used = q->signalled = 0;
}

void virtq_state(struct virtqueue *q, struct state_visitor *v) {
    STATE(v, q, event_idx);
    STATE(v, q, indirect);
    STATE(v, q, descriptors);
    STATE(v, q, driver);
    STATE(v, q, device);
    STATE(v, q, size);
    STATE(v, q, vector);
    STATE(v, q, enabled);
    STATE(v, q, next_available);
    STATE(v, q, next_used);
    STATE(v, q, signalled);
}

// A damaged saved state must not be worse than a damaged ring.
void virtq_loaded(struct virtqueue *q) {
    if (!q->size || q->size > q->max_size || (q->size & (q->size - 1)))
        q->size = (uint16_t)q->max_size;
}

// ---- chains ------------------------------------------------------------------------------------
static int add_segment(struct virtq_chain *c, const struct vring_desc *d) {
    bool writable = d->flags & VRING_DESC_F_WRITE;
    if (c->count == VIRTQ_MAX_SEGMENTS || !d->len || (!writable && c->readable < c->count))
        return -EINVAL; // too long, empty, or for reading after one for writing
    c->segment[c->count++] = (struct virtq_segment){.address = d->addr, .length = d->len};
    if (writable) {
        c->write_bytes += d->len;
    } else {
        c->readable = c->count;
        c->read_bytes += d->len;
    }
    return 0;
}

// Follows a list of descriptors in a table of `size`. Loops end at `size` steps.
static int walk_table(const struct virtqueue *q, uint64_t table, uint32_t size, uint16_t at,
                      bool indirect, struct virtq_chain *c) {
    for (uint32_t steps = 0; steps < size; steps++) {
        struct vring_desc d;
        if (at >= size || read_guest(q, table + at * ENTRY, &d, ENTRY))
            return -EINVAL;
        if (d.flags & VRING_DESC_F_INDIRECT) {
            if (indirect || !q->indirect || (d.flags & VRING_DESC_F_NEXT) || !d.len ||
                d.len % ENTRY || d.len / ENTRY > VIRTQ_MAX_SEGMENTS)
                return -EINVAL;
            return walk_table(q, d.addr, d.len / ENTRY, 0, true, c);
        }
        if (add_segment(c, &d))
            return -EINVAL;
        if (!(d.flags & VRING_DESC_F_NEXT))
            return 0;
        at = d.next;
    }
    return -EINVAL;
}

int virtq_walk(const struct virtqueue *q, uint16_t head, struct virtq_chain *c) {
    c->head = head;
    c->count = c->readable = 0;
    c->read_bytes = c->write_bytes = 0;
    return walk_table(q, q->descriptors, q->size, head, false, c);
}

int virtq_peek(const struct virtqueue *q, struct virtq_chain *c) {
    uint16_t index, head;
    if (!q->enabled)
        return 0;
    if (read_guest(q, q->driver + RING_INDEX, &index, 2))
        return -EINVAL;
    uint16_t waiting = (uint16_t)(index - q->next_available);
    if (!waiting)
        return 0;
    uint64_t entry = q->driver + RING_ENTRIES + 2ull * (q->next_available % q->size);
    if (waiting > q->size || read_guest(q, entry, &head, 2) || virtq_walk(q, head, c))
        return -EINVAL;
    return 1;
}

int virtq_pop(struct virtqueue *q, struct virtq_chain *c) {
    int got = virtq_peek(q, c);
    if (got > 0)
        q->next_available++;
    // Ask for a notification when the driver adds the next one (field avail_event, after the used ring).
    if (got >= 0 && q->enabled && q->event_idx &&
        write_guest(q, q->device + RING_ENTRIES + 8ull * q->size, &q->next_available, 2))
        return -EINVAL;
    return got;
}

int virtq_push(struct virtqueue *q, uint16_t head, uint32_t written) {
    struct vring_used_elem e = {.id = head, .len = written};
    uint64_t entry = q->device + RING_ENTRIES + sizeof(e) * (q->next_used % q->size);
    uint16_t index = (uint16_t)(q->next_used + 1);
    if (write_guest(q, entry, &e, sizeof(e)) || write_guest(q, q->device + RING_INDEX, &index, 2))
        return -EINVAL;
    q->next_used = index;
    return 0;
}

int virtq_wants_interrupt(struct virtqueue *q) {
    uint16_t flags, event, old = q->signalled, now = q->next_used;
    if (!q->enabled || old == now)
        return 0;
    if (!q->event_idx) {
        if (read_guest(q, q->driver, &flags, 2))
            return -EINVAL;
        q->signalled = now;
        return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
    }
    if (read_guest(q, q->driver + RING_ENTRIES + 2ull * q->size, &event, 2))
        return -EINVAL;
    q->signalled = now;
    return vring_need_event(event, now, old);
}

// ---- data --------------------------------------------------------------------------------------
// Moves up to n bytes at `offset` of segments [first, end).
static int64_t move(const struct virtqueue *q, const struct virtq_chain *c, bool to_guest,
                    uint64_t offset, uint8_t *buf, uint64_t n) {
    unsigned first = to_guest ? c->readable : 0, end = to_guest ? c->count : c->readable;
    uint64_t done = 0;
    for (unsigned i = first; i < end && done < n; i++) {
        const struct virtq_segment *s = &c->segment[i];
        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        uint64_t part = s->length - offset;
        if (part > n - done)
            part = n - done;
        int error = to_guest ? write_guest(q, s->address + offset, buf + done, part)
                             : read_guest(q, s->address + offset, buf + done, part);
        if (error)
            return error;
        done += part;
        offset = 0;
    }
    return (int64_t)done;
}

int64_t virtq_read(const struct virtqueue *q, const struct virtq_chain *c, uint64_t offset,
                   void *buf, uint64_t n) {
    return move(q, c, false, offset, buf, n);
}

int64_t virtq_write(const struct virtqueue *q, const struct virtq_chain *c, uint64_t offset,
                    const void *buf, uint64_t n) {
    return move(q, c, true, offset, (void *)buf, n);
}
