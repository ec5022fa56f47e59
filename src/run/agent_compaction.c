/* SPDX-License-Identifier: Apache-2.0
 * agent_compaction.c - the capability `compaction`: when the conversation of an
 * agent is shortened.
 *
 * Every agent has it; an entry of `capabilities` says more:
 *   {type: compaction, policy: {type: static, threshold: TOKENS}}
 *   {type: compaction, policy: {type: dynamic, threshold: PART,
 *                               model_info: {context_window: TOKENS}}}
 *   {type: compaction, policy: none}
 *   {type: compaction, session: true | TOKENS}: what is kept of it, too */
#include "run/agent_read.h"
#include "run/project.h"
#include "run/window.h"

#define DEFAULT_PART 0.9

static bool
is_word(const csn_json *v, const char *word)
{
  return csn_json_is(v, CSN_JSON_STRING) && csn_str_eq(v->text, csn_cstr(word));
}

static int
check_static(const struct csn_agent_reader *r, const csn_json *policy)
{
  static const char *const keys[] = {"type", "threshold", NULL};
  int64_t n;
  int rc = csn_agent_only(r, policy, "compaction.policy.", keys);
  if (rc == 0 && (!csn_json_to_int(csn_json_get(policy, "threshold"), &n) || n < CSN_WINDOW_MIN))
    rc = csn_agent_complain(r, policy, "compaction.policy.threshold: expected at least %d tokens",
                            CSN_WINDOW_MIN);
  return rc;
}

static int
check_dynamic(const struct csn_agent_reader *r, const csn_json *policy)
{
  static const char *const keys[] = {"type", "threshold", "model_info", NULL};
  static const char *const info_keys[] = {"context_window", NULL};
  const csn_json *info = csn_json_get(policy, "model_info");
  double part = csn_json_double(policy, "threshold", DEFAULT_PART);
  int rc = csn_agent_only(r, policy, "compaction.policy.", keys);
  if (rc == 0 && !(part > 0 && part <= 1))
    rc = csn_agent_complain(r, policy, "compaction.policy.threshold: expected a part like 0.9");
  if (rc < 0 || !info)
    return rc;
  rc = csn_agent_want(r, info, "compaction.policy.model_info", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, info, "compaction.policy.model_info.", info_keys);
  if (rc == 0 && csn_json_int(info, "context_window", 0) < CSN_WINDOW_MIN)
    rc = csn_agent_complain(
        r, info, "compaction.policy.model_info.context_window: expected at least %d tokens",
        CSN_WINDOW_MIN);
  return rc;
}

int
csn_agent_read_compaction(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"type", "policy", "session", NULL};
  const csn_json *policy = csn_json_get(m, "policy"), *type = csn_json_get(policy, "type");
  const csn_json *session = csn_json_get(m, "session");
  int64_t tokens;
  int rc = csn_agent_only(r, m, "capabilities.", keys);
  if (rc == 0 && session && !csn_json_is(session, CSN_JSON_BOOL) &&
      (!csn_json_to_int(session, &tokens) || tokens < CSN_WINDOW_MIN))
    rc = csn_agent_complain(r, session,
                            "compaction.session: expected true, false or at least %d tokens",
                            CSN_WINDOW_MIN);
  if (rc == 0 && r->a->parent)
    rc = csn_agent_complain(r, m, "agents: compaction is shared; write it in the first agent");
  if (rc == 0 && is_word(type, "static"))
    rc = check_static(r, policy);
  else if (rc == 0 && is_word(type, "dynamic"))
    rc = check_dynamic(r, policy);
  else if (rc == 0 && policy && policy->kind != CSN_JSON_NULL && !is_word(policy, "none"))
    rc = csn_agent_complain(
        r, policy, "compaction.policy: expected none, or an object with type static or dynamic");
  if (rc < 0)
    return rc;
  return csn_agent_keep_value(r, m, &r->a->compaction);
}

/* Tokens of a request from which on something is left out; 0: never. */
static int64_t
threshold(const csn_agent *a, const struct csn_project *p, csn_str model)
{
  const csn_json *policy = csn_json_get(a->compaction, "policy"),
                 *type = csn_json_get(policy, "type");
  int64_t window = csn_window_find(p, model);
  int64_t reply = csn_json_int(a->settings, "max_tokens", 0);
  if (is_word(policy, "none"))
    return 0;
  if (is_word(type, "static"))
    return csn_json_int(policy, "threshold", 0);
  window = csn_json_int(csn_json_get(policy, "model_info"), "context_window", window);
  if (window <= 0)
    return window < 0 ? 0 : CSN_WINDOW_UNKNOWN_AT;
  int64_t at = (int64_t)((double)window * csn_json_double(policy, "threshold", DEFAULT_PART));
  if (reply > 0 && window - reply < at) /* the reply has its place in the window, too */
    at = window - reply;
  return at > window / 4 ? at : window / 4;
}

struct writing {
  const csn_agent *agent;
  csn_jw *w;
};

static int
write_threshold(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  struct writing *wr = user;
  csn_jw *w = wr->w;
  struct csn_route route = {0};
  int64_t at = threshold(wr->agent, p, csn_cstr(model));
  if (!at)
    return 0;
  int rc = csn_route_find(p, csn_cstr(model), &route, err);
  csn_jw_key(w, model);
  csn_jw_obj(w);
  csn_jw_key(w, "tokens");
  csn_jw_int(w, at);
  if (route.compacts) {
    csn_jw_key(w, "server");
    csn_jw_bool(w, true);
  }
  csn_jw_end(w);
  csn_route_fini(&route);
  return rc;
}

int
csn_agent_write_compact_at(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err)
{
  csn_jw_obj(w);
  struct writing wr = {a, w};
  int rc = csn_agent_each_model(a, p, write_threshold, &wr, err);
  csn_jw_end(w);
  return rc;
}
