// Inside the entry checks: SDM vol. 3, "Checks on Guest Segment Registers".
#pragma once
#include "vmm/intel/check.h"

bool vmcs_check_segments(struct vmcs_check *c, bool unrestricted);
