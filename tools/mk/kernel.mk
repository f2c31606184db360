# VMkernel: every source under $(PARTS), i.e. kernel/ and vmm/ (vmm/machine/ is a ring-3 program),
# compiled without any C library, linked twice so that backtraces have names.

KERNEL_SOURCES := $(filter-out $(SKIP),$(sort $(shell find $(PARTS) \
	-path vmm/machine -prune -o \( -name '*.c' -o -name '*.S' \) -print 2>/dev/null)))
KERNEL_OBJECTS := $(addsuffix .o,$(addprefix $(BUILD)/obj/,$(basename $(KERNEL_SOURCES))))
KERNEL_SCRIPT  := kernel/boot/kernel.ld
KERNEL         := $(BUILD)/chronovisor.elf

CC    := gcc
LD    := ld
UAPI  := $(BUILD)/uapi
GEN   := $(BUILD)/gen

WARNINGS := -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wvla -Wundef \
	-Wimplicit-fallthrough $(if $(filter 1,$(WERROR)),-Werror)

# Linux's UAPI headers (linux/, asm/, asm-generic/) are on the path, the C library's are not.
# The shell asks the compiler where its own are, and not make: it may be installed by then only.
KERNEL_CPPFLAGS := -nostdinc -isystem $$($(CC) -print-file-name=include) -isystem $(UAPI) \
	-I. -Ikernel -I$(GEN) -D__KERNEL_IMAGE__
KERNEL_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone \
	-mgeneral-regs-only -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-strict-aliasing \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -fno-common \
	$(WARNINGS)
KERNEL_LDFLAGS := -static -nostdlib -n -z max-page-size=0x1000 -z noexecstack --build-id=none \
	$(if $(filter 1,$(LOOSE)),--warn-unresolved-symbols)

.PHONY: kernel
kernel: $(KERNEL) ## VMkernel alone (an ELF file with debug information)

$(BUILD)/obj/%.o: %.c tools/mk/kernel.mk | $(UAPI)/.made $(GEN)/build_id.h
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CPPFLAGS) $(KERNEL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.S tools/mk/kernel.mk | $(UAPI)/.made
	$(SAY) AS $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CPPFLAGS) -D__ASSEMBLER__ -g -MMD -MP -c $< -o $@

# The table of symbols is part of the image that it describes: tools/link-kernel links with an
# empty table, then with the real one, and checks that the addresses no longer move.
$(KERNEL): $(KERNEL_OBJECTS) $(KERNEL_SCRIPT) tools/link-kernel tools/ksyms
	$(SAY) LINK $@
	$(Q)CC="$(CC)" LD="$(LD) $(KERNEL_LDFLAGS) -T $(KERNEL_SCRIPT)" \
		tools/link-kernel $@ $(BUILD)/obj $(KERNEL_OBJECTS)

$(UAPI)/.made: tools/mk/kernel.mk
	$(Q)tools/deps build
	@mkdir -p $(UAPI)
	@ln -sfn /usr/include/linux $(UAPI)/linux
	@ln -sfn /usr/include/asm-generic $(UAPI)/asm-generic
	@ln -sfn /usr/include/$$($(CC) -print-multiarch)/asm $(UAPI)/asm
	@touch $@

# `#define BUILD_ID "..."`: included by the one file that prints it; touched only when it changes.
$(GEN)/build_id.h: FORCE
	@mkdir -p $(GEN)
	@printf '#define BUILD_ID "%s"\n' "$$(tools/build-id)" > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
FORCE:

-include $(KERNEL_OBJECTS:.o=.d)
