// Split virtqueues (Virtual I/O Device 1.1, 2.6) as the device sees them. Everything in a ring comes from
// the guest and is checked; a ring that breaks the rules makes the device ask for a reset, no more.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vmm/machine/state.h"

#define VIRTQ_MAX_SIZE     256
#define VIRTQ_MAX_SEGMENTS 256 // of one chain

struct pci_function;

struct virtqueue {
    struct pci_function *function; // whose memory accesses these are
    unsigned index;
    unsigned max_size;
    bool event_idx; // VIRTIO_F_RING_EVENT_IDX was negotiated
    bool indirect;  // VIRTIO_F_RING_INDIRECT_DESC was
    // What the driver set up.
    uint64_t descriptors, driver, device; // guest addresses: table, available ring, used ring
    uint16_t size;
    uint16_t vector;
    bool enabled;
    // Where the device is.
    uint16_t next_available, next_used;
    uint16_t signalled; // next_used when the driver was last interrupted
};

// A chain of descriptors: first what the device reads, then what it writes.
struct virtq_chain {
    uint16_t head;
    unsigned count, readable; // segments; the first `readable` ones are for reading
    uint64_t read_bytes, write_bytes;
    struct virtq_segment {
        uint64_t address;
        uint32_t length;
    } segment[VIRTQ_MAX_SEGMENTS];
};

void virtq_reset(struct virtqueue *q);
void virtq_state(struct virtqueue *q, struct state_visitor *v);
void virtq_loaded(struct virtqueue *q);

// All of these return 0 or a positive number when all is well, and -EINVAL when the guest broke the rules.
//
// Takes the next available chain: 1, or 0 when there is none.
int virtq_pop(struct virtqueue *q, struct virtq_chain *c);
// The same without taking it. The driver is not asked for a notification.
int virtq_peek(const struct virtqueue *q, struct virtq_chain *c);
// Walks again the chain that was popped as `head`, for a request that completes later.
int virtq_walk(const struct virtqueue *q, uint16_t head, struct virtq_chain *c);
// Returns a chain to the driver; `written` bytes of its writable part are valid.
int virtq_push(struct virtqueue *q, uint16_t head, uint32_t written);
// Whether the driver wants an interrupt for what was pushed since the last one: 1 or 0.
int virtq_wants_interrupt(struct virtqueue *q);

// Copies between a buffer and the chain's readable or writable part, `offset` bytes from its start.
// Returns how many bytes there were, at most n.
int64_t virtq_read(const struct virtqueue *q, const struct virtq_chain *c, uint64_t offset,
                   void *buf, uint64_t n);
int64_t virtq_write(const struct virtqueue *q, const struct virtq_chain *c, uint64_t offset,
                    const void *buf, uint64_t n);
