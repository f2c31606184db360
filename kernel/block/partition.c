// Parsing of partition tables. Layouts: the IBM PC's master boot record; UEFI Specification 2.10,
// chapter 5 (GPT). Everything on the disk is distrusted: a bad table gives fewer partitions.
#include "block/partition.h"
#include "lib/string.h"

#define SECTOR          512u
#define MBR_TABLE       446u
#define TYPE_PROTECTIVE 0xee
#define LOGICAL_MAX     64u // links followed in a chain of logical partitions, at most

struct mbr_entry {
    uint8_t status, chs_first[3], type, chs_last[3];
    uint32_t start, sectors;
} packed;
_Static_assert(sizeof(struct mbr_entry) == 16, "layout on disk");

struct gpt_header {
    char signature[8];
    uint32_t revision, header_size, header_crc, reserved;
    uint64_t this_lba, other_lba, first_usable, last_usable;
    uint8_t disk_guid[16];
    uint64_t entries_lba;
    uint32_t entry_count, entry_size, entries_crc;
} packed;
_Static_assert(sizeof(struct gpt_header) == 92, "layout on disk");

struct gpt_entry {
    uint8_t type[16], guid[16];
    uint64_t first, last; // inclusive
    uint64_t attributes;
    uint16_t name[36];
} packed;
_Static_assert(sizeof(struct gpt_entry) == 128, "layout on disk");

