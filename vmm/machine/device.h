// What every device of the virtual machine must bring along; the machine refuses one that does not.
#pragma once
#include "vmm/machine/state.h"

struct machine;
struct device;

struct device_ops {
    const char *name; // "pit", "virtio-blk"; unique with the instance number
    // Power-on state. Called before the first instruction and at every reset of the machine.
    void (*reset)(struct device *d);
    // Every field that the guest can notice or that changes what the device will do.
    void (*state)(struct device *d, struct state_visitor *v);
    // After loading: rebuild what is derived from the fields (timers are re-armed from deadlines that
    // are fields; interrupt lines are fields of their owners). Optional.
    void (*loaded)(struct device *d);
    // What about it is not a function of the guest's run, and through which input it comes; "none:
    // ..." with the reason otherwise. One sentence for reports and docs. Required.
    const char *nondeterminism;
};

// Embedded as the first member of each device's structure.
struct device {
    const struct device_ops *ops;
    unsigned instance; // 0, 1, ... among devices of the same name
    struct machine *machine;
    struct device *next; // in order of registration, which is the order of everything
};

// Adds a device. Exits the program with a sentence if an operation is missing (our own mistake).
void device_register(struct machine *m, struct device *d, const struct device_ops *ops);
