# Chronovisor: the front door for building, running and testing.  `make help` lists it.
#
# One make, no recursion: this file holds the knobs and the targets a person types; the rules
# behind them are in tools/mk/ (kernel, worlds, image, tests, lint).

# ---- knobs (make VAR=value) ------------------------------------------------------------------
BUILD        ?= build#          where everything that is made goes; several may be used at once
EMU          ?= bochs#          bochs, qemu (software CPU) or kvm (QEMU with nested VT-x)
MEM          ?= 256#            MiB of memory of the machine
CPUS         ?= 1#              processors of the machine
CMDLINE      ?=#                VMkernel's command line, e.g. "init=/bin/sh loglevel=7 console=ttyS0"
INITRD_EXTRA ?=#                folder whose files are added to the initial file system
COM2         ?=#                make run, boot: the second serial line as this TCP port
DISKS        ?=#                flat disk images to attach (IDE), separated by spaces
LIMIT        ?= 900#            make boot gives up after so many seconds
T            ?=#                make test: only tests whose name contains one of these words
WERROR       ?=#                1: compiler warnings are errors (CI sets it)
LOOSE        ?=#                1: link the kernel although symbols are missing (bring-up only)
PARTS        ?= kernel vmm#      folders that VMkernel is made of: kernel, or kernel vmm
SKIP         ?=#                kernel sources to leave out (bring-up only)
V            ?=#                1: show commands

BUILD := $(strip $(BUILD))
EMU   := $(strip $(EMU))
MEM   := $(strip $(MEM))
CPUS  := $(strip $(CPUS))
Q     := $(if $(V),,@)
SAY    = @printf '  %-7s %s\n'
export BUILD EMU MEM CPUS V

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDEXPANSION:
MAKEFLAGS += --no-builtin-rules --no-print-directory

.PHONY: all help run boot demo test test-all soak bench lint format docs deps clean FORCE
all: $(BUILD)/chronovisor.iso $(BUILD)/session.iso $(BUILD)/chrono $(BUILD)/NOTICE ## the bootable image and the workstation tools

include tools/mk/kernel.mk
include tools/mk/worlds.mk
include tools/mk/guests.mk
include tools/mk/machine.mk
include tools/mk/image.mk
include tools/mk/tests.mk
include tools/mk/lint.mk

# ---- what a person types ---------------------------------------------------------------------
MACHINE = --emu $(EMU) --mem $(MEM) --cpus $(CPUS) $(addprefix --disk ,$(DISKS))
CONSOLE = $(addprefix --com2 ,$(COM2))

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile tools/mk/*.mk | expand -t 20
	@echo; echo 'Knobs:'
	@sed -n 's/^\([A-Z_]*\) *?= *\([^#]*\)# *\(.*\)/  \1=\2\t\3/p' Makefile | expand -t 20

run: all ## boot it, interactive: the machine's serial console in this terminal; ^] leaves
	$(Q)tools/boot --interactive $(MACHINE) $(CONSOLE) $(BUILD)/chronovisor.iso

boot: all ## boot it unattended: console to stdout, stdin typed into it, ends at power-off
	$(Q)tools/boot --limit $(LIMIT) $(if $(findstring init=,$(CMDLINE)),,--power-off) \
		$(MACHINE) $(CONSOLE) $(BUILD)/chronovisor.iso

demo: all guests $(BUILD)/worlds/racer ## what it is for, as a short story on the screen; figures in build/demo.json
	$(Q)tools/deps build image emu
	$(Q)BUILD=$(BUILD) tools/demo

docs: ## diagrams of the book, drawn by Graphviz
	$(Q)tools/graphs docs $(BUILD)/docs

deps: ## make sure of every package that building and testing needs
	$(Q)tools/deps --all

clean: ## remove what was made
	rm -rf $(BUILD)
