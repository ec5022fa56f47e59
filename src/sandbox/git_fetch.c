/* SPDX-License-Identifier: Apache-2.0
 *
 * git_fetch.c - repositories of others; see git_fetch.h.
 *
 * A kept repository is bare and shallow.  Each thing that was asked for has a
 * ref of its own there, named by a digest, since a branch `a` and a branch
 * `a/b` of different days cannot stand side by side.  A commit that is there
 * is not asked for again; of a branch only what is new comes. */
#include "sandbox/git_fetch.h"

#include <limits.h>
#include <stdio.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/git_keep.h"

/* What a ref may mean, in the order in which it is tried. */
enum kind { COMMIT, BRANCH, TAG, KINDS };

static const struct {
  const char *from, *to; /* before the ref: there, and in the folder */
} kinds[KINDS] = {
    [COMMIT] = {"", "refs/caisson/"},
    [BRANCH] = {"refs/heads/", "refs/remotes/origin/"},
    [TAG] = {"refs/tags/", "refs/tags/"},
};

static bool
may_be_commit(csn_str ref)
{
  if (ref.n < 7 || ref.n > 40)
    return false;
  for (size_t i = 0; i < ref.n; i++)
    if (!strchr("0123456789abcdefABCDEF", ref.p[i]))
      return false;
  return true;
}

/* Brings `from` of `url` under the name `to`. */
static int
fetch(csn_git *g, int dir, const char *url, const char *from, const char *to, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf spec = CSN_BUF(2048);
  csn_buf_addf(&spec, "+%s:%s", from, to);
  const char *args[] = {"fetch",
                        "--quiet",
                        "--depth=1",
                        "--no-tags",
                        "--no-recurse-submodules",
                        "--no-write-fetch-head",
                        "--",
                        url,
                        spec.p,
                        NULL};
  return csn_git_run(g, dir, args, NULL, err);
}

static bool
is_final(int rc)
{
  return rc == CSN_E_CANCELLED || rc == CSN_E_TIMEOUT || rc == CSN_E_UNSUPPORTED;
}

static bool
has_ref(csn_git *g, int dir, const char *name)
{
  const char *args[] = {"rev-parse", "--verify", "--quiet", "--end-of-options", name, NULL};
  return csn_git_run(g, dir, args, NULL, NULL) == 0;
}

/* ---- into the folder ---- */

static int
check_out(csn_git *g, int dir, enum kind kind, const char *ref, const char *to, csn_err *err)
{
  const char *branch[] = {"checkout", "--quiet", "-B", ref, "--track", to, NULL};
  const char *detached[] = {"checkout", "--quiet", "--detach", to, "--", NULL};
  const char *forget[] = {"update-ref", "-d", to, NULL};
  int rc = csn_git_run(g, dir, kind == BRANCH ? branch : detached, NULL, err);
  return rc == 0 && kind == COMMIT ? csn_git_run(g, dir, forget, NULL, err) : rc;
}

/* From where, for each kind: its own refs, or those of the kept one. */
struct way {
  const csn_git_repo *r;
  csn_git remote, local;
  int kept; /* -1: none */
  csn_buf kept_url;
};

static int
try_kind(struct way *w, enum kind kind, int dir, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf from = CSN_BUF(1024), to = CSN_BUF(1024), own = CSN_BUF(128);
  csn_buf_addf(&from, "%s%s", kinds[kind].from, w->r->ref.p);
  csn_buf_addf(&to, "%s%s", kinds[kind].to, w->r->ref.p);
  int rc = 0;
  if (w->kept >= 0) {
    char hex[65];
    csn_digest d = csn_sha256_of(csn_buf_str(&from));
    csn_digest_hex(&d, hex);
    csn_buf_addf(&own, "refs/caisson/%.40s", hex);
    bool is_there = kind == COMMIT && w->r->ref.n == 40 && has_ref(&w->local, w->kept, own.p);
    rc = is_there ? 0 : fetch(&w->remote, w->kept, w->r->url.p, from.p, own.p, err);
    if (rc == 0)
      rc = fetch(&w->local, dir, w->kept_url.p, own.p, to.p, err);
  } else {
    rc = fetch(&w->remote, dir, w->r->url.p, from.p, to.p, err);
  }
  return rc < 0 ? rc : check_out(&w->local, dir, kind, w->r->ref.p, to.p, err);
}

static int
fill(struct way *w, int dir, csn_err *err)
{
  const char *const steps[][6] = {{"init", "--quiet", "--template=", ".", NULL},
                                  {"remote", "add", "--", "origin", w->r->url.p, NULL}};
  csn_err first = {0}, why = {0};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(steps); i++)
    rc = csn_git_run(&w->local, dir, steps[i], NULL, err);
  if (rc < 0)
    return rc;
  for (int kind = may_be_commit(w->r->ref) ? COMMIT : BRANCH; kind < KINDS; kind++) {
    rc = try_kind(w, (enum kind)kind, dir, &why);
    if (!first.msg[0])
      first = why;
    if (rc == 0 || is_final(rc))
      break;
  }
  if (rc < 0 && err) /* what went wrong first is what the ref looks like */
    *err = is_final(rc) ? why : first;
  return rc < 0 && !is_final(rc) ? (int)first.code : rc;
}

int
csn_git_fetch(csn_scope *sc, const csn_git_repo *r, int cache_fd, int dir, csn_err *err)
{
  struct way w = {.r = r,
                  .remote = {.auth_fd = -1},
                  .local = {.auth_fd = -1},
                  .kept = -1,
                  .kept_url = CSN_BUF(PATH_MAX + 64)};
  int rc = csn_git_open(&w.local, sc, true, CSN_STR(""), CSN_STR(""), err);
  if (rc == 0)
    rc = csn_git_open(&w.remote, sc, r->is_local, r->origin, r->header, err);
  if (rc == 0 && cache_fd > 0 && !r->is_local)
    rc = w.kept = csn_git_kept_open(&w.local, r->url, cache_fd, err);
  if (rc >= 0 && w.kept >= 0) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", w.kept);
    ssize_t n = readlink(link, path, sizeof path);
    rc = n <= 0 || n == sizeof path ? csn_fail_errno(err, "the place of a kept repository") : 0;
    csn_buf_addf(&w.kept_url, "file://%.*s", (int)(n > 0 ? n : 0), path);
  }
  if (rc >= 0)
    rc = fill(&w, dir, err);
  csn_git_close(&w.remote);
  csn_git_close(&w.local);
  csn_closep(&w.kept);
  csn_buf_fini(&w.kept_url);
  return rc;
}
