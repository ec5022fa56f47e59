/* SPDX-License-Identifier: Apache-2.0
 *
 * runs.c - the list of runs: find by the head of an id, list, remove. */
#include <stdio.h>

#include "store/backend.h"

/* Ids are lower case; people type what they like.  False: it is no id. */
static bool
read_id(csn_str id, char text[STORE_ID_MAX + 2])
{
  if (!id.n || id.n > STORE_ID_MAX)
    return false;
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    if (c >= 'A' && c <= 'Z')
      c = (char)(c - 'A' + 'a');
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
      return false;
    text[i] = c;
  }
  text[id.n] = '\0';
  return true;
}

int
csn_run_search_init(csn_run_search *s, csn_str id, csn_run_head *out, csn_err *err)
{
  *s = (csn_run_search){.out = out, .ids = CSN_BUF(512)};
  if (!read_id(id, s->from))
    return csn_fail(err, CSN_E_INVALID,
                    "'%.*s' is no run id (letters and digits, at most %d); `caisson runs` lists "
                    "them",
                    (int)(id.n < 64 ? id.n : 64), id.p ? id.p : "", STORE_ID_MAX);
  snprintf(s->to, sizeof s->to, "%s{", s->from); /* '{' comes after 'z' */
  return 0;
}

void
csn_run_search_take(csn_run_search *s, const csn_run_head *h)
{
  s->is_whole = s->is_whole || strcmp(h->id, s->from) == 0;
  if (s->n == 0 || strcmp(h->id, s->from) == 0)
    *s->out = *h;
  if (s->n < STORE_AMBIGUOUS_SHOWN)
    csn_buf_addf(&s->ids, "%s%s", s->n ? " " : "", h->id);
  s->n++;
}

int
csn_run_search_end(csn_run_search *s, csn_err *err)
{
  int rc = 0;
  if (s->n == 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "no run '%s'; `caisson runs` lists them", s->from);
  else if (s->n > 1 && !s->is_whole)
    rc = csn_fail(err, CSN_E_INVALID, "several runs begin with '%s': %s%s; type more of it",
                  s->from, s->ids.p, s->n > STORE_AMBIGUOUS_SHOWN ? " ..." : "");
  csn_buf_fini(&s->ids);
  return rc;
}

int
csn_run_check_free(const csn_run_head *h, int64_t now_ms, csn_err *err)
{
  if (!csn_owner_is_live(h->owner, h->lease_until_ms, now_ms))
    return 0;
  char self[STORE_OWNER_MAX];
  csn_owner_self(self);
  if (csn_str_eq(csn_cstr(self), csn_cstr(h->owner)))
    return csn_fail(err, CSN_E_CONFLICT, "run %s is in use by this process", h->id);
  return csn_fail(err, CSN_E_CONFLICT,
                  "run %s is in use by another process (boot:pid namespace:pid:start %s); end it, "
                  "or wait until it is done",
                  h->id, h->owner);
}

int
csn_store_runs(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user, csn_err *err)
{
  return s->ops->run_list(s, fn, user, err);
}

int
csn_store_remove_run(csn_store *s, csn_str id, csn_err *err)
{
  return s->ops->run_remove(s, id, err);
}
