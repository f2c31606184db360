/* sources: vmm/machine/uart.c vmm/machine/bus.c vmm/machine/vtime.c vmm/machine/device.c vmm/machine/state.c tests/unit/machine_host.c */
// The serial port as a driver sees it: data sheet behaviour of FIFOs, triggers, interrupts, loop-back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <linux/serial_reg.h>
#include "machine_host.h"
#include "vmm/machine/uart.h"

enum { BASE = 0x3f8, IRQ = 4 };
#define CHARACTER_NS (10 * 1000000000ull / 115200) // 8N1

static uint8_t get(unsigned r) {
    return in8((uint16_t)(BASE + r));
}
static void put(unsigned r, uint8_t value) {
    out8((uint16_t)(BASE + r), value);
}

static int start(void **state) {
    (void)state;
    struct machine *m = host_create();
    uart_create(m, 0, host_output);
    uart_create(m, 1, NULL);
    host_reset();
    return 0;
}

static void set_up(void) {
    put(UART_LCR, UART_LCR_DLAB);
    put(UART_DLL, 1);
    put(UART_DLM, 0);
    put(UART_LCR, UART_LCR_WLEN8);
    put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
}

static void sends(void **state) {
    (void)state;
    for (const char *p = "hello"; *p; p++) {
        assert_int_equal(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
        put(UART_TX, (uint8_t)*p);
    }
    assert_string_equal(host.sent, "hello");
    out8(0x2f8, 'x'); // the other port goes nowhere
    assert_string_equal(host.sent, "hello");
}

static void registers(void **state) {
    (void)state;
    put(UART_SCR, 0x5a);
    assert_int_equal(get(UART_SCR), 0x5a);
    put(UART_IER, 0xff);
    assert_int_equal(get(UART_IER), 0x0f);
    put(UART_IER, 0);
    put(UART_LCR, UART_LCR_DLAB);
    put(UART_DLL, 0x34);
    put(UART_DLM, 0x12);
    assert_int_equal(get(UART_DLL), 0x34);
    assert_int_equal(get(UART_DLM), 0x12);
    put(UART_LCR, 0);
    assert_int_equal(get(UART_IER), 0);
    assert_int_equal(get(UART_IIR), UART_IIR_NO_INT);
    put(UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_NO_INT);
    assert_int_equal(get(UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
}

static void transmit_interrupt(void **state) {
    (void)state;
    put(UART_IER, UART_IER_THRI); // the transmitter is empty: at once
    assert_true(host.level[IRQ]);
    assert_int_equal(get(UART_IIR), UART_IIR_THRI);
    assert_false(host.level[IRQ]); // looking cleared it
    assert_int_equal(get(UART_IIR), UART_IIR_NO_INT);
    put(UART_TX, 'a');
    assert_true(host.level[IRQ]);
    assert_int_equal(host.edges[IRQ], 2);
    put(UART_TX, 'b'); // clears and raises it again: another edge
    assert_int_equal(host.edges[IRQ], 3);
    put(UART_IER, 0);
    assert_false(host.level[IRQ]);
}

static void receives_one_byte(void **state) {
    (void)state;
    put(UART_IER, UART_IER_RDI);
    assert_int_equal(host_input("serial0", "xyz", 3), 1); // no FIFO: one byte at a time
    assert_true(host.level[IRQ]);
    assert_int_equal(get(UART_IIR), UART_IIR_RDI);
    assert_true(get(UART_LSR) & UART_LSR_DR);
    assert_int_equal(get(UART_RX), 'x');
    assert_false(host.level[IRQ]);
    assert_false(get(UART_LSR) & UART_LSR_DR);
    assert_int_equal(get(UART_RX), 'x'); // the register keeps its value
}

static void fifo_trigger_and_timeout(void **state) {
    (void)state;
    set_up();
    put(UART_IER, UART_IER_RDI);
    assert_int_equal(host_input("serial0", "1234567", 7), 7);
    assert_false(host.level[IRQ]);
    host_advance(4 * CHARACTER_NS - 10);
    assert_false(host.level[IRQ]);
    host_advance(20);
    assert_true(host.level[IRQ]);
    assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    assert_int_equal(get(UART_RX), '1'); // reading ends the time-out and starts it anew
    assert_false(host.level[IRQ]);
    host_advance(5 * CHARACTER_NS);
    assert_true(host.level[IRQ]);
    assert_int_equal(host_input("serial0", "89abcdefghijk", 13), 10); // room for 16
    assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_RDI);
    for (const char *p = "23456789abcdefgh"; *p; p++)
        assert_int_equal(get(UART_RX), *p);
    assert_false(host.level[IRQ]);
    host_advance(10 * CHARACTER_NS);
    assert_false(host.level[IRQ]);
}

static void clearing_the_fifo(void **state) {
    (void)state;
    set_up();
    host_input("serial0", "abc", 3);
    put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
    assert_false(get(UART_LSR) & UART_LSR_DR);
    host_input("serial0", "abc", 3);
    put(UART_FCR, 0); // turning the mode off clears too
    assert_false(get(UART_LSR) & UART_LSR_DR);
    assert_int_equal(get(UART_IIR), UART_IIR_NO_INT);
}

static void loop_back(void **state) {
    (void)state;
    put(UART_MCR, UART_MCR_LOOP | UART_MCR_RTS | UART_MCR_OUT2);
    assert_int_equal(get(UART_MSR) & 0xf0, UART_MSR_CTS | UART_MSR_DCD);
    assert_int_equal(get(UART_MSR) & 0x0f, 0); // reading clears the changes
    put(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
    assert_int_equal(get(UART_MSR), UART_MSR_RI | UART_MSR_DCTS | UART_MSR_DDCD);
    put(UART_MCR, UART_MCR_LOOP);
    assert_int_equal(get(UART_MSR), UART_MSR_TERI); // the trailing edge
    put(UART_TX, 'L');
    assert_int_equal(host.sent_size, 0);
    assert_int_equal(get(UART_RX), 'L');
    assert_int_equal(host_input("serial0", "x", 1), 0); // the line is cut
    put(UART_IER, UART_IER_RLSI);
    put(UART_TX, '1');
    put(UART_TX, '2'); // overrun
    assert_int_equal(get(UART_IIR), UART_IIR_RLSI);
    assert_true(get(UART_LSR) & UART_LSR_OE);
    assert_int_equal(get(UART_IIR), UART_IIR_NO_INT);
    assert_int_equal(get(UART_RX), '2');
}

static void modem_interrupt(void **state) {
    (void)state;
    put(UART_IER, UART_IER_MSI);
    put(UART_MCR, UART_MCR_LOOP);
    assert_true(host.level[IRQ]);
    assert_int_equal(get(UART_IIR), UART_IIR_MSI);
    get(UART_MSR);
    assert_false(host.level[IRQ]);
}

static void second_port(void **state) {
    (void)state;
    out8(0x2f8 + UART_IER, UART_IER_RDI);
    assert_int_equal(host_input("serial1", "q", 1), 1);
    assert_true(host.level[3]);
    assert_int_equal(in8(0x2f8), 'q');
}

static void keeps_its_state(void **state) {
    (void)state;
    set_up();
    put(UART_IER, UART_IER_RDI | UART_IER_THRI);
    host_input("serial0", "abcd", 4);
    host_advance(2 * CHARACTER_NS);
    assert_true(host_round_trip());
    get(UART_IIR);
    assert_false(host.level[IRQ]);
    host_advance(2 * CHARACTER_NS + 10); // the time-out goes on where it was
    assert_int_equal(get(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
    assert_int_equal(get(UART_RX), 'a');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sends, start),
        cmocka_unit_test_setup(registers, start),
        cmocka_unit_test_setup(transmit_interrupt, start),
        cmocka_unit_test_setup(receives_one_byte, start),
        cmocka_unit_test_setup(fifo_trigger_and_timeout, start),
        cmocka_unit_test_setup(clearing_the_fifo, start),
        cmocka_unit_test_setup(loop_back, start),
        cmocka_unit_test_setup(modem_interrupt, start),
        cmocka_unit_test_setup(second_port, start),
        cmocka_unit_test_setup(keeps_its_state, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
