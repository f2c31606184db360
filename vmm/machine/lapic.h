// Local APIC: xAPIC registers by memory, x2APIC registers by MSR (SDM vol. 3, chapter "Advanced
// Programmable Interrupt Controller").
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct lapic;
struct machine;

#define LAPIC_BASE 0xfee00000u

enum apic_delivery { // field "delivery mode" of the ICR, of redirection entries and of messages
    APIC_FIXED,
    APIC_LOWEST,
    APIC_SMI,
    APIC_RESERVED,
    APIC_NMI,
    APIC_INIT,
    APIC_STARTUP, // in LVT and IOAPIC: reserved
    APIC_EXTINT
};

struct apic_message {
    uint32_t destination; // APIC id or logical set; 8 bits unless x2apic
    bool logical, level, level_triggered;
    bool x2apic; // the destination has 32 bits
    enum apic_delivery delivery;
    uint8_t vector;
};

void lapic_create(struct cpu *c);
// Sends a message to the processors that it addresses. True if one of them took it.
bool lapic_send(struct machine *m, const struct apic_message *message);

// Registers by memory: `offset` in the page, width 1..8; only aligned 32-bit accesses are defined.
uint64_t lapic_read(struct lapic *l, unsigned offset, unsigned width);
void lapic_write(struct lapic *l, unsigned offset, unsigned width, uint64_t value);
// Whether the page at this guest-physical address is the APIC's own now.
bool lapic_claims(const struct lapic *l, uint64_t gpa);
// x2APIC registers 800h..8ffh, TSC_DEADLINE, APIC_BASE. False: the access is a general-protection fault.
bool lapic_read_msr(struct lapic *l, uint32_t index, uint64_t *value);
bool lapic_write_msr(struct lapic *l, uint32_t index, uint64_t value);
uint64_t lapic_base(const struct lapic *l);

// The vector that it would deliver now (above the processor priority), or -1.
int lapic_pending(const struct lapic *l);
// Takes that vector into service; -1: none.
int lapic_acknowledge(struct lapic *l);
// Whether the 8259 pair's output, which arrives at LINT0, reaches the processor.
bool lapic_accepts_extint(const struct lapic *l);
// Level of input LINT0 (the 8259 pair's output).
void lapic_set_lint0(struct lapic *l, bool level);
// CR8 of the processor is bits 7..4 of the task priority.
uint8_t lapic_cr8(const struct lapic *l);
void lapic_set_cr8(struct lapic *l, uint8_t cr8);
// INIT: everything but the id and APIC_BASE.
void lapic_init_reset(struct lapic *l);
// Diagnostics.
uint32_t lapic_id(const struct lapic *l);
