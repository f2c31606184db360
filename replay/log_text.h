// A record of a log as a line of text.
#pragma once
#include "replay/log_format.h"

// At most n-1 bytes and a 0, without a newline. Returns the length.
size_t log_record_text(const struct log_record *r, char *buf, size_t n);
