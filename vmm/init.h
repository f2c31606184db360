// Bringing the VMM up at boot.
#pragma once

// Finds a vendor whose virtualization works here, switches it on on every processor, calibrates the
// instruction clock, and registers /dev/kvm. Without one the machine runs on, without /dev/kvm.
// Boot, once, after smp_init() and fs_init(); interrupts on. Called through boot/main.h.
void vmm_init(void);
// dev.c: the character device.
void kvm_device_init(void);
// intel/selftest.c: provokes failing VM entries and compares the explanations (command line
// vmm.selftest). Logs one line per case.
void vmx_selftest(void);
