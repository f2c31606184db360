// A search for unreachable sockets (unix_gc.c) follows every release of a socket. But the last
// descriptor of a cycle releases nothing: the queues still hold the file. So while any socket is in
// flight, this world searches once a second as well.
#include "cpu/clock.h"
#include "ipc/unix.h"
#include "sched/world.h"
#include "sync/waitq.h"

static void collect_for_ever(void *arg) {
    struct waitq pause = WAITQ_INIT(pause);
    for (;;) {
        wait_event(&flight_wait, READ_ONCE(sockets_in_flight));
        uint64_t next = clock_monotonic() + NSEC_PER_SEC;
        wait_event_common(&pause, clock_monotonic() >= next, false, next);
        struct list_node nothing = LIST_INIT(nothing);
        unix_dispose(&nothing);
    }
}

void unix_collector_start(void) {
    if (!world_create_kernel("unix-gc", collect_for_ever, NULL))
        panic("no memory for the unix-gc world");
}
