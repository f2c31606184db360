# UserWorlds: static Linux programs.
#   user/NAME/*.c        one program each, /bin/NAME in every image
#   tests/worlds/NAME.c  one program each, /test/NAME in the test image
# A comment near the top of a source may say: /* build: musl */  /* libs: -lncursesw -ltinfo */
# /* sources: tests/guests/torture/torture.S */ (more sources of a test program)

WORLD_CFLAGS := -std=gnu17 -O2 -g -Wall -Wextra -Wno-unused-parameter -static \
	$(if $(filter 1,$(WERROR)),-Werror)

USER_WORLDS := $(patsubst user/%/,%,$(sort $(dir $(wildcard user/*/*.c))))
TEST_WORLDS := $(patsubst tests/worlds/%.c,%,$(sort $(wildcard tests/worlds/*.c)))
USER_BINARIES := $(addprefix $(BUILD)/user/,$(USER_WORLDS))
TEST_BINARIES := $(addprefix $(BUILD)/worlds/,$(TEST_WORLDS))

.PHONY: worlds
worlds: $(USER_BINARIES) $(TEST_BINARIES) ## the ring-3 programs alone

$(USER_BINARIES): $(BUILD)/user/%: $$(wildcard user/$$*/*.[ch]) tools/build-world
	$(SAY) WORLD $@
	@mkdir -p $(@D)
	$(Q)tools/build-world $@ $(WORLD_CFLAGS) -- $(filter %.c,$^)

$(TEST_BINARIES): $(BUILD)/worlds/%: tests/worlds/%.c $$(shell tools/tag sources tests/worlds/%.c) \
		$$(wildcard tests/worlds/*.h) tools/build-world
	$(SAY) WORLD $@
	@mkdir -p $(@D)
	$(Q)tools/build-world $@ $(WORLD_CFLAGS) -- $(filter %.c %.S,$^)
