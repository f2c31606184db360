# Tests. tests/run finds the programs and the system tests, runs them and sums up.
#   tests/unit/test_*.c   cmocka programs with the kernel sources that their first line names
#   tests/fuzz/fuzz_*.c   libFuzzer programs, likewise: /* sources: kernel/lib/tree.c ... */
#   tests/system/*.py     boot the test image in emulators

SANITIZE     := -fsanitize=address,undefined -fno-sanitize-recover=undefined
HOSTED_FLAGS := -std=gnu17 -g -O1 -fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter \
	-Wno-sign-compare -Wno-missing-field-initializers -DUNIT_TEST -I. -I$(BUILD)/gen -Ikernel -Itests/unit \
	$(if $(filter 1,$(WERROR)),-Werror)
UNIT_CC      := $(CC) $(HOSTED_FLAGS) $(SANITIZE)
FUZZ_CC      := clang $(HOSTED_FLAGS) -fsanitize=fuzzer-no-link,address,undefined

STUBS := $(wildcard tests/unit/stubs/*.c)
UNITS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
sources-of = $(shell tools/tag sources $(1))
objects-of = $(patsubst %.c,$(BUILD)/$(1)/obj/%.o,$(2) $(call sources-of,$(2)) $(STUBS))

$(BUILD)/unit/obj/%.o: %.c | $(BUILD)/gen/dsdt.hex
	@mkdir -p $(@D)
	$(Q)$(UNIT_CC) -MMD -MP -c $< -o $@
$(BUILD)/fuzz/obj/%.o: %.c | $(BUILD)/gen/dsdt.hex
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -MMD -MP -c $< -o $@

# These files name their instruction set by a pragma of gcc's.
$(BUILD)/fuzz/obj/vmm/machine/page_sum_avx2.o: FUZZ_CC += -mavx2 -Wno-unknown-pragmas
$(BUILD)/fuzz/obj/vmm/machine/page_sum_avx512.o: FUZZ_CC += -mavx512f -mavx512dq -Wno-unknown-pragmas

define unit-rule
$(BUILD)/unit/$(1): $(call objects-of,unit,tests/unit/$(1).c)
	$$(SAY) UNIT $(1)
	$$(Q)$$(UNIT_CC) $$^ -lcmocka $(shell tools/tag libs tests/unit/$(1).c) -o $$@
endef
define fuzz-rule
$(BUILD)/fuzz/$(1): $(call objects-of,fuzz,tests/fuzz/$(1).c)
	$$(SAY) FUZZ $(1)
	$$(Q)clang -g -fsanitize=fuzzer,address,undefined $$^ $(shell tools/tag libs tests/fuzz/$(1).c) -o $$@
endef
$(foreach unit,$(UNITS),$(eval $(call unit-rule,$(unit))))
$(foreach fuzzer,$(FUZZERS),$(eval $(call fuzz-rule,$(fuzzer))))

-include $(shell find $(BUILD)/unit $(BUILD)/fuzz -name '*.d' 2>/dev/null)

.PHONY: unit unit-programs fuzz-programs
unit-programs: $(addprefix $(BUILD)/unit/,$(UNITS))
fuzz-programs: $(addprefix $(BUILD)/fuzz/,$(FUZZERS))

unit: ## the unit tests alone
	$(Q)tools/deps build test
	-$(Q)$(MAKE) -k unit-programs
	$(Q)tests/run --kind unit $(addprefix --only ,$(T))

# What does not build must fail as a test, not hide the others: hence -k, and tests/run knows what
# should be there.
define build-tests
	$(Q)tools/deps build image emu test
	-$(Q)$(MAKE) -k unit-programs fuzz-programs worlds guests machine-tests
	-$(Q)$(MAKE) -k $(KERNEL) $(INITRD_TEST) $(BUILD)/session.iso $(BUILD)/chrono
endef

test: ## what every change must pass (at most ten minutes); T="word ..." selects
	$(build-tests)
	$(Q)tests/run $(addprefix --only ,$(T))

test-all: ## everything, with the longer tests
	$(build-tests)
	$(Q)tests/run --level all $(addprefix --only ,$(T))

soak: ## the tests that take hours
	$(build-tests)
	$(Q)tests/run --level soak $(addprefix --only ,$(T))

bench: ## benchmarks beside Linux as a table, and as JSON in build/bench.json
	$(Q)tools/deps build image emu test
	$(Q)$(MAKE) -k $(KERNEL) worlds guests machine-tests $(INITRD_TEST)
	$(Q)tests/run --kind bench --level all $(addprefix --only ,$(T))
