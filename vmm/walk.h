// Additions to vcpu_translate() (vmm/vcpu.h).
#pragma once
#include "mm/space.h"

// With ACCESS_READ or ACCESS_WRITE: an access to a system structure (descriptor table, task state), for
// which SMAP does not look at RFLAGS.AC.
#define ACCESS_IMPLICIT 8
