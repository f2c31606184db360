// Sums of pages of guest memory, as fast as the processor allows.
#pragma once
#include "replay/checks.h"

#define ACCESSED_SHIFT 5 // of page-table entries (SDM vol. 3, "Paging")
#define ACCESSED_BIT   (1ull << ACCESSED_SHIFT)

struct page_sum page_sum(const void *page);
