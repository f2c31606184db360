// 8250 / 16550A driver (PC16550D data sheet). Reception and transmission by interrupts; the log's
// console writes by polling to the same port under the same lock.
#include "cpu/clock.h"
#include "cpu/irq.h"
#include "cpu/panic.h"
#include "cpu/x86.h"
#include "drivers/early_console.h"
#include "drivers/uart.h"
#include "fs/inode.h"
#include "lib/log.h"
#include "lib/printf.h"
#include "mm/uaccess.h"
#include "sched/world.h"
#include "tty/tty.h"
#include <linux/major.h>
#include <linux/serial.h>

enum uart_register {
    UART_DATA = 0, // and divisor, low
    UART_IER = 1,  // and divisor, high
    UART_IIR = 2,  // read; written: FCR
    UART_FCR = 2,
    UART_LCR = 3,
    UART_MCR = 4,
    UART_LSR = 5,
    UART_MSR = 6,
};
enum { IER_RECEIVE = 1, IER_TRANSMIT = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { LCR_STOP = 4, LCR_PARITY = 8, LCR_EVEN = 0x10, LCR_BREAK = 0x40, LCR_DIVISOR = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT2 = 8 }; // OUT2 connects the interrupt on PCs
enum { LSR_DATA = 1, LSR_OVERRUN = 2, LSR_PARITY = 4, LSR_FRAME = 8, LSR_BREAK = 0x10 };
enum { LSR_EMPTY = 0x20, LSR_IDLE = 0x40 }; // FIFO empty; shift register too
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };
#define FCR_ENABLE 0x81 // FIFOs on, interrupt at 8 bytes; clears nothing
#define IIR_NONE   1
#define IIR_FIFO   0xc0
#define BASE_RATE  115200u
#define PATIENCE   200000 // polls until a stuck port is given up
#define MAX_PASSES 64     // of the interrupt handler, should the port never be satisfied

struct uart {
    uint16_t base; // 0: none
    uint8_t irq;
    unsigned fifo; // bytes that may be written when it is empty
    struct tty *tty;
    struct spinlock lock; // covers the port and what follows; taken inside the terminal's lock
    uint8_t ier, lcr, mcr;
    unsigned divisor;
    bool hardware_flow; // CRTSCTS
    bool in_line;       // the last byte sent was not a newline
    struct serial_icounter_struct count;
};
static struct uart ports[4] = {
    {.base = 0x3f8, .irq = 4},
    {.base = 0x2f8, .irq = 3},
    {.base = 0x3e8, .irq = 4},
    {.base = 0x2e8, .irq = 3},
};

static uint8_t get(const struct uart *u, enum uart_register r) {
    return inb(u->base + r);
}
static void put(const struct uart *u, enum uart_register r, uint8_t v) {
    outb(u->base + r, v);
}

static void wait_lsr(const struct uart *u, uint8_t bits) {
    for (int i = 0; i < PATIENCE && (get(u, UART_LSR) & bits) != bits; i++)
        cpu_relax();
}

static void set_ier(struct uart *u, uint8_t ier) {
    u->ier = ier;
    put(u, UART_IER, ier);
}

// ---- operations of the terminal; its lock is held

static struct uart *uart_of(struct tty *t) {
    return tty_data(t);
}

static size_t uart_write(struct tty *t, const char *text, size_t n) {
    struct uart *u = uart_of(t);
    spin_lock(&u->lock);
    bool clear = !u->hardware_flow || (get(u, UART_MSR) & MSR_CTS);
    if (!clear || !(get(u, UART_LSR) & LSR_EMPTY))
        n = 0;
    n = MIN(n, u->fifo);
    for (size_t i = 0; i < n; i++)
        put(u, UART_DATA, text[i]);
    if (n)
        u->in_line = text[n - 1] != '\n';
    u->count.tx += n;
    // Called again when the FIFO is empty, or when the other end is ready.
    set_ier(u, clear ? u->ier | IER_TRANSMIT : u->ier & ~IER_TRANSMIT);
    spin_unlock(&u->lock);
    return n;
}

static uint8_t line_control(tcflag_t cflag) {
    uint8_t lcr = (cflag & CSIZE) >> 4; // CS5 ... CS8 are the chip's 0 ... 3
    if (cflag & CSTOPB)
        lcr |= LCR_STOP;
    if (cflag & PARENB)
        lcr |= LCR_PARITY | (cflag & PARODD ? 0 : LCR_EVEN);
    return lcr;
}

static void program_line(struct uart *u, uint8_t lcr, unsigned divisor) {
    if (lcr == u->lcr && divisor == u->divisor)
        return;
    wait_lsr(u, LSR_IDLE); // what is on its way goes out with the old settings
    put(u, UART_LCR, lcr | LCR_DIVISOR);
    put(u, UART_DATA, divisor & 0xff);
    put(u, UART_IER, divisor >> 8);
    put(u, UART_LCR, lcr);
    put(u, UART_IER, u->ier);
    u->lcr = lcr;
    u->divisor = divisor;
}

