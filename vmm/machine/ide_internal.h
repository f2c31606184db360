// What the files of the IDE controller share: ide.c (registers, interrupts, reset), ide_command.c
// (commands), ide_identify.c (what a drive says of itself), ide_dma.c (bus master).
#pragma once
#include "vmm/machine/device.h"
#include "vmm/machine/disk.h"
#include "vmm/machine/ide.h"
#include "vmm/machine/pci.h"
#include "vmm/machine/vtime.h"

#define IDE_LATENCY_NS 20000 // from command to completion
#define IDE_BLOCK_NS   1000  // to the next block of a programmed transfer: the drive reads ahead
#define IDE_MULTIPLE   16    // sectors of a block of READ/WRITE MULTIPLE at most
#define IDE_BUFFER     (256 * SECTOR_SIZE) // of a channel: what moves in one step

// Status and error registers (ATA/ATAPI-6, 7.15 and 7.9).
enum { ST_ERR = 1, ST_DRQ = 8, ST_SEEK = 0x10, ST_FAULT = 0x20, ST_READY = 0x40, ST_BUSY = 0x80 };
enum { ER_ABORT = 4, ER_ID = 0x10, ER_DATA = 0x40 };
enum { DEV_SECOND = 0x10, DEV_LBA = 0x40 };          // device register
enum { CTL_NIEN = 2, CTL_SRST = 4, CTL_HOB = 0x80 }; // device control register

struct ide;
struct ide_channel;

// Registers of a drive. Those that LBA48 has twice are {now, written before}.
struct ide_drive {
    struct disk *disk; // NULL: no drive
    uint8_t features[2], count[2], lba_low[2], lba_mid[2], lba_high[2];
    uint8_t device, status, error;
    uint8_t multiple;       // sectors of a block of READ/WRITE MULTIPLE, 0: these are disabled
    uint8_t heads, sectors; // translation of CHS addresses
    uint8_t dma_mode;       // as set: 0x20 + multiword mode, 0x40 + ultra mode, 0: none
    bool write_cache;
};

enum ide_phase {
    IDE_IDLE,
    IDE_PIO_READ,  // the guest reads the buffer
    IDE_PIO_WRITE, // the guest fills it
    IDE_DMA_READ,  // the bus master moves it
    IDE_DMA_WRITE,
};

// What the timer brings about.
enum ide_next {
    IDE_NOTHING,
    IDE_FINISH,    // the command is complete
    IDE_READY,     // a block can be moved by the guest, with an interrupt
    IDE_DMA_BLOCK, // a block has been moved between disk and buffer
};

struct ide_channel {
    struct ide *ide;
    unsigned index, irq;
    struct bus_range command, control; // ports
    struct vtimer timer;
    struct ide_drive drive[IDE_DRIVES];
    uint8_t selected; // drive
    uint8_t device_control;
    bool interrupt;            // INTRQ
    uint8_t phase;             // enum ide_phase
    uint8_t next;              // enum ide_next
    uint8_t block;             // sectors of a block of this PIO command
    uint8_t result;            // error bits that IDE_FINISH shows
    uint64_t sector;           // next one between disk and buffer
    uint32_t left;             // sectors from there to the end of the command
    uint32_t position, length; // bytes of the buffer: moved, and there
    // Bus master.
    uint8_t bm_command, bm_status;
    uint32_t bm_table; // as written
    uint32_t prd, prd_base,
        prd_left; // next descriptor; where in memory, bytes left of the current one
    bool prd_last;
    uint8_t buffer[IDE_BUFFER];
};

struct ide {
    struct device device;
    bool has_pci;
    struct pci_function pci;
    struct ide_channel channel[IDE_CHANNELS];
};

// ide.c
struct ide_drive *ide_selected(struct ide_channel *c);
void ide_interrupt(struct ide_channel *c, bool level);
// Lets `next` happen after `ns` and shows the drive busy until then.
void ide_later(struct ide_channel *c, enum ide_next next, uint64_t ns);
// Registers after reset or EXECUTE DEVICE DIAGNOSTIC.
void ide_signature(struct ide_channel *c);
// Ends the command now, with no error bits successfully, and raises the interrupt.
void ide_done(struct ide_channel *c, uint8_t error);

// ide_command.c
void ide_execute(struct ide_channel *c, uint8_t command);
// The guest has moved a whole block.
void ide_block_moved(struct ide_channel *c);
// Ends the command after `ns`.
void ide_finish(struct ide_channel *c, uint8_t error, uint64_t ns);
// Handler of the channel's timer.
void ide_timer(void *opaque);

// ide_identify.c: 512 bytes of IDENTIFY DEVICE.
void ide_identify(const struct ide_drive *d, unsigned number, uint8_t data[SECTOR_SIZE]);
// Translation of CHS addresses after power-on.
#define IDE_HEADS   16
#define IDE_SECTORS 63

// ide_dma.c
void ide_dma_add(struct ide *ide); // the registers: bar 4
// A command that transfers by DMA was given: starts when the bus master is started too.
void ide_dma_begin(struct ide_channel *c);
// The timer of a block.
void ide_dma_continue(struct ide_channel *c);
