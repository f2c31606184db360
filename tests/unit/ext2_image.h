// Images of Debian's mke2fs for the tests of ext2: made, mounted by ext2_host.h, judged by e2fsck.
#pragma once
#include "ext2_host.h"

extern char image_path[64]; // the file that mke2fs and e2fsck see
// Set-up and tear-down of a group of tests: chooses image_path, removes it.
int image_set_up(void **state);
int image_tear_down(void **state);
// Runs a shell command. Its exit status.
int image_shell(const char *fmt, ...);
// Makes an image of `kib` KiB with options of mke2fs the disk.
void image_make(const char *options, unsigned kib);
void image_save(const void *data, size_t size);
void *image_load(size_t *size); // to be freed
// e2fsck finds no fault in the disk.
void image_expect_clean(void);

// Random numbers below n; they follow from `seed`.
extern uint64_t seed;
uint64_t rnd(uint64_t n);
void random_name(char *to); // of a file

// Thin calls as the VFS makes them.
struct inode *ext2_look(struct inode *dir, const char *name);
struct inode *ext2_make(struct inode *dir, const char *name, uint32_t mode, const char *target);
int ext2_drop(struct inode *dir, const char *name, struct inode *victim);
ssize_t ext2_put(struct inode *i, uint64_t pos, const void *data, size_t n);
int ext2_sync(struct inode *i);
void ext2_get(struct inode *i, uint64_t pos, uint8_t *data, size_t n);
