// Register bits of a guest's architecture that the kernel itself has no use for; the rest is in
// cpu/msr.h.
#pragma once
#include "cpu/msr.h"

#define CR0_PE    (1ull << 0)
#define CR0_ET    (1ull << 4)
#define CR0_PG    (1ull << 31)
#define CR4_VMXE  (1ull << 13)
#define CR4_PCIDE (1ull << 17)
#define EFER_LMA  (1ull << 10)
#define RFLAGS_TF (1ull << 8)
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_VM (1ull << 17)
#define RFLAGS_RF (1ull << 16)
// Guest interruptibility state (SDM vol. 3, "Guest Non-Register State").
#define BLOCKED_BY_STI    (1u << 0)
#define BLOCKED_BY_MOV_SS (1u << 1)
#define BLOCKED_BY_NMI    (1u << 3)

#define RFLAGS_FIXED     (1ull << 1)
#define RFLAGS_KNOWN     0x3f7fd5ull // CF PF AF ZF SF TF IF DF OF IOPL NT RF VM AC VIF VIP ID
#define CR4_VME          (1ull << 0)
#define CR4_PVI          (1ull << 1)
#define CR4_PSE          (1ull << 4)
#define CR4_MCE          (1ull << 6)
#define CR4_PCE          (1ull << 8)
#define CR4_LA57         (1ull << 12)
#define CR4_SMXE         (1ull << 14)
#define DR6_FIXED        0xffff0ff0ull
#define DR6_BD           (1ull << 13)
#define DR6_BS           (1ull << 14)
#define DR6_BT           (1ull << 15)
#define DR6_RTM          (1ull << 16) // 1: not in a transaction
#define DR7_FIXED        (1ull << 10)
#define DR7_ENABLES      0xffull
#define DR7_GD           (1ull << 13)
#define PENDING_DEBUG_BS (1ull << 14)

enum {
    VECTOR_DE,
    VECTOR_DB,
    VECTOR_NMI,
    VECTOR_BP,
    VECTOR_OF,
    VECTOR_BR,
    VECTOR_UD,
    VECTOR_NM,
    VECTOR_DF,
    VECTOR_TS = 10,
    VECTOR_NP,
    VECTOR_SS,
    VECTOR_GP,
    VECTOR_PF,
    VECTOR_MF = 16,
    VECTOR_AC,
    VECTOR_MC
};

#define MSR_SYSENTER_CS  0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
