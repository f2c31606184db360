// The one way by which anything that is not determined enters a virtual machine. Three
// implementations: pass-through, record, replay (replay/README.md). Device models do not know which.
//
// A result is asked for by the guest or a device and returned at once. An event happens at a moment
// that the guest did not choose; it is delivered at a stop of the run loop, a landmark.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "replay/checks.h"

struct inputs;

// ---- For device models -----------------------------------------------------------------------
// Results.
uint64_t inputs_wall_clock(struct inputs *in);              // seconds since 1970 at power-on
void inputs_random(struct inputs *in, void *buf, size_t n); // virtio-rng, RDRAND

// Events: a named source and where its bytes go. `deliver` runs at a landmark, in the machine's thread,
// once per event with at most INPUT_MAX bytes. Sources are numbered in order of registration.
#define INPUT_MAX 4096
typedef void (*input_deliver)(void *opaque, const uint8_t *data, size_t n);
struct input_source {
    const char *name; // "serial0", "keyboard", "balloon"
    int fd;           // where pass-through and recording read it; -1: none
    bool leave_key;   // a terminal of the user: ^] there is not for the guest but leaves the VM
    // How many bytes the device can take now (0: leave them in the fd). NULL: always INPUT_MAX.
    size_t (*room)(void *opaque);
    input_deliver deliver;
    // Where the device does not take what is typed as it is: makes of n bytes what it takes, at most `size` bytes; returns
    // how many. n = 0: nothing has followed for a while. NULL: it does.
    size_t (*translate)(void *opaque, const uint8_t *typed, size_t n, uint8_t *to, size_t size);
    bool unfinished; // what is typed next may belong to what was typed last
    void *opaque;
    unsigned id;
    struct input_source *next;
    // Of a terminal: it is read even while the device has no room, or ^] would not be seen.
    uint8_t ahead[INPUT_MAX];
    size_t ahead_count;
};
void inputs_add_source(struct inputs *in, struct input_source *s);

// ---- For the machine's run loop --------------------------------------------------------------
struct landmark {
    uint64_t count; // ticks executed by the VM
    uint64_t rip, rcx;
    uint32_t cpu;
};
// Clock none: a count is that of exits, at which nobody can stop the guest; time moves at exits instead. Before the
// first other question.
void inputs_follow_exits(struct inputs *in);
// The count at which the guest must stop at the latest: slice end, or in replay the next event.
uint64_t inputs_next_stop(struct inputs *in, uint64_t count);
// At a stop: returns the new anchor (>= old; equal: no re-anchoring).
uint64_t inputs_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor);
// At a stop, after anchor and timers: delivers what has arrived, or in replay what the log says here.
void inputs_deliver(struct inputs *in, const struct landmark *at);
// At a stop with several vCPUs: which one runs next (a switch is an event). `runnable`: a bit per vCPU.
unsigned inputs_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                           uint64_t runnable);
// All vCPUs halt: waits until V reaches `deadline` (UINT64_MAX: none) or an event arrives; returns the
// new anchor. -EINTR in *err when the user asked to leave.
uint64_t inputs_idle(struct inputs *in, const struct landmark *at, uint64_t anchor,
                     uint64_t deadline, int *err);

// The user has asked to leave (^], a signal).
bool inputs_left(const struct inputs *in);
// Asks for it: the only function that a signal handler may call.
void inputs_leave(struct inputs *in);

// The debugger holds the VM from one to the other: that time does not exist for the guest.
void inputs_hold(struct inputs *in);
void inputs_release(struct inputs *in);

