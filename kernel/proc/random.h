// Random numbers: ChaCha20 as a generator with fast key erasure, seeded from the processor.
#pragma once
#include "lib/compiler.h"

// Fills buf with unpredictable bytes. Any context.
void random_bytes(void *buf, size_t n);
// Mixes `n` bytes (of any quality) into the generator's key. Any context.
void random_add(const void *buf, size_t n);
// The ChaCha20 block function (RFC 8439, 2.3): 16 words of state to 64 bytes of key stream.
void chacha20_block(const uint32_t state[16], uint32_t out[16]);
