// The registers that clients see: one table for each layout gives their order, size and place, and from the same
// table the description is made that tells gdb about it (target.xml).
#pragma once
#include "replay/gdb/front.h"
#include "replay/gdb/packet.h"

#define REGISTER_BYTES_MAX 16

unsigned registers_count(enum gdb_arch arch);
// Bytes of register `number` as gdb sees it. 0: there is no such register.
size_t registers_size(enum gdb_arch arch, unsigned number);
// Its value, little-endian. The program counter is linear, since gdb compares it with addresses. What the machine has beyond the size is cut off, what it lacks is zero.
void registers_get(enum gdb_arch arch, unsigned number, const struct target_registers *r,
                   uint8_t value[REGISTER_BYTES_MAX]);
void registers_set(enum gdb_arch arch, unsigned number, struct target_registers *r,
                   const uint8_t value[REGISTER_BYTES_MAX]);
// The registers that gdb looks at first at every stop: frame pointer, stack pointer, program counter. They come
// along with the news of the stop. A list closed by REGISTERS_END.
#define REGISTERS_END 0xff
const uint8_t *registers_first(enum gdb_arch arch);
// The whole description. Returns its length, less than n.
size_t registers_description(enum gdb_arch arch, char *xml, size_t n);
#define REGISTERS_DESCRIPTION_MAX 16384

// The name that gdb's `set architecture` knows.
const char *registers_arch_name(enum gdb_arch arch);
