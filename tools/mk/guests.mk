# Guest kernels of the tests: tests/guests/NAME/*.[cS] with tests/guests/lib -> $(BUILD)/guests/NAME.elf,
# a 64-bit program in a 32-bit ELF file, as Multiboot loaders (QEMU's -kernel too) want it.

GUESTS        := $(filter-out lib,$(patsubst tests/guests/%/,%,$(sort $(dir $(wildcard tests/guests/*/*.c)))))
GUEST_CFLAGS  := -std=gnu17 -O2 -g -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fno-asynchronous-unwind-tables -Wall -Wextra -Wno-unused-parameter -I. $(if $(filter 1,$(WERROR)),-Werror)
GUEST_BINARIES := $(GUESTS:%=$(BUILD)/guests/%.elf)
BOOT_GUESTS   := $(BUILD)/guests/modes.bin

.PHONY: guests
guests: $(GUEST_BINARIES) $(BOOT_GUESTS) ## the guest kernels of the tests

# Those that are made to be looked at in a debugger. NAME.elf.64 is the file with symbols that gdb loads.
$(BUILD)/guests/queue.elf $(BUILD)/guests/race.elf $(BUILD)/guests/debuggee.elf: GUEST_CFLAGS += -Og

$(GUEST_BINARIES): $(BUILD)/guests/%.elf: $$(wildcard tests/guests/$$*/*.[chS]) $$(wildcard tests/guests/lib/*)
	$(SAY) GUEST $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(GUEST_CFLAGS) -static -nostdlib -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,--no-warn-rwx-segments \
		-T tests/guests/lib/guest.ld -o $@.64 $(filter %.c %.S,$^) -lgcc
	$(Q)objcopy -O elf32-i386 $@.64 $@

# Those that start as a boot sector does, in real mode at 7c00h; NAME.bin.elf has the symbols.
$(BOOT_GUESTS): $(BUILD)/guests/%.bin: $$(wildcard tests/guests/$$*/*.S)
	$(SAY) GUEST $@
	@mkdir -p $(@D)
	$(Q)$(CC) -c -g -o $@.o $<
	$(Q)$(LD) -Ttext=0x7c00 -e _start -o $@.elf $@.o
	$(Q)objcopy -O binary -j .text $@.elf $@
