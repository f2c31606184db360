/* sources: vmm/decode.c vmm/decode_tables.c */
// Any bytes as an instruction: what the decoder accepts is within its own bounds, and depends on no byte
// behind its length.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    enum decode_mode mode = data[0] % 3;
    uint8_t *bytes = malloc(size); // of the exact size, so that the sanitizer sees a byte too many
    memcpy(bytes, data + 1, size - 1);
    struct instruction i, again;
    if (decode(bytes, size - 1, mode, &i) == 0) {
        require(i.length >= 1 && i.length <= 15 && i.length <= size - 1);
        require(i.op < OP_COUNT && i.base < 16 && i.index < 16 && i.segment < 6);
        require(i.size == 1 || i.size == 2 || i.size == 4 || i.size == 8 ||
                ((i.op == OP_MOVXMM || i.op == OP_CMPXCHG_PAIR) && i.size == 16) ||
                (i.vex && i.size == 32));
        require(i.address_size == 2 || i.address_size == 4 ||
                (i.address_size == 8 && mode == DECODE_64));
        require(i.dst.kind == OPERAND_MEM || i.src.kind == OPERAND_MEM);
        require(i.dst.reg < 16 && i.src.reg < 16);
        require(decode(bytes, i.length, mode, &again) == 0 && again.length == i.length);
    }
    free(bytes);
    return 0;
}
