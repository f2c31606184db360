// POSIX names for sizes that the kernel's own interfaces use.
#pragma once
#include <stdint.h>
typedef long ssize_t;
typedef int64_t off_t;
