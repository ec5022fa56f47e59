/* SPDX-License-Identifier: Apache-2.0
 * boxes.c - all sandboxes of a run: what is done with one is done with each.
 *
 * They are made when the run begins, the first one first, and end in the other
 * order: as long as the folder of the first is there, something is left to be
 * tidied up.  Records speak of the first as of the only one, and of the others
 * beside it, by name. */
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "run/box_mount.h"
#include "run/box_network.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/redact.h"
#include "sandbox/jail.h"

struct csn_box *
csn_box_at(csn_run *r, size_t i)
{
  r = csn_box_owner(r);
  return i == 0 ? &r->box : i <= r->n_others ? &r->others[i - 1] : NULL;
}

/* Of the run itself, also where it uses another's. */
static struct csn_box *
own(csn_run *r, size_t i)
{
  return i == 0 ? &r->box : &r->others[i - 1];
}

static size_t
count(const csn_run *r)
{
  return r->n_others + 1;
}

void
csn_boxes_name(csn_run *r)
{
  for (size_t i = 1; i < count(r); i++)
    snprintf(r->others[i - 1].id, CSN_BOX_ID_MAX, "%s.%s", csn_journal_id(r->journal),
             r->others[i - 1].name);
}

void
csn_run_set_agent(csn_run *r, const csn_agent *agent)
{
  r->agent = r->box.agent = agent;
  r->box.name = agent->box_name;
  r->n_others = agent->run_parent ? 0 : agent->n_boxes;
  if (r->n_others)
    r->others = csn_alloc(r->n_others * sizeof *r->others);
  for (size_t i = 1; i < count(r); i++) {
    struct csn_box *b = &r->others[i - 1];
    csn_box_init(b, r);
    b->agent = csn_agent_box(agent, i);
    b->name = csn_agent_box_name(agent, i);
    b->index = i;
  }
  if (r->journal)
    csn_boxes_name(r);
}

/* fn for each, until one fails. */
static int
each(csn_run *r, int (*fn)(struct csn_box *b, csn_err *err), csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < count(r); i++)
    rc = fn(own(r, i), err);
  return rc;
}

int
csn_boxes_from_find(csn_run *r, csn_err *err)
{
  return each(r, csn_box_from_find, err);
}

static int
check_backend(struct csn_box *b, csn_err *err)
{
  return csn_box_check_backend(b, err);
}

int
csn_boxes_check_backend(csn_run *r, csn_err *err)
{
  return each(r, check_backend, err);
}

int
csn_boxes_network_need(csn_run *r, csn_err *err)
{
  return each(r, csn_box_network_need, err);
}

void
csn_boxes_close(csn_run *r, bool is_over)
{
  for (size_t i = count(r); i-- > 0;)
    csn_box_close(own(r, i), is_over);
}

void
csn_boxes_sweep(csn_run *r)
{
  for (size_t i = count(r); i-- > 0;)
    csn_box_sweep(own(r, i));
}

void
csn_boxes_free(csn_run *r)
{
  csn_boxes_close(r, false);
  for (size_t i = 0; i < count(r); i++) {
    csn_box_mounts_free(own(r, i));
    csn_box_network_free(own(r, i));
  }
  csn_redact_free(csn_steal(r->redact));
  free(r->others);
}

bool
csn_boxes_are_there(csn_run *r)
{
  bool all = true;
  for (size_t i = 0; all && i < count(r); i++) {
    csn_auto(csn_closep) int folder = csn_box_folder(r->rt, csn_box_id(own(r, i)), NULL);
    all = folder >= 0 && csn_box_is_there(folder);
  }
  return all;
}

int
csn_boxes_remove(int state_fd, const char *id, csn_err *err)
{
  csn_auto(csn_closep) int dir = csn_box_open_folder(state_fd, "sandboxes", NULL);
  csn_names names = {0};
  size_t n = strlen(id);
  int rc = dir < 0 ? 0 : csn_names_read(&names, dir, SIZE_MAX, err);
  for (size_t i = 0; rc == 0 && i < names.n; i++)
    if (strncmp(names.p[i], id, n) == 0 && names.p[i][n] == '.')
      rc = csn_jail_remove(dir, names.p[i], err);
  csn_names_fini(&names);
  return rc < 0 || dir < 0 ? rc : csn_jail_remove(dir, id, err);
}

