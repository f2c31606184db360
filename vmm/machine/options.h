// The command line of vmx.
#pragma once
#include "vmm/machine/config.h"

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_ERROR };

// Fills in the configuration from the arguments, of which -c FILE reads a file at its place. A message
// or the help was printed unless the result is OPTIONS_RUN.
enum options_result options_parse(struct config *c, int argc, char **argv);
