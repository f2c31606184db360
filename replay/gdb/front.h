// The debugger's front of a virtual machine: waits for clients (gdb) on a terminal or a socket, one at a time,
// and serves them out of the timeline. It never runs a guest itself; the machine is another process.
#pragma once
#include "replay/timeline.h"

// The register layout that clients are given (target.xml). It stays the same when the guest changes its mode.
enum gdb_arch { GDB_ARCH_X86_64, GDB_ARCH_I386, GDB_ARCH_I8086 };

struct gdb_front {
    // A terminal ("/dev/ttyS1"), else the path at which an AF_UNIX socket is made.
    const char *path;
    bool wait;          // nothing runs before the first client has come and let it run
    enum gdb_arch arch; // at first; `monitor arch` changes it
    struct timeline_limits limits;
    int leave_fd; // becomes readable when the user wants the end (a signal handler writes to a pipe); -1: none
    void (*say)(
        const char *sentence); // for the user of vmx: where it listens, who came, what went wrong
};
enum gdb_front_end {
    GDB_FRONT_NOT_STARTED, // the place to listen at cannot be used; said why
    GDB_FRONT_ENDED,       // the VM or the recording ended, and nobody is connected any more
    GDB_FRONT_KILLED,      // by the client's `kill`
    GDB_FRONT_LEFT         // leave_fd
};

// Takes over the machine process, which stands before its first instruction; ends it before it returns.
// `last`: how the run ended, where it did (GDB_FRONT_ENDED).
enum gdb_front_end gdb_front(const struct gdb_front *front, struct remote machine,
                             struct run_result *last);
// "x86-64", "i386", "i8086": false if it is none of these.
bool gdb_arch_parse(const char *name, enum gdb_arch *arch);
