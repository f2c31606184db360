// Where breakpoints and watchpoints are: debug registers, INT3s that only fetches see, pages whose accesses exit.
//
// Debug registers are linear, exact and fast, but four, and the guest's own while it uses them. The other two are
// by guest-physical address: what is mapped there is looked up when they are placed.
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "vmm/machine/debug_internal.h"

// SDM vol. 3, "Debug Control Register (DR7)".
#define DR7_GLOBAL(i)        (2ull << 2 * (i))
#define DR7_WHAT(i, rw, len) (((rw) | (uint64_t)(len) << 2) << (16 + 4 * (i)))
#define DR7_ENABLES          0xffull
#define RW_EXECUTE           0
#define RW_WRITE             1
#define RW_ACCESS            3

// ---- debug registers ---------------------------------------------------------------------------------
bool debug_guest_uses_registers(struct machine *m) {
    for (unsigned i = 0; i < m->cpu_count; i++) {
        struct kvm_debugregs r = {0};
        if (ioctl(m->cpus[i].fd, KVM_GET_DEBUGREGS, &r) == 0 && r.dr7 & DR7_ENABLES)
            return true;
    }
    return false;
}

// The widest piece at the address that one register can watch.
static unsigned register_size(uint64_t address, uint64_t length) {
    unsigned size = 8;
    while (address % size || size > length)
        size /= 2;
    return size;
}

static unsigned registers_needed(const struct breakpoint *b) {
    unsigned n = 0;
    if (!is_watch(b))
        return 1;
    for (uint64_t done = 0; done < b->length && n <= DEBUG_REGISTERS; n++)
        done += register_size(b->address + done, b->length - done);
    return n;
}

// LEN as DR7 encodes it.
static unsigned encode_size(unsigned size) {
    return size == 8 ? 2 : size - 1;
}

void debug_load_registers(struct debug *d) {
    struct kvm_guest_debug g = {0};
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++) {
        const struct debug_register *r = &d->registers[i];
        if (!r->of || d->passing & PASS_REGISTERS ||
            (d->passing & PASS_CODE && !is_watch(&r->of->b)))
            continue;
        unsigned rw = !is_watch(&r->of->b)           ? RW_EXECUTE
                      : r->of->b.kind == WATCH_WRITE ? RW_WRITE
                                                     : RW_ACCESS;
        g.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[i] = r->address;
        g.arch.debugreg[7] |= DR7_GLOBAL(i) | DR7_WHAT(i, rw, encode_size(r->size));
    }
    d->registers_loaded = g.control != 0;
    for (unsigned i = 0; i < d->machine->cpu_count; i++)
        ioctl(d->machine->cpus[i].fd, KVM_SET_GUEST_DEBUG, &g);
}

static bool into_registers(struct debug *d, struct placed *p) {
    unsigned room = 0;
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++)
        room += !d->registers[i].of;
    if (registers_needed(&p->b) > room || debug_guest_uses_registers(d->machine))
        return false;
    uint64_t done = 0, length = is_watch(&p->b) ? p->b.length : 1;
    for (unsigned i = 0; done < length; i++) {
        struct debug_register *r = &d->registers[i];
        if (r->of)
            continue;
        *r = (struct debug_register){.of = p, .address = p->b.address + done};
        r->size = register_size(r->address, length - done);
        done += r->size;
    }
    p->how = IN_REGISTERS;
    debug_load_registers(d);
    return true;
}

static void out_of_registers(struct debug *d, const struct placed *p) {
    for (unsigned i = 0; i < DEBUG_REGISTERS; i++)
        if (d->registers[i].of == p)
            d->registers[i].of = NULL;
    debug_load_registers(d);
}

// ---- code ---------------------------------------------------------------------------------------------
static bool set_breakpoint(struct debug *d, uint64_t gpa, bool set) {
    struct chrono_breakpoint b = {.gpa = gpa, .set = set};
    return ioctl(d->machine->vm_fd, CHRONO_SET_BREAKPOINT, &b) == 0;
}

static bool into_code(struct debug *d, struct placed *p, const struct space *s) {
    struct space of = debug_space_with(*s, p->b.cr3);
    if (!debug_translate(d->machine, &of, p->b.address, &p->gpa[0]) ||
        !set_breakpoint(d, p->gpa[0], true))
        return false;
    p->how = IN_CODE;
    return true;
}

static void out_of_code(struct debug *d, struct placed *p) {
    for (unsigned i = 0; i < d->placed_count; i++) {
        const struct placed *other = &d->placed[i];
        if (other != p && other->used && other->how == IN_CODE && other->gpa[0] == p->gpa[0])
            return; // still needed
    }
    set_breakpoint(d, p->gpa[0], false);
}

