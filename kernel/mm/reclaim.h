// What to do when frames run short.
#pragma once
#include "lib/compiler.h"

// Gives up to n frames back to the allocator; returns how many (0: nothing left to give). Sleeps.
size_t reclaim_frames(size_t n);
