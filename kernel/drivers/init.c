// The order in which devices are started.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "drivers/ide.h"
#include "drivers/keyboard.h"
#include "drivers/pci.h"
#include "drivers/rtc.h"
#include "drivers/uart.h"
#include "drivers/vga.h"
#include "lib/log.h"
#include "lib/string.h"
#include "proc/process.h"
#include "proc/signal.h"
#include "tty/tty.h"

// Control-Alt-Delete: the first program decides, as in Linux.
static void ask_init_to_reboot(void) {
    struct process *init = process_find(1);
    if (init) {
        signal_send_process(init, SIGINT, NULL);
        process_put(init);
    }
}

// The terminal behind a value of console=: "vga", "tty2", "ttyS0", "ttyS0,115200n8".
static struct tty *console_terminal(const char *value) {
    char name[16];
    strlcpy(name, strcmp(value, "vga") == 0 ? "tty1" : value, sizeof(name));
    char *options = strchr(name, ',');
    if (options)
        *options = 0;
    return tty_find(name);
}

// The last console= that exists is /dev/console; without one the screen, else the first port.
static void choose_console(void) {
    struct tty *chosen = NULL;
    const char *value;
    for (unsigned n = 0; (value = cmdline_get("console", n)) != NULL; n++) {
        struct tty *t = console_terminal(value);
        if (t)
            chosen = t;
        else
            log_warning("console: there is no %s", value);
    }
    if (!chosen)
        chosen = tty_find("tty1");
    if (!chosen)
        chosen = tty_find("ttyS0");
    if (chosen)
        log_info("console: /dev/console is %s", tty_name(chosen));
    else
        log_warning("console: no terminal at all; programs have no /dev/console");
    tty_set_console(chosen);
}

void drivers_init(void) {
    rtc_init();
    uart_init();
    vga_init();
    keyboard_init();
    keyboard_set_reboot_hook(ask_init_to_reboot);
    choose_console();
    pci_init();
    ide_init();
}
