/* SPDX-License-Identifier: Apache-2.0
 * agent_errors.c - the section `error_handlers` of agent.yaml: answers for runs
 * that would end without one.
 *
 *   error_handlers:
 *     max_turns: {output: "I could not finish this."}
 *     model_refusal: {callback: explain}
 *     invalid_final_output: {callback: mend, history: false} */
#include "run/agent_read.h"

static int
read_one(const struct csn_agent_reader *r, const csn_json *h)
{
  static const char *const keys[] = {"callback", "output", "history", NULL};
  csn_str callback = CSN_STR(""), output = CSN_STR("");
  const csn_json *history = csn_json_get(h, "history");
  int rc = csn_agent_want(r, h, "error_handlers", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, h, "error_handlers.", keys);
  if (rc == 0)
    rc = csn_agent_text(r, h, "callback", &callback);
  if (rc == 0)
    rc = csn_agent_text(r, h, "output", &output);
  if (rc == 0 && !callback.n == !csn_json_get(h, "output"))
    rc = csn_agent_complain(r, h, "error_handlers: each is a `callback` or an `output`");
  if (rc == 0 && history)
    rc = csn_agent_want(r, history, "error_handlers.history", CSN_JSON_BOOL);
  return rc;
}

int
csn_agent_read_errors(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const kinds[] = {"max_turns", "model_refusal", "invalid_final_output", NULL};
  int rc = csn_agent_want(r, m, "error_handlers", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, m, "error_handlers.", kinds);
  csn_json_each (h, rc == 0 ? m : NULL)
    rc = rc < 0 ? rc : read_one(r, h);
  if (rc < 0)
    return rc;
  return csn_agent_keep_value(r, m, &r->a->errors);
}

void
csn_agent_write_errors(const csn_agent *a, csn_jw *w)
{
  if (!a->errors)
    return;
  csn_jw_key(w, "error_handlers");
  csn_jw_value(w, a->errors);
}
