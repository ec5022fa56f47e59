/* SPDX-License-Identifier: Apache-2.0
 * session.c - the jobs that read a session and append to it.
 *
 * Both may be done again after a crash: reading changes nothing, and a run is
 * appended once. */
#include "store/session.h"

#include "model/items.h"
#include "model/transcript.h"
#include "run/driver.h"
#include "run/mark.h"

enum { HISTORY_MAX_BYTES = 64 << 20 };

struct session_job {
  csn_job base;
  csn_arena *arena;
};

/* The input that names the session. */
static const csn_json *
input_of(csn_job *j)
{
  const csn_json *v = NULL;
  return csn_json_parse(((struct session_job *)j)->arena, j->run->session, &v, NULL) < 0 ? NULL : v;
}

static csn_job *
answer(csn_job *j, int rc, csn_jw *w, csn_buf *b, csn_err *err)
{
  if (rc >= 0) {
    csn_jw_end(w);
    rc = csn_jw_done(w, err);
  }
  if (rc < 0)
    return csn_run_deliver_error(j->run, CSN_EV_SESSION_LOADED, j->seq, err, true);
  return csn_run_deliver(j->run, CSN_EV_SESSION_LOADED, csn_buf_str(b), true);
}

static void
begin(const csn_job *j, csn_jw *w, csn_buf *b)
{
  csn_jw_init(w, b);
  csn_jw_obj(w);
  csn_jw_key(w, "effect");
  csn_jw_int(w, j->seq);
}

static void
job_free(csn_job *j)
{
  csn_arena_free(((struct session_job *)j)->arena);
  free(j);
}

static csn_job *
job_new(csn_job *(*fn)(csn_job *j))
{
  struct session_job *j = csn_alloc(sizeof *j);
  j->base.fn = fn;
  j->base.free = job_free;
  j->arena = csn_arena_new(0);
  return &j->base;
}

/* ---- reading ---- */

struct reading {
  csn_jw *w;
  const char *api; /* of the model that will read it */
  csn_arena *keep;
  csn_str untrusted; /* why something of it is not to be trusted */
  int64_t n;
};

static int
take_item(void *user, int64_t n, csn_str item)
{
  struct reading *rd = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  (void)n;
  if (csn_json_parse(a, item, &v, NULL) < 0)
    return 0;
  csn_str why = csn_mark_take(a, &v), text = csn_item_for(a, v, rd->api);
  if (why.n && !rd->untrusted.n)
    rd->untrusted = csn_arena_dup(rd->keep, why);
  if (text.n) {
    csn_jw_raw(rd->w, text);
    rd->n++;
  }
  return 0;
}

static csn_job *
read_session(csn_job *j)
{
  csn_run *r = j->run;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(HISTORY_MAX_BYTES);
  const csn_json *input = input_of(j), *session = csn_json_get(input, "session");
  struct csn_route route = {0};
  csn_jw w;
  csn_err err;
  struct reading rd = {.w = &w, .keep = ((struct session_job *)j)->arena};
  /* A model that cannot be found fails the run later, with its reason. */
  if (csn_route_find(r->rt->project, csn_cstr(csn_agent_model(r->agent)), &route, NULL) == 0)
    rd.api = route.ops->name;
  begin(j, &w, &b);
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  csn_sessions *sessions = NULL;
  int rc = csn_state_sessions_need(&r->rt->sessions, r->rt->project, r->rt->store, &sessions, &err);
  if (rc == 0)
    rc = csn_session_read(sessions, csn_json_str(session, "name", CSN_STR("")),
                          csn_json_int(session, "max_items", 0),
                          csn_json_int(session, "max_tokens", 0), take_item, &rd, &err);
  csn_json_each (item, csn_json_get(input, "input"))
    csn_jw_value(&w, item);
  csn_jw_end(&w);
  csn_jw_key(&w, "history");
  csn_jw_int(&w, rd.n);
  if (rd.untrusted.n) { /* so is all that follows from it */
    csn_jw_key(&w, "untrusted");
    csn_jw_str(&w, rd.untrusted);
  }
  csn_route_fini(&route);
  return answer(j, rc, &w, &b, &err);
}

csn_job *
csn_session_read_job_new(csn_run *r)
{
  (void)r;
  return job_new(read_session);
}

/* ---- appending ---- */

static bool
has_output(const csn_json *const *items, size_t n, csn_str call_id)
{
  for (size_t i = 0; i < n; i++)
    if (csn_item_side(items[i]) == CSN_SIDE_TOOL &&
        csn_str_eq(csn_json_str(items[i], "call_id", CSN_STR("")), call_id))
      return true;
  return false;
}

/* How many of the items make sense to who reads them later: a turn whose calls
 * were not all answered, as the run was stopped, is left out. */
static size_t
whole_turns(const csn_json *const *items, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    csn_str call_id = csn_json_str(items[i], "call_id", CSN_STR(""));
    if (csn_item_side(items[i]) != CSN_SIDE_MODEL || !call_id.n ||
        has_output(items + i, n - i, call_id))
      continue;
    while (i > 0 && csn_item_side(items[i - 1]) == CSN_SIDE_MODEL)
      i--;
    return i;
  }
  return n;
}

static csn_job *
append_session(csn_job *j)
{
  csn_run *r = j->run;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_jw w;
  csn_err err;
  pthread_mutex_lock(&r->lock);
  size_t from = (size_t)r->history < r->n_items ? (size_t)r->history : r->n_items;
  size_t n = 0;
  csn_auto(csn_freep) csn_str *items = csn_alloc((r->n_items - from + 1) * sizeof *items);
  csn_auto(csn_freep) csn_str *marks = csn_alloc((r->n_items - from + 1) * sizeof *marks);
  csn_str why = csn_arena_dup(a, csn_cstr(r->state.untrusted));
  for (size_t i = from; i < r->n_items; i++) {
    int64_t seq = r->items[i].seq;
    if (csn_state_withholds(&r->state, seq))
      continue;
    marks[n] = seq >= r->untrusted_from ? why : CSN_STR("");
    items[n++] = r->items[i].raw; /* they live as long as the run */
  }
  pthread_mutex_unlock(&r->lock);
  csn_auto(csn_freep) const csn_json **parsed = csn_alloc((n + 1) * sizeof *parsed);
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++)
    rc = csn_json_parse(a, items[i], &parsed[i], &err);
  if (rc == 0)
    n = whole_turns(parsed, n);
  for (size_t i = 0; i < n && rc == 0; i++)
    items[i] = csn_mark_put(a, parsed[i], marks[i]);
  csn_sessions *sessions = NULL;
  if (rc == 0)
    rc = csn_state_sessions_need(&r->rt->sessions, r->rt->project, r->rt->store, &sessions, &err);
  if (rc == 0)
    rc = csn_session_append(sessions,
                            csn_json_str(csn_json_get(input_of(j), "session"), "name", CSN_STR("")),
                            csn_cstr(csn_run_id(r)), items, n, &err);
  if (rc < 0)
    csn_wrap(&err, rc, "the session was not saved");
  begin(j, &w, &b);
  csn_jw_key(&w, "saved");
  csn_jw_int(&w, rc > 0 ? (int64_t)n : 0);
  return answer(j, rc, &w, &b, &err);
}

csn_job *
csn_session_append_job_new(csn_run *r)
{
  (void)r;
  return job_new(append_session);
}
