// The machine's end of the socket to the front: serves requests by calling the table of operations.
#pragma once
#include "replay/target.h"

// Serves until the front closes the socket or asks for the end; returns then. SIGUSR1 interrupts a run. A
// checkpoint is this process forked: the child serves on a socket of its own.
void server_run(int socket, const struct target_ops *ops, void *target);
