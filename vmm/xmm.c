// XMM and YMM registers by way of the XSAVE area: within KVM_RUN they are in the processor, which the
// kernel's own code does not touch.
#include "vmm/xmm.h"
#include "cpu/fpu.h"
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "lib/string.h"
#include "vmm/x86.h"

// SDM vol. 1, "Legacy Region of an XSAVE Area" and "XSAVE Header".
#define AREA_XMM      160
#define AREA_HEADER   512
#define REGISTERS     16
#define COMPONENT_SSE BIT(1)
#define COMPONENT_AVX BIT(2) // the upper halves of the YMM registers

// XSTATE_BV, or NULL in the format of FXSAVE, where everything is valid.
static uint64_t *components(struct vcpu *v) {
    return fpu_area_size() > AREA_HEADER ? (uint64_t *)((uint8_t *)v->fpu + AREA_HEADER) : NULL;
}

// The 16 bytes that a component has of a register. Initial ones need not be in the area: they are put there.
static uint8_t *vector(struct vcpu *v, uint64_t component, unsigned reg) {
    unsigned offset = component == COMPONENT_AVX ? cpuid(0xd, 2).ebx : AREA_XMM;
    uint8_t *registers = (uint8_t *)v->fpu + offset;
    uint64_t *valid = components(v);
    if (valid && !(*valid & component)) {
        memset(registers, 0, REGISTERS * XMM_SIZE);
        *valid |= component;
    }
    return registers + reg * XMM_SIZE;
}

void guest_xmm_read(struct vcpu *v, unsigned reg, void *buf) {
    fpu_save(v->fpu);
    memcpy(buf, vector(v, COMPONENT_SSE, reg), XMM_SIZE);
}

void guest_xmm_write(struct vcpu *v, unsigned reg, const void *buf) {
    fpu_save(v->fpu);
    memcpy(vector(v, COMPONENT_SSE, reg), buf, XMM_SIZE);
    fpu_load(v->fpu);
}

// SDM vol. 1, "Detection of Intel AVX", and vol. 2, exception classes of VEX instructions.
bool guest_has_ymm(const struct vcpu *v) {
    const uint64_t needed = COMPONENT_SSE | COMPONENT_AVX;
    return (v->cr0 & CR0_PE) && !(v->rflags & RFLAGS_VM) && (v->cr4 & CR4_OSXSAVE) &&
           (v->xcr0 & needed) == needed;
}

void guest_ymm_read(struct vcpu *v, unsigned reg, void *buf) {
    fpu_save(v->fpu);
    memcpy(buf, vector(v, COMPONENT_SSE, reg), XMM_SIZE);
    memcpy((uint8_t *)buf + XMM_SIZE, vector(v, COMPONENT_AVX, reg), XMM_SIZE);
}

void guest_ymm_write(struct vcpu *v, unsigned reg, const void *buf) {
    fpu_save(v->fpu);
    memcpy(vector(v, COMPONENT_SSE, reg), buf, XMM_SIZE);
    memcpy(vector(v, COMPONENT_AVX, reg), (const uint8_t *)buf + XMM_SIZE, XMM_SIZE);
    fpu_load(v->fpu);
}
