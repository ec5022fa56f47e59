/* SPDX-License-Identifier: Apache-2.0
 *
 * e2b_image.c - environments at E2B (environment_remote.h): a sandbox of the
 * template in which commands are root, kept as a snapshot of the service.
 *
 * Its name is caisson-env-HEX, the hash of the template's name and of every
 * command, in the account's own space of names: whoever has the account finds it,
 * on any machine, and nothing is kept here.  What came with which version is a
 * file in it. */
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/backend/e2b.h"
#include "sandbox/environment_remote.h"

enum { HEX_SHOWN = 32, PATH_MAX_BYTES = 1000, SAID_MAX = 1000, SNAPSHOT_MS = 600000 };
#define NAME "caisson-env-"
#define VERSIONS "/etc/caisson-environment.json"

/* ---- names ---- */

/* Of "TEAM/NAME:TAG". */
static csn_str
short_of(csn_str name)
{
  size_t end = csn_str_find(name, CSN_STR(":"), 0), at;
  name.n = end < name.n ? end : name.n;
  while ((at = csn_str_find(name, CSN_STR("/"), 0)) < name.n)
    name = csn_strn(name.p + at + 1, name.n - at - 1);
  return name;
}

/* Ours, as a snapshot is called; or "". */
static csn_str
name_of(const csn_json *snapshot)
{
  csn_str id = short_of(csn_json_str(snapshot, "snapshotID", CSN_STR("")));
  if (csn_str_starts(id, CSN_STR(NAME)))
    return id;
  csn_json_each (m, csn_json_get(snapshot, "names"))
    if (m->kind == CSN_JSON_STRING && csn_str_starts(short_of(m->text), CSN_STR(NAME)))
      return short_of(m->text);
  return CSN_STR("");
}

static bool
is_ours(csn_str name)
{
  for (size_t i = 0; i < name.n; i++)
    if (!strchr("0123456789abcdefghijklmnopqrstuvwxyz-", name.p[i]))
      return false;
  return csn_str_starts(name, CSN_STR(NAME)) && name.n < 80;
}

/* ---- sandboxes of a build ---- */

/* Nobody would know of one that is left behind: its time-out ends it. */
static int
open_root(csn_sandbox **out, csn_scope *sc, const csn_json *options, const csn_network *network,
          csn_arena *a, csn_err *err)
{
  static const csn_environment_maker ends = {.option = "on_timeout"};
  csn_sandbox_spec spec = {.backend = "e2b",
                           .workspace_fd = -1,
                           .lock_fd = -1,
                           .root = "/", /* there is no workspace yet, and none is made */
                           .user = "root",
                           .network = network};
  int rc = csn_environment_options(&ends, options, "kill", a, &spec.options, err);
  return rc < 0 ? rc : csn_sandbox_open(out, sc, &spec, err);
}

static int
run_errand(csn_sandbox *sb, csn_scope *sc, const char *const *argv, int from, int to, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX);
  const csn_errand e = {argv, from, to, &said};
  csn_exit end;
  int rc = csn_sandbox_errand(sb, sc, &e, &end, err);
  if (rc < 0 || end.code == 0)
    return rc;
  csn_str text = csn_str_trim(csn_buf_str(&said));
  return csn_fail(err, CSN_E_SANDBOX, "it ended with %d: %.*s", end.code, (int)text.n,
                  text.n ? text.p : "");
}

static int
write_versions(csn_sandbox *sb, csn_scope *sc, csn_str text, csn_err *err)
{
  const char *argv[] = {"sh", "-c", "umask 022; cat >" VERSIONS, NULL};
  csn_auto(csn_closep) int fd = csn_fd_memory("versions", text, err);
  int rc = fd < 0 ? fd : 0;
  if (rc == 0)
    rc = run_errand(sb, sc, argv, fd, -1, err);
  return csn_wrap(err, rc, "the file %s of an environment", VERSIONS);
}

/* Of one that is there, in a sandbox of it. */
static int
read_versions(csn_scope *sc, const csn_json *options, csn_environment_built *built, csn_err *err)
{
  const char *argv[] = {"cat", VERSIONS, NULL};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  const csn_json *on = NULL, *v;
  csn_auto(csn_closep) int fd = csn_fd_memory("versions", CSN_STR(""), err);
  int rc = fd < 0
               ? fd
               : csn_environment_options(&csn_environment_e2b, options, built->image, a, &on, err);
  if (rc == 0)
    rc = open_root(&sb, sc, on, NULL, a, err);
  if (rc == 0)
    rc = run_errand(sb, sc, argv, -1, fd, err);
  if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
    rc = csn_fail_errno(err, "a file in memory");
  if (rc == 0)
    rc = csn_fd_read_all(fd, &built->resolved, err);
  if (rc == 0) /* anybody with the account may have written it */
    rc = csn_json_parse(a, csn_buf_str(&built->resolved), &v, err);
  return csn_wrap(err, rc, "the versions in %s", built->image);
}

/* ---- one environment ---- */

