/* SPDX-License-Identifier: Apache-2.0
 * box_move.c - a workspace that moves on while it is whole: before its provider
 * ends the sandbox, or because the run shall go on in another back-end. */
#include <stdio.h>

#include "core/fd.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "sandbox/backends.h"

#define SECOND_NS ((int64_t)1000000000)
#define LAST_NS (60 * SECOND_NS)
enum { LAST_SHARE = 24 }; /* of a life: the last hour of a day */

/* Its last minute or the last part of a longer life, half of a shorter one; not
 * while others work in it. */
static bool
ends_soon(const struct csn_box *b)
{
  if (!b->sb || !b->sb->ends_ns || b->users > 1)
    return false;
  int64_t left = b->sb->ends_ns - csn_now_ns(), life = b->sb->ends_ns - b->opened_ns;
  return left < life / 2 && (left < LAST_NS || left < life / LAST_SHARE);
}

/* Where what rests begins a new life when it goes on, that is all: its processes
 * hear nothing of it. */
static bool
rest(struct csn_box *b)
{
  int64_t was = b->sb->ends_ns;
  return b->sb->ops->pause && b->sb->ops->resume &&
         csn_sandbox_pause(b->sb, &b->run->scope, NULL) == 0 &&
         csn_sandbox_resume(b->sb, &b->run->scope, NULL) == 0 && b->sb->ends_ns > was + SECOND_NS;
}

/* The same workspace, in a sandbox of its own life; then the old one ends. */
static int
move(struct csn_box *b, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(400);
  csn_buf_addf(&text,
               "[The time of the sandbox%s%s was over, and another took its place, with the same "
               "workspace. Processes and files outside of it are gone.]",
               b->name ? " " : "", b->name ? b->name : "");
  csn_str news = csn_buf_str(&text);
  bool is_remote = csn_box_is_remote(b);
  int rc = is_remote ? csn_box_remote_fetch(b, &b->run->scope, err) : 0;
  if (rc == 0)
    rc = csn_box_write_news(b, news, err);
  if (rc < 0)
    return rc;
  if (is_remote)
    (void)!csn_box_remote_end(b);
  csn_box_end_processes(b);
  rc = csn_box_open_machine(b, &b->run->scope, err);
  if (rc == 0 && is_remote)
    rc = csn_box_remote_send(b, &b->run->scope, err);
  if (rc == 0)
    csn_box_take_news(b, news);
  return rc;
}

void
csn_box_move_in_time(struct csn_box *b)
{
  csn_err err;
  if (ends_soon(b) && !rest(b) && move(b, &err) < 0)
    csn_logf(b->run->rt->log, CSN_LOG_WARN, "the sandbox ends soon and cannot be replaced: %s",
             err.msg);
}

/* ---- another back-end ---- */

/* Out of a sandbox elsewhere into a folder here; one that is gone is lost, as
 * any other. */
static int
bring_here(struct csn_box *b, csn_err *err)
{
  csn_err why;
  int rc = csn_box_lock_folder(b, err);
  if (rc < 0 || !csn_box_remote_is_there(b))
    return rc;
  rc = csn_box_open_machine(b, &b->run->scope, &why);
  if (rc == CSN_E_NOT_FOUND)
    return csn_box_remote_forget(b, err);
  if (rc == 0)
    rc = csn_box_remote_fetch(b, &b->run->scope, &why);
  if (rc == 0)
    (void)!csn_box_remote_end(b);
  return rc < 0 ? csn_fail(err, (enum csn_code)rc, "%s", why.msg) : 0;
}

int
csn_box_change_backend(struct csn_box *b, const char *name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(16384);
  int rc = 0;
  if (strcmp(name, b->agent->sandbox.backend) == 0)
    return 0;
  const csn_sandbox_ops *const *own = b->run->rt->backends;
  const csn_sandbox_ops *ops = csn_sandbox_find_in(own, name);
  if (!ops)
    return csn_sandbox_unknown(own, name, err);
  if (csn_box_is_remote(b)) {
    pthread_mutex_lock(&b->lock);
    rc = bring_here(b, err);
    csn_box_let_go(b);
    pthread_mutex_unlock(&b->lock);
  } else if (ops->is_remote) { /* folders are what can be sent */
    rc = csn_box_lay_out(b->run->rt->project, b->run->rt->state_fd, csn_box_id(b), &b->run->scope,
                         err);
  }
  if (rc == 0)
    rc = csn_box_set_backend(b, name, err);
  if (rc < 0)
    return rc;
  b->backend_changed = true;
  csn_buf_addz(&note, "{\"note\":\"backend\",\"backend\":");
  csn_json_quote(&note, csn_cstr(b->agent->sandbox.backend));
  if (b->index)
    csn_buf_addf(&note, ",\"sandbox\":\"%s\"", b->name);
  csn_buf_addc(&note, '}');
  rc = csn_buf_done(&note, "the note of another back-end", err);
  return rc < 0 ? rc : csn_run_note(b->run, csn_buf_str(&note), err);
}
