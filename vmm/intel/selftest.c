// Failing VM entries on purpose (command line vmm.selftest): the processor must refuse each, and our
// explanation must name the field that was made wrong. Rules that Bochs 2.7 does not check (reserved
// bits of DEBUGCTL, BS in a shadow with TF, RIP's upper bits, an interrupt with error code) are in tests/unit/test_entry_check.c alone.
#include "cpu/x86.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/init.h"
#include "vmm/intel/vmx.h"
#include "vmm/probe_guest.h"

#define NOT_CANONICAL 0x800000000000ull

struct poke {
    uint32_t field;
    uint64_t clear, set; // bits
};
#define VALUE(v) UINT64_MAX, (v)

static const struct failure {
    const char *wanted; // the field to be named
    struct poke pokes[4];
} failures[] = {
    {"PIN_CONTROLS", {{PIN_CONTROLS, PIN_NMI, 0}}},
    {"PIN_CONTROLS", {{PIN_CONTROLS, 0, BIT(31)}}},
    {"PRIMARY_CONTROLS", {{PRIMARY_CONTROLS, 0, 1}}},
    {"SECONDARY_CONTROLS", {{SECONDARY_CONTROLS, CPU2_EPT, 0}}},
    {"CR3_TARGET_COUNT", {{CR3_TARGET_COUNT, VALUE(0x100)}}},
    {"VPID", {{VPID, VALUE(0)}}},
    {"MSR_BITMAP", {{MSR_BITMAP, 0, 0x10}}},
    {"EPT_POINTER", {{EPT_POINTER, 7, 5}}},
    {"EPT_POINTER", {{EPT_POINTER, 0x38, 0x10}}},
    {"EPT_POINTER", {{EPT_POINTER, 0, 0x800}}},
    {"EXIT_CONTROLS", {{EXIT_CONTROLS, EXIT_HOST_64, 0}}},
    {"EXIT_MSR_LOAD_ADDRESS", {{EXIT_MSR_LOAD_COUNT, VALUE(1)}, {EXIT_MSR_LOAD_ADDRESS, VALUE(8)}}},
    {"ENTRY_CONTROLS", {{ENTRY_CONTROLS, 0, BIT(31)}}},
    {"ENTRY_INTERRUPTION_INFO", {{ENTRY_INTERRUPTION_INFO, VALUE(0x80000100)}}}, // reserved type
    {"ENTRY_INTERRUPTION_INFO", {{ENTRY_INTERRUPTION_INFO, VALUE(0x80000203)}}}, // NMI, vector 3
    {"ENTRY_INTERRUPTION_INFO", {{ENTRY_INTERRUPTION_INFO, VALUE(0x80000320)}}}, // exception 32
    {"ENTRY_INTERRUPTION_INFO", {{ENTRY_INTERRUPTION_INFO, VALUE(0x80001030)}}}, // reserved bit 12
    {"ENTRY_EXCEPTION_ERROR",
     {{ENTRY_INTERRUPTION_INFO, VALUE(0x80000b0d)}, {ENTRY_EXCEPTION_ERROR, VALUE(0x10000)}}},
    {"ENTRY_INSTRUCTION_LENGTH",
     {{ENTRY_INTERRUPTION_INFO, VALUE(0x80000430)}, {ENTRY_INSTRUCTION_LENGTH, VALUE(16)}}},
    {"HOST_CR0", {{HOST_CR0, CR0_NE, 0}}},
    {"HOST_CR4", {{HOST_CR4, CR4_VMXE, 0}}},
    {"HOST_CR3", {{HOST_CR3, 0, BIT(52)}}},
    {"HOST_SYSENTER_EIP", {{HOST_SYSENTER_EIP, VALUE(NOT_CANONICAL)}}},
    {"HOST_PAT", {{HOST_PAT, 0xff, 2}}},
    {"HOST_EFER", {{HOST_EFER, EFER_LMA, 0}}},
    {"HOST_CS_SELECTOR", {{HOST_CS_SELECTOR, VALUE(0)}}},
    {"HOST_TR_SELECTOR", {{HOST_TR_SELECTOR, 0, 4}}},
    {"HOST_DS_SELECTOR", {{HOST_DS_SELECTOR, 0, 3}}},
    {"HOST_FS_BASE", {{HOST_FS_BASE, VALUE(NOT_CANONICAL)}}},
    {"HOST_RIP", {{HOST_RIP, VALUE(NOT_CANONICAL)}}},
    {"GUEST_CR0", {{GUEST_CR0, CR0_PE, 0}}},
    {"GUEST_CR0", {{GUEST_CR0, CR0_NE, 0}}},
    {"GUEST_CR4", {{GUEST_CR4, CR4_VMXE, 0}}},
    {"GUEST_CR4", {{GUEST_CR4, CR4_PAE, 0}}},
    {"GUEST_CR4", {{GUEST_CR4, 0, BIT(31)}}},
    {"GUEST_CR3", {{GUEST_CR3, 0, BIT(60)}}},
    {"GUEST_DR7", {{GUEST_DR7, 0, BIT(32)}}},
    {"GUEST_SYSENTER_ESP", {{GUEST_SYSENTER_ESP, VALUE(NOT_CANONICAL)}}},
    {"GUEST_PAT", {{GUEST_PAT, 0xff, 3}}},
    {"GUEST_EFER", {{GUEST_EFER, EFER_LMA, 0}}},
    {"GUEST_EFER", {{GUEST_EFER, 0, BIT(1)}}},
    {"GUEST_TR_SELECTOR", {{GUEST_TR_SELECTOR, 0, 4}}},
    {"GUEST_FS_BASE", {{GUEST_FS_BASE, VALUE(NOT_CANONICAL)}}},
    {"GUEST_SS_BASE", {{GUEST_SS_BASE, VALUE(BIT(32))}}},
    {"GUEST_CS_RIGHTS", {{GUEST_CS_RIGHTS, 15, 1}}},
    {"GUEST_CS_RIGHTS", {{GUEST_CS_RIGHTS, 0, BIT(14)}}}, // L and D
    {"GUEST_CS_RIGHTS", {{GUEST_CS_RIGHTS, BIT(7), 0}}},  // not present
    {"GUEST_CS_RIGHTS", {{GUEST_CS_LIMIT, 1, 0}}},
    {"GUEST_SS_RIGHTS", {{GUEST_SS_RIGHTS, 15, 1}}},
    {"GUEST_DS_RIGHTS", {{GUEST_DS_RIGHTS, 1, 0}}},
    {"GUEST_ES_RIGHTS", {{GUEST_ES_RIGHTS, 0, BIT(8)}}},
    {"GUEST_TR_RIGHTS", {{GUEST_TR_RIGHTS, 15, 9}}},
    {"GUEST_TR_RIGHTS", {{GUEST_TR_RIGHTS, 0, BIT(16)}}},
    {"GUEST_LDTR_RIGHTS", {{GUEST_LDTR_RIGHTS, VALUE(0x83)}}},
    {"GUEST_GDTR_LIMIT", {{GUEST_GDTR_LIMIT, 0, BIT(16)}}},
    {"GUEST_IDTR_BASE", {{GUEST_IDTR_BASE, VALUE(NOT_CANONICAL)}}},
    {"GUEST_RFLAGS", {{GUEST_RFLAGS, RFLAGS_FIXED, 0}}},
    {"GUEST_RFLAGS", {{GUEST_RFLAGS, 0, BIT(15)}}},
    {"GUEST_RFLAGS", {{GUEST_RFLAGS, RFLAGS_IF, 0}, {ENTRY_INTERRUPTION_INFO, VALUE(0x80000040)}}},
    {"GUEST_ACTIVITY", {{GUEST_ACTIVITY, VALUE(4)}}},
    {"GUEST_ACTIVITY", {{GUEST_ACTIVITY, VALUE(1)}, {GUEST_INTERRUPTIBILITY, VALUE(1)}}},
    {"GUEST_INTERRUPTIBILITY", {{GUEST_INTERRUPTIBILITY, VALUE(3)}}},
    {"GUEST_INTERRUPTIBILITY", {{GUEST_INTERRUPTIBILITY, VALUE(1)}, {GUEST_RFLAGS, RFLAGS_IF, 0}}},
    {"GUEST_INTERRUPTIBILITY",
     {{GUEST_INTERRUPTIBILITY, VALUE(1)}, {ENTRY_INTERRUPTION_INFO, VALUE(0x80000040)}}},
    {"GUEST_INTERRUPTIBILITY", {{GUEST_INTERRUPTIBILITY, VALUE(BIT(5))}}},
    {"GUEST_PENDING_DEBUG", {{GUEST_PENDING_DEBUG, VALUE(BIT(4))}}},
    {"VMCS_LINK_POINTER", {{VMCS_LINK_POINTER, VALUE(1)}}},
    {"GUEST_PDPTE0", // a 32-bit guest with PAE
     {{ENTRY_CONTROLS, ENTRY_GUEST_64, 0},
      {GUEST_EFER, EFER_LMA | EFER_LME, 0},
      {GUEST_CS_RIGHTS, BIT(13), BIT(14)},
      {GUEST_PDPTE0, VALUE(0x7)}}},
};

