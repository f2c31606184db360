#include "vmm/machine/virtio_blk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include "vmm/machine/disk.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/virtio.h"

#define QUEUE_SIZE    128
#define SEGMENTS      126u                     // of data: the queue less header and status
#define SEGMENT_MAX   65536u                   // bytes
#define DATA_MAX      (SEGMENTS * SEGMENT_MAX) // of one request
#define IN_FLIGHT_MAX (16u << 20)              // bytes that wait; more requests stay in the ring
#define RANGES_MAX    16                       // of one discard or write-zeroes request
#define ZEROES_MAX    (DATA_MAX / SECTOR_SIZE) // sectors of one such range

struct request {
    uint64_t deadline; // V at which it completes
    uint16_t head;     // of its chain
    uint8_t status;
    uint32_t length; // bytes of data that go to the guest
    uint8_t *data;   // NULL: none
};

struct virtio_blk {
    struct virtio virtio;
    struct disk *disk;
    struct vtimer timer; // the first request's deadline
    struct virtio_blk_config config;
    uint32_t pending;   // requests in flight, in the order of their deadlines
    uint32_t in_flight; // bytes they hold
    struct request request[QUEUE_SIZE];
    struct virtq_chain chain; // scratch
};

static struct virtqueue *queue(struct virtio_blk *b) {
    return &b->virtio.queue[0];
}

// ---- carrying out ------------------------------------------------------------------------------
// Data after the header, before the status byte.
static uint64_t data_in(const struct virtq_chain *c) {
    return c->write_bytes - 1;
}

static uint64_t data_out(const struct virtq_chain *c) {
    return c->read_bytes - sizeof(struct virtio_blk_outhdr);
}

static bool whole_sectors(uint64_t n) {
    return n && n % SECTOR_SIZE == 0 && n <= DATA_MAX;
}

// Something for the guest to read: takes over `data`.
static uint8_t reply(struct request *r, uint8_t *data, uint32_t length) {
    r->data = data;
    r->length = length;
    return VIRTIO_BLK_S_OK;
}

static uint8_t read_sectors(struct virtio_blk *b, struct request *r, uint64_t sector) {
    uint64_t n = data_in(&b->chain);
    uint8_t *data = whole_sectors(n) ? malloc(n) : NULL;
    if (!data || disk_read(b->disk, sector, n / SECTOR_SIZE, data)) {
        free(data);
        return VIRTIO_BLK_S_IOERR;
    }
    return reply(r, data, (uint32_t)n);
}

