// INS and OUTS: KVM_EXIT_IO with as many elements as lie on one page of guest memory.
//
// An element is taken from a port only when its place in memory is certain: translated, writable and
// memory. So a batch that user space has answered is always complete, and nothing is ever read ahead.
// An element that crosses a page, or whose place is device memory, goes alone.
#include "cpu/x86.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/clock.h"
#include "vmm/emulate.h"
#include "vmm/skip.h"
#include "vmm/emulation.h"
#include "vmm/operate.h"
#include "vmm/run.h"
#include "vmm/stage2.h"
#include "vmm/watch.h"
#include "vmm/x86.h"
#include "vmm/vcpu_parts.h"

#define PAGE_MASK 4095ull
#define RFLAGS_DF (1ull << 10)

static unsigned index_register(const struct emulation *em) {
    return em->io.in ? GPR_RDI : GPR_RSI;
}

static bool downwards(const struct vcpu *v) {
    return v->rflags & RFLAGS_DF;
}

// Address of element n of the batch, counted from the address of the first.
static uint64_t element(const struct vcpu *v, const struct emulation *em, uint64_t first,
                        unsigned n) {
    uint64_t distance = (uint64_t)n * em->io.size;
    return downwards(v) ? first - distance : first + distance;
}

// How many elements the instruction still asks for, and the clock and the host allow at once.
static uint64_t elements_wanted(struct vcpu *v, const struct emulation *em) {
    if (!em->io.rep)
        return 1;
    uint64_t n = guest_gpr(v, GPR_RCX, false, em->io.address_size);
    bool watching = v->guest_debug.control &
                    KVM_GUESTDBG_USE_HW_BP; // a debugger looks at each change
    if ((v->rflags & RFLAGS_TF) || vcpu_stepping(v) || v->step_over || watching)
        return MIN(n, 1ull);
    if ((v->control & CHRONO_STOP_AT) && vmm_clock.rules.iteration && v->stop_at > v->count)
        n = MIN(n, v->stop_at - v->count);
    return n;
}

// How many elements lie wholly on the page of the first one, and in the segment. At least 1.
static uint64_t elements_on_page(const struct vcpu *v, const struct emulation *em,
                                 uint64_t linear) {
    uint64_t offset = linear & PAGE_MASK, size = em->io.size;
    if (offset + size > PAGE_MASK + 1)
        return 1;
    return downwards(v) ? offset / size + 1 : (PAGE_MASK + 1 - offset) / size;
}

// An index register of 16 or 32 bits wraps around: a batch ends before.
static uint64_t elements_before_wrap(const struct vcpu *v, const struct emulation *em,
                                     uint64_t index) {
    uint64_t last = truncate(~0ull, em->io.address_size), size = em->io.size;
    uint64_t room = downwards(v) ? index : last - index;
    return room / size ? room / size : 1;
}

// ---- after the transfer ------------------------------------------------------------------------
static int retire(struct vcpu *v, struct emulation *em) {
    unsigned reg = index_register(em), width = em->io.address_size;
    uint64_t n = em->io.count, left = 0;
    guest_set_gpr(v, reg, false, width,
                  element(v, em, guest_gpr(v, reg, false, width), (unsigned)n));
    if (em->io.rep) {
        left = truncate(guest_gpr(v, GPR_RCX, false, width) - n, width);
        guest_set_gpr(v, GPR_RCX, false, width, left);
    }
    if (left) {
        guest_iterated(v, n); // the rest is a new exit
    } else {
        clock_add_iterations(v, n - 1);
        vcpu_skip(v, em->io.length);
    }
    return GO_ON;
}

// Between memory and the page of data that user space sees.
static int transfer(struct vcpu *v, struct emulation *em) {
    uint8_t *data = v->pio_data;
    unsigned size = em->io.size, n = em->io.count;
    if (!downwards(v))
        return em->io.in ? vm_write(v->vm, em->io.gpa, data, n * size)
                         : vm_read(v->vm, em->io.gpa, data, n * size);
    for (unsigned i = 0; i < n; i++) {
        uint64_t gpa = element(v, em, em->io.gpa, i);
        int r = em->io.in ? vm_write(v->vm, gpa, data + i * size, size)
                          : vm_read(v->vm, gpa, data + i * size, size);
        if (r < 0)
            return r;
    }
    return 0;
}

static int ask_port(struct vcpu *v, const struct emulation *em, int (*complete)(struct vcpu *v)) {
    struct kvm_run *run = v->run;
    run->exit_reason = KVM_EXIT_IO;
    run->io.direction = em->io.in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
    run->io.size = em->io.size;
    run->io.port = em->io.port;
    run->io.count = em->io.count;
    run->io.data_offset = PAGE_SIZE;
    v->complete = complete;
    return USER_SPACE;
}

// ---- output ------------------------------------------------------------------------------------
static int complete_out(struct vcpu *v) {
    return retire(v, v->emulation);
}

static int out(struct vcpu *v, struct emulation *em) {
    int r;
    if (em->io.has_gpa) {
        r = transfer(v, em);
    } else {
        r = guest_read(v, em, em->io.linear, v->pio_data, em->io.size, false);
        if (r == STEP_WAIT)
            return USER_SPACE;
        if (r == STEP_FAULT)
            return GO_ON;
    }
    return r < 0 ? r : ask_port(v, em, complete_out);
}

