// A log that is being written, for recording (record.c) and for going on where a replay was left (go_live.c).
// Private to replay/.
#pragma once
#include "replay/live.h"
#include "replay/log_format.h"

struct recorder;

// NULL with a sentence in `error`.
struct recorder *recorder_new(const char *path, const char *description,
                              const struct log_settings *settings, char error[256]);
// Writes what is left and ends the log.
void recorder_free(struct recorder *r);
// Takes over a record of another log, after which this one goes on. 0 or -errno.
int recorder_copy(struct recorder *r, const struct log_record *record);
// Recording begins at power-on, or goes on at `at`. `in` has the recorder.
void recorder_start(struct inputs *in, const struct landmark *at);