static void uart_set_termios(struct tty *t, const struct ktermios *old) {
    struct uart *u = uart_of(t);
    const struct ktermios *k = tty_termios(t);
    spin_lock(&u->lock);
    unsigned divisor = k->c_ospeed ? BASE_RATE / k->c_ospeed : u->divisor;
    divisor = MAX(divisor, 1u);
    program_line(u, line_control(k->c_cflag), MIN(divisor, 0xffffu));
    u->hardware_flow = k->c_cflag & CRTSCTS;
    u->mcr = k->c_ospeed ? u->mcr | MCR_DTR | MCR_RTS : u->mcr & ~(MCR_DTR | MCR_RTS);
    put(u, UART_MCR, u->mcr);
    set_ier(u, u->hardware_flow ? u->ier | IER_MODEM : u->ier & ~IER_MODEM);
    spin_unlock(&u->lock);
}

static void uart_throttle(struct tty *t, bool on) {
    struct uart *u = uart_of(t);
    spin_lock(&u->lock);
    if (u->hardware_flow) {
        u->mcr = on ? u->mcr & ~MCR_RTS : u->mcr | MCR_RTS;
        put(u, UART_MCR, u->mcr);
    }
    spin_unlock(&u->lock);
}

// ---- operations without the terminal's lock

static void uart_drain(struct tty *t) {
    struct uart *u = uart_of(t);
    for (int i = 0; i < 1000 && !(get(u, UART_LSR) & LSR_IDLE); i++) {
        if (world_sleep_until(clock_monotonic() + NSEC_PER_SEC / 1000))
            break;
    }
}

static void uart_set_break(struct tty *t, bool on) {
    struct uart *u = uart_of(t);
    spin_lock(&u->lock);
    u->lcr = on ? u->lcr | LCR_BREAK : u->lcr & ~LCR_BREAK;
    put(u, UART_LCR, u->lcr);
    spin_unlock(&u->lock);
}

static unsigned modem_bits(struct uart *u) {
    uint8_t msr = get(u, UART_MSR);
    return (u->mcr & MCR_DTR ? TIOCM_DTR : 0) | (u->mcr & MCR_RTS ? TIOCM_RTS : 0) |
           (msr & MSR_CTS ? TIOCM_CTS : 0) | (msr & MSR_DSR ? TIOCM_DSR : 0) |
           (msr & MSR_DCD ? TIOCM_CAR : 0) | (msr & MSR_RI ? TIOCM_RNG : 0);
}

static long set_modem(struct uart *u, unsigned cmd, const unsigned __user *from) {
    unsigned bits;
    if (get_user(bits, from))
        return -EFAULT;
    uint8_t lines = (bits & TIOCM_DTR ? MCR_DTR : 0) | (bits & TIOCM_RTS ? MCR_RTS : 0);
    spin_lock(&u->lock);
    if (cmd == TIOCMSET)
        u->mcr = (u->mcr & ~(MCR_DTR | MCR_RTS)) | lines;
    else
        u->mcr = cmd == TIOCMBIS ? u->mcr | lines : u->mcr & ~lines;
    put(u, UART_MCR, u->mcr);
    spin_unlock(&u->lock);
    return 0;
}

static long uart_ioctl(struct tty *t, unsigned cmd, unsigned long arg) {
    struct uart *u = uart_of(t);
    switch (cmd) {
    case TIOCMGET: return put_user(modem_bits(u), (unsigned __user *)arg);
    case TIOCMSET:
    case TIOCMBIS:
    case TIOCMBIC: return set_modem(u, cmd, (const unsigned __user *)arg);
    case TIOCGICOUNT: return copy_to_user((void __user *)arg, &u->count, sizeof(u->count));
    default: return -ENOTTY;
    }
}

static const struct tty_driver driver = {
    .name = "ttyS",
    .write = uart_write,
    .set_termios = uart_set_termios,
    .throttle = uart_throttle,
    .drain = uart_drain,
    .set_break = uart_set_break,
    .ioctl = uart_ioctl,
};

// ---- interrupts

// Counts what lsr says; returns whether the byte c (perhaps changed) is to be delivered.
static bool check_errors(struct uart *u, uint8_t lsr, char *c) {
    tcflag_t iflag = tty_termios(u->tty)->c_iflag;
    if (lsr & LSR_OVERRUN)
        u->count.overrun++;
    if (lsr & LSR_BREAK) {
        u->count.brk++;
        *c = 0;
        return !(iflag & IGNBRK);
    }
    if (!(lsr & (LSR_PARITY | LSR_FRAME)))
        return true;
    if (lsr & LSR_PARITY)
        u->count.parity++;
    else
        u->count.frame++;
    if (iflag & INPCK)
        *c = 0;
    return !(iflag & IGNPAR);
}

