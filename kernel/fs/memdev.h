// /dev/null, zero, full, random, urandom, kmsg.
#pragma once
void memdev_init(void);
// Now and then: lets poll() on /dev/kmsg look again. May sleep.
void kmsg_tick(void);
