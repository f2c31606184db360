// Descriptions of what a run starts from: lines "key value" in a fixed order.
#include <stdio.h>
#include <string.h>
#include "replay/replayer.h"

// How much of a line is compared. Disks are what their size and sum say; the names of kernel and modules are seen
// by Multiboot guests.
static size_t compared(const char *line, size_t length) {
    static const char disk[] = "image ";
    const char *at = line, *end = line + length;
    if (strncmp(line, disk, strlen(disk)) != 0)
        return length;
    for (unsigned words = 0; words < 3; words++) { // image SIZE SHA256 NAME
        at = memchr(at, ' ', (size_t)(end - at));
        if (!at)
            return length;
        if (words == 2)
            return (size_t)(at - line);
        at++;
    }
    return length;
}

static int shown(size_t length) {
    return (int)(length < 90 ? length : 90);
}

bool description_matches(const char *recorded, const char *here, char error[256]) {
    while (*recorded && *here) {
        size_t a = strcspn(recorded, "\n"), b = strcspn(here, "\n");
        size_t n = compared(recorded, a);
        if (n != compared(here, b) || memcmp(recorded, here, n) != 0) {
            snprintf(error, 256,
                     "this machine differs from the recorded one: recorded \"%.*s\", here \"%.*s\"",
                     shown(a), recorded, shown(b), here);
            return false;
        }
        recorded += a + (recorded[a] == '\n');
        here += b + (here[b] == '\n');
    }
    if (!*recorded && !*here)
        return true;
    const char *more = *recorded ? recorded : here;
    snprintf(error, 256, "this machine differs from the recorded one: only %s has \"%.*s\"",
             *recorded ? "that one" : "this one", shown(strcspn(more, "\n")), more);
    return false;
}
