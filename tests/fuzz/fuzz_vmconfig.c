/* sources: vmm/machine/config.c */
// Configuration files of virtual machines: whatever is in them, a configuration or a sentence with the line.
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config c;
    char error[64] = ""; // short, so that long sentences are cut
    config_init(&c);
    if (config_parse(&c, "vm.conf", (const char *)data, size, error, sizeof(error)) == 0)
        config_check(&c, error, sizeof(error));
    else if (strncmp(error, "vm.conf", 7) != 0)
        abort();
    config_free(&c);
    return 0;
}
