#include "mm/reclaim.h"
#include "fs/pagecache.h"

size_t reclaim_frames(size_t n) {
    return pagecache_reclaim(n);
}
