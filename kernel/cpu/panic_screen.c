// The panic report on the text screen (cpu/panic_screen.h). Uses nothing but the screen's memory and
// four ports, because everything else may be broken.
#include "cpu/panic_screen.h"
#include "cpu/x86.h"
#include "mm/layout.h"

#define VGA_BUFFER  0xb8000
#define ATTRIBUTE   0x5f00 // bright white on magenta
#define CRTC_INDEX  0x3d4
#define CRTC_DATA   0x3d5
#define CRTC_START  0x0c // high byte of the first character shown; low byte follows
#define CRTC_CURSOR 0x0e

static void crtc_write16(uint8_t index, uint16_t value) {
    outb(CRTC_INDEX, index);
    outb(CRTC_DATA, value >> 8);
    outb(CRTC_INDEX, index + 1);
    outb(CRTC_DATA, value & 0xff);
}

void panic_screen_clear(void) {
    volatile uint16_t *screen = phys_to_virt(VGA_BUFFER);
    for (unsigned i = 0; i < PANIC_SCREEN_COLUMNS * PANIC_SCREEN_ROWS; i++)
        screen[i] = ATTRIBUTE | ' ';
    crtc_write16(CRTC_START, 0); // the terminal may have scrolled by moving the start
    crtc_write16(CRTC_CURSOR, PANIC_SCREEN_COLUMNS * PANIC_SCREEN_ROWS); // out of sight
}

void panic_screen_line(unsigned row, const char *text) {
    if (row >= PANIC_SCREEN_ROWS)
        return;
    volatile uint16_t *at = (uint16_t *)phys_to_virt(VGA_BUFFER) + row * PANIC_SCREEN_COLUMNS;
    for (unsigned i = 0; i < PANIC_SCREEN_COLUMNS && text[i]; i++)
        at[i] = ATTRIBUTE | (uint8_t)text[i];
}