static uint8_t write_sectors(struct virtio_blk *b, uint64_t sector) {
    uint64_t n = data_out(&b->chain);
    uint8_t *data = whole_sectors(n) ? malloc(n) : NULL;
    bool ok = data &&
              virtq_read(queue(b), &b->chain, sizeof(struct virtio_blk_outhdr), data, n) ==
                  (int64_t)n &&
              disk_write(b->disk, sector, n / SECTOR_SIZE, data) == 0;
    free(data);
    return ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static uint8_t get_id(struct virtio_blk *b, struct request *r) {
    char *id = calloc(1, VIRTIO_BLK_ID_BYTES);
    if (!id)
        return VIRTIO_BLK_S_IOERR;
    snprintf(id, VIRTIO_BLK_ID_BYTES, "chronovisor-%u", b->virtio.device.instance);
    uint64_t n = data_in(&b->chain);
    return reply(r, (uint8_t *)id, n < VIRTIO_BLK_ID_BYTES ? (uint32_t)n : VIRTIO_BLK_ID_BYTES);
}

static uint8_t zero_range(struct virtio_blk *b, uint64_t sector, uint32_t count) {
    static const uint8_t zeroes[64 * SECTOR_SIZE];
    if (count > ZEROES_MAX)
        return VIRTIO_BLK_S_IOERR;
    while (count) {
        uint32_t n = count < 64 ? count : 64;
        if (disk_write(b->disk, sector, n, zeroes))
            return VIRTIO_BLK_S_IOERR;
        sector += n;
        count -= n;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t write_zeroes(struct virtio_blk *b) {
    struct virtio_blk_discard_write_zeroes range[RANGES_MAX];
    uint64_t n = data_out(&b->chain);
    if (!n || n % sizeof(range[0]) || n > sizeof(range) ||
        virtq_read(queue(b), &b->chain, sizeof(struct virtio_blk_outhdr), range, n) != (int64_t)n)
        return VIRTIO_BLK_S_IOERR;
    for (unsigned i = 0; i < n / sizeof(range[0]); i++) {
        if (range[i].flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
            return VIRTIO_BLK_S_UNSUPP;
        uint8_t status = zero_range(b, range[i].sector, range[i].num_sectors);
        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t carry_out(struct virtio_blk *b, struct request *r,
                         const struct virtio_blk_outhdr *h) {
    switch (h->type) {
    case VIRTIO_BLK_T_IN: return read_sectors(b, r, h->sector);
    case VIRTIO_BLK_T_OUT: return write_sectors(b, h->sector);
    case VIRTIO_BLK_T_FLUSH: return disk_flush(b->disk) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID: return get_id(b, r);
    case VIRTIO_BLK_T_WRITE_ZEROES: return write_zeroes(b);
    default: return VIRTIO_BLK_S_UNSUPP;
    }
}

// ---- requests ----------------------------------------------------------------------------------
// Starts the request whose chain was popped. False: it breaks the rules.
static bool start(struct virtio_blk *b) {
    struct machine *m = b->virtio.device.machine;
    struct virtio_blk_outhdr header;
    if (b->chain.write_bytes < 1 || b->pending == QUEUE_SIZE ||
        virtq_read(queue(b), &b->chain, 0, &header, sizeof(header)) != sizeof(header))
        return false;
    struct request *r = &b->request[b->pending++];
    *r = (struct request){
        .deadline = vtime_now(m) + vtime_from_ns(m, VIRTIO_BLK_LATENCY_NS),
        .head = b->chain.head,
    };
    r->status = carry_out(b, r, &header);
    b->in_flight += r->length;
    vtimer_arm(&b->timer, b->request[0].deadline);
    return true;
}

static void kick(struct virtio *v, unsigned index) {
    (void)index;
    struct virtio_blk *b = (struct virtio_blk *)v;
    int got = 0;
    while (b->in_flight < IN_FLIGHT_MAX && (got = virtq_pop(queue(b), &b->chain)) > 0) {
        if (!start(b)) {
            got = -1;
            break;
        }
    }
    if (got < 0)
        virtio_broken(v, "a request has no header, no place for its status, or is not in memory");
}

// Data and status go to the guest. False: the chain is not what it was.
static bool finish(struct virtio_blk *b, struct request *r) {
    struct virtqueue *q = queue(b);
    return virtq_walk(q, r->head, &b->chain) == 0 && b->chain.write_bytes > r->length &&
           virtq_write(q, &b->chain, 0, r->data, r->length) == r->length &&
           virtq_write(q, &b->chain, data_in(&b->chain), &r->status, 1) == 1 &&
           virtq_push(q, r->head, r->length + 1) == 0;
}

static void drop_first(struct virtio_blk *b) {
    b->in_flight -= b->request[0].length;
    free(b->request[0].data);
    b->pending--;
    memmove(&b->request[0], &b->request[1], b->pending * sizeof(b->request[0]));
    b->request[b->pending] = (struct request){0};
}

static void complete(void *opaque) {
    struct virtio_blk *b = opaque;
    struct virtio *v = &b->virtio;
    while (b->pending && b->request[0].deadline <= vtime_now(v->device.machine)) {
        if (virtio_live(v) && !finish(b, &b->request[0]))
            virtio_broken(v, "the chain of a request changed while it was carried out");
        drop_first(b);
    }
    if (b->pending)
        vtimer_arm(&b->timer, b->request[0].deadline);
    if (!virtio_live(v))
        return;
    virtio_interrupt(v, 0);
    kick(v, 0); // what there was no room for
}

static void stop(struct virtio *v) {
    struct virtio_blk *b = (struct virtio_blk *)v;
    vtimer_cancel(&b->timer);
    while (b->pending)
        drop_first(b);
}

static const struct virtio_class class = {
    .id = VIRTIO_ID_BLOCK,
    .class_code = 0x010000,
    .queues = 1,
    .queue_size = QUEUE_SIZE,
    .features = 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX |
                1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH,
    .kick = kick,
    .stop = stop,
};

// ---- device ------------------------------------------------------------------------------------
// A request's data, which a loaded state brings along.
static void request_state(struct virtio_blk *b, struct request *r, struct state_visitor *v) {
    STATE(v, r, deadline);
    STATE(v, r, head);
    STATE(v, r, status);
    STATE(v, r, length);
    if (v->loading) {
        r->data = r->length && r->length <= DATA_MAX ? calloc(1, r->length) : NULL;
        if (!r->data)
            r->length = 0;
        b->in_flight += r->length;
    }
    if (r->length)
        STATE_BYTES(v, "data", r->data, r->length);
}

static void state(struct device *d, struct state_visitor *v) {
    struct virtio_blk *b = (struct virtio_blk *)d;
    if (v->loading)
        stop(&b->virtio);
    virtio_state(d, v);
    STATE(v, b, pending);
    if (b->pending > QUEUE_SIZE) {
        v->failed = true;
        b->pending = 0;
    }
    for (unsigned i = 0; i < b->pending; i++)
        request_state(b, &b->request[i], v);
}

static void loaded(struct device *d) {
    struct virtio_blk *b = (struct virtio_blk *)d;
    virtio_loaded(d);
    vtimer_arm(&b->timer, b->pending ? b->request[0].deadline : UINT64_MAX);
}

static const struct device_ops ops = {
    .name = "virtio-blk",
    .reset = virtio_reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism =
        "none: the image and what was written before give what is read; completion at a "
        "fixed distance in virtual time",
};

void virtio_blk_create(struct machine *m, struct disk *disk) {
    struct virtio_blk *b = calloc(1, sizeof(*b));
    b->disk = disk;
    b->config = (struct virtio_blk_config){
        .capacity = disk_sectors(disk),
        .size_max = SEGMENT_MAX,
        .seg_max = SEGMENTS,
        .blk_size = SECTOR_SIZE,
        .max_write_zeroes_sectors = ZEROES_MAX,
        .max_write_zeroes_seg = RANGES_MAX,
    };
    uint64_t features = 1ull << (disk_read_only(disk) ? VIRTIO_BLK_F_RO
                                                      : VIRTIO_BLK_F_WRITE_ZEROES);
    vtimer_init(m, &b->timer, complete, b);
    virtio_create(m, &b->virtio, &class, &ops, features, &b->config, sizeof(b->config));
}
