# make lint: everything that can be said about the code without running it.

ALL_C := $(shell find kernel vmm user tests replay cim dcui labs -name '*.[ch]' 2>/dev/null | sort)
KERNEL_C := $(filter %.c,$(KERNEL_SOURCES))
KERNEL_HEADERS := $(sort $(shell find $(PARTS) -path vmm/machine -prune -o -name '*.h' -print 2>/dev/null))
LINTS := warnings format layers imports size walk headers tidy cppcheck

.PHONY: $(addprefix lint-,$(LINTS))

lint: ## warnings as errors, layout, layers, sizes, clang-tidy, cppcheck
	$(Q)tools/deps build test lint
	$(Q)failed=; for part in $(LINTS); do \
		$(MAKE) lint-$$part || failed="$$failed $$part"; done; \
	if [ -n "$$failed" ]; then echo "lint: failed:$$failed"; exit 1; fi; echo "lint: clean"

format: ## lay out the C files that differ from the last commit
	$(Q)tools/format

lint-warnings:
	$(SAY) LINT "compiler warnings are errors"
	$(Q)mkdir -p $(BUILD)
	$(Q)$(MAKE) -k WERROR=1 BUILD=$(BUILD)/werror kernel worlds > $(BUILD)/lint-warnings 2>&1 || \
		{ grep -E 'error|warning|\*\*\*' $(BUILD)/lint-warnings | head -40; exit 1; }

lint-format:
	$(SAY) LINT "layout (tools/format puts it right)"
	$(Q)clang-format --dry-run $(ALL_C) 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning:.*//p' | sort | uniq -c | \
		awk '{ print "  " $$2 ": " $$1 " places"; bad = 1 } END { exit bad }'

lint-layers:
	$(SAY) LINT "who may include what"
	$(Q)tools/calls --check
	$(Q)tools/lint layers $(ALL_C)

lint-imports: $(MACHINE_OBJECTS)
	$(SAY) LINT "what the machine may call"
	$(Q)tools/lint imports $(MACHINE_OBJECTS)

lint-size:
	$(SAY) LINT "sizes"
	$(Q)tools/lint size $(ALL_C)

lint-walk:
	$(SAY) LINT "the reading walk"
	$(Q)tools/lint walk docs/reading.md

lint-headers: $(UAPI)/.made $(GEN)/build_id.h
	$(SAY) LINT "each kernel header compiles alone"
	$(Q)printf '%s\n' $(KERNEL_HEADERS) | xargs -P2 -n4 sh -c 'for header; do $(CC) $(KERNEL_CPPFLAGS) \
		$(filter-out -M% -g,$(KERNEL_CFLAGS)) -fsyntax-only -x c -include $$header /dev/null || exit 1; done' sh

lint-tidy: $(UAPI)/.made $(GEN)/build_id.h
	$(SAY) LINT "clang-tidy (.clang-tidy has the list)"
	$(Q)printf '%s\n' $(KERNEL_C) | xargs -P2 -n8 tools/tidy $(KERNEL_CPPFLAGS) -- > $(BUILD)/lint-tidy
	$(Q)! grep -E ' (warning|error): ' $(BUILD)/lint-tidy | sort -u | head -60 | grep .

lint-cppcheck: $(UAPI)/.made
	$(SAY) LINT cppcheck
	$(Q)cppcheck -q -j2 --std=c11 --language=c --enable=warning,portability --inline-suppr \
		--suppressions-list=tools/cppcheck.suppressions --error-exitcode=1 --max-configs=1 \
		-D__x86_64__=1 -D__seg_gs= -I. -Ikernel $(KERNEL_C)