// The machine, as recording and replaying see it. Called at landmarks.
struct inputs_target {
    void *opaque;
    void (*check)(void *opaque, struct state_check *c); // registers of all vCPUs, all devices
    // Sums of all of guest memory as it is now, one for each unit of inputs_sum_unit() bytes. The array stays
    // until the next call.
    const struct memory_sum *(*sums)(void *opaque, size_t *count);
    // A few words on where the machine differs from what was recorded: registers and devices, a unit of memory.
    void (*name_state)(void *opaque, const struct state_check *recorded, char *buf, size_t n);
    void (*name_memory)(void *opaque, size_t unit, const struct memory_sum *recorded, char *buf,
                        size_t n);
    // Ends the run with a sentence: the log came to its end, or the replay differs (failed).
    void (*stop)(void *opaque, bool failed, const char *reason);
};
void inputs_set_target(struct inputs *in, const struct inputs_target *t);

// ---- Making one --------------------------------------------------------------------------------
// `hz`: ticks per second of virtual time. `description`: what the run starts from, one "key value" line
// each in a fixed order: tick, clock, fingerprint, memory, cpus, command line, images with SHA-256.
// NULL: out of memory, or with a sentence in `error`.
struct inputs *inputs_pass_through(uint64_t hz);
// Writes `path` while the machine runs.
struct record_options {
    uint64_t seed;         // of timing that differs from seed to seed, 0: regular timing
    bool chaos;            // much, to provoke mistakes (docs/recording.md)
    uint64_t sum_interval; // ticks between two sums of memory; 0: RECORD_SUM_INTERVAL
    uint32_t sum_unit;     // bytes: MEMORY_PAGE or MEMORY_REGION; 0: the latter
};
#define RECORD_SUM_INTERVAL (1ull << 30)
struct inputs *inputs_record(const char *path, const char *description, uint64_t hz,
                             const struct record_options *options, char error[256]);
// Ticks per second of the run in the log `path`: the machine that replays it must use them. 0, or -errno with a
// sentence.
int inputs_replay_hz(const char *path, uint64_t *hz, char error[256]);
// Reads `path`. A description that differs from the recorded one is refused, naming the first line. (Lines of
// images, "kernel SIZE SHA256 NAME", are compared without the name.)
struct inputs *inputs_replay(const char *path, const char *description, uint64_t hz,
                             char error[256]);
// Bytes of memory that one sum is for; 0: nobody asks for sums.
uint32_t inputs_sum_unit(const struct inputs *in);
// At the end of the run, however it came: writes the last chunk, or checks the last sums. `how`: a word.
// NULL: the guest stands at no landmark, and the log ends with its last event. 0, or -errno after a sentence on
// standard error.
int inputs_finish(struct inputs *in, const struct landmark *at, const char *how);
void inputs_free(struct inputs *in);

// ---- Looking at the log, leaving it ------------------------------------------------------------------
// Events are numbered as the log's records are. The next one of a replay; so many were recorded so far; else 0.
uint64_t inputs_event(const struct inputs *in);
// How many there are in the log that is replayed; else 0.
uint64_t inputs_events(const struct inputs *in);
// V at which a record is due; UINT64_MAX: there is none.
uint64_t inputs_event_v(const struct inputs *in, uint64_t event);
// A line of text for each of the records first .. last; at most n-1 bytes and a 0.
void inputs_describe(const struct inputs *in, uint64_t first, uint64_t last, char *buf, size_t n);
bool inputs_replaying(const struct inputs *in);
// What a log got, or gave, so far.
struct inputs_figures {
    uint64_t events, results, checks; // checks: written, or compared and found equal
    uint64_t log_bytes, hash_bytes;   // of the file; of checks and sums before compression
};
const struct inputs_figures *inputs_get_figures(const struct inputs *in);
// Memory sums of the replay so far in which nothing but accessed bits differed.
uint64_t inputs_accessed_only(const struct inputs *in);
// Between two events of a replay, at a landmark: from here on inputs come from the world, and are recorded into
// `record` unless that is NULL. The new log begins with what the old one has up to here, so it needs nothing
// of the old one. 0, or -errno with a sentence.
int inputs_go_live(struct inputs *in, const char *record, const struct landmark *at,
                   char error[256]);