// ---- pages --------------------------------------------------------------------------------------------
static uint32_t watch_id(const struct debug *d, const struct placed *p, unsigned piece) {
    return (uint32_t)(p - d->placed) * 2 + piece;
}

static bool set_watch(struct debug *d, const struct placed *p, unsigned piece, bool set) {
    uint32_t access = p->b.kind == WATCH_WRITE  ? CHRONO_WRITE
                      : p->b.kind == WATCH_READ ? CHRONO_READ
                                                : CHRONO_READ | CHRONO_WRITE;
    struct chrono_watch w = {.id = watch_id(d, p, piece),
                             .access = set ? access : 0,
                             .gpa = p->gpa[piece],
                             .len = p->piece_size[piece]};
    return ioctl(d->machine->vm_fd, CHRONO_SET_WATCH, &w) == 0;
}

// Looks up where a watchpoint's bytes are.
static void locate(struct debug *d, struct placed *p, const struct space *s) {
    size_t done = 0;
    for (p->pieces = 0; done < p->b.length && p->pieces < 2; p->pieces++) {
        uint64_t at = p->b.address + done;
        size_t size = SPACE_PAGE - at % SPACE_PAGE;
        if (size > p->b.length - done)
            size = p->b.length - done;
        if (!debug_translate(d->machine, s, at, &p->gpa[p->pieces]) ||
            !memory_look(d->machine, p->gpa[p->pieces], size)) {
            p->pieces = 0;
            return;
        }
        p->piece_size[p->pieces] = size;
        done += size;
    }
}

static void out_of_pages(struct debug *d, struct placed *p) {
    d->page_watches = false;
    for (unsigned i = 0; i < p->pieces; i++)
        set_watch(d, p, i, false);
    for (unsigned i = 0; i < d->placed_count; i++)
        d->page_watches |= d->placed[i].used && d->placed[i].how == IN_PAGES && &d->placed[i] != p;
}

static bool into_pages(struct debug *d, struct placed *p) {
    if (!p->pieces)
        return false;
    for (unsigned i = 0; i < p->pieces; i++) {
        if (!set_watch(d, p, i, true)) {
            out_of_pages(d, p);
            return false;
        }
    }
    p->how = IN_PAGES;
    d->page_watches = true;
    return true;
}

// ---- values -------------------------------------------------------------------------------------------
static bool take_value(struct placed *p, const uint8_t *now, size_t n) {
    bool changed = !p->value_known || memcmp(p->value, now, n) != 0;
    memcpy(p->value, now, n);
    p->value_known = true;
    return changed;
}

bool debug_value_changed(struct debug *d, struct placed *p, const struct space *s) {
    uint8_t now[WATCH_MAX];
    if (p->how != IN_PAGES) // whose pieces are what they were placed on
        locate(d, p, s);
    if (debug_read(d->machine, s, p->b.address, now, p->b.length) == p->b.length)
        return take_value(p, now, p->b.length);
    p->value_known = false;
    return true;
}

bool debug_value_changed_in_ram(struct debug *d, struct placed *p) {
    bool changed = false;
    for (unsigned i = 0, done = 0; i < p->pieces && p->value_known; done += p->piece_size[i++]) {
        const void *now = memory_look(d->machine, p->gpa[i], p->piece_size[i]);
        if (!memcmp(p->value + done, now, p->piece_size[i]))
            continue;
        memcpy(p->value + done, now, p->piece_size[i]);
        changed = true;
    }
    return changed;
}

// ---- the list -----------------------------------------------------------------------------------------
// Reads are told from writes by pages only; for all else registers are better.
static void find_place(struct debug *d, struct placed *p, const struct space *s) {
    struct space of = debug_space_with(*s, p->b.cr3);
    if (is_watch(&p->b))
        locate(d, p, &of);
    switch (p->b.kind) {
    case BREAK_SOFTWARE: (void)(into_code(d, p, s) || into_registers(d, p)); break;
    case BREAK_HARDWARE: (void)(into_registers(d, p) || into_code(d, p, s)); break;
    case WATCH_READ: (void)(into_pages(d, p) || into_registers(d, p)); break;
    case INTERRUPT: p->how = AT_DELIVERIES; break;
    default: (void)(into_registers(d, p) || into_pages(d, p));
    }
}

void debug_take_away(struct debug *d, struct placed *p) {
    switch (p->how) {
    case NOWHERE:
    case AT_DELIVERIES: break;
    case IN_CODE: out_of_code(d, p); break;
    case IN_REGISTERS: out_of_registers(d, p); break;
    case IN_PAGES: out_of_pages(d, p); break;
    }
    free(p->value);
    *p = (struct placed){0};
    while (d->placed_count && !d->placed[d->placed_count - 1].used)
        d->placed_count--;
}

