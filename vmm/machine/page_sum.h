// Sums of pages of guest memory, as fast as the processor allows.
#pragma once
#include "replay/checks.h"

struct page_sum page_sum(const void *page);
