/* sources: kernel/drivers/vt.c kernel/drivers/vt_screen.c kernel/drivers/vt_sgr.c kernel/drivers/vt_charset.c kernel/lib/printf.c */
// Any bytes on the terminal: the sanitizers and the assertions in vt_screen.c watch.
#include <stdlib.h>
#include "drivers/vt.h"
#include "lib/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    unsigned rows = 1 + data[0] % 8, columns = 1 + data[1] % 16, lines = data[0] / 64;
    uint16_t *cells = malloc(rows * columns * sizeof(*cells));
    uint16_t *history = calloc(lines * columns + 1, sizeof(*history));
    struct vt v;
    vt_init(&v, rows, columns, cells, history, lines);
    for (size_t i = 2; i < size; i++) {
        char c = data[i];
        vt_write(&v, &c, 1);
        ASSERT(v.cursor.x < columns && v.cursor.y < rows && v.top < v.bottom && v.bottom <= rows);
        ASSERT(v.history_count <= lines);
        for (unsigned y = 0; y < rows; y++)
            vt_view_row(&v, y, v.history_count);
        if (data[i] == 0x1b && i % 3 == 0)
            vt_write_message(&v, "log\n", 4);
    }
    free(history);
    free(cells);
    return 0;
}
