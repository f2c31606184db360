// IDE controller of the PIIX3: two channels at the ISA addresses with two ATA disks each, programmed I/O
// and bus-master DMA (ATA/ATAPI-6; "Programming Interface for Bus Master IDE Controller" 1.0).
//
// A command is carried out on the image when the guest starts it, and completes a fixed virtual time
// later; the blocks of a longer transfer follow each other the same way.
#pragma once

struct disk;
struct machine;

#define IDE_CHANNELS 2
#define IDE_DRIVES   2 // of a channel

// disks[2 * channel + drive], NULL: no drive. With a PCI bus it is function 1 of the ISA bridge's slot; without,
// the disks do programmed I/O only. A channel without drives answers no port.
void ide_create(struct machine *m, struct disk *const disks[IDE_CHANNELS * IDE_DRIVES]);
