// What is typed at a terminal, as a PS/2 keyboard would send it: scan codes of set 2, of a US keyboard. Pure.
//
// A terminal sends characters, and sequences that begin with the Escape character for the other keys; a keyboard tells
// of keys that go down and up again. So a character is the key that has it, with Shift or Control around it, and Escape before a
// character is Alt, as terminals have it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define TYPING_SEQUENCE 8
struct typing {                        // all zero at first
    uint8_t sequence[TYPING_SEQUENCE]; // begun by Escape, and not complete
    uint8_t length;
};

// The codes for n typed bytes; n = 0: nothing followed for a while, so that an Escape was the key of that name. Returns how many
// were written to `codes`. Keys that do not fit into `size` whole, and characters without a key, are lost.
size_t typing_codes(struct typing *t, const uint8_t *typed, size_t n, uint8_t *codes, size_t size);
