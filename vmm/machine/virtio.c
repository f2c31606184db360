#include "vmm/machine/virtio.h"
#include <stddef.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "vmm/machine/machine.h"

#define COMPLAINTS       8
#define VIRTIO_VENDOR    0x1af4
#define VIRTIO_DEVICE    0x1040 // + type
#define VIRTIO_SUBSYSTEM 0x1100
#define REVISION         1
#define NO_VECTOR        VIRTIO_MSI_NO_VECTOR

// Bar 0 has a page for each structure, bar 1 the MSI-X table.
#define PAGE     0x1000u
#define BAR_SIZE (4 * PAGE)
#define MSIX_BAR 1
enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };
#define NOTIFY_MULTIPLIER 4 // bytes between the queues' notification registers

#define FEATURES                                                        \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | \
     1ull << VIRTIO_RING_F_EVENT_IDX)
#define STATUS_BITS                                                                     \
    (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
     VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)
#define ISR_QUEUE  1
#define ISR_CONFIG 2

bool virtio_live(const struct virtio *v) {
    return (v->status & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET)) ==
           VIRTIO_CONFIG_S_DRIVER_OK;
}

// ---- interrupts --------------------------------------------------------------------------------
static void raise(struct virtio *v, uint8_t cause, uint16_t vector) {
    if (msix_enabled(&v->msix)) {
        msix_send(&v->msix, vector);
    } else {
        v->isr |= cause;
        pci_set_irq(&v->pci, true);
    }
}

void virtio_interrupt(struct virtio *v, unsigned index) {
    int wanted = virtq_wants_interrupt(&v->queue[index]);
    if (wanted < 0)
        virtio_broken(v, "its rings are not in memory");
    else if (wanted)
        raise(v, ISR_QUEUE, v->queue[index].vector);
}

