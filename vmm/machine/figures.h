// Figures of a run, for people and tools: what was executed and what it cost.
#pragma once

struct machine;

// The run begins: what is counted, is counted from here.
void figures_start(struct machine *m);
// At the end: one line into the file that the configuration names (key stats), "figures: NAME VALUE ...".
void figures_write(struct machine *m);
