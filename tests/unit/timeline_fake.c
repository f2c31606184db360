#include "tests/unit/timeline_fake.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

struct fake fake;
static struct remote the_machine = {.socket = -1};
static uint8_t memory[4096];

static uint64_t rip_at(uint64_t count) {
    return FAKE_CODE + count % 256;
}

static void stand(uint64_t count) {
    fake.now = (struct position){
        .v = 2 * count, .count = count, .rip = rip_at(count), .event = count / 1000};
}

void fake_reset(enum target_kind kind) {
    memset(&fake, 0, sizeof(fake));
    fake.info = (struct target_info){.kind = kind,
                                     .cpus = FAKE_CPUS,
                                     .hz = 1000000,
                                     .ram_size = 1 << 20,
                                     .low_size = 1 << 20,
                                     .events = FAKE_END / 1000,
                                     .name = "fake"};
    fake.attention.fd = -1;
    fake.patience = 50000;
    fake.registers.mode = TARGET_MODE_64;
    fake.registers.cr3 = 0x5018;
    for (unsigned i = 0; i < sizeof(memory); i++)
        memory[i] = (uint8_t)i;
    stand(1000);
}

// ---- the machine -----------------------------------------------------------------------------------------
int remote_read_registers(struct remote *r, unsigned cpu, struct target_registers *regs) {
    *regs = fake.registers;
    regs->rip = cpu ? 0x2000 : fake.now.rip;
    regs->general[3] = fake.now.count; // RBX
    return 0;
}

int remote_write_registers(struct remote *r, unsigned cpu, const struct target_registers *regs) {
    if (fake.info.kind != TARGET_LIVE)
        return -EPERM;
    fake.registers = *regs;
    fake.now.rip = regs->rip;
    return 0;
}

long remote_read_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                        void *buf, size_t n) {
    uint64_t cell = fake.now.count / 16, at = address - FAKE_MEMORY;
    memcpy(memory, &cell, sizeof(cell));
    if (at >= sizeof(memory))
        return -EFAULT;
    if (n > sizeof(memory) - at)
        n = sizeof(memory) - at;
    memcpy(buf, memory + at, n);
    return (long)n;
}

long remote_write_memory(struct remote *r, unsigned cpu, enum target_space space, uint64_t address,
                         const void *buf, size_t n) {
    uint64_t at = address - FAKE_MEMORY;
    if (fake.info.kind != TARGET_LIVE)
        return -EPERM;
    if (at >= sizeof(memory))
        return -EFAULT;
    if (n > sizeof(memory) - at)
        n = sizeof(memory) - at;
    memcpy(memory + at, buf, n);
    return (long)n;
}

int remote_translate(struct remote *r, unsigned cpu, uint64_t linear, uint64_t *physical) {
    *physical = linear - 0x1000;
    return linear < 1 << 20 ? 0 : -EFAULT;
}

void remote_text(struct remote *r, enum target_text what, const char *argument, char *buf,
                 size_t n) {
    snprintf(buf, n, "text %u <%s>\n", what, argument);
}

// ---- the timeline ------------------------------------------------------------------------------------------
struct timeline *timeline_create(struct remote machine, const struct timeline_limits *limits) {
    return (struct timeline *)&fake; // never looked into
}
void timeline_free(struct timeline *t) {
    fake.freed++;
}

struct remote *timeline_machine(struct timeline *t) {
    return &the_machine;
}
const struct target_info *timeline_info(const struct timeline *t) {
    return &fake.info;
}
const struct position *timeline_now(const struct timeline *t) {
    return &fake.now;
}
void timeline_set_attention(struct timeline *t, const struct remote_attention *attention) {
    fake.attention = *attention;
}

static bool same(const struct breakpoint *a, const struct breakpoint *b) {
    return a->kind == b->kind && a->address == b->address && a->length == b->length &&
           a->cr3 == b->cr3;
}

int timeline_add_breakpoint(struct timeline *t, const struct breakpoint *b) {
    for (unsigned i = 0; i < fake.point_count; i++)
        if (same(&fake.points[i], b))
            return 0;
    if (fake.point_count == BREAKPOINTS_MAX)
        return -ENOSPC;
    fake.points[fake.point_count++] = *b;
    return 0;
}

int timeline_remove_breakpoint(struct timeline *t, const struct breakpoint *b) {
    for (unsigned i = 0; i < fake.point_count; i++) {
        if (same(&fake.points[i], b)) {
            fake.points[i] = fake.points[--fake.point_count];
            return 0;
        }
    }
    return -ENOENT;
}

void timeline_clear_breakpoints(struct timeline *t) {
    fake.point_count = 0;
}
const struct breakpoint *timeline_breakpoint(const struct timeline *t, unsigned index) {
    return index < fake.point_count ? &fake.points[index] : NULL;
}

// Does the step from count to count + 1 stop at something?
static bool is_met(const struct breakpoint *b, uint64_t count) {
    if (b->kind <= BREAK_HARDWARE)
        return b->address == rip_at(count + 1);
    return (count + 1) % 16 == 0 && b->address < FAKE_MEMORY + 8 &&
           b->address + b->length > FAKE_MEMORY;
}

