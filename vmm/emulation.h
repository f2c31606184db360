// Inside the emulator: an instruction in progress, and its accesses to guest memory.
//
// An instruction is carried out by running its handler from the start. Where it needs an answer of user
// space it stops (STEP_WAIT), and when the answer is there it runs from the start again: accesses that are
// done already give the same result without being repeated. It changes registers only after its last access.
#pragma once
#include "vmm/decode.h"
#include "vmm/operate.h"
#include "vmm/vcpu_parts.h"

// Results of the functions here; also negative errno values.
enum { STEP_DONE, STEP_WAIT, STEP_FAULT }; // done; user space was asked; an exception was injected

#define GO_ON      1 // results of exit handlers
#define USER_SPACE 0

struct memory_access {
    uint64_t gpa[2];     // of the first byte, and of the first one on the second page
    uint8_t size, split; // bytes in all, and on the first page
    uint8_t progress;    // bytes that are done
    uint8_t asked;       // bytes that user space was asked for
    bool write;
    uint8_t data[32];
};

#define MAX_ACCESSES 3

struct emulation {
    const struct instruction *insn; // in the cache, or &decoded
    struct instruction decoded;
    struct fetch_cache *fetch;                 // may be NULL
    struct memory_access access[MAX_ACCESSES]; // of this iteration, in their order
    unsigned done, next;                       // of these: complete; the next one of this run
    bool user_space;                           // this iteration needed user space
    int (*resume)(struct vcpu *v,
                  struct emulation *em); // runs the handler again; result of an exit handler
    struct {                             // INS, OUTS (string_io.c)
        uint64_t linear, gpa;            // of the batch; has_gpa: it lies in memory and on one page
        uint32_t count;                  // elements of the batch
        uint16_t port;
        uint8_t size, address_size, segment, length;
        bool in, rep, has_gpa;
    } io;
};

// Allocates v->emulation. NULL: out of memory.
struct emulation *emulation_create(struct vcpu *v);
static inline struct emulation *emulation_of(struct vcpu *v) {
    return likely(v->emulation) ? v->emulation : emulation_create(v);
}
// An instruction begins: no access of it is done.
static inline void emulation_begin(struct emulation *em,
                                   int (*resume)(struct vcpu *v, struct emulation *em)) {
    em->done = em->next = 0;
    em->user_space = false;
    em->resume = resume;
}

// Address arithmetic and checks of segmentation and paging: `segment` is a SEG_*, `offset` is masked to the
// address size already. STEP_DONE with *linear, or STEP_FAULT (#GP, #SS, #AC).
int guest_linear(struct vcpu *v, unsigned segment, uint64_t offset, unsigned size, bool write,
                 uint64_t *linear);
// The same without an exception: would it be STEP_DONE?
bool guest_linear_allowed(struct vcpu *v, unsigned segment, uint64_t offset, unsigned size,
                          bool write, uint64_t *linear);
// Translation of one byte for ACCESS_* at the guest's privilege. STEP_DONE, or STEP_FAULT (#PF).
int guest_translate(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa);
// The next access of the instruction: up to 32 bytes at a linear address. will_write: the instruction will
// write them after reading, so that must be allowed too.
int guest_read(struct vcpu *v, struct emulation *em, uint64_t linear, void *buf, unsigned size,
               bool will_write);
int guest_write(struct vcpu *v, struct emulation *em, uint64_t linear, const void *buf,
                unsigned size);

// Tables of the processor (descriptors, task state) at a linear address, as supervisor whatever the CPL: 0
// or 1 with an injected #PF, or negative errno. Nothing is written when a byte of it may not be written.
int system_read(struct vcpu *v, uint64_t linear, void *buf, unsigned size);
int system_write(struct vcpu *v, uint64_t linear, const void *buf, unsigned size);
// May all of it be accessed (ACCESS_READ, ACCESS_WRITE)?
int system_check(struct vcpu *v, uint64_t linear, unsigned size, unsigned access);

// Registers by operand size; narrow writes leave the rest of the register, 4-byte writes zero it.
static inline uint64_t guest_gpr(struct vcpu *v, unsigned reg, bool high_byte, unsigned size) {
    if (unlikely(reg == GPR_RSP))
        vcpu_sync(v, PART_RSP);
    return high_byte ? v->gpr[reg] >> 8 & 0xff : truncate(v->gpr[reg], size);
}
void guest_set_gpr(struct vcpu *v, unsigned reg, bool high_byte, unsigned size, uint64_t value);
// One iteration of a REP instruction that goes on is retired.
void guest_iterated(struct vcpu *v, uint64_t n);
