/* sources: kernel/block/partition.c */
// Any disk: the result lies within it. The checksums of GPT are put right, or nothing would pass.
#include <stdlib.h>
#include <string.h>
#include "block/partition.h"

struct disk {
    uint8_t *data;
    uint64_t sectors;
};

static int read_disk(void *arg, uint64_t sector, void *buf) {
    struct disk *d = arg;
    if (sector >= d->sectors)
        abort();
    memcpy(buf, d->data + sector * 512, 512);
    return 0;
}

static void mend_gpt(struct disk *d, uint64_t lba) {
    uint8_t *h = d->data + lba * 512;
    uint32_t size = 92, entry_size, count, crc;
    uint64_t entries;
    memcpy(&entries, h + 72, 8);
    memcpy(&count, h + 80, 4);
    memcpy(&entry_size, h + 84, 4);
    uint64_t bytes = (uint64_t)count * entry_size;
    if (entries < d->sectors && bytes <= (d->sectors - entries) * 512) {
        crc = partition_crc32(0, d->data + entries * 512, bytes);
        memcpy(h + 88, &crc, 4);
    }
    memcpy(h, "EFI PART", 8);
    memcpy(h + 12, &size, 4);
    memcpy(h + 24, &lba, 8);
    memset(h + 16, 0, 4);
    crc = partition_crc32(0, h, size);
    memcpy(h + 16, &crc, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1024 || size > 65536)
        return 0;
    struct disk d = {malloc(size), size / 512};
    memcpy(d.data, data, size);
    d.data[510] = 0x55;
    d.data[511] = 0xaa;
    if (data[0] & 1) {
        d.data[450] = 0xee;
        mend_gpt(&d, data[0] & 2 ? 1 : d.sectors - 1);
    }
    struct partition_table t;
    if (partition_scan(read_disk, &d, d.sectors, &t) != 0 || t.count > PARTITIONS_MAX)
        abort();
    for (unsigned n = 0; n < t.count; n++)
        if (!t.entries[n].sectors || t.entries[n].start >= d.sectors ||
            t.entries[n].sectors > d.sectors - t.entries[n].start)
            abort();
    free(d.data);
    return 0;
}
