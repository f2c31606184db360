// The guest's images: read from files once, loaded at power-on and after every reset.
#pragma once

struct config;
struct guest;
struct machine;

// Reads kernel and modules. NULL after a message.
struct guest *guest_open(struct machine *m, const struct config *config);
void guest_close(struct guest *g);
// Into memory and the boot processor. 0, or -errno after a message.
int guest_start(struct machine *m, struct guest *g);