static size_t receive(struct uart *u, char *buf, size_t size) {
    size_t n = 0;
    uint8_t lsr;
    while (n < size && ((lsr = get(u, UART_LSR)) & (LSR_DATA | LSR_BREAK)) && lsr != 0xff) {
        char c = get(u, UART_DATA);
        u->count.rx++;
        if (check_errors(u, lsr, &c))
            buf[n++] = c;
    }
    return n;
}

static void uart_interrupt(void *arg) {
    struct uart *u = arg;
    for (int pass = 0; pass < MAX_PASSES; pass++) {
        char buf[64];
        spin_lock(&u->lock);
        bool none = get(u, UART_IIR) & IIR_NONE;
        size_t n = none ? 0 : receive(u, buf, sizeof(buf));
        bool empty = !none && (get(u, UART_LSR) & LSR_EMPTY);
        if (!none)
            get(u, UART_MSR); // acknowledges a change of the modem lines
        if (empty)
            set_ier(u, u->ier & ~IER_TRANSMIT); // write() turns it on again when there is more
        spin_unlock(&u->lock);
        if (n)
            tty_input(u->tty, buf, n);
        if (empty)
            tty_output_ready(u->tty);
        if (none)
            break;
    }
}

// ---- the log

static void send_polled(struct uart *u, char c) {
    if (c == '\n')
        send_polled(u, '\r');
    wait_lsr(u, LSR_EMPTY);
    put(u, UART_DATA, c);
    u->in_line = c != '\n';
}

static void console_write(struct console *c, const char *text, size_t n) {
    struct uart *u = &ports[c - early_consoles - EARLY_TTYS0];
    bool lock = !panicking && !spin_held(&u->lock); // held: logged from within this driver
    if (lock)
        spin_lock(&u->lock);
    if (n && u->in_line &&
        *text != '\n') // a program's line is not finished, or a prompt stands there
        send_polled(u, '\n');
    for (; n; n--, text++)
        send_polled(u, *text);
    if (lock)
        spin_unlock(&u->lock);
}

void uart_drain_all(void) {
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        struct uart *u = &ports[i];
        // 2048 bytes in the terminal's buffer at most, 16 each time.
        for (int round = 0; u->tty && round < 256 && tty_output_pending(u->tty); round++) {
            wait_lsr(u, LSR_EMPTY);
            tty_output_ready(u->tty);
        }
        if (u->tty)
            wait_lsr(u, LSR_IDLE);
    }
}

// ---- start

static bool present(const struct uart *u) {
    uint8_t ier = get(u, UART_IER);
    put(u, UART_IER, 0);
    bool zero = (get(u, UART_IER) & 0x0f) == 0;
    put(u, UART_IER, 0x0f);
    bool ones = (get(u, UART_IER) & 0x0f) == 0x0f;
    put(u, UART_IER, ier);
    return zero && ones && get(u, UART_LSR) != 0xff;
}

static void start(struct uart *u, unsigned index) {
    char name[16];
    wait_lsr(u, LSR_IDLE); // the last of the log
    put(u, UART_IER, 0);
    put(u, UART_FCR, FCR_ENABLE);
    u->fifo = (get(u, UART_IIR) & IIR_FIFO) == IIR_FIFO ? 16 : 1;
    if (u->fifo == 1)
        put(u, UART_FCR, 0); // 16450, or the 16550 whose FIFO does not work
    program_line(u, line_control(CS8), 1);
    snprintf(name, sizeof(name), "ttyS%u", index);
    u->tty = tty_create(name, DEV(TTY_MAJOR, 64 + index), &driver, u);
    if (!u->tty)
        return;
    tty_set_defaults(u->tty, 0, B115200);
    u->mcr = MCR_DTR | MCR_RTS | MCR_OUT2;
    put(u, UART_MCR, u->mcr);
    if (irq_register(u->irq, name, uart_interrupt, u))
        log_warning("uart: %s: no interrupt %u", name, u->irq);
    while (get(u, UART_LSR) & LSR_DATA) // typed before there was anybody to read it
        get(u, UART_DATA);
    set_ier(u, IER_RECEIVE | IER_LINE);
    log_info("uart: %s at 0x%x, irq %u, %s", name, u->base, u->irq,
             u->fifo == 16 ? "16550A" : "16450");
}

void uart_init(void) {
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        spin_init(&ports[i].lock);
        if (present(&ports[i]))
            start(&ports[i], i);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (ports[i].tty)
            early_consoles[EARLY_TTYS0 + i].write = console_write;
    }
}
