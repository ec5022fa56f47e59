/* SPDX-License-Identifier: Apache-2.0
 * agent_saving.c - `from` and `checkpoint` of the section `sandbox`: what a
 * workspace begins with, and how often it is saved meanwhile. */
#include "run/agent_read.h"
#include "sandbox/limits.h"
#include "sandbox/snapshots.h"

int
csn_agent_read_from(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_err why;
  int rc = csn_agent_want(r, m, "sandbox.from", CSN_JSON_STRING);
  if (rc < 0)
    return rc;
  r->a->sandbox.from = csn_arena_dup(r->a->arena, m->text).p;
  if (memchr(m->text.p, '\0', m->text.n) || csn_snapshot_name_check(r->a->sandbox.from, &why) < 0)
    return csn_agent_complain(r, m,
                              "sandbox.from: expected the name of a snapshot "
                              "(caisson snapshot ls)");
  return 0;
}

void
csn_agent_write_from(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.from)
    return;
  csn_jw_key(w, "from");
  csn_jw_strz(w, a->sandbox.from);
}

int
csn_agent_read_checkpoint(const struct csn_agent_reader *r, const csn_json *m)
{
  struct csn_agent_sandbox *s = &r->a->sandbox;
  csn_err why;
  bool is_word = m->kind == CSN_JSON_STRING;
  if (is_word && csn_str_eq(m->text, CSN_STR("each")))
    s->checkpoint_ms = CSN_CHECKPOINT_EACH;
  else if (is_word && csn_str_eq(m->text, CSN_STR("never")))
    s->checkpoint_ms = CSN_CHECKPOINT_NEVER;
  else if ((!is_word && m->kind != CSN_JSON_NUMBER) ||
           csn_limit_parse(CSN_LIMIT_WALL, m->text, &s->checkpoint_ms, &why) < 0 ||
           s->checkpoint_ms <= 0)
    return csn_agent_complain(r, m, "sandbox.checkpoint: expected each, never or a time like 30m");
  return 0;
}

void
csn_agent_write_checkpoint(const csn_agent *a, csn_jw *w)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64);
  int64_t ms = a->sandbox.checkpoint_ms;
  if (!ms)
    return;
  if (ms > 0)
    csn_limit_write(CSN_LIMIT_WALL, ms, &text);
  csn_jw_key(w, "checkpoint");
  csn_jw_strz(w, ms == CSN_CHECKPOINT_EACH ? "each" : ms < 0 ? "never" : text.p);
}
