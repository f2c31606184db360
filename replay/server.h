// The machine's end of the socket to the front: serves requests by calling the table of operations.
#pragma once
#include "replay/target.h"

// Serves until the front closes the socket or is gone. A checkpoint is this process forked; the child serves
// on a socket of its own and returns from this function as well, when its front end is closed: the caller
// finishes what has to be finished (a recording's last chunk) and ends the process. The socket stays open
// until then: its end tells the front that the process has ended.
//
// Uses SIGUSR1 (interrupts a run), SIGALRM with ITIMER_REAL (during a run: is the front still there?), and
// ignores SIGCHLD. One per process.
void server_run(int socket, const struct target_ops *ops, void *target);
