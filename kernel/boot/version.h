// Which build this is: `git describe` of the tree, "+" when files differ from it.
#pragma once
extern const char build_id[];
