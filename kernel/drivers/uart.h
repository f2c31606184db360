// Serial ports: 8250, 16450, 16550A at the four PC addresses, as the terminals ttyS0–ttyS3.
#pragma once
#include "lib/compiler.h"

// Probes the ports, makes their terminals, takes over the log's serial consoles. Boot.
void uart_init(void);
// Waits, polling and bounded in time, until everything written to the ports is on the wire: before
// power-off, when interrupts may be off already. Without it an emulator loses the last characters.
void uart_drain_all(void);
