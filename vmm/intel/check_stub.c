#include "vmm/intel/vmx.h"
#include "lib/assert.h"
int vmx_explain(struct vcpu *v, char *buf, size_t size) {
    return 0;
}
noreturn void vmcs_access_failed(const char *what, uint64_t field) {
    panic("vmm: %s of field %#lx failed", what, field);
}
