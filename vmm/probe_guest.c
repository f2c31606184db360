// The probe guest (vmm/probe_guest.h).
#include "vmm/probe_guest.h"
#include "cpu/fpu.h"
#include "cpu/x86.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "vmm/clock.h"
#include "vmm/vendor.h"
#include "vmm/x86.h"

#define TABLE_ENTRIES 512u
#define PROBE_ORDER   4u // PROBE_PAGES

// Guest page tables: one 2 MB page maps everything to itself.
static void write_guest_tables(uint8_t *memory) {
    uint64_t *pml4 = (void *)(memory + PROBE_PML4);
    pml4[0] = (PROBE_PML4 + 0x1000) | 3; // present, writable
    pml4[TABLE_ENTRIES] = (PROBE_PML4 + 0x2000) | 3;
    pml4[2 * TABLE_ENTRIES] = 0x83; // and a large page
}

// SDM vol. 3, "64-Bit Mode IDT": an interrupt gate to `handler`.
static void set_gate(uint8_t *memory, unsigned vector, const uint8_t *handler) {
    uint64_t address = PROBE_CODE + (handler - probe_code);
    uint64_t *gate = (void *)(memory + PROBE_IDT + 16 * vector);
    gate[0] = (address & 0xffff) | 8u << 16 | 0x8e00ull << 32 | (address >> 16 & 0xffff) << 48;
    gate[1] = address >> 32;
}

static void write_guest_memory(uint8_t *memory) {
    memset(memory, 0, PROBE_PAGES * PAGE_SIZE);
    write_guest_tables(memory);
    uint64_t *gdt = (void *)(memory + PROBE_GDT);
    gdt[1] = 0x00af9b000000ffff; // 64-bit code
    gdt[2] = 0x00cf93000000ffff; // data
    set_gate(memory, 6, probe_on_ud);
    set_gate(memory, 0x30, probe_on_int);
    set_gate(memory, PROBE_VECTOR, probe_on_irq);
    memcpy(memory + PROBE_CODE, probe_code, probe_code_end - probe_code);
}

static uint64_t *level1(struct probe_guest *g) {
    return g->tables + 3 * TABLE_ENTRIES;
}

static void map(struct probe_guest *g, uint64_t gpa) {
    unsigned all = ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC;
    level1(g)[gpa >> PAGE_SHIFT] = vmm_vendor->stage2->make(virt_to_phys(g->memory + gpa), 1, all,
                                                            true, false);
}

static void map_all(struct probe_guest *g) {
    unsigned all = ACCESS_READ | ACCESS_WRITE | ACCESS_EXEC;
    for (unsigned level = 4; level > 1; level--) {
        uint64_t *table = g->tables + (4 - level) * TABLE_ENTRIES;
        paddr_t next = virt_to_phys(table + TABLE_ENTRIES);
        table[0] = vmm_vendor->stage2->make(next, level, all, false, false);
    }
    for (uint64_t gpa = 0; gpa < PROBE_PAGES * PAGE_SIZE; gpa += PAGE_SIZE)
        map(g, gpa);
}

void probe_guest_unmap(struct probe_guest *g, uint64_t gpa) {
    level1(g)[gpa >> PAGE_SHIFT] = 0;
    vmm_vendor->flush_stage2(g->vm, g->vm->root);
}

bool probe_guest_create(struct probe_guest *g) {
    *g = (struct probe_guest){0};
    g->vm = kzalloc(sizeof(*g->vm));
    g->v = kzalloc(sizeof(*g->v));
    g->memory = pages_alloc(PROBE_ORDER);
    g->tables = pages_alloc(2);
    if (!g->vm || !g->v || !g->memory || !g->tables || !(g->v->chrono = pages_alloc(0)))
        goto no_memory;
    g->vm->root = virt_to_phys(g->tables);
    g->vm->vcpus[0] = g->v;
    g->vm->vcpu_count = 1;
    g->v->vm = g->vm;
    vcpu_link_recent(g->v);
    map_all(g);
    if (vmm_vendor->vcpu_init(g->v))
        goto no_memory;
    return true;
no_memory:
    probe_guest_free(g);
    return false;
}

