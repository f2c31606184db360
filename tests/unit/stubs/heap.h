// Lets a test see what happens when memory runs out.
#pragma once

// The allocation after this many good ones fails, once; -1: none fails.
extern long heap_fail_after;
