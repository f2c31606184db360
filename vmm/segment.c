// Descriptor tables of the guest, read, checked and loaded (SDM vol. 3, "Segment Descriptors").
#include "vmm/segment.h"
#include "lib/errno.h"
#include "vmm/emulation.h"
#include "vmm/x86.h"

#define SELECTOR_TI     4
#define SELECTOR_INDEX  0xfff8
#define TYPE_CODE       8
#define TYPE_CONFORMING 4 // code
#define TYPE_READABLE   2 // code
#define TYPE_WRITABLE   2 // data
#define TYPE_ACCESSED   1
#define ACCESS_BYTE     5 // its place in a descriptor

int selector_fault(struct vcpu *v, uint8_t vector, uint16_t selector) {
    vcpu_inject_exception(v, vector, true, selector & (SELECTOR_INDEX | SELECTOR_TI));
    return 1;
}

struct kvm_segment descriptor_unpack(uint16_t selector, uint64_t raw) {
    uint32_t limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
    bool pages = raw >> 55 & 1;
    return (struct kvm_segment){
        .selector = selector,
        .base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
        .limit = pages ? limit << 12 | 0xfff : limit,
        .type = raw >> 40 & 15,
        .s = raw >> 44 & 1,
        .dpl = raw >> 45 & 3,
        .present = raw >> 47 & 1,
        .avl = raw >> 52 & 1,
        .l = raw >> 53 & 1,
        .db = raw >> 54 & 1,
        .g = pages,
    };
}

int descriptor_read(struct vcpu *v, uint16_t selector, uint8_t vector, struct descriptor *d) {
    bool local = selector & SELECTOR_TI;
    const struct kvm_segment *ldt = &v->seg[SEG_LDTR];
    uint64_t base = local ? ldt->base : v->gdt.base;
    uint32_t limit = local ? ldt->limit : v->gdt.limit;
    if ((local && (ldt->unusable || !ldt->present)) || (selector | 7u) > limit)
        return selector_fault(v, vector, selector);
    d->linear = base + (selector & SELECTOR_INDEX);
    int r = system_read(v, d->linear, &d->raw, sizeof(d->raw));
    if (r == 0)
        d->segment = descriptor_unpack(selector, d->raw);
    return r;
}

int descriptor_set_type(struct vcpu *v, struct descriptor *d, uint8_t type) {
    if (d->segment.type == type)
        return 0;
    d->segment.type = type;
    d->raw = (d->raw & ~(15ull << 40)) | (uint64_t)type << 40;
    uint8_t access = d->raw >> 40 & 0xff;
    return system_write(v, d->linear + ACCESS_BYTE, &access, sizeof(access));
}

static int load_null(struct vcpu *v, unsigned seg, uint16_t selector) {
    v->seg[seg] = (struct kvm_segment){.selector = selector, .unusable = 1};
    vcpu_changed(v, PART_SEGMENTS);
    return 0;
}

int segment_load_ldt(struct vcpu *v, uint16_t selector, uint8_t vector) {
    struct descriptor d;
    if (!(selector & (SELECTOR_INDEX | SELECTOR_TI)))
        return load_null(v, SEG_LDTR, selector);
    if (selector & SELECTOR_TI)
        return selector_fault(v, vector, selector);
    int r = descriptor_read(v, selector, vector, &d);
    if (r)
        return r;
    if (d.segment.s || d.segment.type != TYPE_LDT)
        return selector_fault(v, vector, selector);
    if (!d.segment.present)
        return selector_fault(v, vector == VECTOR_TS ? VECTOR_TS : VECTOR_NP, selector);
    v->seg[SEG_LDTR] = d.segment;
    vcpu_changed(v, PART_SEGMENTS);
    return 0;
}

// SDM vol. 3, table "Exception Conditions Checked During a Task Switch".
static bool task_segment_allowed(const struct kvm_segment *s, unsigned seg, unsigned cpl) {
    unsigned rpl = s->selector & 3;
    bool code = s->type & TYPE_CODE, conforming = code && (s->type & TYPE_CONFORMING);
    if (!s->s)
        return false;
    switch (seg) {
    case SEG_CS: return code && (conforming ? s->dpl <= rpl : s->dpl == rpl);
    case SEG_SS: return !code && (s->type & TYPE_WRITABLE) && rpl == cpl && s->dpl == cpl;
    default:
        if (code && !(s->type & TYPE_READABLE))
            return false;
        return conforming || (s->dpl >= rpl && s->dpl >= cpl);
    }
}

int segment_load_for_task(struct vcpu *v, unsigned seg, uint16_t selector, unsigned cpl) {
    struct descriptor d;
    if (!(selector & (SELECTOR_INDEX | SELECTOR_TI))) {
        if (seg == SEG_CS || seg == SEG_SS)
            return selector_fault(v, VECTOR_TS, selector);
        return load_null(v, seg, selector);
    }
    int r = descriptor_read(v, selector, VECTOR_TS, &d);
    if (r)
        return r;
    if (!task_segment_allowed(&d.segment, seg, cpl))
        return selector_fault(v, VECTOR_TS, selector);
    if (!d.segment.present)
        return selector_fault(v, seg == SEG_SS ? VECTOR_SS : VECTOR_NP, selector);
    r = descriptor_set_type(v, &d, d.segment.type | TYPE_ACCESSED);
    if (r)
        return r;
    v->seg[seg] = d.segment;
    vcpu_changed(v, PART_SEGMENTS);
    return 0;
}