/* ---- making them ---- */

/* {"NAME":...} of those beside the first, beneath `key`; *n: how many so far. */
static void
key_of(csn_jw *w, const struct csn_box *b, const char *key, size_t *n)
{
  if ((*n)++ == 0) {
    csn_jw_key(w, key);
    csn_jw_obj(w);
  }
  csn_jw_key(w, b->name);
}

int
csn_boxes_make(csn_run *r, csn_scope *sc, csn_jw *w, csn_err *err)
{
  size_t n = 0, made = 0;
  int rc = 0;
  for (; rc == 0 && made < count(r); made++) {
    struct csn_box *b = own(r, made);
    if (made == 0)
      csn_jw_key(w, "sandbox");
    else
      key_of(w, b, "sandboxes", &n);
    rc = csn_box_make(b, sc, w, err);
    if (rc < 0 && b->name)
      rc = csn_wrap(err, rc, "sandbox %s", b->name);
  }
  if (n)
    csn_jw_end(w);
  for (made -= rc < 0; rc < 0 && made-- > 0;)
    csn_box_unmake(own(r, made));
  return rc;
}

/* ---- record 0 ---- */

int64_t
csn_boxes_checkpoint_ms(csn_run *r)
{
  int64_t least = -1;
  for (size_t i = 0; i < count(r); i++) {
    int64_t ms = csn_box_checkpoint_ms(own(r, i));
    if (ms >= 0 && (least < 0 || ms < least))
      least = ms;
  }
  return least;
}

void
csn_boxes_zero(csn_run *r, csn_jw *w)
{
  int64_t checkpoint_ms = csn_boxes_checkpoint_ms(r);
  size_t n = 0;
  csn_box_zero(&r->box, w);
  if (checkpoint_ms >= 0) {
    csn_jw_key(w, "checkpoint_ms");
    csn_jw_int(w, checkpoint_ms);
  }
  for (size_t i = 1; i < count(r); i++) {
    const struct csn_box *b = &r->others[i - 1];
    if (!b->from)
      continue;
    key_of(w, b, "sandboxes", &n);
    csn_jw_obj(w);
    csn_box_zero(b, w);
    csn_jw_end(w);
  }
  if (n)
    csn_jw_end(w);
}

void
csn_boxes_read_zero(csn_run *r, const csn_json *zero)
{
  const csn_json *others = csn_json_get(zero, "sandboxes");
  csn_box_read_zero(&r->box, zero);
  for (size_t i = 1; i < count(r); i++)
    csn_box_read_zero(&r->others[i - 1], csn_json_get(others, r->others[i - 1].name));
}

/* ---- checkpoints ---- */

int
csn_boxes_checkpoint(csn_run *r, int64_t seq, csn_jw *w, csn_err *err)
{
  bool again = false;
  size_t n = 0;
  int rc = 0;
  for (size_t i = 0; rc >= 0 && i < count(r); i++) {
    struct csn_box *b = own(r, i);
    if (i && csn_box_checkpoint_ms(b) < 0)
      continue;
    if (i) {
      key_of(w, b, "saved", &n);
      csn_jw_obj(w);
    }
    rc = csn_box_checkpoint(b, seq, w, err);
    again = again || rc == CSN_BOX_AGAIN;
    if (i)
      csn_jw_end(w);
  }
  if (n)
    csn_jw_end(w);
  if (again) {
    csn_jw_key(w, "again");
    csn_jw_bool(w, true);
  }
  return rc < 0 ? rc : 0;
}

void
csn_boxes_saw(csn_run *r, const csn_json *data)
{
  const csn_json *others = csn_json_get(data, "saved");
  int64_t seq = csn_json_int(data, "effect", -1);
  csn_box_saw(&r->box, seq, data);
  for (size_t i = 1; others && i < count(r); i++)
    csn_box_saw(&r->others[i - 1], seq, csn_json_get(others, r->others[i - 1].name));
}

