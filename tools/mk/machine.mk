# vmx, the process beside a virtual machine: a static Linux program, /bin/vmx in every image.

MACHINE_SOURCES := $(sort $(shell find vmm/machine replay -name '*.c' -not -path 'replay/tools/*'))
MACHINE_OBJECTS := $(MACHINE_SOURCES:%.c=$(BUILD)/machine/%.o)
MACHINE_CFLAGS  := $(WORLD_CFLAGS) -Wextra -fno-strict-aliasing -I. -I$(BUILD)/gen

# The DSDT as an array of C, compiled by ACPICA's compiler.
$(BUILD)/gen/dsdt.hex: vmm/machine/firmware/dsdt.asl
	$(SAY) ASL $<
	@mkdir -p $(@D)
	$(Q)iasl -tc -p $(BUILD)/gen/dsdt $< > $(BUILD)/gen/dsdt.log || { cat $(BUILD)/gen/dsdt.log; exit 1; }

$(BUILD)/machine/%.o: %.c | $(BUILD)/gen/dsdt.hex
	$(SAY) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(MACHINE_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/vmx: $(MACHINE_OBJECTS)
	$(SAY) WORLD $@
	$(Q)$(CC) $(MACHINE_CFLAGS) $^ -lzstd -lnettle -o $@

# Tests that link the machine itself.
MACHINE_TESTS := $(patsubst tests/machine/%.c,$(BUILD)/machine-tests/%,$(wildcard tests/machine/*.c))
.PHONY: machine-tests
machine-tests: $(MACHINE_TESTS)
$(MACHINE_TESTS): $(BUILD)/machine-tests/%: tests/machine/%.c $(wildcard tests/machine/*.h) $(MACHINE_OBJECTS)
	$(SAY) WORLD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(MACHINE_CFLAGS) $< $(filter-out %/main.o %/front.o,$(MACHINE_OBJECTS)) -lzstd -lnettle -o $@

# Part of the image when the hypervisor is part of VMkernel.
MACHINE_BINARY := $(if $(filter vmm,$(PARTS)),$(BUILD)/vmx $(BUILD)/chrono-log)

# chrono-log, for workstations and as a UserWorld.
LOG_TOOL_SOURCES := $(wildcard replay/tools/*.c) $(filter replay/log_% replay/checks.c,$(MACHINE_SOURCES))
$(BUILD)/chrono-log: $(LOG_TOOL_SOURCES:%.c=$(BUILD)/machine/%.o)
	$(SAY) WORLD $@
	$(Q)$(CC) $(MACHINE_CFLAGS) $^ -lzstd -o $@

-include $(MACHINE_OBJECTS:.o=.d)
