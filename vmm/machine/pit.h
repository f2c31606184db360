// The 8254 timer and port 61h.
#pragma once
struct machine;
void pit_create(struct machine *m);
