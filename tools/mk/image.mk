# The initial file system and the bootable images.
#   $(BUILD)/chronovisor.iso  what people use
#   $(BUILD)/initrd-test.cpio the same files and /test/*: the system tests make their ISOs of it

ROOTFS_FILES := $(shell find image/rootfs -type f)
INITRD       := $(BUILD)/initrd.cpio
INITRD_TEST  := $(BUILD)/initrd-test.cpio

.PHONY: image
image: $(BUILD)/chronovisor.iso ## the bootable image alone

# Guests to try, in /guests of every image that has the hypervisor.
GUEST_TREE := $(if $(filter vmm,$(PARTS)),$(BUILD)/guest-tree)
$(BUILD)/guest-tree: $(GUEST_BINARIES)
	@mkdir -p $@/guests
	$(Q)cp $^ $@/guests && touch $@

# Written anew only where the contents changed (folders named on the command line can hold anything).
$(INITRD): FORCE $(USER_BINARIES) $(MACHINE_BINARY) $(GUEST_TREE) $(ROOTFS_FILES)
	@mkdir -p $(@D)
	$(Q)tools/deps image
	$(Q)tools/initrd -o $@ $(addprefix --bin ,$(USER_BINARIES) $(MACHINE_BINARY)) $(addprefix --tree ,$(GUEST_TREE) $(INITRD_EXTRA))

# Takes the test programs that did build: one that does not must fail alone, not with all others.
$(INITRD_TEST): FORCE $(USER_BINARIES) $(MACHINE_BINARY) $(ROOTFS_FILES)
	@mkdir -p $(@D)
	$(Q)tools/deps image
	$(Q)tools/initrd -o $@ $(addprefix --bin ,$(USER_BINARIES) $(MACHINE_BINARY)) \
		$$(for program in $(TEST_BINARIES); do [ ! -x $$program ] || echo --test $$program; done)

$(GEN)/cmdline: FORCE
	@mkdir -p $(GEN)
	@printf '%s\n' '$(subst ','\'',$(CMDLINE))' > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/chronovisor.iso: $(KERNEL) $(INITRD) $(GEN)/cmdline tools/mkiso
	$(SAY) ISO $@
	$(Q)tools/mkiso -o $@ -c "$$(cat $(GEN)/cmdline)" $(KERNEL) $(INITRD)

# The machine that chrono starts: always the same, what it does is on its data disk (tools/session.py).
$(BUILD)/session.iso: $(KERNEL) $(INITRD) tools/mkiso
	$(SAY) ISO $@
	$(Q)LARGE_IMAGE=1 tools/mkiso -o $@ -c 'console=ttyS0 loglevel=4 init=/bin/chrono-session' $(KERNEL) $(INITRD)

# Licences of what is linked into, or lies in, the image.
NOTICE_PACKAGES = $(shell sed -n "s/^# notice: //p" tools/deps.list)
$(BUILD)/NOTICE: tools/notice tools/deps.list
	@mkdir -p $(@D)
	$(Q)tools/notice $(NOTICE_PACKAGES) > $@

# One launcher, so that the command a person types does not depend on where the tools are.
$(BUILD)/chrono: tools/chrono
	@mkdir -p $(@D)
	$(Q)printf '#!/bin/sh\nCHRONO_BUILD="%s" exec "%s" "$$@"\n' "$(abspath $(BUILD))" "$(abspath tools/chrono)" > $@ && chmod +x $@
