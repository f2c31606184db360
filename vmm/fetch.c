// Instruction fetch, with a cache of what made the last ones slow: the walk through the guest's page tables.
//
// Guests change their tables without telling us, so the cache believes nothing: for a page of code it knows
// where the up to four table entries are and what they said, and a hit compares all of them, and the bytes
// of the instruction. What it holds of the host (addresses of pages) is good as long as no translation of the
// process was invalidated and no slot changed, which two counters tell, read before and after.
#include "vmm/fetch.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/pte.h"
#include "vmm/emulation.h"
#include "vmm/stage2.h"
#include "vmm/vcpu_parts.h"

#define MAX_LENGTH 15
#define LEVELS     4
#define PAGES      8 // cached pages and instructions, each in the place that its address gives
#define PLACES     16
#define CODE_64    8 // vcpu_code_size()

struct code_page {
    uint64_t linear, cr3;          // of the page; 0: empty
    uint64_t invalidations, slots; // counters when it was filled
    const uint64_t *at[LEVELS];    // table entries from the top, in the direct map
    uint64_t entry[LEVELS];
    unsigned levels;
    const uint8_t *bytes; // the page itself
};

struct decoded {
    uint64_t rip, bytes[2];
    struct instruction insn;
};

struct fetch_cache {
    struct code_page page[PAGES];
    struct decoded decoded[PLACES];
};

struct fetch_cache *fetch_cache_create(void) {
    return kzalloc(sizeof(struct fetch_cache));
}

void fetch_cache_free(struct fetch_cache *c) {
    kfree(c);
}

static bool counters_hold(struct vcpu *v, const struct code_page *p) {
    return __atomic_load_n(&v->vm->space->invalidations, __ATOMIC_ACQUIRE) == p->invalidations &&
           __atomic_load_n(&v->vm->slot_changes, __ATOMIC_ACQUIRE) == p->slots;
}

// ---- the long way --------------------------------------------------------------------------------
// Reads up to `max` bytes from RIP + `at` on, not beyond the page. Their number, 0 after an injected fault, or
// a negative errno.
static int read_code(struct vcpu *v, unsigned code_size, unsigned at, uint8_t *bytes, unsigned max,
                     uint64_t *gpa) {
    uint64_t linear = v->rip + at;
    if (code_size != CODE_64) {
        vcpu_sync(v, PART_SEGMENTS);
        linear = (uint32_t)(v->seg[SEG_CS].base + linear);
    }
    unsigned n = (unsigned)MIN(max, PAGE_SIZE - linear % PAGE_SIZE);
    int r = guest_translate(v, linear, ACCESS_EXEC, gpa);
    if (r != STEP_DONE)
        return r < 0 ? r : 0;
    r = vm_read(v->vm, *gpa, bytes, n);
    return r < 0 ? r : (int)n;
}

static int fetch_and_decode(struct vcpu *v, unsigned code_size, struct instruction *out,
                            uint64_t *gpa) {
    uint8_t bytes[MAX_LENGTH];
    uint64_t second;
    enum decode_mode mode = code_size == CODE_64 ? DECODE_64
                            : code_size == 4     ? DECODE_32
                                                 : DECODE_16;
    int n = read_code(v, code_size, 0, bytes, MAX_LENGTH, gpa);
    if (n <= 0)
        return n < 0 ? n : 1;
    int r = decode(bytes, n, mode, out);
    if (r != -EAGAIN)
        return r;
    int more = read_code(v, code_size, n, bytes + n, MAX_LENGTH - n,
                         &second); // it goes on in the next page
    if (more <= 0)
        return more < 0 ? more : 1;
    r = decode(bytes, n + more, mode, out);
    return r == -EAGAIN ? -EINVAL : r;
}

// ---- filling -------------------------------------------------------------------------------------
// Where a guest-physical address is in the direct map, as long as the counters hold. NULL: not in memory.
static const void *host_address(struct vcpu *v, uint64_t gpa) {
    struct memory_slot slot;
    struct frame *f;
    bool writable;
    uint64_t size;
    if (!stage2_find_slot(v->vm->stage2, gpa, &slot))
        return NULL;
    uint64_t hva = slot.hva + (gpa - slot.gpa);
    if (space_get_frame(v->vm->space, hva, ACCESS_READ, &f, &writable, &size))
        return NULL;
    const char *page = frame_virt(f);
    frame_put(f); // not freed before the counter moves
    return page + hva % PAGE_SIZE;
}

