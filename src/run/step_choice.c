/* SPDX-License-Identifier: Apache-2.0
 * step_choice.c - a `tool_choice` that forces a call holds until the agent has
 * used a tool, since it could never answer otherwise.
 *
 * Only agents whose resolved form says `reset_tool_choice` are looked at: runs
 * that began before there was such a key go on as they did. */
#include "run/items.h"
#include "run/step_impl.h"

static bool
has_used(const csn_state *st, csn_str agent)
{
  for (size_t i = 0; i < st->n_tool_users; i++)
    if (csn_str_eq(agent, csn_cstr(st->tool_users[i])))
      return true;
  return false;
}

static void
add(csn_state *st, csn_str agent)
{
  st->tool_users = csn_realloc(st->tool_users, st->n_tool_users + 1, sizeof *st->tool_users);
  st->tool_users[st->n_tool_users++] = csn_dupz(agent);
}

void
csn_step_note_tool_use(csn_state *st, const struct csn_reply_shape *shape)
{
  if (st->cfg.resets_choice && shape->uses_tools && !has_used(st, st->cfg.agent))
    add(st, st->cfg.agent);
}

bool
csn_state_has_free_choice(const csn_state *st)
{
  return st->cfg.resets_choice && has_used(st, st->cfg.agent);
}

void
csn_step_choice_to_json(const csn_state *st, csn_jw *w)
{
  if (!st->n_tool_users)
    return;
  csn_jw_key(w, "tool_users");
  csn_jw_arr(w);
  for (size_t i = 0; i < st->n_tool_users; i++)
    csn_jw_strz(w, st->tool_users[i]);
  csn_jw_end(w);
}

void
csn_step_choice_from_json(csn_state *st, const csn_json *v)
{
  csn_json_each (name, csn_json_get(v, "tool_users"))
    if (name->kind == CSN_JSON_STRING)
      add(st, name->text);
}

void
csn_step_choice_fini(csn_state *st)
{
  for (size_t i = 0; i < st->n_tool_users; i++)
    free(st->tool_users[i]);
  free(st->tool_users);
}
