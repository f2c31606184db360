// The end of the machine's run.
#pragma once
#include "lib/compiler.h"

enum power_action { POWER_OFF, POWER_RESTART, POWER_HALT };

// Writes everything to the disks, unmounts, and then does it. May sleep.
noreturn void system_shut_down(enum power_action action);
