// Calling the notifiers of a space (mm/space.h).
#pragma once
#include "mm/space.h"

// [start, end) of s is about to change. tables_lock held.
void pt_notify(struct space *s, uint64_t start, uint64_t end);
// fork() has made everything private read-only; the flush is to come. Takes tables_lock.
void notify_write_protect_all(struct space *s);
// Has the notifiers of s (NULL: all notifiers) flush what they were told. No spin lock held.
void notify_flush(struct space *s);
