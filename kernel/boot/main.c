// The boot, from the loader's hand-over to the first program, in one list.
#include "boot/main.h"
#include "boot/boot_info.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "cpu/panic.h"
#include "proc/process.h"
#include "sched/world.h"

static void start_first_program(void) {
    static char path[256];
    const char *init = cmdline_get("init", 0);
    strlcpy(path, init ? init : "/sbin/init", sizeof(path));
    char *argv[] = {path, NULL};
    char *envp[] = {"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=linux", NULL};
    int err = process_start_init(path, argv, envp);
    if (err)
        panic("boot: the first program %s cannot be started (error %d): is it in the initrd, "
              "static and executable? Another one can be given by init=PATH",
              path, -err);
}

noreturn void kernel_main(uint32_t magic, uint64_t info) {
    boot_info_parse(magic, info);
    console_early_init();
    cpu_init_boot();
    memory_init();
    acpi_init();
    interrupts_init();
    clock_init();
    banner_print();
    sched_init();
    smp_init();
    fs_init();
    ipc_init();
    proc_init();
    tty_init();
    drivers_init();
    volumes_init();
    if (vmm_init)
        vmm_init();
    if (cmdline_has("panic"))
        panic_test(cmdline_get("panic", 0)); // shows what a report looks like
    start_first_program();
    world_exit();
}
