/* SPDX-License-Identifier: Apache-2.0
 *
 * model.h - the port to language models.
 *
 * A model back-end is a codec: it turns a request into one HTTP request and
 * reply bytes into items.  It does no I/O, keeps no thread and reads no clock,
 * so that each can be tested from a file and fuzzed.  A back-end that needs
 * no wire (a playbook, a journal) fills `answer` instead of encode.
 *
 * Items are those of the Responses API (JSON objects with "type"), whatever
 * the provider speaks; an item of an unknown type is kept byte for byte
 * (but for line breaks between its tokens).
 */
#ifndef CAISSON_MODEL_H
#define CAISSON_MODEL_H

#include "json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tool as the model sees it. */
typedef struct csn_tool_decl {
  csn_str name, description;
  csn_str schema; /* JSON Schema of a function tool; empty for a custom (free text) tool */
  csn_str format; /* JSON "format" object of a custom tool */
  bool strict;
  bool is_deferred; /* the model sees it once it has searched for it */
  /* Of a tool that the provider runs: its JSON as the Responses API has it, and
   * what is to be included in replies.  Empty: it is none. */
  csn_str hosted, include;
} csn_tool_decl;

/* What a body holds of the request that was encoded into it. */
typedef struct csn_kept_body {
  size_t items_at, items_end; /* offsets: the items, commas between, no brackets */
  size_t n_items;             /* 0: nothing that can be used */
  bool custom_tools;          /* of the endpoint */
} csn_kept_body;

typedef struct csn_model_request {
  csn_str model;        /* the provider's own name, opaque */
  csn_str instructions; /* empty: none */
  const csn_str *items; /* serialised input items, oldest first */
  size_t n_items;
  const csn_tool_decl *tools;
  size_t n_tools;
  const csn_json *settings; /* the section of the agent file; may be NULL */
  bool stream;
  csn_str output_schema; /* strict JSON Schema of the answer; empty: text */
  /* For a codec that `appends`: the body holds a request whose items are the
   * first of these; encode() updates it.  NULL: the body is empty. */
  csn_kept_body *kept;
  bool cap_is_last; /* "max_tokens" differs from turn to turn: it stands behind the items */
} csn_model_request;

typedef struct csn_usage {
  int64_t input_tokens, cached_tokens, output_tokens, reasoning_tokens, total_tokens;
  /* Of the input: written to the provider's cache; of these, for an hour. */
  int64_t cache_write_tokens, cache_write_1h_tokens;
} csn_usage;

/* What came back, in one arena (owned by the caller of the decoder). */
typedef struct csn_model_reply {
  csn_str *items; /* serialised output items */
  size_t n_items;
  csn_usage usage;
  csn_str response_id; /* empty: none */
} csn_model_reply;

enum csn_delta_kind { CSN_DELTA_TEXT, CSN_DELTA_REASONING, CSN_DELTA_REFUSAL, CSN_DELTA_ARGUMENTS };
typedef void csn_delta_fn(void *user, enum csn_delta_kind kind, csn_str text);

typedef struct csn_decoder csn_decoder;

/* What a codec needs of the head of an HTTP reply; borrowed during decoder().
 * A header that is absent is the empty slice. */
typedef struct csn_reply_head {
  int status;
  csn_str content_type;
  csn_str retry_after_ms, retry_after, date, should_retry; /* "x-should-retry" */
  csn_str request_id;                                      /* "x-request-id" or "request-id" */
} csn_reply_head;

/* Where a model is and how to speak to it, from configuration. */
typedef struct csn_endpoint {
  csn_str base_url;  /* "https://api.openai.com/v1", without a final slash */
  csn_str api_key;   /* empty: send none */
  bool custom_tools; /* the server accepts tools of type "custom" */
  /* The server of the Chat Completions API wants "" where an assistant's
   * message has calls and no text; the API's own way is null. */
  bool no_null_content;
} csn_endpoint;

typedef struct csn_model_ops {
  size_t size;
  const char *name; /* "responses", "chat", "anthropic", "gemini", "script", "replay" */
  /* The header that carries the key as it is; NULL: "Authorization: Bearer KEY". */
  const char *key_header;
  /* What else each request's head holds: name, value, ..., NULL; may be NULL. */
  const char *const *headers;
  bool appends; /* encode() uses `kept`: what a turn adds is all that is written */
  /* Types of hosted tools that it can ask for, NULL at the end; may be NULL. */
  const char *const *hosted;
  /* Settings that it sends and not every API has; likewise. */
  const char *const *settings;
  bool caches_by_mark; /* prompt_cache_retention is a time: 5m or 1h */
  /* Body of the call, and what follows the base URL ("/responses"). */
  int (*encode)(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
                csn_err *err);
  /* One reply.  Its head decides how the bytes are read; an HTTP error status
   * makes finish() fail with the provider's message, http_status and
   * retry_after_ms.  CSN_E_UNAVAILABLE means that the same request may succeed
   * later (408, 409, 429 and 5xx; x-should-retry overrides), CSN_E_TOO_LONG that
   * a shorter one may, CSN_E_MODEL that it will not.  fn may be NULL.  rq lives until close(). */
  csn_decoder *(*decoder)(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq,
                          csn_delta_fn *fn, void *user);
  int (*feed)(csn_decoder *d, csn_str bytes, csn_err *err);
  /* After the last byte: the reply, or CSN_E_UNAVAILABLE when it was cut short
   * or is not what this API sends (a proxy's page); out->usage is then what the
   * provider told before. */
  int (*finish)(csn_decoder *d, csn_model_reply *out, csn_err *err);
  void (*close)(csn_decoder *d);
  /* The last event was fed, so that nothing more is waited for; NULL: the end of
   * the bytes tells. */
  bool (*is_done)(const csn_decoder *d);
  /* Instead of the four above: answers at once, deterministically.  `source`
   * is what follows the prefix in the model's name (a file). */
  int (*answer)(csn_arena *arena, csn_str source, const csn_model_request *rq, csn_model_reply *out,
                csn_err *err);
} csn_model_ops;

/* The codec behind a prefix ("openai" is responses), or NULL. */
CSN_API const csn_model_ops *csn_model_find(csn_str prefix);

#ifdef __cplusplus
}
#endif
#endif
