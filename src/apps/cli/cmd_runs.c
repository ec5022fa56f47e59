/* SPDX-License-Identifier: Apache-2.0
 * caisson runs - list, remove and clean up kept runs. */
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "run/box.h"
#include "running.h"
#include "stored.h"

struct runs_opts {
  bool json, waiting;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print one JSON list", CLI_BOOL(struct runs_opts, json)},
    {"waiting", 0, NULL, "Only those that wait for a decision",
     CLI_BOOL(struct runs_opts, waiting)},
    {0},
};

struct listing {
  bool json, waiting;
  csn_jw w;
  csn_buf out;
  int n;
};

static csn_str
state_of(const csn_run_row *r)
{
  bool was_left = csn_str_eq(r->state, CSN_STR("running")) && !r->is_owned;
  return was_left ? CSN_STR("interrupted") : r->state;
}

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

static void
add_json(csn_jw *w, const csn_run_row *r)
{
  csn_jw_obj(w);
  member(w, "id", csn_cstr(r->id));
  member(w, "state", state_of(r));
  member(w, "agent", r->agent);
  member(w, "model", r->model);
  number(w, "started", r->started_ms);
  number(w, "turns", r->turns);
  number(w, "tokens", r->tokens);
  csn_jw_end(w);
}

static void
add_line(csn_buf *out, const csn_run_row *r)
{
  time_t t = (time_t)(r->started_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  csn_str state = state_of(r), task = r->task;
  size_t end = csn_str_find(task, CSN_STR("\n"), 0);
  if (end < task.n)
    task.n = end;
  csn_buf_addf(out,
               "%-20s %-11.*s %04d-%02d-%02d %02d:%02d  %4lld turns  %8lld tokens  %.*s: %.*s\n",
               r->id, (int)state.n, state.p, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
               tm.tm_hour, tm.tm_min, (long long)r->turns, (long long)r->tokens, (int)r->agent.n,
               r->agent.p, (int)(task.n > 60 ? 60 : task.n), task.p ? task.p : "");
}

static int
on_row(void *user, const csn_run_row *r)
{
  struct listing *l = user;
  if (l->waiting && !csn_str_eq(state_of(r), CSN_STR("waiting")))
    return 0;
  if (l->json)
    add_json(&l->w, r);
  else
    add_line(&l->out, r);
  l->n++;
  return 0;
}

static int
list_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct runs_opts *v = o;
  cli_stored s;
  struct listing l = {.json = v->json, .waiting = v->waiting, .out = CSN_BUF(256u << 20)};
  int rc = cli_stored_open(c, &s, err);
  csn_jw_init(&l.w, &l.out);
  if (l.json)
    csn_jw_arr(&l.w);
  if (rc == 0)
    rc = csn_store_runs(s.store, on_row, &l, err);
  else if (rc == CSN_E_NOT_FOUND)
    rc = 0; /* no state folder: no runs */
  if (l.json)
    csn_jw_end(&l.w);
  if (rc == 0 && l.json)
    printf("%s\n", l.out.p);
  else if (rc == 0 && l.n)
    cli_put(stdout, csn_buf_str(&l.out));
  else if (rc == 0)
    cli_note(c, l.waiting ? "no run waits for a decision" : "no runs yet");
  csn_buf_fini(&l.out);
  cli_stored_close(&s);
  return rc;
}

static int
remove_one(cli *c, cli_stored *s, const char *run, csn_err *err)
{
  csn_journal *j;
  int rc = csn_journal_open(s->store, csn_cstr(run), false, &j, err);
  if (rc < 0)
    return rc;
  csn_str id = csn_arena_dup(c->arena, csn_cstr(csn_journal_id(j)));
  csn_journal_close(j);
  rc = csn_store_remove_run(s->store, id, err);
  return rc < 0 ? rc : csn_boxes_remove(s->fd, id.p, err);
}

static int
rm_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  for (int i = 0; rc == 0 && i < argc; i++)
    rc = csn_wrap(err, remove_one(c, &s, argv[i], err), "run %s", argv[i]);
  cli_stored_close(&s);
  return rc;
}

struct ended {
  cli *c;
  int state_fd;
  struct ended_run {
    struct ended_run *next;
    csn_str id;
  } * first;
};

static int
on_ended(void *user, const csn_run_row *r)
{
  static const char *const live[] = {"running", "waiting", "interrupted"};
  struct ended *e = user;
  for (size_t i = 0; i < CSN_COUNT(live); i++)
    if (csn_str_eq(r->state, csn_cstr(live[i])))
      return 0;
  csn_str path = csn_arena_printf(e->c->arena, "sandboxes/%s", r->id);
  if (r->is_owned || faccessat(e->state_fd, path.p, F_OK, 0) < 0)
    return 0;
  struct ended_run *x = csn_arena_alloc(e->c->arena, sizeof *x);
  *x = (struct ended_run){e->first, csn_arena_dup(e->c->arena, csn_cstr(r->id))};
  e->first = x;
  return 0;
}

/* A process that died between a run's end and the removal of its workspace
 * left it; to go on with a run that has ended makes up for that. */
static int
remove_left(cli *c, const struct ended *e, csn_err *err)
{
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  int rc = e->first ? cli_rt_open(c, &rt, err) : 0;
  for (const struct ended_run *x = e->first; rc == 0 && x; x = x->next) {
    csn_auto(csn_run_freep) csn_run *r = NULL;
    csn_err why;
    if (csn_run_resume(rt, x->id, NULL, &r, &why) < 0)
      cli_note(c, "run %.*s: %s", (int)x->id.n, x->id.p, why.msg);
  }
  return rc;
}

static int
gc_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  struct ended e = {.c = c, .state_fd = s.fd};
  if (rc == 0)
    rc = csn_store_runs(s.store, on_ended, &e, err);
  if (rc >= 0)
    rc = csn_store_gc(s.store, err);
  int n = rc;
  cli_stored_close(&s);
  if (rc >= 0)
    rc = remove_left(c, &e, err);
  if (rc >= 0)
    printf("%d blobs removed\n", n);
  return rc < 0 ? rc : CLI_DONE;
}

static const cli_cmd cmd_list = {
    .name = "list",
    .brief = "List runs, newest first",
    .size = sizeof(struct runs_opts),
    .opts = opts,
    .main = list_main,
};

static const cli_cmd cmd_rm = {
    .name = "rm",
    .args = "RUN...",
    .brief = "Remove runs with their workspaces",
    .main = rm_main,
};

static const cli_cmd cmd_gc = {
    .name = "gc",
    .brief = "Remove stored data that no run refers to, and workspaces that ended runs left",
    .main = gc_main,
};

static const cli_cmd *const subs[] = {&cmd_list, &cmd_rm, &cmd_gc, NULL};

const cli_cmd cmd_runs = {
    .name = "runs",
    .brief = "List and remove runs",
    .size = sizeof(struct runs_opts),
    .opts = opts,
    .main = list_main,
    .sub = subs,
};
