#include "vmm/machine/virtio_console.h"
#include <stdlib.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/output.h"
#include "vmm/machine/virtio.h"

#define TRANSMIT_MAX (1u << 20) // bytes of one chain; a longer one is not a driver's

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUES };

struct virtio_console {
    struct virtio virtio;
    struct input_source source;
    struct output *out;
    struct virtio_console_config config;
    struct virtq_chain chain; // scratch
};

// The bytes of a chain go out. False: it is not one that a driver makes.
static bool send(struct virtio_console *c) {
    uint8_t part[1024];
    int64_t n = 0;
    if (c->chain.read_bytes > TRANSMIT_MAX)
        return false;
    for (uint64_t done = 0; done < c->chain.read_bytes; done += (uint64_t)n) {
        n = virtq_read(&c->virtio.queue[QUEUE_TRANSMIT], &c->chain, done, part, sizeof(part));
        if (n <= 0)
            return false;
        if (c->out)
            output_write(c->out, part, (size_t)n);
    }
    return true;
}

static void transmit(struct virtio_console *c) {
    struct virtqueue *q = &c->virtio.queue[QUEUE_TRANSMIT];
    int got;
    while ((got = virtq_pop(q, &c->chain)) > 0) {
        if (!send(c) || virtq_push(q, c->chain.head, 0)) {
            got = -1;
            break;
        }
    }
    if (got < 0)
        virtio_broken(&c->virtio, "a buffer of the transmit queue is too long or not in memory");
    else
        virtio_interrupt(&c->virtio, QUEUE_TRANSMIT);
}

static void kick(struct virtio *v, unsigned index) {
    if (index == QUEUE_TRANSMIT)
        transmit((struct virtio_console *)v);
}

// What fits into the next buffer. A malformed one has room: deliver() finds it, at a landmark.
static size_t room(void *opaque) {
    struct virtio_console *c = opaque;
    if (!virtio_live(&c->virtio))
        return 0;
    int got = virtq_peek(&c->virtio.queue[QUEUE_RECEIVE], &c->chain);
    if (got <= 0)
        return got ? INPUT_MAX : 0;
    return c->chain.write_bytes < INPUT_MAX ? c->chain.write_bytes : INPUT_MAX;
}

static void deliver(void *opaque, const uint8_t *data, size_t n) {
    struct virtio_console *c = opaque;
    struct virtqueue *q = &c->virtio.queue[QUEUE_RECEIVE];
    int got = 0;
    while (n && virtio_live(&c->virtio) && (got = virtq_pop(q, &c->chain)) > 0) {
        int64_t put = virtq_write(q, &c->chain, 0, data, n);
        if (put <= 0 || virtq_push(q, c->chain.head, (uint32_t)put)) {
            got = -1;
            break;
        }
        data += put;
        n -= (size_t)put;
    }
    if (got < 0)
        virtio_broken(&c->virtio, "a buffer of the receive queue is not in memory");
    else if (virtio_live(&c->virtio))
        virtio_interrupt(&c->virtio, QUEUE_RECEIVE);
}

static const struct virtio_class class = {
    .id = VIRTIO_ID_CONSOLE,
    .class_code = 0x078000,
    .queues = QUEUES,
    .queue_size = 128,
    .features = 1ull << VIRTIO_CONSOLE_F_SIZE,
    .kick = kick,
};

static const struct device_ops ops = {
    .name = "virtio-console",
    .reset = virtio_reset,
    .state = virtio_state,
    .loaded = virtio_loaded,
    .nondeterminism = "received bytes: input event \"console\"",
};

void virtio_console_create(struct machine *m, struct output *out) {
    struct virtio_console *c = calloc(1, sizeof(*c));
    c->out = out;
    c->config = (struct virtio_console_config){.cols = 80, .rows = 25, .max_nr_ports = 1};
    c->source = (struct input_source){
        .name = "console",
        .fd = -1,
        .room = room,
        .deliver = deliver,
        .opaque = c,
    };
    virtio_create(m, &c->virtio, &class, &ops, 0, &c->config, sizeof(c->config));
    if (out)
        output_source(out, &c->source);
    inputs_add_source(m->inputs, &c->source);
}
