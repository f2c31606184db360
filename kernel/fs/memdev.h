// /dev/null, zero, full, random, urandom, kmsg.
#pragma once
void memdev_init(void);
