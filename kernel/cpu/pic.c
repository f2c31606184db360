// Switching the 8259s off (Intel 8259A datasheet: ICW1-4, OCW1).
#include "cpu/pic.h"
#include "cpu/x86.h"

#define PIC1_COMMAND 0x20
#define PIC1_DATA    0x21
#define PIC2_COMMAND 0xa0
#define PIC2_DATA    0xa1
#define PIC_VECTORS  0x20 // 0x20-0x2f: no handler is ever there, see irq.c

void pic_disable(void) {
    outb(PIC1_COMMAND, 0x11); // ICW1: start, ICW4 follows
    outb(PIC2_COMMAND, 0x11);
    outb(PIC1_DATA, PIC_VECTORS); // ICW2
    outb(PIC2_DATA, PIC_VECTORS + 8);
    outb(PIC1_DATA, 4); // ICW3: the second one is on line 2
    outb(PIC2_DATA, 2);
    outb(PIC1_DATA, 1); // ICW4: 8086 mode
    outb(PIC2_DATA, 1);
    outb(PIC1_DATA, 0xff); // OCW1: mask all
    outb(PIC2_DATA, 0xff);
}
