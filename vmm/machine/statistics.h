// What a run has cost, as messages for those who look closely (option -v).
#pragma once

struct machine;

// The guest is about to execute its first instruction: what its TSC says.
void statistics_start(struct machine *m);
// The exits of each vCPU by kind.
void statistics_report(struct machine *m);