void probe_guest_free(struct probe_guest *g) {
    if (g->v && g->v->arch) {
        // Processors may know the root itself, which will be a VM's.
        vmm_vendor->flush_stage2(g->vm, g->vm->root);
        vmm_vendor->vcpu_free(g->v);
    }
    if (g->v)
        pages_free(g->v->chrono);
    pages_free(g->memory);
    pages_free(g->tables);
    kfree(g->v);
    kfree(g->vm);
}

static struct kvm_segment segment(uint16_t selector, unsigned type, bool code_or_data) {
    bool code = selector == 8;
    return (struct kvm_segment){.selector = selector,
                                .type = type,
                                .s = code_or_data,
                                .present = 1,
                                .limit = code_or_data ? UINT32_MAX : 0x67,
                                .l = code,
                                .db = code_or_data && !code,
                                .g = code_or_data};
}

static void set_registers(struct vcpu *v, const uint8_t *program, uint64_t n) {
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[GPR_RCX] = v->gpr[GPR_RBP] = n;
    v->gpr[GPR_RDI] = PROBE_DATA;
    v->gpr[GPR_RSP] = PROBE_STACK;
    v->rip = PROBE_CODE + (program - probe_code);
    v->rflags = RFLAGS_FIXED | RFLAGS_IF;
    v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    v->cr3 = PROBE_PML4;
    v->cr4 = CR4_PAE;
    v->efer = EFER_LME | EFER_LMA;
    v->hw_dr7 = 0x400;
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        v->seg[i] = segment(i == SEG_CS ? 8 : 16, i == SEG_CS ? 11 : 3, true);
    v->seg[SEG_LDTR] = (struct kvm_segment){.unusable = 1};
    v->seg[SEG_TR] = segment(24, 11, false); // a busy TSS
    v->gdt = (struct kvm_dtable){.base = PROBE_GDT, .limit = 3 * 8 - 1};
    v->idt = (struct kvm_dtable){.base = PROBE_IDT, .limit = PAGE_SIZE - 1};
    v->msr.pat = 0x0007040600070406; // as at reset
    v->msr.debugctl = 0;
    v->interruptibility = v->activity = 0;
    v->pending_debug = 0;
    memset(&v->event, 0, sizeof(v->event));
    v->count = 0;
    v->stale = 0;
    v->dirty = PART_ALL;
}

void probe_guest_start(struct probe_guest *g, const uint8_t *program, uint64_t n) {
    write_guest_memory(g->memory);
    map_all(g); // from absent to present: no flush needed
    set_registers(g->v, program, n);
    g->intercepts = 0;
}

void probe_guest_pass(struct probe_guest *g, uint64_t ticks, struct vm_exit *e) {
    struct vcpu *v = g->v;
    if (v->hw_cpu >= 0 && v->hw_cpu != (int)this_cpu()->id)
        vmm_vendor->vcpu_unload(v);
    irq_disable(); // boot: this world does not move
    vmm_vendor->vcpu_load(v);
    *e = *vmm_vendor->run(v, g->intercepts, ticks);
    vmm_vendor->sync(v, PART_RIP | PART_RSP | PART_RFLAGS | PART_BLOCKING);
    vmm_vendor->vcpu_put(v);
    irq_enable();
}

static void skip(struct vcpu *v, uint32_t length) {
    v->rip += length;
    v->interruptibility &= ~(BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);
    vcpu_changed(v, PART_RIP | PART_BLOCKING);
    clock_add_skipped(v);
}

enum exit_kind probe_guest_run(struct probe_guest *g, uint64_t count) {
    struct vm_exit e;
    while (g->v->count < count) {
        probe_guest_pass(g, count - g->v->count, &e);
        switch (e.kind) {
        case EXIT_INTERRUPT:
        case EXIT_NMI:
        case EXIT_COUNT: break;
        case EXIT_CPUID: skip(g->v, e.length); break;
        case EXIT_MEMORY:
            if (e.memory.gpa >= PROBE_PAGES * PAGE_SIZE)
                return EXIT_MEMORY;
            map(g, ROUND_DOWN(e.memory.gpa, PAGE_SIZE));
            break;
        default: return e.kind;
        }
    }
    return EXIT_COUNT;
}