// ---- input -------------------------------------------------------------------------------------
// One element whose place is no plain memory: written by the emulator's own means.
static int store_alone(struct vcpu *v, struct emulation *em) {
    em->next = 0;
    int r = guest_write(v, em, em->io.linear, v->pio_data, em->io.size);
    if (r == STEP_WAIT)
        return USER_SPACE;
    if (r == STEP_FAULT)
        return GO_ON;
    return r < 0 ? r : retire(v, em);
}

static int complete_in(struct vcpu *v) {
    struct emulation *em = v->emulation;
    em->user_space = true; // what the port gave is not asked for again
    if (!em->io.has_gpa)
        return store_alone(v, em);
    int r = transfer(v, em);
    return r < 0 ? r : retire(v, em);
}

static int in(struct vcpu *v, struct emulation *em) {
    return ask_port(v, em, complete_in);
}

// ---- a batch -----------------------------------------------------------------------------------
// Is there memory, writable for input? Device memory is told by the slots alone.
static bool is_memory(struct vcpu *v, uint64_t gpa, bool write) {
    struct memory_slot slot;
    return stage2_find_slot(v->vm->stage2, gpa, &slot) &&
           !(write && (slot.flags & KVM_MEM_READONLY));
}

// A batch ends before an element with a watched byte; its first one has none.
static void end_before_watch(struct vcpu *v, struct emulation *em, unsigned access) {
    unsigned size = em->io.size, n = em->io.count, i = 1;
    uint64_t first = em->io.linear, last = element(v, em, first, n - 1);
    bool user = vcpu_cpl(v) == 3;
    if (likely(!watch_stops(v, MIN(first, last), n * size, access, user)))
        return;
    while (i < n && !watch_stops(v, element(v, em, first, i), size, access, user))
        i++;
    em->io.count = i;
}

// Checks the memory of the elements: what faults, faults before the port is touched.
static int prepare_batch(struct vcpu *v, struct emulation *em) {
    uint64_t wanted = elements_wanted(v, em), gpa, second;
    uint64_t index = guest_gpr(v, index_register(em), false, em->io.address_size);
    unsigned access = em->io.in ? ACCESS_WRITE : ACCESS_READ;
    int r = guest_linear(v, em->io.segment, index, em->io.size, em->io.in, &em->io.linear);
    if (r == STEP_DONE && watch_stops(v, em->io.linear, em->io.size, access, vcpu_cpl(v) == 3))
        return STEP_WAIT;
    if (r == STEP_DONE)
        r = guest_translate(v, em->io.linear, access, &gpa);
    if (r != STEP_DONE)
        return r;
    uint64_t last_byte = em->io.linear + em->io.size - 1;
    bool crosses = (em->io.linear ^ last_byte) & ~PAGE_MASK;
    if (crosses && (r = guest_translate(v, last_byte & ~PAGE_MASK, access, &second)) != STEP_DONE)
        return r;
    uint64_t n = MIN(wanted, elements_on_page(v, em, em->io.linear));
    n = MIN(n, elements_before_wrap(v, em, index));
    em->io.has_gpa = !crosses && is_memory(v, gpa, em->io.in);
    em->io.gpa = gpa;
    em->io.count = (uint32_t)(em->io.has_gpa ? n : 1);
    // The limit of a segment may end the batch early; the first element is inside.
    uint64_t ignored, far = element(v, em, index, em->io.count - 1);
    if (em->io.count > 1 &&
        !guest_linear_allowed(v, em->io.segment, far, em->io.size, em->io.in, &ignored))
        em->io.count = 1;
    end_before_watch(v, em, access);
    return STEP_DONE;
}

// The handler, from the start; also run again after a source in device memory was read.
static int run_string_io(struct vcpu *v, struct emulation *em) {
    em->next = 0;
    return em->io.in ? in(v, em) : out(v, em);
}

// The only access of INS is the last thing it does.
static int resume_string_io(struct vcpu *v, struct emulation *em) {
    return em->io.in ? store_alone(v, em) : run_string_io(v, em);
}

int emulate_string_io(struct vcpu *v, const struct vm_exit *e) {
    vcpu_sync(v, PART_RIP | PART_RFLAGS | PART_CR | PART_SEGMENTS | PART_BLOCKING | PART_ACTIVITY);
    struct emulation *em = emulation_of(v);
    if (unlikely(!em))
        return -ENOMEM;
    emulation_begin(em, resume_string_io);
    em->io.port = e->io.port;
    em->io.size = e->io.size;
    em->io.in = e->io.in;
    em->io.rep = e->io.rep;
    em->io.address_size = e->io.address_size;
    em->io.segment = e->io.in ? SEG_ES : e->io.segment;
    em->io.length = (uint8_t)e->length;
    if (em->io.rep && guest_gpr(v, GPR_RCX, false, em->io.address_size) == 0) {
        vcpu_skip(v, e->length);
        return GO_ON;
    }
    int r = prepare_batch(v, em);
    if (r == STEP_DONE)
        return run_string_io(v, em);
    return r == STEP_WAIT ? USER_SPACE : r == STEP_FAULT ? GO_ON : r;
}
