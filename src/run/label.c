/* SPDX-License-Identifier: Apache-2.0
 * label.c - see label.h. */
#include "run/label.h"

#include "run/box_network.h"
#include "run/policy.h"

void
csn_label_note(csn_run *r, int64_t seq)
{
  if (r->state.untrusted && r->untrusted_from == INT64_MAX)
    r->untrusted_from = seq;
}

/* Some rule has that key. */
static bool
has_rules(const csn_run *r, const char *key)
{
  csn_json_each (rule, r->agent->approvals)
    if (csn_json_get(rule, key))
      return true;
  return false;
}

static bool
sees_requests(const csn_run *r)
{
  csn_json_each (rule, r->agent->approvals)
    if (csn_str_eq(csn_json_str(rule, "network", CSN_STR("")), CSN_STR("write")))
      return true;
  return false;
}

/* What of the network is left to the sandbox: its files count, too, since a
 * command can do what they say before anybody has read its output. */
static enum csn_network_restriction
restriction_of(const csn_run *r)
{
  bool is_untrusted = r->state.untrusted || csn_agent_has_untrusted_files(r->agent);
  return csn_policy_network(r->agent->approvals, is_untrusted);
}

void
csn_label_policy(const csn_run *r, csn_network *policy)
{
  policy->sees_requests = sees_requests(r);
  policy->restriction = restriction_of(r);
}

int
csn_label_box(csn_run *r, struct csn_box *b, csn_scope *sc, csn_sandbox **sb, csn_shell **shell,
              csn_err *err)
{
  int64_t reached;
  pthread_mutex_lock(&r->lock);
  enum csn_network_restriction to = restriction_of(r);
  pthread_mutex_unlock(&r->lock);
  csn_box_network_restrict(b, to); /* when it is opened again */
  int rc = csn_box_need(b, sb, shell, err);
  if (rc == 0 && to != CSN_NETWORK_AS_LISTED)
    rc = csn_sandbox_restrict(*sb, sc, to, &reached, err);
  return rc;
}

/* Something from the network is in the sandbox.  What cannot be told counts. */
static bool
has_reached_out(csn_run *r, struct csn_box *b)
{
  csn_sandbox *sb;
  csn_shell *shell;
  csn_scope sc;
  int64_t reached = 0;
  csn_scope_init(&sc, &r->scope, -1);
  int rc = csn_box_need(b, &sb, &shell, NULL);
  if (rc == 0)
    rc = csn_sandbox_restrict(sb, &sc, CSN_NETWORK_AS_LISTED, &reached, NULL);
  csn_scope_fini(&sc);
  return rc < 0 || reached > 0;
}

const char *
csn_label_of_call(csn_run *r, const csn_agent *a, csn_str tool, struct csn_box *used)
{
  if (csn_agent_is_untrusted_tool(a, tool))
    return "tool";
  if (!used)
    return NULL;
  if (csn_agent_has_untrusted_files(a))
    return "files";
  bool matters = csn_box_network_policy(used) && has_rules(r, "label");
  return matters && has_reached_out(r, used) ? "web" : NULL;
}
