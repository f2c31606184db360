// Serial ports: 16550A (PC16550D data sheet) at the ISA addresses of COM1 and COM2.
//
// A transmitted byte leaves at once: the transmitter is always empty, and its interrupt comes as soon as
// a byte was written. Bytes arrive as fast as the receiver has room; its time-out runs in virtual time.
#pragma once

struct machine;
struct output;

#define UART_COUNT 2

// Adds port `index`: 0 is 3F8h with IRQ 4, 1 is 2F8h with IRQ 3. `out` receives what the guest sends and
// says where input "serial0" or "serial1" comes from; NULL: nowhere.
void uart_create(struct machine *m, unsigned index, struct output *out);
