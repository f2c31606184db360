// The VGA text screen: four virtual terminals (vt.c has each one's contents), the hardware cursor,
// switching, scrolling back, and the log's console.
#include "cpu/panic.h"
#include "cpu/x86.h"
#include "drivers/early_console.h"
#include "drivers/keyboard.h"
#include "drivers/vga.h"
#include "drivers/vt.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/heap.h"
#include "mm/layout.h"
#include "mm/uaccess.h"
#include "tty/tty.h"
#include <linux/kd.h>
#include <linux/major.h>
#include <linux/vt.h>

#define COLUMNS       80u
#define ROWS          25u
#define HISTORY_LINES 200u
#define TEXT_MEMORY   0xb8000
#define CRTC_INDEX    0x3d4
#define CRTC_DATA     0x3d5
enum {
    CRTC_CURSOR_START = 0x0a,
    CRTC_CURSOR_END = 0x0b,
    CRTC_START_HIGH = 0x0c,
    CRTC_START_LOW = 0x0d,
    CRTC_CURSOR_HIGH = 0x0e,
    CRTC_CURSOR_LOW = 0x0f
};
#define CURSOR_OFF 0x20

struct screen {
    struct vt vt;
    struct tty *tty;
    uint16_t cells[ROWS * COLUMNS];
    uint16_t history[HISTORY_LINES * COLUMNS];
};

// Covers all screens, the choice of the foreground and the hardware. Taken inside a terminal's lock.
static struct spinlock lock = SPINLOCK_INIT;
static struct screen *screens[VGA_TERMINALS];
static unsigned foreground;
static unsigned back; // lines that the view is scrolled back

// ---- hardware

static void crtc_write(uint8_t index, uint8_t value) {
    outb(CRTC_INDEX, index);
    outb(CRTC_DATA, value);
}

static void show_cursor(const struct vt *v) {
    static unsigned shown_at = ~0u; // each port write costs a VM exit under a hypervisor
    bool visible = v->cursor_visible && back == 0;
    unsigned at = visible ? v->cursor.y * COLUMNS + v->cursor.x : ROWS * COLUMNS;
    if (at == shown_at)
        return;
    if ((at < ROWS * COLUMNS) != (shown_at < ROWS * COLUMNS)) {
        crtc_write(CRTC_CURSOR_START, visible ? 13 : CURSOR_OFF);
        crtc_write(CRTC_CURSOR_END, 14);
    }
    crtc_write(CRTC_CURSOR_HIGH, at >> 8);
    crtc_write(CRTC_CURSOR_LOW, at & 0xff);
    shown_at = at;
}

// Brings what changed in the foreground to the screen.
static void refresh(void) {
    struct vt *v = &screens[foreground]->vt;
    volatile uint16_t *text = phys_to_virt(TEXT_MEMORY);
    for (unsigned y = v->dirty_from; y < v->dirty_to; y++) {
        const uint16_t *row = vt_view_row(v, y, back);
        for (unsigned x = 0; x < COLUMNS; x++)
            text[y * COLUMNS + x] = row[x];
    }
    v->dirty_from = v->dirty_to = 0;
    show_cursor(v);
}

static void refresh_all(void) {
    vt_touch(&screens[foreground]->vt, 0, ROWS);
    refresh();
}

static void show_written(struct screen *s) {
    if (s != screens[foreground])
        return;
    if (back) {
        back = 0;
        vt_touch(&s->vt, 0, ROWS);
    }
    refresh();
}

// ---- for the keyboard

struct tty *vga_foreground(void) {
    return screens[0] ? screens[READ_ONCE(foreground)]->tty : NULL;
}

void vga_switch(unsigned n) {
    if (n >= VGA_TERMINALS || !screens[n])
        return;
    spin_lock(&lock);
    foreground = n;
    back = 0;
    refresh_all();
    spin_unlock(&lock);
}

void vga_scroll(int lines) {
    if (!screens[0])
        return;
    spin_lock(&lock);
    int want = (int)back + lines, most = screens[foreground]->vt.history_count;
    back = want < 0 ? 0 : MIN(want, most);
    refresh_all();
    spin_unlock(&lock);
}

bool vga_application_cursor(void) {
    return screens[0] && screens[READ_ONCE(foreground)]->vt.application_cursor;
}

// ---- the terminals' driver

static size_t vga_write(struct tty *t, const char *text, size_t n) {
    struct screen *s = tty_data(t);
    spin_lock(&lock);
    vt_write(&s->vt, text, n);
    show_written(s);
    spin_unlock(&lock);
    return n;
}

// Called by vt_write() inside vga_write(), so with the terminal's lock held.
static void vga_answer(struct vt *v, const char *text, size_t n) {
    tty_answer(container_of(v, struct screen, vt)->tty, text, n);
}

