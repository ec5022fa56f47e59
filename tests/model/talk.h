/* SPDX-License-Identifier: Apache-2.0
 * talk.h - a conversation for tests of the models without a wire: what the
 * user and the tools say is added, replies join it. */
#ifndef CSN_TESTS_MODEL_TALK_H
#define CSN_TESTS_MODEL_TALK_H

#include <stdio.h>

#include "caisson/model.h"
#include "check.h"

struct talk {
  csn_arena *a;
  csn_str items[64];
  csn_model_request rq;
  csn_model_reply reply;
  csn_err err;
};

static inline void
talk_add(struct talk *t, csn_str item)
{
  t->items[t->rq.n_items++] = item;
  t->rq.items = t->items;
}

static inline void
talk_begin(struct talk *t, csn_str task)
{
  if (!t->a)
    *t = (struct talk){.a = csn_arena_new(0)};
  csn_buf b = CSN_BUF(100000);
  csn_buf_addz(&b, "{\"role\":\"user\",\"content\":");
  csn_json_quote(&b, task);
  csn_buf_addc(&b, '}');
  talk_add(t, csn_arena_dup(t->a, csn_buf_str(&b)));
  csn_buf_fini(&b);
}

static inline void
talk_end(struct talk *t)
{
  csn_arena_free(t->a);
  *t = (struct talk){0};
}

static inline void
talk_take_reply(struct talk *t)
{
  for (size_t i = 0; i < t->reply.n_items; i++)
    talk_add(t, t->reply.items[i]);
}

/* A member of the i-th item of the reply. */
static inline csn_str
talk_got(struct talk *t, size_t i, const char *key)
{
  const csn_json *v;
  if (i >= t->reply.n_items || csn_json_parse(t->a, t->reply.items[i], &v, &t->err) < 0)
    return CSN_STR("(no such item)");
  if (strcmp(key, "text") != 0 && strcmp(key, "refusal") != 0)
    return csn_json_str(v, key, CSN_STR("(missing)"));
  return csn_json_str(csn_json_at(csn_json_get(v, "content"), 0), key, CSN_STR("(missing)"));
}

/* The result of the i-th call of the reply, as it stands or in a frame. */
static inline void
talk_output(struct talk *t, size_t i, csn_str output)
{
  csn_buf b = CSN_BUF(1000000);
  bool is_custom = csn_str_eq(talk_got(t, i, "type"), CSN_STR("custom_tool_call"));
  csn_buf_addf(&b, "{\"type\":\"%s\",\"call_id\":",
               is_custom ? "custom_tool_call_output" : "function_call_output");
  csn_json_quote(&b, talk_got(t, i, "call_id"));
  csn_buf_addz(&b, ",\"output\":");
  csn_json_quote(&b, output);
  csn_buf_addc(&b, '}');
  talk_add(t, csn_arena_dup(t->a, csn_buf_str(&b)));
  csn_buf_fini(&b);
}

static inline void
talk_frame(struct talk *t, size_t i, const char *chunk, const char *end, const char *output)
{
  talk_output(t, i,
              csn_arena_printf(t->a,
                               "Chunk ID: %s\nWall time: 0.0%sa seconds\nProcess %s\nOutput:\n%s",
                               chunk, chunk, end, output));
}

#endif
