// A virtual machine in one process with one thread: vCPUs, memory, the bus and all devices.
#pragma once
#include <linux/kvm.h>
#include <stdio.h>
#include "vmm/extension.h"
#include "vmm/machine/bus.h"
#include "vmm/machine/device.h"
#include "vmm/machine/exits.h"
#include "vmm/machine/irq.h"
#include "vmm/machine/vtime.h"

#define MACHINE_MAX_VCPUS 16
#define MACHINE_MAX_SLOTS 3
#define MACHINE_UNCLAIMED 64 // places without a device that are reported

struct config;
struct debug;
struct display;
struct guest;
struct inputs;
struct ioapic;
struct lapic;
struct pci;
struct pic;
struct pit;
struct acpi_pm;
struct rtc;
struct state_known;
struct sums;
struct vga;

// One vCPU as the machine sees it; vCPUs run one at a time in the machine's thread. (cpu.h)
struct cpu {
    struct device device; // its state: the flags below
    struct machine *machine;
    unsigned index; // also its APIC id
    int fd;
    struct kvm_run *run;
    struct chrono_run *chrono; // NULL under a KVM without our extension
    struct lapic *lapic;
    bool halted;           // in HLT: runs again when an interrupt is pending
    bool waiting_for_sipi; // after INIT: runs again at a start-up IPI
    bool nmi_pending;
    bool init_pending, sipi_pending; // arrived, not yet carried out
    uint8_t sipi_vector;
    uint64_t changes;            // grows whenever the registers may have changed
    bool access_pending;         // a port or memory access is completed by the next KVM_RUN
    struct cpu_initial *initial; // registers as after power-on (cpu.c)
};

enum machine_end {
    MACHINE_RUNNING,
    MACHINE_POWERED_OFF,
    MACHINE_RESET,
    MACHINE_TRIPLE_FAULT,
    MACHINE_CRASHED, // the guest did what neither KVM nor we can carry out, and does so in a replay
    MACHINE_FAILED,  // for a reason of the host's
    MACHINE_QUIT,
    MACHINE_SILENT // the guest makes no exits: it was left at a place that is no landmark (exit_clock.h)
};

struct machine {
    const struct config *config;
    int kvm_fd, vm_fd;
    struct cpu cpus[MACHINE_MAX_VCPUS];
    unsigned cpu_count;
    struct cpu *current; // whose turn it is
    // Guest memory: one anonymous mapping, without a guest's view of a0000h..b7fffh; below 4 GB up to `low_size` (at most 3 GB), the rest from 4 GB.
    uint8_t *ram;
    uint64_t ram_size, low_size;
    unsigned physical_bits; // of addresses, as CPUID says
    uint64_t cpuid_sum;     // of the first vCPU's CPUID leaves
    struct {
        uint64_t offset, size; // in RAM
    } slots[MACHINE_MAX_SLOTS];
    unsigned slot_count;       // memory slots of the VM in use
    struct sums *sums;         // of memory (sums.h); NULL: nobody asks for them
    struct state_known *known; // of registers and devices (hash.c)
    struct device *devices;
    struct device irq_device;                 // irq.c
    struct bus_range *ranges[2];              // sorted by base
    uint64_t unclaimed[2][MACHINE_UNCLAIMED]; // places that were reported (bus.c)
    unsigned unclaimed_count[2];
    uint32_t pci_lines
        [IRQ_PCI_LINES]; // irq.c: sources that assert each PCI interrupt line, a bit per slot
    bool extension;      // KVM has vmm/extension.h's
    // Virtual time (vtime.h): V = anchor + count. `exact`: the VMM counts instructions and stops the guest
    // at counts; otherwise the count is the host's TSC.
    bool exact;
    // `by_exits`: V passes with the guest's exits, and the count is of them (exit_clock.h).
    bool by_exits;
    bool steps_in_shadow; // a single step over STI ends in its shadow (struct chrono_clock)
    uint64_t hz, anchor, count;
    uint64_t next_stop;    // count at which the slice ends
    bool yield;            // the current vCPU gives way to another (run.c)
    bool alone;            // no other vCPU can run before the next exit, stop or input
    bool memory_written;   // by us, since the last KVM_RUN (guest_memory())
    bool woken;            // an idle time is over: what is due now comes next (run.c)
    bool paused;           // machine_run() returned for the debugger and goes on where it was
    struct vtimer *timers; // armed, sorted by (deadline, order)
    unsigned timer_count;
    struct pic *pic;
    struct pit *pit;
    struct ioapic *ioapic;
    struct rtc *rtc;
    struct pci *pci; // NULL: no PCI bus
    struct vga *vga;
    struct display *display; // display.h; NULL: none
    bool a20;                // ports.c: the gate's state; addresses are never masked
    struct acpi_pm *acpi_pm;
    struct inputs *inputs; // replay/inputs.h
    struct guest *guest;   // images (guest.h)
    struct debug *debug;   // debug.h; NULL: nobody looks
    struct exits exits;
    FILE *trace;          // every exit goes there; NULL: nowhere
    enum machine_end end; // set by devices (power-off, reset); the run loop looks at it
    int exit_status;      // of vmx after MACHINE_POWERED_OFF; a debug port may set it
    char end_reason[512];
};

// Makes the machine that the configuration asks for: opens /dev/kvm, creates memory, vCPUs and devices.
// NULL after a message.
struct machine *machine_create(const struct config *config);
// Power-on state of everything, with the guest loaded. 0, or -errno after a message.
int machine_power_on(struct machine *m);
void machine_destroy(struct machine *m);
// Runs until something ends the machine: the result is also m->end. MACHINE_RUNNING: the debugger paused it, and
// the next call goes on. (run.c)
enum machine_end machine_run(struct machine *m);
// Finishes the instruction whose port or memory access was answered, so that the machine can be looked at. (run.c)
void machine_complete_access(struct machine *m);

// Host address of [gpa, gpa+n) of guest RAM, NULL when it is not all RAM. For DMA and loaders, at once: what is
// written there after the next sum of memory is not in the sums.
void *guest_memory(struct machine *m, uint64_t gpa, uint64_t n);
// Guest-physical address of a byte of m->ram.
uint64_t memory_address(const struct machine *m, uint64_t offset);
// The same for who only reads.
const void *memory_look(const struct machine *m, uint64_t gpa, uint64_t n);
// memory.c: maps the guest's RAM and tells KVM. 0, or -errno after a message.
int memory_create(struct machine *m, uint64_t size);
// Zeroes RAM and gives its pages back to the host.
void memory_clear(struct machine *m);

// Ends the run loop at the next stop: how, and a sentence for the user.
void machine_stop(struct machine *m, enum machine_end end, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// Messages of the VM for its user (not the guest's console): standard error, prefixed by the VM's name.
void machine_log(struct machine *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// The same for what only interests those who look closely (option -v): unclaimed ports and the like.
void machine_trace(struct machine *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
