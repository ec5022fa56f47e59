/* SPDX-License-Identifier: Apache-2.0
 * model.c - the list of model back-ends. */
#include "model/backends.h"

const csn_model_ops *
csn_model_find(csn_str prefix)
{
  static const struct {
    const char *prefix;
    const csn_model_ops *ops;
  } all[] = {
      {"anthropic", &csn_model_anthropic}, {"azure", &csn_model_responses},
      {"bedrock", &csn_model_bedrock},     {"chat", &csn_model_chat},
      {"gemini", &csn_model_gemini},       {"openai", &csn_model_responses},
      {"responses", &csn_model_responses}, {"replay", &csn_model_replay},
      {"script", &csn_model_script},
  };
  for (size_t i = 0; i < CSN_COUNT(all); i++)
    if (csn_str_eq(prefix, csn_cstr(all[i].prefix)))
      return all[i].ops;
  return NULL;
}