/* 1: it is there. */
static int
find(const struct csn_e2b_desk *d, csn_scope *sc, csn_environment_built *built, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *pages[CSN_E2B_PAGES];
  /* Services that do not know `name` tell all. */
  csn_str path = csn_arena_printf(a, "/snapshots?limit=%d&name=%s", CSN_E2B_PAGE, built->image);
  int n = csn_e2b_pages(&d->account, sc, path, a, pages, err);
  for (int i = 0; i < n; i++)
    csn_json_each (v, pages[i])
      if (csn_str_eq(name_of(v), csn_cstr(built->image)))
        built->was_there = true;
  return n < 0 ? n : built->was_there;
}

/* One that somebody else made meanwhile is replaced by this, which is the same. */
static int
keep(csn_sandbox *sb, csn_scope *sc, const char *name, csn_err *err)
{
  const struct csn_e2b *e = csn_e2b_of(sb);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES), body = CSN_BUF(PATH_MAX_BYTES);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  csn_buf_addf(&path, "/sandboxes/%.*s/snapshots", (int)e->id.n, e->id.p);
  csn_buf_addf(&body, "{\"name\":\"%s\"}", name);
  const struct csn_e2b_request q = {.method = "POST",
                                    .path = csn_buf_str(&path),
                                    .body = csn_buf_str(&body),
                                    .is_safe = true,
                                    .timeout_ms = SNAPSHOT_MS};
  int rc = csn_e2b_ask(&e->account, sc, &q, &x, NULL, NULL, err);
  return rc < 0 ? csn_wrap(err, rc, "keep the environment as the snapshot %s", name) : 0;
}

static int
build(csn_environment *e, csn_scope *sc, const csn_json *options,
      const csn_environment_progress *progress, csn_environment_built *built, csn_err *err)
{
  csn_auto(csn_e2b_desk_close) struct csn_e2b_desk d;
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_auto(csn_closep) int lock = -1;
  char hex[65];
  int rc = csn_e2b_desk_open(&d, options, err);
  if (rc < 0)
    return rc;
  csn_digest name = csn_environment_hash(e, d.config.template);
  csn_digest_hex(&name, hex);
  snprintf(built->image, sizeof built->image, NAME "%.*s", HEX_SHOWN, hex);
  rc = find(&d, sc, built, err);
  if (rc == 0)
    rc = csn_environment_own(&lock, sc, &name, err);
  if (rc == 0)
    rc = find(&d, sc, built, err);
  if (rc != 0)
    return rc > 0 && e->wants_versions ? read_versions(sc, options, built, err) : rc < 0 ? rc : 0;
  rc = open_root(&sb, sc, options, e->network, d.arena, err);
  if (rc == 0)
    rc = csn_environment_run(e, sb, sc, progress, &built->resolved, err);
  if (rc == 0)
    rc = write_versions(sb, sc, csn_buf_str(&built->resolved), err);
  return rc < 0 ? rc : keep(sb, sc, built->image, err);
}

/* ---- those that are there ---- */

static int
list(csn_scope *sc, const csn_json *options,
     void (*fn)(void *user, const csn_environment_image *image), void *user, csn_err *err)
{
  csn_auto(csn_e2b_desk_close) struct csn_e2b_desk d;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES);
  const csn_json *pages[CSN_E2B_PAGES];
  int rc = csn_e2b_desk_open(&d, options, err), n;
  if (rc < 0)
    return rc;
  csn_buf_addf(&path, "/snapshots?limit=%d", CSN_E2B_PAGE);
  n = csn_e2b_pages(&d.account, sc, csn_buf_str(&path), d.arena, pages, err);
  for (int i = 0; i < n; i++)
    csn_json_each (v, pages[i]) {
      csn_environment_image one = {.name = name_of(v)};
      if (is_ours(one.name))
        fn(user, &one);
    }
  return n < 0 ? n : 0;
}

static int
drop(csn_scope *sc, const csn_json *options, csn_str name, int64_t *bytes, csn_err *err)
{
  csn_auto(csn_e2b_desk_close) struct csn_e2b_desk d;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  *bytes = 0; /* nobody tells */
  int rc = csn_e2b_desk_open(&d, options, err);
  if (rc == 0 && !is_ours(name))
    rc = csn_fail(err, CSN_E_INVALID, "'%.*s' is no environment at e2b: expected " NAME "HEX",
                  (int)(name.n & 0xff), name.p);
  if (rc < 0)
    return rc;
  csn_buf_addf(&path, "/templates/%.*s", (int)name.n, name.p);
  const struct csn_e2b_request q = {
      .method = "DELETE", .path = csn_buf_str(&path), .is_safe = true};
  rc = csn_e2b_ask(&d.account, sc, &q, &x, NULL, NULL, err);
  return rc < 0 ? rc : 0;
}

const csn_environment_maker csn_environment_e2b = {
    .backend = "e2b",
    .option = "template",
    .build = build,
    .list = list,
    .remove = drop,
};
