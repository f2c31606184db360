// XMM registers by way of the XSAVE area: within KVM_RUN they are in the processor, which the kernel's own
// code does not touch.
#include "vmm/xmm.h"
#include "cpu/fpu.h"
#include "lib/string.h"

// SDM vol. 1, "Legacy Region of an XSAVE Area" and "XSAVE Header".
#define AREA_XMM      160
#define AREA_HEADER   512
#define XMM_REGISTERS 16
#define COMPONENT_SSE 2ull

// XSTATE_BV, or NULL in the format of FXSAVE, where everything is valid.
static uint64_t *components(struct vcpu *v) {
    return fpu_area_size() > AREA_HEADER ? (uint64_t *)((uint8_t *)v->fpu + AREA_HEADER) : NULL;
}

static uint8_t *registers(struct vcpu *v) {
    return (uint8_t *)v->fpu + AREA_XMM;
}

// Initial registers need not be in the area: they are put there.
static void make_valid(struct vcpu *v) {
    uint64_t *valid = components(v);
    if (!valid || (*valid & COMPONENT_SSE))
        return;
    memset(registers(v), 0, XMM_REGISTERS * XMM_SIZE);
    *valid |= COMPONENT_SSE;
}

void guest_xmm_read(struct vcpu *v, unsigned reg, void *buf) {
    fpu_save(v->fpu);
    make_valid(v);
    memcpy(buf, registers(v) + reg * XMM_SIZE, XMM_SIZE);
}

void guest_xmm_write(struct vcpu *v, unsigned reg, const void *buf) {
    fpu_save(v->fpu);
    make_valid(v);
    memcpy(registers(v) + reg * XMM_SIZE, buf, XMM_SIZE);
    fpu_load(v->fpu);
}
