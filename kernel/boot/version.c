#include "boot/version.h"
#include "build_id.h" // made by the build

const char build_id[] = BUILD_ID;