/* ---- outputs ---- */

int
csn_boxes_collect(csn_run *r, csn_buf *report, csn_err *err)
{
  csn_jw w;
  int rc = 0;
  csn_jw_init(&w, report);
  csn_jw_arr(&w);
  for (size_t i = 0; rc >= 0 && i < count(r); i++) {
    struct csn_box *b = own(r, i);
    if (b->agent->n_outputs)
      rc = csn_box_collect(b, &w, err);
  }
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_jw_done(&w, err);
}

/* ---- another back-end ---- */

/* "docker", of the first, or "data=docker". */
int
csn_boxes_change_backend(csn_run *r, csn_err *err)
{
  const char *name = r->opts.backend;
  size_t n = name ? strcspn(name, "=:/") : 0, i = 0; /* a program's path may have one, too */
  if (!name)
    return 0;
  if (name[n] != '=')
    return csn_box_change_backend(&r->box, name, err);
  if (!csn_agent_box_find(r->agent, csn_strn(name, n), &i)) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_str names = csn_agent_box_names(r->agent, a);
    return csn_fail(err, CSN_E_INVALID, "--backend %.60s: run %s has no such sandbox; it has %s",
                    name, csn_run_id(r), names.n ? names.p : "one, without a name");
  }
  return csn_box_change_backend(own(r, i), name + n + 1, err);
}

int
csn_box_set_backend(struct csn_box *b, const char *name, csn_err *err)
{
  csn_agent *a = b->run->own_agent;
  return csn_agent_change_backend(b->index ? a->boxes[b->index - 1] : a, b->run->rt->backends, name,
                                  err);
}

int
csn_boxes_read_backend(csn_run *r, const csn_json *note, csn_err *err)
{
  csn_str name = csn_json_str(note, "backend", CSN_STR(""));
  csn_str box = csn_json_str(note, "sandbox", CSN_STR(""));
  csn_auto(csn_freep) char *text = csn_dupz(name);
  size_t i = 0;
  if (box.n && !csn_agent_box_find(r->agent, box, &i))
    return csn_fail(err, CSN_E_REPLAY, "a note names the sandbox %.*s, which the run has not",
                    (int)(box.n & 0xff), box.p);
  return name.n ? csn_box_set_backend(own(r, i), text, err) : 0;
}

/* ---- losses ---- */

/* A message would come between a call and its result. */
static bool
has_calls(const csn_run *r)
{
  for (size_t i = 0; i < r->state.n_pending; i++)
    if (r->state.pending[i].call_id)
      return true;
  return r->state.phase == CSN_PHASE_TOOLS;
}

int
csn_boxes_look(csn_run *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf news = CSN_BUF(CSN_BOXES_MAX * CSN_BOX_NEWS_MAX);
  struct csn_box_found found[CSN_BOXES_MAX] = {{0}};
  struct csn_box *last = NULL;
  bool is_quiet = !has_calls(r);
  int rc = 0;
  if (!r->state.sandbox_open || r->box_run || r->state.phase == CSN_PHASE_SETUP ||
      r->state.phase == CSN_PHASE_CLOSING)
    return 0;
  for (size_t i = 0; rc == 0 && i < count(r); i++) {
    struct csn_box *b = own(r, i);
    rc = csn_box_look(b, &found[i], err);
    if (rc == 0 && b->news && is_quiet)
      csn_buf_addf(&news, "%s%s", news.n ? "\n\n" : "", b->news);
    found[i].is_told = found[i].was_lost || (b->news && is_quiet);
    if (found[i].is_told)
      last = b;
  }
  /* One message for all, with the last of them. */
  for (size_t i = 0; rc == 0 && i < count(r); i++) {
    struct csn_box *b = own(r, i);
    if (found[i].is_told)
      csn_box_deliver_loss(b, found[i].from, b == last ? csn_buf_str(&news) : CSN_STR(""));
  }
  for (size_t i = 0; rc == 0 && is_quiet && i < count(r); i++)
    if (found[i].is_told && own(r, i)->news)
      csn_box_news_told(r, own(r, i));
  return rc;
}
