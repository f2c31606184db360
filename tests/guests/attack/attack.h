// Parts of the hostile guest: each goes on until it has tried everything, whatever the devices make of it.
#pragma once
#include "tests/guests/lib/guest.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

uint64_t any_number(void); // the same ones in every run
static inline uint64_t below(uint64_t n) {
    return any_number() % n;
}
// Numbers that registers have something against more often than against others.
uint64_t nasty_number(void);

uint32_t pci_read(unsigned slot, unsigned function, unsigned offset);
void pci_write(unsigned slot, unsigned function, unsigned offset, uint32_t value);

void attack_ports(void);  // devices.c
void attack_ide(void);    // disk.c
void attack_virtio(void); // rings.c
void attack_apic(
    void); // apic.c: the last one, since nothing can be expected of interrupts after it
