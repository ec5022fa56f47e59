/* SPDX-License-Identifier: Apache-2.0
 * box_move.c - a workspace that moves on while it is whole: before its provider
 * ends the sandbox, or because the run shall go on in another back-end. */
#include <stdio.h>

#include "core/fd.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "sandbox/backends.h"

#define LAST_NS ((int64_t)60 * 1000000000)

/* Its last minute, or half of a shorter life; not while others work in it. */
static bool
ends_soon(const struct csn_box *b)
{
  if (!b->sb || !b->sb->ends_ns || b->users > 1)
    return false;
  int64_t left = b->sb->ends_ns - csn_now_ns(), life = b->sb->ends_ns - b->opened_ns;
  return left < LAST_NS && left < life / 2;
}

/* The same workspace, in a sandbox of its own life; then the old one ends. */
static int
move(csn_run *r, csn_err *err)
{
  static const char news[] =
      "[The time of the sandbox was over, and another took its place, with the same workspace. "
      "Processes and files outside of it are gone.]";
  bool is_remote = csn_box_is_remote(r);
  int rc = is_remote ? csn_box_remote_fetch(r, &r->scope, err) : 0;
  if (rc == 0)
    rc = csn_box_write_news(r, csn_cstr(news), err);
  if (rc < 0)
    return rc;
  if (is_remote)
    (void)!csn_box_remote_end(r);
  csn_box_end_processes(r);
  rc = csn_box_open_machine(r, &r->scope, err);
  if (rc == 0 && is_remote)
    rc = csn_box_remote_send(r, &r->scope, err);
  if (rc == 0)
    csn_box_take_news(r, csn_cstr(news));
  return rc;
}

void
csn_box_move_in_time(csn_run *r)
{
  csn_err err;
  if (ends_soon(&r->box) && move(r, &err) < 0)
    csn_logf(r->rt->log, CSN_LOG_WARN, "the sandbox ends soon and cannot be replaced: %s", err.msg);
}

/* ---- another back-end ---- */

/* Out of a sandbox elsewhere into a folder here; one that is gone is lost, as
 * any other. */
static int
bring_here(csn_run *r, csn_err *err)
{
  csn_err why;
  int rc = csn_box_lock_folder(r, err);
  if (rc < 0 || !csn_box_remote_is_there(r))
    return rc;
  rc = csn_box_open_machine(r, &r->scope, &why);
  if (rc == CSN_E_NOT_FOUND)
    return csn_box_remote_forget(r, err);
  if (rc == 0)
    rc = csn_box_remote_fetch(r, &r->scope, &why);
  if (rc == 0)
    (void)!csn_box_remote_end(r);
  return rc < 0 ? csn_fail(err, (enum csn_code)rc, "%s", why.msg) : 0;
}

int
csn_box_change_backend(csn_run *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(400);
  const char *name = r->opts.backend;
  int rc = 0;
  if (!name || strcmp(name, r->agent->sandbox.backend) == 0)
    return 0;
  if (!csn_sandbox_find(name))
    return csn_fail(err, CSN_E_INVALID, "unknown back-end '%.60s' of a sandbox", name);
  if (csn_box_is_remote(r)) {
    pthread_mutex_lock(&r->box.lock);
    rc = bring_here(r, err);
    csn_box_let_go(r);
    pthread_mutex_unlock(&r->box.lock);
  } else if (csn_sandbox_is_remote(name)) { /* folders are what can be sent */
    rc = csn_box_lay_out(r->rt->state_fd, csn_journal_id(r->journal), &r->scope, err);
  }
  if (rc == 0)
    rc = csn_agent_change_backend(r->own_agent, name, err);
  csn_buf_addf(&note, "{\"note\":\"backend\",\"backend\":\"%s\"}", name);
  return rc < 0 ? rc : csn_run_note(r, csn_buf_str(&note), err);
}
