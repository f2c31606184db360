// Walks the chain of frame pointers: [rbp] is the caller's rbp, [rbp + 8] the return address.
#include "cpu/backtrace.h"
#include "mm/layout.h"

extern const char kernel_image_start[], kernel_image_end[];

// Where stacks are: in the image (boot, interrupt stacks), the stack area and the direct map. The
// walk goes upwards within KSTACK-sized steps only, so it cannot run from a stack into a guard page.
static bool plausible(uint64_t rbp) {
    return IS_ALIGNED(rbp, 8) &&
           ((rbp >= (uint64_t)kernel_image_start && rbp < (uint64_t)kernel_image_end) ||
            (rbp >= STACK_AREA && rbp < DEVICE_AREA));
}

#define MAX_FRAME_SIZE 8192

unsigned backtrace(uint64_t rbp, uint64_t *addresses, unsigned max) {
    unsigned n = 0;
    while (n < max && plausible(rbp)) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (!frame[1])
            break;
        addresses[n++] = frame[1];
        if (frame[0] <= rbp || frame[0] - rbp > MAX_FRAME_SIZE)
            break;
        rbp = frame[0];
    }
    return n;
}
