// Page faults that a guest must not see when a run is to be repeated exactly.
#pragma once
#include "vmm/exit.h"
#include "vmm/vcpu.h"

// A #PF on a present page exited. True: the guest's tables allow the access by now (the fault came from
// a stale TLB entry), so the guest runs on as if nothing had been; what was being delivered will be
// again. False: the fault is the guest's, to be reflected. Sets accessed and dirty bits where it says
// true, as the access that follows would. May sleep.
bool spurious_fault(struct vcpu *v, const struct vm_exit *e);
