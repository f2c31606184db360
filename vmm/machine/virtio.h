// The virtio transport over PCI (Virtual I/O Device 1.1, 4.1), modern devices only. A device of some type
// describes itself by a class, embeds struct virtio as its first member, and gets its queues' kicks.
#pragma once
#include "vmm/machine/device.h"
#include "vmm/machine/msix.h"
#include "vmm/machine/pci.h"
#include "vmm/machine/virtqueue.h"

#define VIRTIO_MAX_QUEUES 4

struct virtio;

struct virtio_class {
    uint16_t id;         // <linux/virtio_ids.h>
    uint32_t class_code; // of PCI
    unsigned queues;
    uint16_t queue_size;
    uint64_t features; // of the type; those of the transport are added
    // The driver has put something into a queue. The device is live (virtio_live).
    void (*kick)(struct virtio *v, unsigned queue);
    // Forget all requests: the driver reset the device, or the machine was.
    void (*stop)(struct virtio *v);
};

struct virtio {
    struct device device;
    struct pci_function pci;
    struct msix msix;
    const struct virtio_class *class;
    const uint8_t *config; // device configuration, read only for the driver
    unsigned config_size;
    uint64_t features; // offered
    uint64_t accepted; // by the driver
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr;
    unsigned complaints; // messages about the driver so far; no state of the device
    struct virtqueue queue[VIRTIO_MAX_QUEUES];
};

// Adds the device in the next free slot. `config` stays the caller's; `features` are offered besides the
// class's.
void virtio_create(struct machine *m, struct virtio *v, const struct virtio_class *class,
                   const struct device_ops *ops, uint64_t features, const void *config,
                   unsigned config_size);
// Operations of struct device_ops: the whole of them, or a part of the device's own. `d` is a struct virtio's.
void virtio_reset(struct device *d);
void virtio_state(struct device *d, struct state_visitor *visitor);
void virtio_loaded(struct device *d);

// The driver is ready and nothing is broken.
bool virtio_live(const struct virtio *v);
// Interrupts the driver if it wants to know what was pushed to queue `index`.
void virtio_interrupt(struct virtio *v, unsigned index);
// The driver broke a rule: the device needs a reset and says why in the VM's messages.
void virtio_broken(struct virtio *v, const char *why);
