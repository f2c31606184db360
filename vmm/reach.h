// Which bytes an access touches whose fault names only one of them: what a page watch must know.
#pragma once
#include "vmm/decode.h"
#include "vmm/vcpu.h"

// [gpa - before, gpa + size), gpa: where the fault came. Bytes before it on another page have faulted for
// themselves.
struct reach {
    unsigned before, size;
};
#define REACH_BEFORE_MAX 64 // of any; of those after it: reach_max()

// Of an access to data or to the guest's tables. PART_* are read as needed; v->lock held, may sleep.
struct reach reach_of(struct vcpu *v, const struct vm_exit *e);
unsigned reach_max(void);
// Of the instruction at the start of `bytes` (n valid ones).
struct reach reach_of_instruction(const uint8_t *bytes, size_t n, enum decode_mode mode);
