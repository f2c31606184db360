// Interrupts: which vector means what, and calling the handlers (cpu/irq.h).
#include "acpi/acpi.h"
#include "boot/main.h"
#include "cpu/apic.h"
#include "cpu/ioapic.h"
#include "cpu/irq.h"
#include "cpu/percpu.h"
#include "cpu/pic.h"
#include "cpu/trap.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "sync/spinlock.h"

#define FIRST_DEVICE_VECTOR 0x30 // 0x20-0x2f: what the 8259s might still send
#define LAST_DEVICE_VECTOR  0xef
#define MAX_ACTIONS         64
#define NO_GSI              UINT32_MAX

struct action {
    irq_handler handler;
    void *arg;
    char name[16];       // a copy: the driver's may be short-lived
    struct action *next; // shares the vector
};

// Actions are only ever added, at the head of their vector's list, so that irq_dispatch() walks the
// lists without a lock.
static struct action actions[MAX_ACTIONS];
static struct action *vectors[256];
static uint32_t vector_gsi[256]; // device vectors in use
static unsigned action_count;    // irq_lock covers what is above
static unsigned next_vector = FIRST_DEVICE_VECTOR;
static struct spinlock irq_lock = SPINLOCK_INIT;

static bool add_action(unsigned vector, const char *name, irq_handler handler, void *arg) {
    if (action_count == MAX_ACTIONS)
        return false;
    struct action *a = &actions[action_count++];
    a->handler = handler;
    a->arg = arg;
    strlcpy(a->name, name, sizeof(a->name));
    a->next = vectors[vector];
    __atomic_store_n(&vectors[vector], a, __ATOMIC_RELEASE);
    return true;
}

void irq_set_vector(unsigned vector, const char *name, irq_handler handler, void *arg) {
    ASSERT(vector > LAST_DEVICE_VECTOR && vector < 256);
    spin_lock(&irq_lock);
    bool added = add_action(vector, name, handler, arg);
    spin_unlock(&irq_lock);
    ASSERT(added);
}

static unsigned find_vector(unsigned gsi) {
    for (unsigned v = FIRST_DEVICE_VECTOR; v < next_vector; v++)
        if (vector_gsi[v] == gsi)
            return v;
    return 0;
}

static int register_locked(unsigned gsi, bool level, bool active_low, const char *name,
                           irq_handler handler, void *arg) {
    unsigned vector = find_vector(gsi);
    if (vector)
        return add_action(vector, name, handler, arg) ? 0 : -ENOSPC;
    if (next_vector > LAST_DEVICE_VECTOR)
        return -ENOSPC;
    vector = next_vector;
    if (!add_action(vector, name, handler, arg))
        return -ENOSPC;
    next_vector++;
    vector_gsi[vector] = gsi;
    if (ioapic_route(gsi, vector, cpus[0]->apic_id, level, active_low))
        return 0;
    vector_gsi[vector] = NO_GSI;
    return -ENOSPC;
}

int irq_register_gsi(unsigned gsi, bool level, bool active_low, const char *name, irq_handler h,
                     void *arg) {
    spin_lock(&irq_lock);
    int err = register_locked(gsi, level, active_low, name, h, arg);
    spin_unlock(&irq_lock);
    if (err)
        log_warning("cpu: interrupt %u for %s cannot be routed", gsi, name);
    return err;
}

int irq_register(unsigned line, const char *name, irq_handler handler, void *arg) {
    ASSERT(line < ACPI_ISA_LINES);
    const struct acpi_isa_line *isa = &acpi_info.isa[line];
    return irq_register_gsi(isa->gsi, isa->level, isa->active_low, name, handler, arg);
}

const char *irq_name(unsigned vector) {
    const struct action *a = vector < 256 ? vectors[vector] : NULL;
    return a ? a->name : NULL;
}

// Called by cpu/entry.S with interrupts off.
void irq_dispatch(struct trap_frame *f) {
    struct cpu *c = this_cpu();
    unsigned vector = (uint8_t)f->vector;
    struct trap_frame *outer = c->irq_frame;
    c->irq_frame = f;
    c->in_interrupt = true;
    c->irq_count[vector]++;
    const struct action *a = __atomic_load_n(&vectors[vector], __ATOMIC_ACQUIRE);
    if (unlikely(!a) && c->irq_count[vector] == 1)
        log_warning("cpu: interrupt on vector %#x, which nobody handles", vector);
    for (; a; a = a->next)
        a->handler(a->arg);
    if (vector >= FIRST_DEVICE_VECTOR && vector != VECTOR_SPURIOUS)
        apic_eoi();
    c->irq_frame = outer;
    c->in_interrupt = outer != NULL;
}

void interrupts_init(void) {
    pic_disable();
    apic_init();
    apic_init_cpu();
    cpus[0]->apic_id = apic_id();
    ioapic_init();
}