static struct placed *add(struct debug *d, const struct breakpoint *b, const struct space *s) {
    if (is_watch(b) && (!b->length || b->length > WATCH_MAX))
        return NULL;
    struct placed *p = d->placed;
    while (p < d->placed + PLACED_MAX && p->used)
        p++;
    if (p == d->placed + PLACED_MAX)
        return NULL;
    uint8_t *value = is_watch(b) ? malloc(b->length) : NULL;
    if (is_watch(b) && !value)
        return NULL;
    *p = (struct placed){.b = *b, .used = true, .value = value};
    if (d->placed_count <= p - d->placed)
        d->placed_count = (unsigned)(p - d->placed) + 1;
    find_place(d, p, s);
    return p;
}

struct placed *debug_place_own(struct debug *d, uint64_t linear) {
    struct breakpoint b = {.kind = BREAK_HARDWARE, .address = linear, .cr3 = ANY_CR3};
    struct space s = debug_space(d->machine->current);
    return add(d, &b, &s);
}

static int find(const struct breakpoint *list, unsigned n, const struct breakpoint *b) {
    for (unsigned i = 0; i < n; i++)
        if (!memcmp(&list[i], b, sizeof(*b)))
            return (int)i;
    return -1;
}

static struct placed *placed_of(struct debug *d, const struct breakpoint *b) {
    for (unsigned i = 0; i < d->placed_count; i++)
        if (d->placed[i].used && !memcmp(&d->placed[i].b, b, sizeof(*b)))
            return &d->placed[i];
    return NULL;
}

// Moved mappings, free registers: it may have to be somewhere else now.
static void look_again(struct debug *d, struct placed *p, const struct space *s) {
    struct space of = debug_space_with(*s, p->b.cr3);
    uint64_t gpa;
    if (p->how == IN_CODE && debug_translate(d->machine, &of, p->b.address, &gpa) &&
        gpa != p->gpa[0]) {
        out_of_code(d, p);
        p->how = NOWHERE;
    }
    if (p->how == NOWHERE)
        find_place(d, p, s);
}

void debug_place_again(struct debug *d) {
    struct space s = debug_space(d->machine->current);
    for (unsigned i = 0; i < d->placed_count; i++)
        if (d->placed[i].used && d->placed[i].how == NOWHERE)
            find_place(d, &d->placed[i], &s);
}

void debug_leave_registers(struct debug *d) {
    struct space s = debug_space(d->machine->current);
    if (!d->registers_loaded)
        return;
    memset(d->registers, 0, sizeof(d->registers));
    debug_load_registers(d);
    for (unsigned i = 0; i < d->placed_count; i++) {
        struct placed *p = &d->placed[i];
        if (!p->used || p->how != IN_REGISTERS)
            continue;
        p->how = NOWHERE;
        find_place(d, p, &s);
    }
}

// Takes away what is not in the list, and numbers the rest.
static void take_list(struct debug *d, const struct breakpoint *list, unsigned n,
                      const struct space *s) {
    for (unsigned i = d->placed_count; i-- > 0;) {
        struct placed *p = &d->placed[i];
        int at = p->used ? find(list, n, &p->b) : -1;
        if (p->used && at < 0)
            debug_take_away(d, p);
        else if (p->used)
            p->which = (uint32_t)at;
    }
    for (unsigned i = 0; i < n; i++) {
        struct placed *p = placed_of(d, &list[i]) ? NULL : add(d, &list[i], s);
        if (p)
            p->which = i;
    }
    for (unsigned i = 0; i < n; i++)
        d->list[i] = list[i];
    d->list_count = n;
}

void debug_place(struct debug *d, const struct run_request *q) {
    unsigned n = q->breakpoint_count < BREAKPOINTS_MAX ? q->breakpoint_count : BREAKPOINTS_MAX;
    d->watching = d->watching_interrupts = false;
    if (!n && !d->list_count)
        return;
    struct space s = debug_space(d->machine->current);
    if (n != d->list_count || (n && memcmp(q->breakpoints, d->list, n * sizeof(d->list[0])) != 0))
        take_list(d, q->breakpoints, n, &s);
    if (debug_guest_uses_registers(d->machine))
        debug_leave_registers(d);
    for (unsigned i = 0; i < d->placed_count; i++) {
        struct placed *p = &d->placed[i];
        struct space of = debug_space_with(s, p->b.cr3);
        if (!p->used)
            continue;
        look_again(d, p, &s);
        if (is_watch(&p->b))
            debug_value_changed(d, p, &of); // from now on
        d->watching |= p->b.kind == WATCH_WRITE;
        d->watching_interrupts |= p->b.kind == INTERRUPT;
    }
}
