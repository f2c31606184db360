// The 8259A pair with its edge/level control registers.
#pragma once
#include <stdbool.h>

struct machine;
struct pic;

void pic_create(struct machine *m);
// Level of input 0..15 (2 is the cascade).
void pic_set(struct pic *p, unsigned irq, bool level);
// The INTR output.
bool pic_output(const struct pic *p);
// The processor's acknowledge cycle: the vector (a spurious one if the request went away).
int pic_acknowledge(struct pic *p);
