// The debugger's logic: commands of GDB's remote protocol, answered out of the timeline. Knows nothing of how
// bytes travel (front.h) and never runs a guest itself. Manual: appendix "GDB Remote Serial Protocol".
#pragma once
#include "replay/gdb/front.h"

struct debugger;

// The client's line.
struct debugger_channel {
    // The next byte; without `wait` CHANNEL_NOTHING where none is there yet; CHANNEL_GONE: no more will come.
    int (*get)(void *opaque, bool wait);
    // All of it, or the client is given up: get() says so then.
    void (*send)(void *opaque, const void *bytes, size_t n);
    void *opaque;
};
enum { CHANNEL_NOTHING = -1, CHANNEL_GONE = -2 };

enum debugger_end {
    DEBUGGER_GONE,     // the line ended
    DEBUGGER_DETACHED, // by the client's wish
    DEBUGGER_KILLED,   // the client wants the VM to end
    DEBUGGER_OVER      // the VM has ended, and the client was told
};

// NULL: out of memory. The timeline stays the caller's.
struct debugger *debugger_create(struct timeline *t, enum gdb_arch arch);
void debugger_free(struct debugger *d);
// Serves one client from its first byte to its end. The VM stands at both, without breakpoints.
enum debugger_end debugger_serve(struct debugger *d, const struct debugger_channel *channel);
// How the live VM ended, if it did while a client let it run.
bool debugger_over(const struct debugger *d, struct run_result *last);
// While the guest runs for a client: bytes may have arrived. True: the run is to be interrupted.
bool debugger_attention(struct debugger *d);
