// The line between us and clients: a terminal, or an AF_UNIX socket that one client at a time is taken from.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_SLOW_MS 30000 // a client that takes not one byte in so long is given up

struct line {
    int door;     // the listening socket, or the terminal
    int client;   // the connection or the terminal; -1: nobody
    int leave_fd; // readable: everything is to end; -1: none
    int events;   // an epoll set of the door (nobody there) or the client, and of leave_fd
    bool terminal, left;
    bool dead; // the terminal was hung up: nobody can come any more
    bool gone; // the client
    uint8_t bytes[4096];
    size_t at, end; // what was read and not taken yet
};

// 0, or -1 with a sentence.
int line_open(struct line *l, const char *path, int leave_fd, char *error, size_t n);
void line_close(struct line *l, const char *path);
// Waits for a client. False: the user wants the end instead.
bool line_accept(struct line *l);
void line_hang_up(struct line *l);
// Whether somebody is at the door; for an attention (remote.h) on l->events while nobody is connected.
bool line_knock(void *opaque);
// Bytes of a next client may have been read along with the last one's: nothing will announce them.
bool line_waiting(struct line *l);
// struct debugger_channel's operations, with the line as `opaque`.
int line_get(void *opaque, bool wait);
void line_send(void *opaque, const void *bytes, size_t n);
