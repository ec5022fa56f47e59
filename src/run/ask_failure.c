/* SPDX-License-Identifier: Apache-2.0
 * ask_failure.c - see ask_failure.h. */
#include "run/ask_failure.h"

#include "run/items.h"

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

static void
usage(csn_jw *w, const csn_usage *u)
{
  if (!u)
    return;
  csn_jw_key(w, "usage");
  csn_usage_to_json(u, w);
}

static void
flag(csn_jw *w, const char *key, bool holds)
{
  if (!holds)
    return;
  csn_jw_key(w, key);
  csn_jw_bool(w, true);
}

void
csn_ask_write_failure(csn_buf *out, const csn_ask_failure *f)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  number(&w, "effect", f->effect);
  csn_jw_key(&w, "error");
  csn_jw_obj(&w);
  csn_jw_key(&w, "code");
  csn_jw_strz(&w, csn_code_name(f->err->code));
  csn_jw_key(&w, "message");
  csn_jw_strz(&w, f->err->msg);
  if (f->err->http_status)
    number(&w, "http_status", f->err->http_status);
  csn_jw_end(&w);
  flag(&w, "again", f->again > 0);
  if (f->again)
    number(&w, "attempt", f->again);
  usage(&w, f->usage);
  csn_jw_end(&w);
}

void
csn_ask_write_note(csn_buf *out, const csn_ask_failure *f, int64_t delay_ms)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "note");
  csn_jw_strz(&w, "attempt_failed");
  number(&w, "effect", f->effect);
  number(&w, "attempt", f->again);
  csn_jw_key(&w, "error");
  csn_jw_strz(&w, f->err->msg);
  number(&w, "http_status", f->err->http_status);
  number(&w, "retry_in_ms", delay_ms);
  usage(&w, f->usage);
  csn_jw_end(&w);
}