// (The encoding of VPID is 0.)
static bool used(const struct poke *p) {
    return p->clear | p->set;
}

// Enters the guest with some fields changed, and puts them back. Interrupts off.
static void enter_poked(struct vcpu *v, const struct failure *f, struct vm_exit *e, char *why,
                        size_t size) {
    uint64_t saved[ARRAY_SIZE(f->pokes)];
    for (unsigned i = 0; i < ARRAY_SIZE(f->pokes) && used(&f->pokes[i]); i++) {
        const struct poke *p = &f->pokes[i];
        saved[i] = vmcs_read_raw(p->field);
        vmcs_write_raw(p->field, (saved[i] & ~p->clear) | p->set);
    }
    *e = *vmx_run(v, 0, 1);
    why[0] = 0;
    if (e->kind == EXIT_ENTRY_FAILED)
        vmx_explain(v, why, size);
    for (unsigned i = ARRAY_SIZE(f->pokes); i-- > 0;)
        if (used(&f->pokes[i]))
            vmcs_write_raw(f->pokes[i].field, saved[i]);
}

static bool names(const char *why, const char *field) {
    const char *at = strstr(why, field);
    return at && at[strlen(field)] == ' ' && (at == why || at[-1] == ' ');
}

static bool try_failure(struct probe_guest *g, const struct failure *f) {
    struct vm_exit e;
    char why[256];
    probe_guest_start(g, probe_loop, 10);
    irq_disable();
    vmx_vendor.vcpu_load(g->v);
    vmx_write_dirty(g->v);
    enter_poked(g->v, f, &e, why, sizeof(why));
    vmx_vendor.vcpu_put(g->v);
    irq_enable();
    bool good = e.kind == EXIT_ENTRY_FAILED && names(why, f->wanted);
    log_printf(good ? LOG_INFO : LOG_ERROR, "vmm: selftest: %s: %s: %s", f->wanted,
               good ? "ok" : "NOT OK",
               e.kind == EXIT_ENTRY_FAILED ? why : "the entry was not refused");
    return good;
}

void vmx_selftest(void) {
    struct probe_guest g;
    if (!probe_guest_create(&g)) {
        log_error("vmm: selftest: no memory");
        return;
    }
    unsigned good = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(failures); i++)
        good += try_failure(&g, &failures[i]);
    // And the guest still runs.
    probe_guest_start(&g, probe_loop, 10);
    bool runs = probe_guest_run(&g, UINT32_MAX) == EXIT_HLT && g.v->gpr[GPR_RCX] == 0;
    probe_guest_free(&g);
    log_info("vmm: selftest: %u of %u refused entries explained; the guest %s afterwards", good,
             (unsigned)ARRAY_SIZE(failures), runs ? "runs" : "does NOT run");
}
