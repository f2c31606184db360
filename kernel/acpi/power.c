// Off and reset.
#include "acpi/acpi.h"
#include "acpi/power.h"
#include "cpu/x86.h"
#include "drivers/uart.h"
#include "lib/log.h"

// PM1 control register, ACPI 6.5, table 4.12
#define PM1_SCI_ENABLE   (1u << 0)
#define PM1_SLEEP_TYPE   10
#define PM1_SLEEP_ENABLE (1u << 13)

#define POLLS 1000000

// What was written last shall be read: waits until the serial ports have sent what the terminals
// still hold, and what is in their FIFOs.
static void drain_serial(void) {
    uart_drain_all();
    static const uint16_t line_status[] = {0x3f8 + 5, 0x2f8 + 5};
    for (unsigned i = 0; i < ARRAY_SIZE(line_status); i++)
        for (unsigned n = 0; n < POLLS && !(inb(line_status[i]) & 0x40); n++)
            cpu_relax();
}

// Power registers belong to the firmware until ACPI mode is on (ACPI 6.5, 4.8.2.5).
static void enable_acpi_mode(void) {
    if ((inw(acpi_info.pm1a_control) & PM1_SCI_ENABLE) || !acpi_info.smi_command ||
        !acpi_info.acpi_enable)
        return;
    outb(acpi_info.smi_command, acpi_info.acpi_enable);
    for (unsigned n = 0; n < POLLS && !(inw(acpi_info.pm1a_control) & PM1_SCI_ENABLE); n++)
        cpu_relax();
}

static void enter_s5(void) {
    if (!acpi_info.s5_valid || !acpi_info.pm1a_control)
        return;
    enable_acpi_mode();
    uint16_t keep = inw(acpi_info.pm1a_control) & ~(7u << PM1_SLEEP_TYPE);
    outw(acpi_info.pm1a_control, keep | acpi_info.s5_a << PM1_SLEEP_TYPE | PM1_SLEEP_ENABLE);
    if (acpi_info.pm1b_control)
        outw(acpi_info.pm1b_control, keep | acpi_info.s5_b << PM1_SLEEP_TYPE | PM1_SLEEP_ENABLE);
    for (unsigned n = 0; n < POLLS; n++)
        cpu_relax();
}

noreturn void system_power_off(void) {
    log_notice("acpi: switching off");
    drain_serial();
    irq_disable();
    enter_s5();
    for (const char *p = "Shutdown"; *p; p++) // Bochs
        outb(0x8900, *p);
    log_error("acpi: this machine does not switch itself off; it is safe to do it by hand now");
    for (;;)
        __asm__ volatile("cli; hlt");
}

noreturn void system_restart(void) {
    log_notice("acpi: restarting");
    drain_serial();
    irq_disable();
    if (acpi_info.reset_port)
        outb(acpi_info.reset_port, acpi_info.reset_value);
    outb(0xcf9, 0x02); // PCI reset control: hard reset, then go
    outb(0xcf9, 0x06);
    for (unsigned n = 0; n < POLLS && (inb(0x64) & 2); n++)
        cpu_relax();
    outb(0x64, 0xfe); // keyboard controller: pulse the reset line
    for (unsigned n = 0; n < POLLS; n++)
        cpu_relax();
    static const struct {
        uint16_t limit;
        uint64_t base;
    } packed no_idt = {0, 0};
    for (;;)
        __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
}
