// The panic report on the text screen: white on magenta, 80x25.
#pragma once
#include "lib/compiler.h"

#define PANIC_SCREEN_COLUMNS 80
#define PANIC_SCREEN_ROWS    25

void panic_screen_clear(void);
// Writes one line (cut at the right edge) at `row`.
void panic_screen_line(unsigned row, const char *text);
