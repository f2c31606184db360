#include "vmm/machine/device.h"
#include <stdio.h>
#include <stdlib.h>
#include "vmm/machine/machine.h"

static void refuse(const char *name, const char *what) {
    fprintf(stderr, "vmx: device '%s' cannot be registered: it has no %s\n", name, what);
    exit(70);
}

void device_register(struct machine *m, struct device *d, const struct device_ops *ops) {
    if (!ops->name)
        refuse("?", "name");
    if (!ops->reset)
        refuse(ops->name, "reset");
    if (!ops->state)
        refuse(ops->name, "description of its state");
    if (!ops->nondeterminism)
        refuse(ops->name, "statement of what in it is not deterministic");
    d->ops = ops;
    d->machine = m;
    d->instance = 0;
    d->next = NULL;
    struct device **end = &m->devices;
    for (; *end; end = &(*end)->next)
        if ((*end)->ops == ops)
            d->instance++;
    *end = d;
}
