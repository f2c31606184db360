// Decisions that pass-through and recording make alike from the world. Private to replay/.
#pragma once
#include "replay/inputs_ops.h"

// A guest that lags is moved on when it lags by more than 1 / this of a second.
#define ANCHORS_PER_SECOND 200

uint64_t live_anchor(struct inputs *in, const struct landmark *at, uint64_t anchor);
unsigned live_choose_cpu(struct inputs *in, const struct landmark *at, unsigned now,
                         uint64_t runnable);
uint64_t live_idle(struct inputs *in, const struct landmark *at, uint64_t anchor, uint64_t deadline,
                   int *err);
uint64_t live_next_stop(struct inputs *in, uint64_t count);
// world_collect(), unless what has arrived is to wait.
void live_collect(struct inputs *in, void (*fn)(struct inputs *in, struct input_source *s,
                                                const uint8_t *data, size_t n));

// The two that ask the world, for going live.
extern const struct inputs_ops pass_through_ops, record_ops;