uint32_t partition_crc32(uint32_t crc, const void *data, size_t n) {
    const uint8_t *p = data;
    crc = ~crc;
    while (n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void add(struct partition_table *t, uint64_t disk_sectors, const struct partition *p) {
    if (p->sectors == 0)
        return;
    if (p->start == 0 || p->start >= disk_sectors || p->sectors > disk_sectors - p->start) {
        t->remark = "a partition reaches beyond the disk and is ignored";
        return;
    }
    if (t->count == PARTITIONS_MAX) {
        t->remark = "too many partitions, the rest is ignored";
        return;
    }
    t->entries[t->count++] = *p;
}

static bool is_extended(uint8_t type) {
    return type == 0x05 || type == 0x0f || type == 0x85;
}

// The chain of logical partitions: each link is a sector with a table of its own whose first entry
// is the partition (relative to the link) and whose second is the next link (relative to `base`).
static void scan_extended(partition_read read, void *disk, uint64_t sectors, uint64_t base,
                          uint64_t size, struct partition_table *t) {
    uint8_t sector[SECTOR];
    uint64_t link = base;
    for (unsigned n = 0; n < LOGICAL_MAX; n++) {
        if (link >= sectors || read(disk, link, sector) != 0 || sector[510] != 0x55 ||
            sector[511] != 0xaa) {
            t->remark = "the chain of logical partitions is broken";
            return;
        }
        struct mbr_entry e[2];
        memcpy(e, sector + MBR_TABLE, sizeof(e));
        if (e[0].type != 0)
            add(t, sectors,
                &(struct partition){.number = 5 + n,
                                    .start = link + e[0].start,
                                    .sectors = e[0].sectors,
                                    .mbr_type = e[0].type});
        if (!is_extended(e[1].type) || e[1].start == 0)
            return;
        if (e[1].start >= size) {
            t->remark = "a link of logical partitions leaves the extended partition";
            return;
        }
        link = base + e[1].start;
    }
    t->remark = "the chain of logical partitions has no end";
}

static void scan_mbr(partition_read read, void *disk, uint64_t sectors, const uint8_t *mbr,
                     struct partition_table *t) {
    struct mbr_entry e[4];
    memcpy(e, mbr + MBR_TABLE, sizeof(e));
    for (unsigned i = 0; i < 4; i++)
        if (e[i].status & 0x7f) // a boot sector without a table: code or text stands there
            return;
    t->kind = PARTITIONS_MBR;
    for (unsigned i = 0; i < 4; i++)
        if (e[i].type != 0 && !is_extended(e[i].type))
            add(t, sectors,
                &(struct partition){.number = i + 1,
                                    .start = e[i].start,
                                    .sectors = e[i].sectors,
                                    .mbr_type = e[i].type});
    for (unsigned i = 0; i < 4; i++)
        if (is_extended(e[i].type) && e[i].sectors != 0) {
            scan_extended(read, disk, sectors, e[i].start, e[i].sectors, t);
            return; // only one extended partition is allowed
        }
}

// Reads and checks the header at `lba`; true when it is sound.
static bool read_gpt_header(partition_read read, void *disk, uint64_t sectors, uint64_t lba,
                            struct gpt_header *h) {
    uint8_t sector[SECTOR];
    if (lba >= sectors || read(disk, lba, sector) != 0)
        return false;
    memcpy(h, sector, sizeof(*h));
    if (memcmp(h->signature, "EFI PART", 8) != 0 || h->header_size < sizeof(*h) ||
        h->header_size > SECTOR || h->this_lba != lba)
        return false;
    memset(sector + offsetof(struct gpt_header, header_crc), 0, 4);
    if (partition_crc32(0, sector, h->header_size) != h->header_crc)
        return false;
    // Sizes a real tool may choose; they bound the work below.
    return h->entry_size >= sizeof(struct gpt_entry) && h->entry_size <= SECTOR &&
           (h->entry_size & (h->entry_size - 1)) == 0 && h->entry_count <= 1024 &&
           h->entries_lba >= 2 && h->entries_lba < sectors;
}

// Adds the entries of a sound header to *t; false when their checksum is wrong or reading fails.
static bool read_gpt_entries(partition_read read, void *disk, uint64_t sectors,
                             const struct gpt_header *h, struct partition_table *t) {
    static const uint8_t unused[16];
    uint8_t sector[SECTOR];
    uint32_t crc = 0, per_sector = SECTOR / h->entry_size;
    for (uint32_t i = 0; i < h->entry_count; i++) {
        unsigned at = i % per_sector * h->entry_size;
        if (at == 0) {
            uint32_t n = MIN(h->entry_count - i, per_sector) * h->entry_size;
            uint64_t lba = h->entries_lba + i / per_sector;
            if (lba >= sectors || read(disk, lba, sector) != 0)
                return false;
            crc = partition_crc32(crc, sector, n);
        }
        struct gpt_entry e;
        memcpy(&e, sector + at, sizeof(e));
        if (memcmp(e.type, unused, 16) == 0)
            continue;
        if (e.last < e.first || e.last == UINT64_MAX) {
            t->remark = "a GPT entry ends before it begins and is ignored";
            continue;
        }
        add(t, sectors,
            &(struct partition){
                .number = i + 1, .start = e.first, .sectors = e.last - e.first + 1});
    }
    return crc == h->entries_crc;
}

static bool scan_gpt(partition_read read, void *disk, uint64_t sectors, struct partition_table *t) {
    const uint64_t where[2] = {1, sectors - 1};
    struct gpt_header h;
    for (unsigned i = 0; i < 2; i++) {
        *t = (struct partition_table){.kind = PARTITIONS_GPT};
        if (read_gpt_header(read, disk, sectors, where[i], &h) &&
            read_gpt_entries(read, disk, sectors, &h, t)) {
            if (i == 1)
                t->remark = "the primary GPT is damaged, the backup at the end is used";
            return true;
        }
    }
    return false;
}

int partition_scan(partition_read read, void *disk, uint64_t sectors, struct partition_table *t) {
    *t = (struct partition_table){.kind = PARTITIONS_NONE};
    if (sectors < 2)
        return 0;
    uint8_t mbr[SECTOR];
    int err = read(disk, 0, mbr);
    if (err || mbr[510] != 0x55 || mbr[511] != 0xaa)
        return err;
    struct mbr_entry e[4];
    memcpy(e, mbr + MBR_TABLE, sizeof(e));
    for (unsigned i = 0; i < 4; i++)
        if (e[i].type == TYPE_PROTECTIVE) {
            if (!scan_gpt(read, disk, sectors, t))
                *t = (struct partition_table){
                    .kind = PARTITIONS_GPT,
                    .remark = "both copies of the GPT are damaged, no partitions"};
            return 0;
        }
    scan_mbr(read, disk, sectors, mbr, t);
    return 0;
}
