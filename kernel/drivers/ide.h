// IDE disks (ATA) on PIIX-compatible controllers: legacy or native PCI ports, bus-master DMA with
// PIO as fallback. Standards: ATA/ATAPI-6 (T13/1410D), "Programming Interface for Bus Master IDE
// Controller" 1.0.
//
//   ide.c          finds controllers and drives, registers them as block devices hda, hdb, …
//   ide_command.c  runs one command on a channel: DMA or PIO, time limits, recovery
#pragma once
#include "block/block.h"
#include "sync/mutex.h"

struct ide_channel;

struct ide_drive {
    struct block_device block;
    struct ide_channel *channel;
    unsigned unit; // 0: master, 1: slave
    bool lba48;
    bool dma;         // use DMA; turned off for good after repeated failures
    bool can_flush;   // has FLUSH CACHE
    uint8_t dma_mode; // argument of SET FEATURES, 0: as the firmware left it
    unsigned dma_failures;
    char model[41];
};

// Two drives share one set of registers: a channel works at one request at a time. Worlds queue on
// `lock`, which serves them in order. Fields without a remark are fixed after boot.
struct ide_channel {
    uint16_t io;         // command block: 8 ports
    uint16_t control;    // alternate status and device control
    uint16_t bus_master; // 0: no DMA
    struct ide_drive *drives[2];
    struct mutex lock; // the registers, PRD table, bounce buffer
    struct waitq done;
    bool interrupted; // set by the interrupt handler, cleared before a command; atomic
    bool dma_running; // lets the handler tell a foreign interrupt on a shared line; atomic
    uint64_t *prds;   // physical region descriptors, below 4 GB
    void *bounce;     // for buffers that DMA cannot reach: IDE_MAX_SECTORS, below 4 GB
};

#define IDE_MAX_SECTORS 256u

// Finds all controllers and drives. Boot, after pci_init().
void ide_init(void);

// --- between ide.c and ide_command.c ---
enum ide_data { IDE_NO_DATA, IDE_READ, IDE_WRITE };
struct ide_request {
    uint8_t command, feature;
    enum ide_data data;
    bool dma;
    bool lba48; // the command takes 48-bit arguments
    uint64_t lba;
    unsigned count; // sectors, 0–256
    void *buf;
    uint64_t limit; // ns until the drive has failed
};
// Runs a request on a drive; channel lock held (or boot). 0, -EIO (the drive says error; *error has
// its error register), -ETIMEDOUT.
int ide_execute(struct ide_drive *d, const struct ide_request *r, uint8_t *error);
// Soft reset of both drives of a channel. 0 or -ETIMEDOUT. Lock held (or boot).
int ide_reset(struct ide_channel *c);
// Selects a drive and waits until it takes commands. 0 or -ETIMEDOUT. Lock held (or boot).
int ide_select(struct ide_channel *c, unsigned unit, uint8_t device_bits);
// Waits until BSY is off. Status, or -ETIMEDOUT.
int ide_wait_ready(struct ide_channel *c, uint64_t limit_ns);
void ide_interrupt(void *channel);
// Transfer and flush of struct block_ops.
int ide_transfer(struct block_device *b, bool write, uint64_t lba, unsigned count, void *buf);
int ide_flush(struct block_device *b);

// Registers of the command block (offset from ->io), status and command bits.
enum {
    IDE_DATA = 0,
    IDE_ERROR = 1, // write: features
    IDE_COUNT = 2,
    IDE_LBA0 = 3,
    IDE_LBA1 = 4,
    IDE_LBA2 = 5,
    IDE_DEVICE = 6,
    IDE_STATUS = 7, // write: command
};
#define IDE_STATUS_ERR   0x01
#define IDE_STATUS_DRQ   0x08
#define IDE_STATUS_DF    0x20
#define IDE_STATUS_DRDY  0x40
#define IDE_STATUS_BSY   0x80
#define IDE_CONTROL_NIEN 0x02
#define IDE_CONTROL_SRST 0x04
#define IDE_DEVICE_LBA   0x40

enum {
    ATA_READ_PIO = 0x20,
    ATA_READ_PIO_EXT = 0x24,
    ATA_READ_DMA_EXT = 0x25,
    ATA_WRITE_PIO = 0x30,
    ATA_WRITE_PIO_EXT = 0x34,
    ATA_WRITE_DMA_EXT = 0x35,
    ATA_READ_DMA = 0xc8,
    ATA_WRITE_DMA = 0xca,
    ATA_FLUSH_CACHE = 0xe7,
    ATA_FLUSH_CACHE_EXT = 0xea,
    ATA_IDENTIFY = 0xec,
    ATA_SET_FEATURES = 0xef,
};
