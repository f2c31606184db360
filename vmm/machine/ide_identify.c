// What IDENTIFY DEVICE returns (ATA/ATAPI-6, 8.15).
#include <stdio.h>
#include <string.h>
#include "vmm/machine/ide_internal.h"

#define LBA28_MAX 0x0fffffffu

// Text is padded with spaces, and the bytes of each word are swapped.
static void put_text(uint16_t *word, unsigned words, const char *text) {
    size_t length = strlen(text);
    for (unsigned i = 0; i < words; i++) {
        uint8_t first = 2 * i < length ? (uint8_t)text[2 * i] : ' ';
        uint8_t second = 2 * i + 1 < length ? (uint8_t)text[2 * i + 1] : ' ';
        word[i] = (uint16_t)(first << 8 | second);
    }
}

static uint16_t cylinders(uint64_t sectors, unsigned heads, unsigned per_track, uint16_t max) {
    uint64_t n = sectors / (heads * per_track);
    return n < max ? (uint16_t)n : max;
}

static void geometry(const struct ide_drive *d, uint16_t w[256], uint64_t sectors) {
    w[1] = cylinders(sectors, IDE_HEADS, IDE_SECTORS, 16383);
    w[3] = IDE_HEADS;
    w[6] = IDE_SECTORS;
    if (!d->heads || !d->sectors)
        return;
    w[53] |= 1; // words 54..58 are valid
    w[54] = cylinders(sectors, d->heads, d->sectors, 65535);
    w[55] = d->heads;
    w[56] = d->sectors;
    uint32_t capacity = (uint32_t)w[54] * w[55] * w[56];
    w[57] = (uint16_t)capacity;
    w[58] = capacity >> 16;
}

static void transfer_modes(const struct ide_drive *d, uint16_t w[256]) {
    w[49] = 1 << 11 | 1 << 10 | 1 << 9 | 1 << 8; // IORDY, may be disabled; LBA; DMA
    w[51] = 2 << 8;                              // PIO mode 2
    w[53] |= 6;                                  // words 64..70 and 88 are valid
    w[63] = 7;                                   // multiword DMA 0..2
    w[64] = 3;                                   // PIO 3 and 4
    w[65] = w[66] = w[67] = w[68] = 120;         // cycle times, ns
    w[88] = 0x3f;                                // Ultra DMA 0..5
    if (d->dma_mode & 0x20)
        w[63] |= (uint16_t)(1u << (8 + (d->dma_mode & 7)));
    if (d->dma_mode & 0x40)
        w[88] |= (uint16_t)(1u << (8 + (d->dma_mode & 7)));
}

static void command_sets(const struct ide_drive *d, uint16_t w[256]) {
    w[80] = 0x7e;                                  // ATA-1 .. ATA/ATAPI-6
    w[82] = 1 << 14 | 1 << 5;                      // NOP, write cache
    w[83] = 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10; // FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses
    w[84] = 1 << 14;
    w[85] = (uint16_t)(1 << 14 | d->write_cache << 5); // of these, enabled
    w[86] = 1 << 13 | 1 << 12 | 1 << 10;
    w[87] = 1 << 14;
}

void ide_identify(const struct ide_drive *d, unsigned number, uint8_t data[SECTOR_SIZE]) {
    uint16_t w[SECTOR_SIZE / 2] = {0};
    uint64_t sectors = disk_sectors(d->disk);
    uint32_t lba28 = sectors < LBA28_MAX ? (uint32_t)sectors : LBA28_MAX;
    char serial[21];
    snprintf(serial, sizeof(serial), "CHRONO%04u", number);
    w[0] = 1 << 6; // fixed drive
    put_text(w + 10, 10, serial);
    put_text(w + 23, 4, "1.0");
    put_text(w + 27, 20, "Chronovisor disk");
    w[47] = 0x8000 | IDE_MULTIPLE;
    w[50] = 1 << 14;
    w[59] = d->multiple ? 1 << 8 | d->multiple : 0;
    w[60] = (uint16_t)lba28;
    w[61] = lba28 >> 16;
    geometry(d, w, sectors);
    transfer_modes(d, w);
    command_sets(d, w);
    w[93] = 1 << 14 | 1 << 13 | 1; // hardware reset, as device 0; 80-conductor cable
    for (unsigned i = 0; i < 4; i++)
        w[100 + i] = (uint16_t)(sectors >> 16 * i);
    w[255] = 0xa5;
    uint8_t sum = 0;
    memcpy(data, w, SECTOR_SIZE);
    for (unsigned i = 0; i < SECTOR_SIZE; i++)
        sum += data[i];
    data[SECTOR_SIZE - 1] = (uint8_t)-sum;
}
