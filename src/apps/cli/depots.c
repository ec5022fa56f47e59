/* SPDX-License-Identifier: Apache-2.0
 * depots.c - a store of caisson.yaml, opened for a command; see depots.h. */
#include "depots.h"
#include "importing.h"

enum { SHOW_MS = 100 };

static void
show(void *user, int64_t done, int64_t all)
{
  cli_depot *d = user;
  int64_t now_ms = csn_now_ns() / 1000000;
  if (now_ms - d->shown_ms < SHOW_MS && done < all)
    return;
  d->shown_ms = now_ms;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  cli_status(d->c, "%s of %s", cli_size(a, (uint64_t)done).p, cli_size(a, (uint64_t)all).p);
}

int
cli_snapshots_at(int state_fd, csn_snapshots **s, csn_err *err)
{
  csn_auto(csn_project_freep) struct csn_project *p = NULL;
  int rc = csn_project_load(&p, err);
  return rc < 0 ? rc : csn_snapshots_here(p, state_fd, s, err);
}

int
cli_depot_open(cli *c, cli_depot *d, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int state = -1;
  d->c = c;
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = cli_state_open(c, true, &state, NULL, err);
  if (rc == 0)
    rc = csn_project_load(&d->project, err);
  if (rc == 0)
    rc = csn_loop_new(&d->loop, err);
  if (rc < 0)
    return rc;
  d->http = csn_http_new(d->loop);
  rc = csn_snapshots_here(d->project, state, &d->here, err);
  if (rc == 0)
    rc = csn_stores_open(d->project, d->http, name, d->here, &d->depot, err);
  if (rc == 0 && c->err_tty)
    csn_depot_watch(d->depot, show, d);
  return rc;
}

void
cli_depot_close(cli_depot *d)
{
  if (d->c && d->c->err_tty)
    cli_status(d->c, NULL);
  csn_depot_free(csn_steal(d->depot));
  csn_snapshots_free(csn_steal(d->here));
  csn_http_free(csn_steal(d->http));
  if (d->loop)
    csn_loop_free(csn_steal(d->loop));
  csn_project_free(csn_steal(d->project));
}