// Follows 4-level tables for what the processor has just walked successfully. False: not possible.
static bool follow(struct vcpu *v, uint64_t linear, uint64_t gpa, struct code_page *p) {
    uint64_t table = v->cr3 & PTE_ADDR, entry = 0;
    unsigned level = LEVELS;
    for (p->levels = 0; level > 0; level--) {
        const uint64_t *at = host_address(v, table + table_index(linear, level) * sizeof(entry));
        if (!at)
            return false;
        entry = READ_ONCE(*at);
        if (!(entry & PTE_PRESENT))
            return false;
        p->at[p->levels] = at;
        p->entry[p->levels++] = entry;
        table = entry & PTE_ADDR;
        if (level == 1 || (entry & PTE_LARGE))
            break;
    }
    uint64_t offset = level_size(level) - 1;
    return ((table & ~offset) | (linear & offset)) == gpa;
}

static void fill(struct vcpu *v, uint64_t gpa, struct code_page *p) {
    p->linear = 0;
    vcpu_sync(v, PART_CR);
    p->invalidations = __atomic_load_n(&v->vm->space->invalidations, __ATOMIC_ACQUIRE);
    p->slots = __atomic_load_n(&v->vm->slot_changes, __ATOMIC_ACQUIRE);
    uint64_t linear = v->rip & ~(PAGE_SIZE - 1);
    if (!follow(v, linear, gpa & ~(PAGE_SIZE - 1), p))
        return;
    p->bytes = host_address(v, gpa & ~(PAGE_SIZE - 1));
    if (!p->bytes)
        return;
    p->cr3 = v->cr3;
    p->linear = linear;
}

// ---- the short way -------------------------------------------------------------------------------
static struct code_page *page_place(struct fetch_cache *c, uint64_t rip) {
    return &c->page[rip / PAGE_SIZE % PAGES];
}

static struct decoded *decoded_place(struct fetch_cache *c, uint64_t rip) {
    return &c->decoded[(rip ^ rip >> 4) % PLACES];
}

// The 16 bytes at RIP, if the page is known and still what it was.
static bool recall(struct vcpu *v, const struct code_page *p, uint64_t bytes[2]) {
    if (p->linear != (v->rip & ~(PAGE_SIZE - 1)) || !p->linear || p->cr3 != vcpu_cr3(v) ||
        !counters_hold(v, p))
        return false;
    for (unsigned i = 0; i < p->levels; i++)
        if (READ_ONCE(*p->at[i]) != p->entry[i])
            return false;
    __builtin_memcpy(bytes, p->bytes + v->rip % PAGE_SIZE, 2 * sizeof(*bytes));
    compiler_barrier();
    return counters_hold(v, p); // the memory was what it was believed to be while it was read
}

static int fetch_cached(struct vcpu *v, struct fetch_cache *c, const struct instruction **out) {
    struct code_page *p = page_place(c, v->rip);
    struct decoded *d = decoded_place(c, v->rip);
    struct instruction *uncached = &v->emulation->decoded;
    uint64_t bytes[2], gpa;
    if (likely(recall(v, p, bytes))) {
        *out = &d->insn;
        if (likely(d->rip == v->rip && d->bytes[0] == bytes[0] && d->bytes[1] == bytes[1]))
            return 0;
        d->rip = 0;
        int r = decode((const uint8_t *)bytes, MAX_LENGTH, DECODE_64, &d->insn);
        if (r)
            return r;
        d->rip = v->rip;
        __builtin_memcpy(d->bytes, bytes, sizeof(bytes));
        return 0;
    }
    *out = uncached;
    int r = fetch_and_decode(v, CODE_64, uncached, &gpa);
    if (r == 0)
        fill(v, gpa, p);
    return r;
}

int fetch_instruction(struct vcpu *v, const struct instruction **out) {
    unsigned code_size = vcpu_code_size(v);
    struct emulation *em = v->emulation;
    uint64_t gpa;
    if (likely(code_size == CODE_64 && em->fetch && v->rip % PAGE_SIZE <= PAGE_SIZE - 16))
        return fetch_cached(v, em->fetch, out);
    *out = &em->decoded;
    return fetch_and_decode(v, code_size, &em->decoded, &gpa);
}
