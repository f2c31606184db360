// A VGA in text mode: all registers of the IBM VGA can be written and read back; the text memory at
// B8000h is RAM of the guest, so that writing text costs no exit. There are no graphics modes.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct machine;
struct vga;

#define VGA_TEXT    0xb8000u
#define VGA_COLUMNS 80
#define VGA_ROWS    25

void vga_create(struct machine *m);

struct vga_screen {
    uint16_t cell[VGA_ROWS][VGA_COLUMNS]; // character in code page 437, attribute << 8
    bool cursor;                          // shown, at
    unsigned cursor_row, cursor_column;
};
// What is on the screen now.
void vga_render(const struct vga *v, struct vga_screen *s);
// The character as UTF-8, for a terminal: 1 to 3 bytes and a zero. Returns how many.
unsigned vga_utf8(uint8_t character, char text[4]);
// At the end of a VM whose guest has written to nothing else (output.h): tells its user what is on the screen, if
// anything is. A kernel that only knows the screen would seem dead.
void vga_tell(struct machine *m);
