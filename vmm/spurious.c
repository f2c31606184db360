// The filter of spurious page faults (vmm/spurious.h).
//
// A guest may give a page more rights without flushing its TLB (SDM vol. 3, "Optional Invalidation"); a
// processor that still holds the old entry then faults once, another does not. Whether it does depends
// on what else was in its TLB, which no recording knows. So with a clock that counts on hardware, faults
// with P=1 exit, and those that a fresh walk does not confirm never happened. Faults with P=0 need no
// filter: entries that are not present are not cached.
#include "vmm/spurious.h"

#define ERROR_PRESENT     (1u << 0)
#define ERROR_WRITE       (1u << 1)
#define ERROR_USER        (1u << 2)
#define ERROR_INSTRUCTION (1u << 4)

static unsigned access_of(uint32_t error) {
    if (error & ERROR_INSTRUCTION)
        return ACCESS_EXEC;
    return error & ERROR_WRITE ? ACCESS_WRITE : ACCESS_READ;
}

bool spurious_fault(struct vcpu *v, const struct vm_exit *e) {
    uint32_t error = e->exception.error, again;
    uint64_t gpa;
    if (!(error & ERROR_PRESENT))
        return false;
    return vcpu_translate(v, e->exception.address, access_of(error), error & ERROR_USER, &gpa,
                          &again) == 0;
}
