// reboot(2) and the way to power-off.
#include "proc/power.h"
#include <linux/reboot.h>
#include "acpi/power.h"
#include "cpu/clock.h"
#include "drivers/uart.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "proc/process.h"
#include "proc/signal_internal.h"
#include "proc/table.h"
#include "sched/world.h"
#include "syscall/syscall.h"

static void kill_one(struct process *p, void *except) {
    if (p != except && p != init_process)
        signal_send_process(p, SIGKILL, NULL);
}

noreturn void system_shut_down(enum power_action action) {
    process_for_each(kill_one, current_process());
    // Programs that are ending close their files; give them a moment, but do not depend on it.
    for (int i = 0; i < 50 && process_count() > 2; i++)
        (void)world_sleep_until(clock_monotonic() + 10 * 1000 * 1000);
    static const char *const names[] = {"powering off", "restarting", "halting"};
    log_notice("system: %s", names[action]);
    vfs_sync_all();
    vfs_unmount_all();
    uart_drain_all();
    switch (action) {
    case POWER_RESTART: system_restart();
    case POWER_OFF: system_power_off();
    case POWER_HALT: break;
    }
    log_notice("system: halted");
    for (;;)
        (void)world_sleep_until(UINT64_MAX);
}

long sys_reboot(unsigned magic1, unsigned magic2, unsigned cmd, void __user *arg) {
    bool magic = magic1 == LINUX_REBOOT_MAGIC1 &&
                 (magic2 == LINUX_REBOOT_MAGIC2 || magic2 == LINUX_REBOOT_MAGIC2A ||
                  magic2 == LINUX_REBOOT_MAGIC2B || magic2 == LINUX_REBOOT_MAGIC2C);
    if (current_process()->euid != 0)
        return -EPERM;
    if (!magic)
        return -EINVAL;
    switch (cmd) {
    case LINUX_REBOOT_CMD_CAD_ON:
    case LINUX_REBOOT_CMD_CAD_OFF: return 0; // there is no Ctrl-Alt-Del here
    case LINUX_REBOOT_CMD_RESTART:
    case LINUX_REBOOT_CMD_RESTART2: system_shut_down(POWER_RESTART);
    case LINUX_REBOOT_CMD_POWER_OFF: system_shut_down(POWER_OFF);
    case LINUX_REBOOT_CMD_HALT: system_shut_down(POWER_HALT);
    default: return -EINVAL;
    }
}
