// The local APIC: interrupts between processors, the timer, and the end of every interrupt. Works in
// x2APIC mode where the processor has it, else through the memory-mapped registers.
#pragma once
#include "lib/compiler.h"

// Registers: Intel SDM vol. 3, table 11-6 (x2APIC: MSR 0x800 + offset / 16)
enum apic_register {
    APIC_ID = 0x20,
    APIC_VERSION = 0x30,
    APIC_TPR = 0x80,
    APIC_EOI = 0xb0,
    APIC_SPURIOUS = 0xf0,
    APIC_ESR = 0x280,
    APIC_ICR = 0x300,
    APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_THERMAL = 0x330,
    APIC_LVT_PERFORMANCE = 0x340,
    APIC_LVT_LINT0 = 0x350,
    APIC_LVT_LINT1 = 0x360,
    APIC_LVT_ERROR = 0x370,
    APIC_TIMER_INITIAL = 0x380,
    APIC_TIMER_CURRENT = 0x390,
    APIC_TIMER_DIVIDE = 0x3e0,
};

// Delivery modes and other bits of the interrupt command register (11.6.1)
#define ICR_FIXED   0x000u
#define ICR_NMI     0x400u
#define ICR_INIT    0x500u
#define ICR_STARTUP 0x600u
#define ICR_ASSERT  0x4000u
#define ICR_PENDING 0x1000u

#define LVT_MASKED       0x10000u
#define LVT_NMI          0x400u
#define LVT_TSC_DEADLINE 0x40000u // timer only; 0: one-shot

// Finds the registers and chooses the mode. Boot processor, once.
void apic_init(void);
// Switches the local APIC of the calling processor on. Needs apic_init().
void apic_init_cpu(void);
uint32_t apic_read(enum apic_register r);
void apic_write(enum apic_register r, uint32_t value);
// The calling processor's ID.
uint32_t apic_id(void);
void apic_eoi(void);
// Sends what `command` (ICR_*, vector) says to the processor with that ID. Any context.
void apic_send(uint32_t id, uint32_t command);
// "x2APIC" or "xAPIC".
const char *apic_mode(void);
