// Early consoles (drivers/early_console.h). console= on the command line chooses which of them show
// the log; without it the screen and the first serial port do.
#include "boot/boot_info.h"
#include "boot/main.h"
#include "cpu/x86.h"
#include "drivers/early_console.h"
#include "lib/string.h"

// 8250 registers, relative to the port's base
enum { UART_DATA = 0, UART_IER = 1, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };
#define LSR_THR_EMPTY 0x20
#define UART_PATIENCE 200000 // polls; a port that is not there, or stuck, must not stop the kernel

static const uint16_t uart_base[EARLY_COUNT] = {[EARLY_TTYS0] = 0x3f8, [EARLY_TTYS1] = 0x2f8};

static void uart_setup(uint16_t base) {
    outb(base + UART_IER, 0);    // polled
    outb(base + UART_LCR, 0x80); // divisor latch
    outb(base + UART_DATA, 1);   // 115200
    outb(base + UART_IER, 0);
    outb(base + UART_LCR, 3); // 8 bits, no parity, 1 stop bit
    outb(base + UART_FCR, 7); // FIFOs on and empty
    outb(base + UART_MCR, 3); // DTR, RTS
}

static bool uart_present(uint16_t base) {
    return inb(base + UART_LSR) != 0xff;
}

static void uart_put(uint16_t base, char c) {
    for (int i = 0; i < UART_PATIENCE && !(inb(base + UART_LSR) & LSR_THR_EMPTY); i++)
        cpu_relax();
    outb(base + UART_DATA, c);
}

static void uart_write(struct console *c, const char *text, size_t n) {
    uint16_t base = uart_base[c - early_consoles];
    for (; n; n--, text++) {
        if (*text == '\n')
            uart_put(base, '\r');
        uart_put(base, *text);
    }
}

#define VGA_COLUMNS 80
#define VGA_ROWS    25
#define VGA_BLANK   0x0720 // space, grey on black
#define VGA_BUFFER  0xb8000

static unsigned vga_row, vga_column;

static void vga_scroll(volatile uint16_t *screen) {
    for (unsigned i = 0; i < VGA_COLUMNS * (VGA_ROWS - 1); i++)
        screen[i] = screen[i + VGA_COLUMNS];
    for (unsigned i = 0; i < VGA_COLUMNS; i++)
        screen[VGA_COLUMNS * (VGA_ROWS - 1) + i] = VGA_BLANK;
}

static void vga_newline(volatile uint16_t *screen) {
    vga_column = 0;
    if (vga_row < VGA_ROWS - 1)
        vga_row++;
    else
        vga_scroll(screen);
}

static void vga_write(struct console *c, const char *text, size_t n) {
    volatile uint16_t *screen = phys_to_virt(VGA_BUFFER);
    for (; n; n--, text++) {
        if (*text == '\n') {
            vga_newline(screen);
            continue;
        }
        if (vga_column == VGA_COLUMNS)
            vga_newline(screen);
        screen[vga_row * VGA_COLUMNS + vga_column++] = (VGA_BLANK & 0xff00) | (uint8_t)*text;
    }
}

static void vga_clear(void) {
    volatile uint16_t *screen = phys_to_virt(VGA_BUFFER);
    for (unsigned i = 0; i < VGA_COLUMNS * VGA_ROWS; i++)
        screen[i] = VGA_BLANK;
    vga_row = vga_column = 0;
}

struct console early_consoles[EARLY_COUNT] = {
    {.name = "vga", .write = vga_write},
    {.name = "ttyS0", .write = uart_write},
    {.name = "ttyS1", .write = uart_write},
};

static bool wanted(const char *name) {
    const char *value = cmdline_get("console", 0);
    if (!value)
        return strcmp(name, "ttyS1") != 0;
    for (unsigned i = 1; value; value = cmdline_get("console", i++)) {
        size_t n = strlen(name); // "ttyS0,115200" is ttyS0 too
        if (!strncmp(value, name, n) && (!value[n] || value[n] == ','))
            return true;
    }
    return false;
}

void console_early_init(void) {
    const char *level = cmdline_get("loglevel", 0);
    if (level && *level >= '0' && *level <= '9')
        log_set_level(MIN((unsigned)(*level - '0'), (unsigned)LOG_DEBUG));
    vga_clear();
    for (unsigned i = 0; i < EARLY_COUNT; i++) {
        if (uart_base[i] && uart_present(uart_base[i]))
            uart_setup(uart_base[i]);
        else if (uart_base[i])
            continue;
        if (wanted(early_consoles[i].name))
            log_add_console(&early_consoles[i]);
    }
}
