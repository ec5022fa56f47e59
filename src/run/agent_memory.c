/* SPDX-License-Identifier: Apache-2.0
 * agent_memory.c - the capability `memory` of agent.yaml.
 *
 *   memory                                   notes are made of each run, and told to the next
 *   {type: memory, store: NAME, read: true, generate: {phase_one_model, phase_two_model,
 *     max_raw_memories_for_consolidation: 256, extra_prompt, limits: {tokens, cost_usd}}} */
#include "run/agent_read.h"
#include "run/memory_store.h"

enum {
  DEFAULT_SELECTED = 256,
  MOST_SELECTED = 4096,
  DEFAULT_TOKENS = 400000,
  EXTRA_MAX = 16 << 10
};

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* A text of another alphabet as a name. */
static void
write_name(csn_str name, csn_buf *out)
{
  for (size_t i = 0; i < name.n && out->n < CSN_ROLLOUT_ID_MAX; i++) {
    csn_str c = csn_strn(name.p + i, 1);
    bool is_good = csn_rollout_id_check(c) || (out->n && strchr("._-", name.p[i]));
    csn_buf_addc(out, is_good ? name.p[i] : out->n ? '-' : 'x');
  }
}

static int
read_store(const struct csn_agent_reader *r, const csn_json *m, csn_jw *w)
{
  csn_str store = CSN_STR("");
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(CSN_ROLLOUT_ID_MAX + 1);
  int rc = m ? csn_agent_text(r, m, "store", &store) : 0;
  if (rc == 0 && csn_json_get(m, "store") && !csn_rollout_id_check(store))
    rc = csn_agent_complain(r, m, "memory.store: expected letters, digits and . _ -, at most %d",
                            CSN_ROLLOUT_ID_MAX);
  write_name(store.n ? store : csn_cstr(r->a->name), &name);
  member(w, "store", csn_buf_str(&name));
  return rc;
}

static int
read_limits(const struct csn_agent_reader *r, const csn_json *m, csn_jw *w)
{
  static const char *const keys[] = {"tokens", "cost_usd", NULL};
  const csn_json *limits = csn_json_get(m, "limits"), *cost = csn_json_get(limits, "cost_usd");
  int64_t tokens = DEFAULT_TOKENS;
  int rc = limits ? csn_agent_want(r, limits, "memory.generate.limits", CSN_JSON_OBJECT) : 0;
  if (rc == 0 && limits)
    rc = csn_agent_only(r, limits, "memory.generate.limits.", keys);
  if (rc == 0 && limits)
    rc = csn_agent_whole(r, limits, "tokens", 1, &tokens);
  if (rc == 0 && cost && !(csn_json_to_double(cost) > 0))
    rc = csn_agent_complain(r, cost, "memory.generate.limits.cost_usd: expected an amount");
  csn_jw_key(w, "limits");
  csn_jw_obj(w);
  csn_jw_key(w, "tokens");
  csn_jw_int(w, tokens);
  if (cost) {
    csn_jw_key(w, "cost_usd");
    csn_jw_value(w, cost);
  }
  csn_jw_end(w);
  return rc;
}

static int
read_generate(const struct csn_agent_reader *r, const csn_json *m, csn_jw *w)
{
  static const char *const keys[] = {"max_raw_memories_for_consolidation",
                                     "phase_one_model",
                                     "phase_two_model",
                                     "extra_prompt",
                                     "limits",
                                     NULL};
  int64_t most = DEFAULT_SELECTED;
  int rc = 0;
  csn_jw_obj(w);
  if (m && m->kind != CSN_JSON_BOOL) {
    rc = csn_agent_want(r, m, "memory.generate", CSN_JSON_OBJECT);
    if (rc == 0)
      rc = csn_agent_only(r, m, "memory.generate.", keys);
    if (rc == 0)
      rc = csn_agent_whole(r, m, keys[0], 1, &most);
    if (rc == 0 && most > MOST_SELECTED)
      rc = csn_agent_complain(r, m, "memory.generate.%s: at most %d", keys[0], MOST_SELECTED);
  }
  csn_jw_key(w, keys[0]);
  csn_jw_int(w, most);
  for (size_t i = 1; i < 4 && rc == 0; i++) {
    csn_str text = CSN_STR("");
    if (csn_json_is(m, CSN_JSON_OBJECT))
      rc = csn_agent_text(r, m, keys[i], &text);
    if (rc == 0 && text.n > EXTRA_MAX)
      rc = csn_agent_complain(r, m, "memory.generate.%s: at most %d bytes", keys[i], EXTRA_MAX);
    if (text.n)
      member(w, keys[i], text);
  }
  if (rc == 0)
    rc = read_limits(r, csn_json_is(m, CSN_JSON_OBJECT) ? m : NULL, w);
  csn_jw_end(w);
  return rc;
}

int
csn_agent_read_memory(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"type", "store", "read", "generate", NULL};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  const csn_json *settings = m->kind == CSN_JSON_OBJECT ? m : NULL;
  const csn_json *read = csn_json_get(settings, "read"),
                 *generate = csn_json_get(settings, "generate");
  bool is_off = csn_json_is(generate, CSN_JSON_BOOL) && !generate->truth;
  int rc = settings ? csn_agent_only(r, m, "capabilities.", keys) : 0;
  if (rc == 0 && read)
    rc = csn_agent_want(r, read, "memory.read", CSN_JSON_BOOL);
  if (rc == 0 && is_off && read && !read->truth)
    rc = csn_agent_complain(r, m, "memory: neither read nor generate; leave the capability out");
  if (rc < 0)
    return rc;
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  member(&w, "type", CSN_STR("memory"));
  rc = read_store(r, settings, &w);
  csn_jw_key(&w, "read");
  csn_jw_bool(&w, !read || read->truth);
  csn_jw_key(&w, "generate");
  if (is_off)
    csn_jw_bool(&w, false);
  else if (rc == 0)
    rc = read_generate(r, generate, &w);
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_agent_keep(r, &w, &r->a->memory);
}
