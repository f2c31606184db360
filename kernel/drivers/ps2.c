// The 8042 controller and its keyboard (IBM PS/2 Technical Reference, "Keyboard and Auxiliary Device
// Controller"). The controller translates to scancode set 1. No wait here is without an end: laptops
// and emulators come without one, or with one that answers late.
#include "cpu/clock.h"
#include "cpu/irq.h"
#include "cpu/x86.h"
#include "drivers/keyboard.h"
#include "drivers/keymap.h"
#include "drivers/vga.h"
#include "lib/log.h"
#include "sync/spinlock.h"
#include "tty/tty.h"

#define PORT_DATA    0x60
#define PORT_STATUS  0x64 // read
#define PORT_COMMAND 0x64 // written
enum { STATUS_OUTPUT = 1, STATUS_INPUT = 2, STATUS_MOUSE = 0x20 };
enum {
    CMD_READ_CONFIG = 0x20,
    CMD_WRITE_CONFIG = 0x60,
    CMD_DISABLE_MOUSE = 0xa7,
    CMD_DISABLE_KEYBOARD = 0xad,
    CMD_ENABLE_KEYBOARD = 0xae
};
enum {
    CONFIG_INTERRUPT = 1,
    CONFIG_MOUSE_INTERRUPT = 2,
    CONFIG_DISABLED = 0x10,
    CONFIG_TRANSLATE = 0x40
};
enum { KBD_SET_LEDS = 0xed, KBD_ENABLE = 0xf4, KBD_ACK = 0xfa, KBD_RESEND = 0xfe };
#define TIMEOUT (NSEC_PER_SEC / 20)

static struct keymap keys; // the interrupt handler's alone
static void (*reboot_hook)(void);
// The LED command in progress, one byte per acknowledgement: 2: 0xed was sent, 1: the LEDs were.
static uint8_t led_step, leds_sent;

void keyboard_set_reboot_hook(void (*hook)(void)) {
    reboot_hook = hook;
}
unsigned keyboard_leds(void) {
    return READ_ONCE(keys.locks);
}

// Waits until the status bits in `mask` are `value`. False: they never were.
static bool wait_status(uint8_t mask, uint8_t value) {
    uint64_t end = clock_monotonic() + TIMEOUT;
    while ((inb(PORT_STATUS) & mask) != value) {
        if (clock_monotonic() > end)
            return false;
        cpu_relax();
    }
    return true;
}

static bool command(uint8_t c) {
    if (!wait_status(STATUS_INPUT, 0))
        return false;
    outb(PORT_COMMAND, c);
    return true;
}

static bool send(uint8_t byte) {
    if (!wait_status(STATUS_INPUT, 0))
        return false;
    outb(PORT_DATA, byte);
    return true;
}

static int receive(void) {
    return wait_status(STATUS_OUTPUT, STATUS_OUTPUT) ? inb(PORT_DATA) : -1;
}

static void discard_output(void) {
    for (int i = 0; i < 64 && (inb(PORT_STATUS) & STATUS_OUTPUT); i++)
        inb(PORT_DATA);
}

// ---- in use

static void start_leds(void) {
    if (led_step || (inb(PORT_STATUS) & STATUS_INPUT))
        return; // the acknowledgement of the running one looks again
    led_step = 2;
    outb(PORT_DATA, KBD_SET_LEDS);
}

static void led_acknowledged(void) {
    if (led_step == 2) {
        led_step = 1;
        leds_sent = keys.locks;
        outb(PORT_DATA, leds_sent);
    } else if (led_step == 1) {
        led_step = 0;
        if (leds_sent != keys.locks)
            start_leds();
    }
}

static void act(const struct key_event *e) {
    struct tty *t = vga_foreground();
    switch (e->action) {
    case KEY_TEXT:
        if (t)
            tty_input(t, e->text, e->length);
        break;
    case KEY_LOCKS: start_leds(); break;
    case KEY_SWITCH: vga_switch(e->number); break;
    case KEY_SCROLL: vga_scroll(e->number); break;
    case KEY_REBOOT:
        if (reboot_hook)
            reboot_hook();
        break;
    case KEY_NONE: break;
    }
}

static void keyboard_interrupt(void *arg) {
    for (int i = 0; i < 16; i++) {
        uint8_t status = inb(PORT_STATUS);
        if (!(status & STATUS_OUTPUT))
            break;
        uint8_t byte = inb(PORT_DATA);
        if (status & STATUS_MOUSE)
            continue;
        if (byte == KBD_ACK) {
            led_acknowledged();
        } else if (byte == KBD_RESEND) {
            led_step = 0; // LEDs are not worth a second try
        } else {
            struct key_event e = keymap_feed(&keys, byte, vga_application_cursor());
            act(&e);
        }
    }
}

// ---- start

static bool configure(void) {
    if (!command(CMD_DISABLE_KEYBOARD) || !command(CMD_DISABLE_MOUSE))
        return false;
    discard_output();
    if (!command(CMD_READ_CONFIG))
        return false;
    int config = receive();
    if (config < 0)
        return false;
    config |= CONFIG_INTERRUPT | CONFIG_TRANSLATE;
    config &= ~(CONFIG_MOUSE_INTERRUPT | CONFIG_DISABLED);
    return command(CMD_WRITE_CONFIG) && send(config) && command(CMD_ENABLE_KEYBOARD);
}

void keyboard_init(void) {
    if (inb(PORT_STATUS) == 0xff || !configure()) {
        log_info("ps2: no keyboard controller");
        return;
    }
    if (!send(KBD_ENABLE) || receive() != KBD_ACK)
        log_info("ps2: the keyboard does not answer (none connected?)");
    discard_output();
    if (irq_register(1, "keyboard", keyboard_interrupt, NULL)) {
        log_warning("ps2: no interrupt for the keyboard");
        return;
    }
    log_info("ps2: keyboard, US layout");
}
