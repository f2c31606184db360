#include "vmm/machine/uart.h"
#include <stdlib.h>
#include <string.h>
#include <linux/serial_reg.h>
#include "replay/inputs.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/output.h"

#define FIFO_SIZE 16
#define BASE_RATE 115200u // 1.8432 MHz / 16
#define MSR_LINES 0xf0
#define CONNECTED (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD) // the other end is always ready

struct uart {
    struct device device;
    struct bus_range ports;
    struct input_source source;
    struct output *out;
    struct vtimer timeout; // characters wait in the FIFO and nothing happens
    const char *name;
    unsigned irq;
    uint8_t fifo[FIFO_SIZE]; // without FIFO mode, only fifo[0]
    uint8_t head, count;
    uint8_t ier, fcr, lcr, mcr, msr, scratch;
    uint8_t last; // what the data register shows when nothing has arrived
    uint16_t divisor;
    bool overrun;        // LSR.OE
    bool thre_interrupt; // the transmitter became empty and nobody has looked
    bool timeout_interrupt;
};

static bool fifo_mode(const struct uart *u) {
    return u->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned capacity(const struct uart *u) {
    return fifo_mode(u) ? FIFO_SIZE : 1;
}

static unsigned trigger(const struct uart *u) {
    static const uint8_t levels[4] = {1, 4, 8, 14};
    return fifo_mode(u) ? levels[u->fcr >> 6] : 1;
}

// The reason for an interrupt with the highest priority, as IIR shows it.
static uint8_t reason(const struct uart *u) {
    if ((u->ier & UART_IER_RLSI) && u->overrun)
        return UART_IIR_RLSI;
    if ((u->ier & UART_IER_RDI) && u->count >= trigger(u))
        return UART_IIR_RDI;
    if ((u->ier & UART_IER_RDI) && u->timeout_interrupt)
        return UART_IIR_RX_TIMEOUT;
    if ((u->ier & UART_IER_THRI) && u->thre_interrupt)
        return UART_IIR_THRI;
    if ((u->ier & UART_IER_MSI) && (u->msr & UART_MSR_ANY_DELTA))
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

// PC boards pass the interrupt only while OUT2 is set. Many small kernels forget that and still work
// on emulators, so it is not asked for here.
static void update(struct uart *u) {
    irq_set(u->device.machine, u->irq, reason(u) != UART_IIR_NO_INT);
}

// ---- receiver ----------------------------------------------------------------------------------
// Four character times after the last activity, characters below the trigger level are reported.
static void restart_timeout(struct uart *u) {
    u->timeout_interrupt = false;
    if (!fifo_mode(u) || !u->count) {
        vtimer_cancel(&u->timeout);
        return;
    }
    struct machine *m = u->device.machine;
    unsigned bits = 1 + 5 + (u->lcr & 3) + !!(u->lcr & UART_LCR_PARITY) + 1 +
                    !!(u->lcr & UART_LCR_STOP);
    uint64_t bit_times = 4ull * bits * (u->divisor ? u->divisor : 0x10000u);
    vtimer_arm(&u->timeout, vtime_now(m) + bit_times * vtime_hz(m) / BASE_RATE);
}

static void on_timeout(void *opaque) {
    struct uart *u = opaque;
    u->timeout_interrupt = u->count > 0;
    update(u);
}

static void receive(struct uart *u, uint8_t byte) {
    if (u->count >= capacity(u)) {
        u->overrun = true;
        if (!fifo_mode(u)) // the holding register is overwritten, a full FIFO is not
            u->fifo[u->head] = byte;
    } else {
        u->fifo[(u->head + u->count++) % FIFO_SIZE] = byte;
    }
    restart_timeout(u);
}

static uint8_t read_data(struct uart *u) {
    if (u->count) {
        u->last = u->fifo[u->head];
        u->head = (u->head + 1) % FIFO_SIZE;
        u->count--;
    }
    restart_timeout(u);
    return u->last;
}

static void clear_receiver(struct uart *u) {
    u->head = u->count = 0;
    restart_timeout(u);
}

static size_t room(void *opaque) {
    const struct uart *u = opaque;
    return u->mcr & UART_MCR_LOOP ? 0 : capacity(u) - u->count; // looped back: the line is cut
}

static void deliver(void *opaque, const uint8_t *data, size_t n) {
    struct uart *u = opaque;
    for (size_t i = 0; i < n; i++)
        receive(u, data[i]);
    update(u);
}

// ---- transmitter and modem lines ---------------------------------------------------------------
static void write_data(struct uart *u, uint8_t byte) {
    u->thre_interrupt = false;
    update(u); // the line falls, so that the next report makes an edge
    if (u->mcr & UART_MCR_LOOP)
        receive(u, byte);
    else if (u->out)
        output_write(u->out, &byte, 1);
    u->thre_interrupt = true;
}

// Inputs of the modem status register: the other end, or in loop-back the port's own outputs.
static uint8_t modem_lines(const struct uart *u) {
    if (!(u->mcr & UART_MCR_LOOP))
        return CONNECTED;
    return (u->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (u->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
           (u->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (u->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

static void update_modem(struct uart *u) {
    uint8_t lines = modem_lines(u), old = u->msr & MSR_LINES;
    uint8_t delta = (lines ^ old) >> 4;
    if (lines & UART_MSR_RI) // only the trailing edge of RI counts
        delta &= ~UART_MSR_TERI;
    u->msr = lines | (u->msr & UART_MSR_ANY_DELTA) | delta;
}

// ---- registers ---------------------------------------------------------------------------------
static uint8_t read_iir(struct uart *u) {
    uint8_t iir = reason(u);
    if (iir == UART_IIR_THRI) {
        u->thre_interrupt = false; // looking is what clears it
        update(u);
    }
    return iir | (fifo_mode(u) ? 0xc0 : 0);
}

static uint8_t read_lsr(struct uart *u) {
    uint8_t lsr = UART_LSR_THRE | UART_LSR_TEMT | (u->count ? UART_LSR_DR : 0) |
                  (u->overrun ? UART_LSR_OE : 0);
    u->overrun = false;
    return lsr;
}

static uint8_t read_msr(struct uart *u) {
    uint8_t msr = u->msr;
    u->msr &= MSR_LINES;
    return msr;
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned width) {
    (void)width;
    struct uart *u = opaque;
    bool divisor = u->lcr & UART_LCR_DLAB;
    uint8_t value;
    switch (offset) {
    case UART_RX: value = divisor ? u->divisor & 0xff : read_data(u); break;
    case UART_IER: value = divisor ? u->divisor >> 8 : u->ier; break;
    case UART_IIR: value = read_iir(u); break;
    case UART_LCR: value = u->lcr; break;
    case UART_MCR: value = u->mcr; break;
    case UART_LSR: value = read_lsr(u); break;
    case UART_MSR: value = read_msr(u); break;
    default: value = u->scratch; break;
    }
    update(u);
    return value;
}

static void write_ier(struct uart *u, uint8_t value) {
    value &= UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI;
    if (value & ~u->ier & UART_IER_THRI)
        u->thre_interrupt = true; // enabled while empty: reported at once
    u->ier = value;
}

static void write_fcr(struct uart *u, uint8_t value) {
    bool changed = (value ^ u->fcr) & UART_FCR_ENABLE_FIFO;
    u->fcr = value & UART_FCR_ENABLE_FIFO ? value & (UART_FCR_TRIGGER_MASK | UART_FCR_ENABLE_FIFO)
                                          : 0;
    if (changed || (fifo_mode(u) && (value & UART_FCR_CLEAR_RCVR)))
        clear_receiver(u);
}

static void uart_write(void *opaque, uint64_t offset, unsigned width, uint64_t v) {
    (void)width;
    struct uart *u = opaque;
    uint8_t value = (uint8_t)v;
    bool divisor = u->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_TX:
        if (divisor)
            u->divisor = (u->divisor & 0xff00) | value;
        else
            write_data(u, value);
        break;
    case UART_IER:
        if (divisor)
            u->divisor = (uint16_t)((u->divisor & 0xff) | value << 8);
        else
            write_ier(u, value);
        break;
    case UART_FCR: write_fcr(u, value); break;
    case UART_LCR: u->lcr = value; break;
    case UART_MCR:
        u->mcr = value &
                 (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP);
        update_modem(u);
        break;
    case UART_SCR: u->scratch = value; break;
    default: break; // LSR and MSR are for reading
    }
    update(u);
}

// ---- device ------------------------------------------------------------------------------------
static void reset(struct device *d) {
    struct uart *u = (struct uart *)d;
    memset(u->fifo, 0, sizeof(u->fifo));
    u->ier = u->fcr = u->lcr = u->mcr = u->scratch = u->last = 0;
    u->divisor = 12; // 9600 baud
    u->overrun = u->thre_interrupt = false;
    u->msr = CONNECTED;
    clear_receiver(u);
    update(u);
}

static void state(struct device *d, struct state_visitor *v) {
    struct uart *u = (struct uart *)d;
    STATE(v, u, fifo);
    STATE(v, u, head);
    STATE(v, u, count);
    STATE(v, u, ier);
    STATE(v, u, fcr);
    STATE(v, u, lcr);
    STATE(v, u, mcr);
    STATE(v, u, msr);
    STATE(v, u, scratch);
    STATE(v, u, last);
    STATE(v, u, divisor);
    STATE(v, u, overrun);
    STATE(v, u, thre_interrupt);
    STATE(v, u, timeout_interrupt);
    STATE(v, u, timeout.deadline);
}

static void loaded(struct device *d) {
    struct uart *u = (struct uart *)d;
    u->head %= FIFO_SIZE;
    if (u->count > capacity(u))
        u->count = capacity(u);
    vtimer_restore(&u->timeout);
}

static const struct device_ops ops = {
    .name = "uart",
    .reset = reset,
    .state = state,
    .loaded = loaded,
    .nondeterminism = "received bytes: input events \"serial0\" and \"serial1\"",
};

void uart_create(struct machine *m, unsigned index, struct output *out) {
    static const struct {
        uint16_t port;
        uint8_t irq;
    } places[UART_COUNT] = {{0x3f8, 4}, {0x2f8, 3}};
    struct uart *u = calloc(1, sizeof(*u));
    u->out = out;
    u->irq = places[index].irq;
    u->name = index ? "serial1" : "serial0";
    u->ports = (struct bus_range){
        .space = BUS_PORT,
        .base = places[index].port,
        .size = 8,
        .name = u->name,
        .read = uart_read,
        .write = uart_write,
        .opaque = u,
    };
    u->source = (struct input_source){
        .name = u->name,
        .fd = -1,
        .room = room,
        .deliver = deliver,
        .opaque = u,
    };
    vtimer_init(m, &u->timeout, on_timeout, u);
    device_register(m, &u->device, &ops);
    if (out)
        output_source(out, &u->source);
    bus_add(m, &u->ports);
    inputs_add_source(m->inputs, &u->source);
}
