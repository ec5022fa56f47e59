/* SPDX-License-Identifier: Apache-2.0
 *
 * live.h - the one line that says what a run does now: who is at work, the
 * turn, the tool, what was used so far and the time that is left.  On a
 * terminal only; it is drawn with cli_status().
 */
#ifndef CSN_APPS_LIVE_H
#define CSN_APPS_LIVE_H

#include <pthread.h>

#include "cli.h"

typedef struct cli_live {
  cli *c;
  csn_arena *arena; /* of the run's first record */
  const csn_json *prices;
  char agent[40], doing[160];
  int64_t turn, tokens, cost_pusd, wall_ms, began_ns;
  bool is_priced;
  pthread_mutex_t lock;
  pthread_cond_t ends;
  pthread_t ticker;
  bool is_ticking, is_over;
} cli_live;

void cli_live_init(cli_live *l, cli *c, int64_t began_ns);
void cli_live_fini(cli_live *l);
/* A record or a notification of the run; draws the line anew when it matters. */
void cli_live_event(cli_live *l, const char *type, const csn_json *data);
/* From now on the line is drawn each second, too, until the stop; without a
 * terminal nothing happens. */
void cli_live_start(cli_live *l);
void cli_live_stop(cli_live *l);

#endif