void virtio_broken(struct virtio *v, const char *why) {
    if (v->status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    if (v->complaints++ < COMPLAINTS) // a hostile driver has no end of mistakes
        machine_log(v->device.machine, "%s: stopped until its driver resets it: %s%s",
                    v->device.ops->name, why,
                    v->complaints == COMPLAINTS ? " (the last message about that)" : "");
    v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        raise(v, ISR_CONFIG, v->config_vector);
}

// ---- common configuration ----------------------------------------------------------------------
static struct virtqueue *selected(struct virtio *v) {
    return v->queue_select < v->class->queues ? &v->queue[v->queue_select] : NULL;
}

static void fill_common(struct virtio *v, struct virtio_pci_common_cfg *c) {
    struct virtqueue *q = selected(v);
    *c = (struct virtio_pci_common_cfg){
        .device_feature_select = v->feature_select,
        .device_feature = v->feature_select < 2 ? (uint32_t)(v->features >> 32 * v->feature_select)
                                                : 0,
        .guest_feature_select = v->driver_feature_select,
        .guest_feature = v->driver_feature_select < 2
                             ? (uint32_t)(v->accepted >> 32 * v->driver_feature_select)
                             : 0,
        .msix_config = v->config_vector,
        .num_queues = (uint16_t)v->class->queues,
        .device_status = v->status,
        .queue_select = v->queue_select,
    };
    if (!q)
        return; // size 0: no such queue
    c->queue_size = q->size;
    c->queue_msix_vector = q->vector;
    c->queue_enable = q->enabled;
    c->queue_notify_off = v->queue_select;
    c->queue_desc_lo = (uint32_t)q->descriptors;
    c->queue_desc_hi = q->descriptors >> 32;
    c->queue_avail_lo = (uint32_t)q->driver;
    c->queue_avail_hi = q->driver >> 32;
    c->queue_used_lo = (uint32_t)q->device;
    c->queue_used_hi = q->device >> 32;
}

static void reset_transport(struct virtio *v) {
    v->accepted = 0;
    v->feature_select = v->driver_feature_select = 0;
    v->queue_select = 0;
    v->config_vector = NO_VECTOR;
    v->status = v->isr = 0;
    for (unsigned i = 0; i < v->class->queues; i++)
        virtq_reset(&v->queue[i]);
    pci_set_irq(&v->pci, false);
    if (v->class->stop)
        v->class->stop(v);
}

static void write_status(struct virtio *v, uint8_t value) {
    if (!value) {
        reset_transport(v);
        return;
    }
    value &= STATUS_BITS;
    if (value & ~v->status & VIRTIO_CONFIG_S_FEATURES_OK) {
        if ((v->accepted & ~v->features) || !(v->accepted & 1ull << VIRTIO_F_VERSION_1))
            value &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
        for (unsigned i = 0; i < v->class->queues; i++) {
            v->queue[i].event_idx = v->accepted >> VIRTIO_RING_F_EVENT_IDX & 1;
            v->queue[i].indirect = v->accepted >> VIRTIO_RING_F_INDIRECT_DESC & 1;
        }
    }
    if (!(value & VIRTIO_CONFIG_S_FEATURES_OK))
        value &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
    v->status = value | (v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void enable_queue(struct virtio *v, struct virtqueue *q) {
    if ((q->descriptors & 15) || (q->driver & 1) || (q->device & 3)) {
        virtio_broken(v, "a ring is not aligned");
        return;
    }
    q->enabled = true;
}

static uint16_t valid_vector(const struct virtio *v, uint16_t vector) {
    return vector < v->msix.count ? vector : NO_VECTOR;
}

static void set_half(uint64_t *field, bool high, uint32_t value) {
    unsigned shift = high ? 32 : 0;
    *field = (*field & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void write_queue(struct virtio *v, struct virtqueue *q, uint64_t offset, uint32_t value) {
    if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
        q->vector = valid_vector(v, (uint16_t)value);
        return;
    }
    if (q->enabled)
        return; // what follows must not change any more
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (value && value <= q->max_size && !(value & (value - 1)))
            q->size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (value == 1)
            enable_queue(v, q);
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI: set_half(&q->descriptors, offset & 4, value); break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI: set_half(&q->driver, offset & 4, value); break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI: set_half(&q->device, offset & 4, value); break;
    default: break;
    }
}

// Drivers access a field by its own width (4.1.3.1); anything else does nothing.
static unsigned field_width(uint64_t offset) {
    if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
        return 1;
    return offset < VIRTIO_PCI_COMMON_MSIX || offset >= VIRTIO_PCI_COMMON_Q_DESCLO ? 4 : 2;
}

static void write_common(struct virtio *v, uint64_t offset, unsigned width, uint32_t value) {
    if (width != field_width(offset))
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT: v->feature_select = value; break;
    case VIRTIO_PCI_COMMON_GFSELECT: v->driver_feature_select = value; break;
    case VIRTIO_PCI_COMMON_GF:
        if (v->driver_feature_select < 2 && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
            set_half(&v->accepted, v->driver_feature_select, value);
        break;
    case VIRTIO_PCI_COMMON_MSIX: v->config_vector = valid_vector(v, (uint16_t)value); break;
    case VIRTIO_PCI_COMMON_STATUS: write_status(v, (uint8_t)value); break;
    case VIRTIO_PCI_COMMON_Q_SELECT: v->queue_select = (uint16_t)value; break;
    default:
        if (selected(v))
            write_queue(v, selected(v), offset, value);
    }
}

// ---- bar 0 -------------------------------------------------------------------------------------
// Up to `width` bytes at `offset` of a structure of n bytes; zeroes beyond.
static uint32_t bytes_at(const void *data, unsigned n, uint64_t offset, unsigned width) {
    uint32_t value = 0;
    if (offset < n)
        memcpy(&value, (const uint8_t *)data + offset, width < n - offset ? width : n - offset);
    return value;
}

static uint8_t read_isr(struct virtio *v) {
    uint8_t isr = v->isr;
    v->isr = 0;
    pci_set_irq(&v->pci, false);
    return isr;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned width) {
    struct virtio *v = opaque;
    struct virtio_pci_common_cfg common;
    uint64_t at = offset % PAGE;
    switch (offset / PAGE) {
    case PAGE_COMMON: fill_common(v, &common); return bytes_at(&common, sizeof(common), at, width);
    case PAGE_ISR: return at ? 0 : read_isr(v);
    case PAGE_DEVICE: return bytes_at(v->config, v->config_size, at, width);
    default: return 0;
    }
}

static void bar_write(void *opaque, uint64_t offset, unsigned width, uint64_t value) {
    struct virtio *v = opaque;
    uint64_t at = offset % PAGE;
    switch (offset / PAGE) {
    case PAGE_COMMON: write_common(v, at, width, (uint32_t)value); break;
    case PAGE_NOTIFY:
        if (at / NOTIFY_MULTIPLIER < v->class->queues && virtio_live(v))
            v->class->kick(v, (unsigned)(at / NOTIFY_MULTIPLIER));
        break;
    default: break;
    }
}

// ---- PCI capabilities --------------------------------------------------------------------------
#define CAP_SIZE         sizeof(struct virtio_pci_cap)
#define CAP_FIELD(field) offsetof(struct virtio_pci_cap, field)

static unsigned add_capability(struct virtio *v, uint8_t type, unsigned page, uint32_t length,
                               unsigned extra) {
    unsigned size = CAP_SIZE + extra;
    unsigned at = pci_add_capability(&v->pci, PCI_CAP_ID_VNDR, size);
    uint8_t *cap = v->pci.initial + at;
    cap[CAP_FIELD(cap_len)] = (uint8_t)size;
    cap[CAP_FIELD(cfg_type)] = type;
    pci_put(cap + CAP_FIELD(offset), 4, page * PAGE);
    pci_put(cap + CAP_FIELD(length), 4, length);
    return at;
}

// The window of VIRTIO_PCI_CAP_PCI_CFG: access to bar 0 for those that cannot reach it (4.1.4.7).
struct window {
    uint32_t offset, length;
    unsigned data; // where its data is in configuration space
};

static bool window(const struct pci_function *f, unsigned offset, unsigned n, struct window *w) {
    unsigned cap = f->capability_end - 4 - CAP_SIZE; // it is the last capability
    w->data = cap + CAP_SIZE;
    w->offset = pci_get(f->config + cap + CAP_FIELD(offset), 4);
    w->length = pci_get(f->config + cap + CAP_FIELD(length), 4);
    bool valid = (w->length == 1 || w->length == 2 || w->length == 4) &&
                 w->offset % w->length == 0 && w->offset < BAR_SIZE &&
                 f->config[cap + CAP_FIELD(bar)] == 0;
    return valid && offset <= w->data && offset + n > w->data;
}

static void before_config_read(struct pci_function *f, unsigned offset, unsigned n) {
    struct window w;
    if (window(f, offset, n, &w))
        pci_put(f->config + w.data, w.length, (uint32_t)bar_read(f->opaque, w.offset, w.length));
}

static void after_config_write(struct pci_function *f, unsigned offset, unsigned n) {
    struct virtio *v = f->opaque;
    struct window w;
    if (window(f, offset, n, &w))
        bar_write(v, w.offset, w.length, pci_get(f->config + w.data, w.length));
    msix_update(&v->msix);
}

static void add_capabilities(struct virtio *v) {
    add_capability(v, VIRTIO_PCI_CAP_COMMON_CFG, PAGE_COMMON, sizeof(struct virtio_pci_common_cfg),
                   0);
    add_capability(v, VIRTIO_PCI_CAP_ISR_CFG, PAGE_ISR, 1, 0);
    if (v->config_size)
        add_capability(v, VIRTIO_PCI_CAP_DEVICE_CFG, PAGE_DEVICE, v->config_size, 0);
    unsigned notify = add_capability(v, VIRTIO_PCI_CAP_NOTIFY_CFG, PAGE_NOTIFY,
                                     NOTIFY_MULTIPLIER * v->class->queues, 4);
    pci_put(v->pci.initial + notify + CAP_SIZE, 4, NOTIFY_MULTIPLIER);
    unsigned config = add_capability(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
    v->pci.writable[config + CAP_FIELD(bar)] = 0xff;
    memset(v->pci.writable + config + CAP_FIELD(offset), 0xff, 12); // offset, length, data
}

// ---- for the devices ---------------------------------------------------------------------------
void virtio_create(struct machine *m, struct virtio *v, const struct virtio_class *class,
                   const struct device_ops *ops, uint64_t features, const void *config,
                   unsigned config_size) {
    const struct pci_identity id = {
        .vendor = VIRTIO_VENDOR,
        .device = VIRTIO_DEVICE + class->id,
        .subsystem_vendor = VIRTIO_VENDOR,
        .subsystem = VIRTIO_SUBSYSTEM,
        .class_code = class->class_code,
        .revision = REVISION,
        .pin = 1,
    };
    const struct bus_range registers = {
        .space = BUS_MEMORY,
        .name = ops->name,
        .max_width = 4,
        .read = bar_read,
        .write = bar_write,
        .opaque = v,
    };
    v->class = class;
    v->features = FEATURES | class->features | features;
    v->config = config;
    v->config_size = config_size;
    device_register(m, &v->device, ops);
    pci_add(m, &v->pci, pci_free_slot(m), 0, &id);
    v->pci.opaque = v;
    v->pci.before_read = before_config_read;
    v->pci.after_write = after_config_write;
    pci_add_bar(&v->pci, 0, BAR_SIZE, &registers);
    msix_add(&v->msix, &v->pci, MSIX_BAR, class->queues + 1);
    add_capabilities(v);
    for (unsigned i = 0; i < class->queues; i++)
        v->queue[i] = (struct virtqueue){
            .function = &v->pci, .index = i, .max_size = class->queue_size};
}

void virtio_reset(struct device *d) {
    struct virtio *v = (struct virtio *)d;
    pci_reset(&v->pci);
    msix_reset(&v->msix);
    reset_transport(v);
}

void virtio_state(struct device *d, struct state_visitor *visitor) {
    struct virtio *v = (struct virtio *)d;
    pci_state(&v->pci, visitor);
    msix_state(&v->msix, visitor);
    STATE(visitor, v, accepted);
    STATE(visitor, v, feature_select);
    STATE(visitor, v, driver_feature_select);
    STATE(visitor, v, queue_select);
    STATE(visitor, v, config_vector);
    STATE(visitor, v, status);
    STATE(visitor, v, isr);
    for (unsigned i = 0; i < v->class->queues; i++) {
        STATE_PART(visitor, "queue", i);
        virtq_state(&v->queue[i], visitor);
    }
    STATE_WHOLE(visitor);
}

void virtio_loaded(struct device *d) {
    struct virtio *v = (struct virtio *)d;
    pci_loaded(&v->pci);
    for (unsigned i = 0; i < v->class->queues; i++)
        virtq_loaded(&v->queue[i]);
}
