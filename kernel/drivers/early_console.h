// The consoles that show the log from the first moment, before there is memory or an interrupt:
// polled serial ports (115200 8N1) and a plain 80x25 text screen. The terminal drivers later put
// their own ->write in place, so that log lines and terminal output do not garble each other.
#pragma once
#include "lib/log.h"

enum { EARLY_VGA, EARLY_TTYS0, EARLY_TTYS1, EARLY_COUNT };
extern struct console early_consoles[EARLY_COUNT];
