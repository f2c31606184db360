// Single ports of the board: POST code (80h), fast reset and A20 (92h), debug output (E9h, 402h), a port that ends
// the VM with a status (501h), and one to which firmware's interrupt handlers of real mode write their vector (60Ch).
#pragma once
#include <stdbool.h>

struct machine;
struct output;

#define EXIT_PORT 0x501
#define BIOS_PORT 0x60c

// `debug` receives what the guest writes to E9h and 402h; NULL: nowhere.
void ports_create(struct machine *m, struct output *debug);
