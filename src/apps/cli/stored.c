/* SPDX-License-Identifier: Apache-2.0
 * stored.c - see stored.h. */
#include "stored.h"

#include <fcntl.h>

#include "caisson/manifest.h"
#include "core/fd.h"
#include "run/box.h"
#include "run/statedir.h"

int
cli_stored_open(cli *c, cli_stored *s, csn_err *err)
{
  *s = (cli_stored){.fd = -1};
  int rc = csn_project_load(&s->project, err);
  const char *url = c->state_url;
  if (rc == 0 && !url && !c->state_dir)
    rc = csn_project_state(s->project, &url, err);
  if (rc == 0) /* with a database there are runs without the folder */
    rc = cli_state_open(c, url != NULL, &s->fd, NULL, err);
  if (rc == 0)
    rc = csn_state_store_open(s->project, c->state_dir, url, s->fd, CSN_DURABLE_PROCESS, &s->store,
                              err);
  if (rc < 0)
    cli_stored_close(s);
  return rc;
}

int
cli_stored_open_sessions(cli *c, cli_stored *s, csn_err *err)
{
  csn_auto(csn_project_freep) struct csn_project *p = NULL;
  struct csn_project_sessions said = {0};
  *s = (cli_stored){.fd = -1};
  int rc = csn_project_load(&p, err);
  if (rc == 0)
    rc = csn_project_sessions(p, &said, err);
  const char *place = c->session_store ? c->session_store : said.store;
  if (rc == 0 && (!place || !*place || strcmp(place, "state") == 0))
    rc = cli_stored_open(c, s, err);
  if (rc == 0)
    rc = csn_state_sessions_open(p, c->session_store, NULL, s->store, &s->sessions, err);
  return rc;
}

void
cli_stored_close(cli_stored *s)
{
  csn_sessions_close(s->sessions);
  if (s->store)
    csn_store_close(s->store);
  csn_closep(&s->fd);
  csn_project_free(s->project);
  *s = (cli_stored){.fd = -1};
}

struct finder {
  cli *c;
  csn_str agent;
};

static int
take_zero(void *user, const csn_record *r, csn_err *err)
{
  struct finder *f = user;
  f->agent = csn_arena_dup(f->c->arena, r->data);
  return CSN_E_EXISTS; /* one record is enough */
}

/* Beneath base or workspace and not only beneath the state folder: the
 * sandbox may have put a link to another run's folder in the entry's place. */
static int
open_entry(cli_stored *s, const char *id, const char *side, csn_str entry, csn_err *err)
{
  char path[CSN_BOX_ID_MAX + 40];
  snprintf(path, sizeof path, "sandboxes/%s/%s", id, side);
  csn_auto(csn_closep) int top = csn_open_beneath(s->fd, path, O_PATH | O_DIRECTORY, 0, err);
  csn_auto(csn_freep) char *name = csn_dupz(entry);
  return top < 0 ? top
                 : csn_open_beneath(top, entry.n ? name : ".", O_RDONLY | O_DIRECTORY, 0, err);
}

static int
open_trees(cli_stored *s, const char *id, cli_tree *t, csn_err *err)
{
  t->base_fd = open_entry(s, id, "base", t->entry, err);
  if (t->base_fd >= 0)
    t->work_fd = open_entry(s, id, "workspace", t->entry, err);
  int rc = t->base_fd < 0 ? t->base_fd : t->work_fd;
  return rc < 0 ? csn_wrap(err, rc, "the workspace of run %s is gone", id) : 0;
}

/* A sandbox of the run, and what is done with each of its trees. */
struct each {
  cli *c;
  cli_stored *s;
  csn_str folder; /* of the agent */
  int (*fn)(void *user, const cli_tree *t, csn_err *err);
  void *user;
};

/* Returns how many trees there were. */
static int
each_in_box(const struct each *e, const char *id, csn_str box, const csn_json *json, csn_err *err)
{
  csn_manifest *m = NULL;
  int rc = json ? csn_manifest_from_json(e->c->arena, json, &m, err) : 0;
  if (rc == 0)
    rc = csn_box_lay_out(e->s->project, e->s->fd, id, &e->c->scope, err);
  if (rc < 0)
    return rc;
  const char *path, *src;
  int i = 0;
  for (; m && csn_manifest_local_dir(m, (size_t)i, &path, &src); i++) {
    cli_tree t = {
        .box = box, .entry = csn_cstr(path), .src = csn_cstr(src), .base_fd = -1, .work_fd = -1};
    if (*src != '/')
      t.src = csn_arena_printf(e->c->arena, "%.*s/%s", (int)e->folder.n, e->folder.p, src);
    rc = open_trees(e->s, id, &t, err);
    if (rc == 0)
      rc = e->fn(e->user, &t, err);
    csn_closep(&t.base_fd);
    csn_closep(&t.work_fd);
    if (rc < 0)
      return rc;
  }
  cli_tree whole = {.box = box, .base_fd = -1, .work_fd = -1};
  if (i == 0 && open_trees(e->s, id, &whole, NULL) == 0) /* it began with a snapshot */
    rc = e->fn(e->user, &whole, err);
  i += whole.base_fd >= 0;
  csn_closep(&whole.base_fd);
  csn_closep(&whole.work_fd);
  return rc < 0 ? rc : i;
}

static int
each_of_run(const struct each *e, const char *id, const csn_json *agent, csn_err *err)
{
  const csn_json *several = csn_json_get(agent, "sandboxes");
  csn_str name = several && several->child ? several->child->key : CSN_STR("");
  int rc = each_in_box(e, id, name, csn_json_get(agent, "manifest"), err), n = rc;
  for (const csn_json *b = name.n ? several->child->next : NULL; rc >= 0 && b; b = b->next) {
    csn_str box = csn_arena_printf(e->c->arena, "%s.%.*s", id, (int)b->key.n, b->key.p);
    rc = each_in_box(e, box.p, b->key, csn_json_get(b, "manifest"), err);
    n += rc;
  }
  if (rc >= 0 && n == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "run %s has no folder of this machine in its workspace",
                    id);
  return rc < 0 ? rc : 0; /* and not how many files */
}

int
cli_each_tree(cli *c, cli_stored *s, const char *run,
              int (*fn)(void *user, const cli_tree *t, csn_err *err), void *user, csn_err *err)
{
  csn_journal *j;
  int rc = csn_journal_open(s->store, csn_cstr(run), false, &j, err);
  if (rc < 0)
    return rc;
  struct finder f = {.c = c};
  csn_err why;
  rc = csn_journal_read(j, 0, take_zero, &f, &why);
  const char *id = csn_arena_dup(c->arena, csn_cstr(csn_journal_id(j))).p;
  /* Files that were not copied yet would look like files that were removed. */
  if (rc == CSN_E_EXISTS && csn_journal_last(j, "sandbox_ready") < 0)
    rc = csn_fail(&why, CSN_E_NOT_FOUND, "the workspace of run %s was never finished", id);
  csn_journal_close(j);
  if (rc < 0 && rc != CSN_E_EXISTS) {
    if (err)
      *err = why;
    return rc;
  }
  const csn_json *zero;
  rc = csn_json_parse(c->arena, f.agent, &zero, err);
  if (rc < 0)
    return rc;
  const csn_json *agent = csn_json_get(zero, "agent");
  const struct each e = {c, s, csn_json_str(agent, "folder", CSN_STR(".")), fn, user};
  return each_of_run(&e, id, agent, err);
}
