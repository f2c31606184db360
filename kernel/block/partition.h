// Partition tables: MBR with extended partitions, and GPT. Pure: sees the disk only through read().
#pragma once
#include "lib/compiler.h"

#define PARTITIONS_MAX 32

struct partition {
    unsigned number; // as Linux counts: 1–4 primary, 5… logical; GPT: entry + 1
    uint64_t start;  // in sectors of 512 bytes
    uint64_t sectors;
    uint8_t mbr_type; // 0 for GPT
};

struct partition_table {
    enum { PARTITIONS_NONE, PARTITIONS_MBR, PARTITIONS_GPT } kind;
    unsigned count;
    struct partition entries[PARTITIONS_MAX]; // all lie within the disk and are not empty
    const char *remark;                       // something was odd; a sentence for the log, or NULL
};

// Reads one 512-byte sector; 0 or -errno.
typedef int (*partition_read)(void *disk, uint64_t sector, void *buf);

// Fills *table for a disk of `sectors` sectors. Entries that leave the disk are left out. 0, or the
// error of read() for the first sector.
int partition_scan(partition_read read, void *disk, uint64_t sectors,
                   struct partition_table *table);

// The checksum of GPT structures (CRC-32 of IEEE 802.3), continued from `crc` (0 to begin).
uint32_t partition_crc32(uint32_t crc, const void *data, size_t n);
