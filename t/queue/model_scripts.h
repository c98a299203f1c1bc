/* SPDX-License-Identifier: ISC */
#ifndef T_QUEUE_MODEL_SCRIPTS_H
#define T_QUEUE_MODEL_SCRIPTS_H

#include "t/queue/world.h"

/* What happens to the small system of t/queue/world.h; the rule whose breach it finds is named. */
struct script {
	const char *name;
	void (*run)(struct world *w);
};

/* The last one has no name. */
extern const struct script scripts[];

/* Until syncs have been made of all that is noted. */
void world_rest(struct world *w);

#endif
