#include "vmm/machine/virtio_rng.h"
#include <stdlib.h>
#include <linux/virtio_ids.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/virtio.h"

#define REQUEST_MAX 1024 // bytes that one request gets at most: they go into the log

struct virtio_rng {
    struct virtio virtio;
    struct virtq_chain chain; // scratch
};

static void kick(struct virtio *v, unsigned index) {
    struct virtio_rng *r = (struct virtio_rng *)v;
    struct virtqueue *q = &v->queue[index];
    int got;
    while ((got = virtq_pop(q, &r->chain)) > 0) {
        uint8_t bytes[REQUEST_MAX];
        size_t n = r->chain.write_bytes < sizeof(bytes) ? r->chain.write_bytes : sizeof(bytes);
        inputs_random(v->device.machine->inputs, bytes, n);
        if (virtq_write(q, &r->chain, 0, bytes, n) != (int64_t)n ||
            virtq_push(q, r->chain.head, (uint32_t)n)) {
            got = -1;
            break;
        }
    }
    if (got < 0)
        virtio_broken(v, "a buffer is not in memory");
    else
        virtio_interrupt(v, index);
}

static const struct virtio_class class = {
    .id = VIRTIO_ID_RNG,
    .class_code = 0x00ff00,
    .queues = 1,
    .queue_size = 8,
    .kick = kick,
};

static const struct device_ops ops = {
    .name = "virtio-rng",
    .reset = virtio_reset,
    .state = virtio_state,
    .loaded = virtio_loaded,
    .nondeterminism = "the random bytes: results of inputs_random()",
};

void virtio_rng_create(struct machine *m) {
    struct virtio_rng *r = calloc(1, sizeof(*r));
    virtio_create(m, &r->virtio, &class, &ops, 0, NULL, 0);
}