static long get_state(struct vt_stat __user *to) {
    struct vt_stat s = {.v_active = READ_ONCE(foreground) + 1,
                        .v_state = ((1 << VGA_TERMINALS) - 1) << 1 | 1};
    return copy_to_user(to, &s, sizeof(s));
}

static long activate(unsigned long n) {
    if (n < 1 || n > VGA_TERMINALS)
        return -ENXIO;
    vga_switch(n - 1);
    return 0;
}

// What programs ask a Linux console (console_ioctl(4)); the rest is not a request of ours.
static long vga_ioctl(struct tty *t, unsigned cmd, unsigned long arg) {
    switch (cmd) {
    case KDGKBTYPE: return put_user((char)KB_101, (char __user *)arg);
    case KDGETMODE: return put_user((int)KD_TEXT, (int __user *)arg);
    case KDSETMODE: return arg == KD_TEXT ? 0 : -EINVAL;
    case KDGKBMODE: return put_user((int)K_UNICODE, (int __user *)arg);
    case KDSKBMODE: return arg == K_UNICODE || arg == K_XLATE ? 0 : -EINVAL;
    case KDGKBLED:
    case KDGETLED: return put_user((char)keyboard_leds(), (char __user *)arg);
    case VT_OPENQRY: return put_user(-1, (int __user *)arg); // none is to be had besides ours
    case VT_GETSTATE: return get_state((struct vt_stat __user *)arg);
    case VT_ACTIVATE: return activate(arg);
    case VT_WAITACTIVE: return arg >= 1 && arg <= VGA_TERMINALS ? 0 : -ENXIO;
    default: return -ENOTTY;
    }
}

static const struct tty_driver driver = {.name = "tty", .write = vga_write, .ioctl = vga_ioctl};

// ---- the log

// A panic has the screen for itself: tty1, cleared, from the top.
static void take_over(void) {
    static bool taken;
    if (taken)
        return;
    taken = true;
    foreground = back = 0;
    vt_reset(&screens[0]->vt);
}

static void console_write(struct console *c, const char *text, size_t n) {
    bool locked = !panicking && !spin_held(&lock); // held: logged from within this driver
    if (locked)
        spin_lock(&lock);
    if (panicking)
        take_over();
    vt_write_message(&screens[0]->vt, text, n);
    show_written(screens[0]);
    if (locked)
        spin_unlock(&lock);
}

// ---- start

static bool present(void) {
    volatile uint16_t *text = phys_to_virt(TEXT_MEMORY);
    uint16_t was = text[0];
    text[0] = 0x075a;
    bool yes = text[0] == 0x075a;
    text[0] = was;
    return yes;
}

static struct screen *make_screen(unsigned n) {
    char name[16];
    struct screen *s = kzalloc(sizeof(*s));
    if (!s)
        return NULL;
    vt_init(&s->vt, ROWS, COLUMNS, s->cells, s->history, HISTORY_LINES);
    s->vt.answer = vga_answer;
    snprintf(name, sizeof(name), "tty%u", n + 1);
    s->tty = tty_create(name, DEV(TTY_MAJOR, n + 1), &driver, s);
    if (!s->tty) {
        kfree(s);
        return NULL;
    }
    tty_set_defaults(s->tty, IUTF8, 0);
    tty_set_size(s->tty, ROWS, COLUMNS);
    return s;
}

// What the early console wrote stays; the cursor goes below it.
static void adopt_contents(struct screen *s) {
    const volatile uint16_t *text = phys_to_virt(TEXT_MEMORY);
    unsigned used = 0;
    for (unsigned i = 0; i < ROWS * COLUMNS; i++) {
        s->cells[i] = text[i];
        if ((text[i] & 0xff) != ' ' && (text[i] & 0xff) != 0)
            used = i / COLUMNS + 1;
    }
    s->vt.cursor.y = MIN(used, ROWS - 1);
    if (used == ROWS)
        vt_linefeed(&s->vt);
}

void vga_init(void) {
    static const struct tty_alias active = {vga_foreground, false};
    if (!present()) {
        log_info("vga: no text screen");
        return;
    }
    for (unsigned i = 0; i < VGA_TERMINALS; i++) {
        struct screen *s = make_screen(i);
        if (!s)
            return;
        if (i == 0)
            adopt_contents(s);
        screens[i] = s;
    }
    crtc_write(CRTC_START_HIGH, 0);
    crtc_write(CRTC_START_LOW, 0);
    refresh_all();
    tty_register_alias("tty0", 0620, DEV(TTY_MAJOR, 0), &active);
    early_consoles[EARLY_VGA].write = console_write;
    log_info("vga: %ux%u text, tty1-tty%u", COLUMNS, ROWS, VGA_TERMINALS);
}
