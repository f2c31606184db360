// What the parts of the checks share (vmm/intel/check.h).
#include "vmm/intel/check.h"

bool check_broken(struct vmcs_check *c, uint32_t field, const char *name, uint64_t value,
                  const char *rule) {
    c->field = field;
    c->name = name;
    c->value = value;
    c->rule = rule;
    return true;
}

bool vmcs_check_all(struct vmcs_check *c) {
    return vmcs_check_controls(c) || vmcs_check_host(c) || vmcs_check_guest(c);
}
