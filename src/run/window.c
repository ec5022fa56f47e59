/* SPDX-License-Identifier: Apache-2.0
 * window.c - see window.h. */
#include "run/window.h"

#include "run/glob.h"
#include "run/project.h"

/* The first pattern that fits what follows the provider's prefix; as of
 * 2026-08. */
static const struct {
  const char *pattern;
  int64_t tokens;
} table[] = {
    {"gpt-5*-chat-latest", 128000},
    {"gpt-5.4-mini*", 400000},
    {"gpt-5.4-nano*", 400000},
    {"gpt-5.4*", 1047576},
    {"gpt-5.5*", 1047576},
    {"gpt-5.6*", 1047576},
    {"gpt-5*", 400000},
    {"gpt-4.1*", 1047576},
    {"gpt-4o*", 128000},
    {"chatgpt-4o*", 128000},
    {"codex-mini*", 200000},
    {"o1*", 200000},
    {"o3*", 200000},
    {"o4-mini*", 200000},
    {"claude-*", 200000},
    {"gemini-2.*", 1048576},
    {"gemini-3*", 1048576},
};

/* The services whose names of models the table holds; the same name at another
 * server may be another model. */
static bool
is_service(csn_str prefix)
{
  static const char *const words[] = {"openai", "responses", "chat", "anthropic", "gemini"};
  for (size_t i = 0; i < CSN_COUNT(words); i++)
    if (csn_str_eq(prefix, csn_cstr(words[i])))
      return true;
  return false;
}

int64_t
csn_window_find(const struct csn_project *p, csn_str model)
{
  size_t cut = 0;
  int64_t n;
  csn_json_each (m, csn_project_windows(p))
    if (csn_glob(m->key, model) && csn_json_to_int(m, &n))
      return n;
  while (cut < model.n && model.p[cut] != '/' && model.p[cut] != ':')
    cut++;
  csn_str prefix = csn_strn(model.p, cut);
  if (csn_str_eq(prefix, CSN_STR("script")) || csn_str_eq(prefix, CSN_STR("replay")))
    return -1;
  if (cut >= model.n || !is_service(prefix))
    return 0;
  csn_str name = csn_strn(model.p + cut + 1, model.n - cut - 1);
  for (size_t i = 0; i < CSN_COUNT(table); i++)
    if (csn_glob(csn_cstr(table[i].pattern), name))
      return table[i].tokens;
  return 0;
}
