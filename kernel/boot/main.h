// What each part of the kernel does at boot, in the order in which kernel_main() (boot/main.c) calls
// it. Every function runs on the boot processor, once, and panics with a sentence when the machine
// cannot be used; a missing optional device is only logged.
#pragma once
#include "lib/compiler.h"

struct boot_info; // boot/boot_info.h

void console_early_init(void); // drivers/: serial port (polled) and VGA for the log, by console=
void boot_info_parse(uint32_t magic, uint64_t info); // boot/: multiboot2 tags into boot_info
void cpu_init_boot(void);   // cpu/: GDT, IDT, IST stacks, control registers, features
void memory_init(void);     // mm/: frame table, allocator, final kernel page tables, heap, stacks
void acpi_init(void);       // acpi/: RSDP, MADT, FADT
void interrupts_init(void); // cpu/: 8259 off, local APIC, IOAPIC
void clock_init(void);      // cpu/: TSC calibration, timer interrupt
void sched_init(void);      // sched/: run queues; the boot flow becomes a kernel world
void smp_init(void);        // cpu/: starts the other processors
void fs_init(void);         // fs/: root RAM file system, initrd unpacked, /dev, /proc
void ipc_init(void);        // ipc/
void tty_init(void);        // tty/: /dev/tty, ptmx; drivers' terminals
void drivers_init(void);    // drivers/: RTC, 8250, VGA, PS/2, PCI, IDE
void volumes_init(void);    // block/, fs/ext2: our volumes under /vmfs/volumes
void proc_init(void);       // proc/: pid tables, /proc entries of its own
__attribute__((weak)) void vmm_init(void); // vmm/: virtualization; absent in a kernel without it
void banner_print(void);                   // boot/: what this machine is and has
noreturn void kernel_main(uint32_t magic, uint64_t info);
// Called on each further processor once its own state is set up (cpu/smp.c): joins the scheduler.
noreturn void sched_run_secondary(void);