static bool meets(uint64_t count, struct run_result *result) {
    for (unsigned i = 0; i < fake.point_count; i++) {
        if (is_met(&fake.points[i], count)) {
            bool watch = fake.points[i].kind >= WATCH_WRITE;
            result->end = watch ? RAN_TO_WATCHPOINT : RAN_TO_BREAKPOINT;
            result->hit = (struct run_hit){
                .valid = 1, .which = i, .address = watch ? FAKE_MEMORY : 0};
            return true;
        }
    }
    return false;
}

static void ended(struct run_result *result, enum run_end end, const char *text) {
    result->end = end;
    snprintf(result->text, sizeof(result->text), "%s", text);
}

static bool interrupted(uint64_t steps) {
    const struct remote_attention *a = &fake.attention;
    struct pollfd p = {.fd = a->fd, .events = POLLIN};
    if (steps < fake.patience || !a->readable ||
        (a->fd >= 0 && poll(&p, 1, steps % 1000 == 0) <= 0))
        return false;
    return a->readable(a->opaque);
}

void timeline_continue(struct timeline *t, struct run_result *result) {
    uint64_t count = fake.now.count, steps = 0;
    memset(result, 0, sizeof(*result));
    for (;; count++, steps++) {
        if (count >= FAKE_END && !fake.endless) {
            ended(result, RAN_TO_END, "powered off");
            break;
        }
        if (interrupted(steps)) {
            ended(result, RAN_INTERRUPTED, "");
            break;
        }
        if (meets(count, result)) {
            count++;
            break;
        }
    }
    stand(count);
    result->position = fake.now;
}

void timeline_step(struct timeline *t, unsigned cpu, bool over_interrupts,
                   struct run_result *result) {
    memset(result, 0, sizeof(*result));
    fake.stepped_over_interrupts = over_interrupts;
    if (fake.now.count >= FAKE_END) {
        ended(result, RAN_TO_END, "powered off");
    } else {
        stand(fake.now.count + 1);
        result->end = RAN_STEP;
    }
    result->position = fake.now;
}

static int step_back(struct run_result *result, bool over_interrupts) {
    fake.stepped_over_interrupts = over_interrupts;
    if (fake.info.kind != TARGET_REPLAYING)
        return -ENOTSUP;
    memset(result, 0, sizeof(*result));
    if (fake.now.count == 0)
        ended(result, RAN_TO_END, "");
    else {
        stand(fake.now.count - 1);
        result->end = RAN_STEP;
    }
    result->position = fake.now;
    return 0;
}

int timeline_reverse_step(struct timeline *t, unsigned cpu, struct run_result *result) {
    return step_back(result, false);
}

int timeline_reverse_step_over(struct timeline *t, unsigned cpu, struct run_result *result) {
    return step_back(result, true);
}

int timeline_reverse_continue(struct timeline *t, struct run_result *result) {
    if (fake.info.kind != TARGET_REPLAYING)
        return -ENOTSUP;
    memset(result, 0, sizeof(*result));
    uint64_t count = fake.now.count;
    while (count &&
           !meets(count - 1, result)) // a watched access lies in that step: stand before it
        count--;
    if (result->end == RAN_TO_BREAKPOINT && count == fake.now.count && count) {
        memset(result, 0, sizeof(*result)); // the one that we stand at
        for (count--; count && !meets(count - 1, result);)
            count--;
    }
    if (!count)
        ended(result, RAN_TO_END, "");
    stand(result->end == RAN_TO_WATCHPOINT ? count - 1 : count);
    result->position = fake.now;
    return 0;
}

int timeline_goto(struct timeline *t, enum timeline_place place, uint64_t value,
                  struct run_result *result) {
    uint64_t count = place == PLACE_BEGIN ? 0 : place == PLACE_END ? FAKE_END : value;
    memset(result, 0, sizeof(*result));
    if (place == PLACE_EVENT)
        count = value < fake.info.events ? value * 1000 : FAKE_END;
    if (count < fake.now.count && fake.info.kind != TARGET_REPLAYING)
        return -ENOTSUP;
    stand(count < FAKE_END ? count : FAKE_END);
    result->end = count <= FAKE_END ? RAN_TO_PLACE : RAN_TO_END;
    result->position = fake.now;
    return 0;
}

int timeline_checkpoint(struct timeline *t) {
    return fake.info.kind == TARGET_REPLAYING ? 1 : -ENOTSUP;
}
int timeline_delete_checkpoint(struct timeline *t, int number) {
    return number == 1 ? 0 : -ENOENT;
}
int timeline_restart(struct timeline *t, int number, struct run_result *result) {
    return number == 1 ? timeline_goto(t, PLACE_COUNT, 500, result) : -ENOENT;
}
unsigned timeline_list(const struct timeline *t, struct timeline_entry *entries, unsigned n) {
    if (n)
        entries[0] = (struct timeline_entry){.number = 1, .position = {.v = 1000, .count = 500}};
    return 1;
}
int timeline_go_live(struct timeline *t, const char *record, char error[256]) {
    snprintf(fake.live_record, sizeof(fake.live_record), "%s", record);
    fake.info.kind = TARGET_LIVE;
    return 0;
}
void timeline_get_costs(const struct timeline *t, struct timeline_costs *costs) {
    *costs = (struct timeline_costs){.reexecuted = 7, .total_reexecuted = 9, .checkpoints = 1};
}
