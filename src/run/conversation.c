/* SPDX-License-Identifier: Apache-2.0
 * conversation.c - the C API for kept conversations: session.h of the public
 * headers over store/session.h.  Summing one up: conversation_sum.c. */
#include "run/conversation.h"

#include "run/driver.h"
#include "run/mark.h"

int
csn_conversation_open(csn_rt *rt, const char *name, csn_conversation **out, csn_err *err)
{
  csn_sessions *sessions;
  int rc = csn_session_check(csn_cstr(name), err);
  if (rc == 0)
    rc = csn_state_sessions_need(&rt->sessions, rt->project, rt->store, &sessions, err);
  if (rc < 0)
    return rc;
  csn_conversation *c = csn_alloc(sizeof *c);
  *c = (csn_conversation){.rt = rt, .sessions = sessions, .name = csn_dupz(csn_cstr(name))};
  *out = c;
  return 0;
}

void
csn_conversation_close(csn_conversation *c)
{
  if (!c)
    return;
  free(c->name);
  free(c);
}

/* ---- reading ---- */

struct reading {
  int (*fn)(void *user, const csn_conversation_item *item);
  void *user;
};

static int
take_item(void *user, int64_t n, csn_str item)
{
  struct reading *r = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_conversation_item it = {.n = n, .json = item, .untrusted = CSN_STR("")};
  if (csn_json_parse(a, item, &v, NULL) == 0) {
    it.untrusted = csn_mark_take(a, &v);
    it.json = v->raw;
  }
  return r->fn(r->user, &it);
}

int
csn_conversation_items(csn_conversation *c, int64_t max_items, int64_t max_tokens,
                       int (*fn)(void *user, const csn_conversation_item *item), void *user,
                       csn_err *err)
{
  struct reading r = {fn, user};
  return csn_session_read(c->sessions, csn_cstr(c->name), max_items, max_tokens, take_item, &r,
                          err);
}

struct rows {
  int (*row)(void *user, const csn_conversation_row *row);
  int (*hit)(void *user, const csn_conversation_hit *hit);
  void *user;
};

static int
take_row(void *user, const csn_session_row *r)
{
  const struct rows *l = user;
  csn_conversation_row row = {.name = r->name,
                              .parent = r->parent,
                              .created_ms = r->created_ms,
                              .updated_ms = r->updated_ms,
                              .items = r->items};
  return l->row(l->user, &row);
}

static int
take_hit(void *user, const csn_session_hit *h)
{
  const struct rows *l = user;
  csn_conversation_hit hit = {.name = h->session, .text = h->text, .n = h->n};
  return l->hit(l->user, &hit);
}

int
csn_conversation_list(csn_rt *rt, int (*fn)(void *user, const csn_conversation_row *row),
                      void *user, csn_err *err)
{
  struct rows l = {.row = fn, .user = user};
  csn_sessions *sessions;
  int rc = csn_state_sessions_need(&rt->sessions, rt->project, rt->store, &sessions, err);
  return rc < 0 ? rc : csn_session_list(sessions, take_row, &l, err);
}

int
csn_conversation_search(csn_rt *rt, csn_str words,
                        int (*fn)(void *user, const csn_conversation_hit *hit), void *user,
                        csn_err *err)
{
  struct rows l = {.hit = fn, .user = user};
  csn_sessions *sessions;
  int rc = csn_state_sessions_need(&rt->sessions, rt->project, rt->store, &sessions, err);
  return rc < 0 ? rc : csn_session_search(sessions, words, take_hit, &l, err);
}

/* ---- changing ---- */

int
csn_conversation_add(csn_conversation *c, csn_str items, const char *untrusted, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(CSN_INPUT_MAX);
  csn_auto(csn_freep) csn_str *texts = NULL;
  const csn_json *v = NULL;
  size_t n = 0;
  int rc = csn_input_write(&(struct csn_input){.items = items}, &list, err);
  if (rc == 0 && untrusted && !csn_mark_is_reason(csn_cstr(untrusted)))
    rc = csn_fail(err, CSN_E_INVALID, "untrusted: expected tool, files, web or agent");
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&list), &v, err);
  if (rc < 0 || !v)
    return rc;
  texts = csn_alloc(((v ? v->n : 0) + 1) * sizeof *texts);
  csn_json_each (item, v)
    texts[n++] = csn_mark_put(a, item, csn_cstr(untrusted));
  rc = csn_session_append(c->sessions, csn_cstr(c->name), CSN_STR(""), texts, n, err);
  return rc < 0 ? rc : 0;
}

int
csn_conversation_pop(csn_conversation *c, csn_err *err)
{
  int64_t n = 0;
  int rc = csn_session_count(c->sessions, csn_cstr(c->name), &n, err);
  return rc < 0 || !n ? rc : csn_session_undo(c->sessions, csn_cstr(c->name), err);
}

int
csn_conversation_clear(csn_conversation *c, csn_err *err)
{
  csn_err why;
  int rc = csn_session_remove(c->sessions, csn_cstr(c->name), &why);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  if (rc < 0 && err)
    *err = why;
  return rc < 0 ? rc : 1;
}

int
csn_conversation_branch(csn_conversation *c, const char *name, int64_t items, csn_err *err)
{
  return csn_session_fork(c->sessions, csn_cstr(c->name), csn_cstr(name), items, err);
}
