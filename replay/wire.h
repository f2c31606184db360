// What goes over the socket between the front (remote.c) and a machine process (server.c): a request with
// data, then an answer with data. Both are the same program on the same host: plain structures.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum wire_op {
    WIRE_INFO,
    WIRE_WHERE,
    WIRE_RUN, // data: struct run_request, breakpoints
    WIRE_READ_REGISTERS,
    WIRE_WRITE_REGISTERS,
    WIRE_READ_MEMORY,
    WIRE_WRITE_MEMORY,
    WIRE_TRANSLATE,
    WIRE_EVENT_V,
    WIRE_HASH,
    WIRE_TEXT,    // data: the argument
    WIRE_GO_LIVE, // data: the name of the new log
    WIRE_FORK,    // the answer has a descriptor, on which the child sends a first answer of its own
    WIRE_OPS
};

#define WIRE_DATA_MAX 65536 // longer transfers are cut into pieces

struct wire_request {
    uint32_t op;   // enum wire_op
    uint32_t size; // of the data that follow, bytes
    uint32_t cpu;
    uint32_t what;    // enum target_space, enum target_text
    uint64_t address; // or event number
    uint64_t length;  // how much is wanted at most, bytes
};
struct wire_answer {
    int64_t result; // as the operation's
    uint32_t size, unused;
};

// Sends head and data whole, with a descriptor unless `fd` is -1. 0, or -EPIPE when the other end is gone.
int wire_send(int socket, const void *head, size_t head_size, const void *data, size_t size,
              int fd);
// Receives exactly n bytes, and a descriptor into `fd` (-1: none came) unless that is NULL. 0 or -EPIPE.
int wire_receive(int socket, void *buf, size_t n, int *fd);
