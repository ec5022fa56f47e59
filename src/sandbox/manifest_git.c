/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_git.c - git_repo entries, by the git of this host.
 *
 * A repository is not trusted: git runs with no configuration but ours (no
 * hooks, no templates, no credential helpers, no prompts), may speak https
 * only (file too when the entry names a local repository), fetches one commit
 * and no submodules.  Names are checked so that none can pass for an option.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/fd.h"
#include "core/hash.h"
#include "core/proc.h"
#include "sandbox/manifest_int.h"

static const csn_str file_scheme = CSN_STR_INIT("file://");

static bool
has_only(csn_str s, const char *extra)
{
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    bool is_plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (!is_plain && (!c || !strchr(extra, c)))
      return false;
  }
  return s.n > 0;
}

const char *
csn_git_bad_host(csn_str host)
{
  return has_only(host, ".-:") && host.p[0] != '-' && host.p[0] != ':' && host.n < 256
             ? NULL
             : "expected a host name such as github.com";
}

const char *
csn_git_bad_repo(csn_str repo)
{
  if (csn_str_starts(repo, file_scheme))
    return repo.n > file_scheme.n && repo.p[file_scheme.n] == '/' && repo.n < 4000 &&
                   !memchr(repo.p, '\n', repo.n)
               ? NULL
               : "expected file:///absolute/path";
  if (!has_only(repo, "._-/+~") || repo.p[0] == '-' || repo.p[0] == '/' || repo.n > 1000 ||
      csn_str_find(repo, CSN_STR(".."), 0) != SIZE_MAX)
    return "expected OWNER/NAME, or file:///absolute/path";
  return NULL;
}

const char *
csn_git_bad_ref(csn_str ref)
{
  if (!has_only(ref, "._-/+@") || ref.p[0] == '-' || ref.p[0] == '/' || ref.p[0] == '.' ||
      ref.p[ref.n - 1] == '/' || ref.p[ref.n - 1] == '.' || ref.n > 255 ||
      csn_str_find(ref, CSN_STR(".."), 0) != SIZE_MAX ||
      csn_str_find(ref, CSN_STR("//"), 0) != SIZE_MAX || csn_str_ends(ref, CSN_STR(".lock")))
    return "expected a branch, a tag or a commit";
  return NULL;
}

const char *
csn_git_bad_subpath(csn_str s)
{
  if (s.n && csn_str_trim(s).n == 0)
    return "is blank (empty)";
  if (s.n && s.p[0] == '/')
    return "an absolute path is not allowed (absolute)";
  if (memchr(s.p ? s.p : "", '\\', s.n) || (s.n > 1 && s.p[1] == ':'))
    return "backslashes and drives are not allowed (windows_path)";
  for (size_t i = 0; i <= s.n;) {
    size_t end = i;
    while (end < s.n && s.p[end] != '/')
      end++;
    if (csn_str_eq(csn_strn(s.p + i, end - i), CSN_STR("..")))
      return "\"..\" is not allowed (parent_traversal)";
    i = end + 1;
  }
  return NULL;
}

static bool
is_commit(csn_str ref)
{
  if (ref.n < 7 || ref.n > 40)
    return false;
  for (size_t i = 0; i < ref.n; i++)
    if (!strchr("0123456789abcdefABCDEF", ref.p[i]))
      return false;
  return true;
}

#define ENV_MAX 24

/* The whole environment of git; proxies and certificate stores are passed on. */
static void
git_environment(bool is_local, const char *out[ENV_MAX], csn_buf *store)
{
  static const char *const fixed[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                      "HOME=/nonexistent",
                                      "XDG_CONFIG_HOME=/nonexistent",
                                      "LC_ALL=C",
                                      "GIT_CONFIG_NOSYSTEM=1",
                                      "GIT_CONFIG_SYSTEM=/dev/null",
                                      "GIT_CONFIG_GLOBAL=/dev/null",
                                      "GIT_ATTR_NOSYSTEM=1",
                                      "GIT_TERMINAL_PROMPT=0",
                                      "GIT_ASKPASS=/bin/false",
                                      "GIT_NO_LAZY_FETCH=1"};
  static const char *const passed[] = {"https_proxy",   "HTTPS_PROXY", "all_proxy",
                                       "ALL_PROXY",     "no_proxy",    "NO_PROXY",
                                       "SSL_CERT_FILE", "SSL_CERT_DIR"};
  size_t n = 0, offsets[CSN_COUNT(passed)], k = 0;
  for (size_t i = 0; i < CSN_COUNT(fixed); i++)
    out[n++] = fixed[i];
  out[n++] = is_local ? "GIT_ALLOW_PROTOCOL=file" : "GIT_ALLOW_PROTOCOL=https";
  for (size_t i = 0; i < CSN_COUNT(passed); i++) {
    const char *v = getenv(passed[i]);
    if (!v || strlen(v) > 2000)
      continue;
    offsets[k++] = store->n;
    csn_buf_addf(store, "%s=%s", passed[i], v);
    csn_buf_addc(store, '\0');
  }
  for (size_t i = 0; i < k; i++)
    out[n++] = store->p + offsets[i];
  out[n] = NULL;
}

#define GIT                                                                                        \
  "git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c",                     \
      "credential.helper=", "-c", "submodule.recurse=false", "-c", "init.templateDir=", "-c",      \
      "protocol.ext.allow=never", "-c", "gc.auto=0", "-c", "advice.detachedHead=false"

static int
git(csn_copy *c, int dir, const char *const *env, const char *const *args, csn_err *err)
{
  static const char *const head[] = {GIT};
  const char *argv[CSN_COUNT(head) + 16];
  size_t n = CSN_COUNT(head);
  memcpy(argv, head, sizeof head);
  while (*args)
    argv[n++] = *args++;
  argv[n] = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(16384);
  csn_command cmd = {.argv = argv, .environment = env, .cwd_fd = dir};
  int rc = csn_command_run(&cmd, c->sc, &out, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, CSN_E_UNSUPPORTED, "git is not installed on this machine");
  if (rc <= 0)
    return rc;
  csn_str told = csn_str_trim(csn_buf_str(&out));
  return csn_fail(err, CSN_E_IO, "git %s failed (exit %d): %.300s", argv[CSN_COUNT(head)], rc,
                  told.n ? told.p : "it said nothing");
}

static int
fetch_named(csn_copy *c, const csn_entry *e, int dir, const char *url, const char *const *env,
            csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf branch = CSN_BUF(400);
  csn_buf_addf(&branch, "--branch=%s", e->ref.p);
  const char *args[] = {"clone",
                        "--quiet",
                        "--depth=1",
                        "--no-tags",
                        "--single-branch",
                        "--no-recurse-submodules",
                        "--template=",
                        branch.p,
                        "--",
                        url,
                        ".",
                        NULL};
  return git(c, dir, env, args, err);
}

static int
fetch_commit(csn_copy *c, const csn_entry *e, int dir, const char *url, const char *const *env,
             csn_err *err)
{
  const char *steps[][9] = {{"init", "--quiet", "--template=", ".", NULL},
                            {"remote", "add", "--", "origin", url, NULL},
                            {"fetch", "--quiet", "--depth=1", "--no-tags",
                             "--no-recurse-submodules", "--", "origin", e->ref.p, NULL},
                            {"checkout", "--quiet", "--detach", "FETCH_HEAD", "--", NULL}};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(steps); i++)
    rc = git(c, dir, env, steps[i], err);
  return rc;
}

static int
empty_dir(int at, const char *name, int *dir, csn_err *err)
{
  csn_closep(dir);
  *dir = -1;
  int rc = csn_remove_tree(at, name, err);
  if (rc < 0)
    return rc;
  if (mkdirat(at, name, 0755) < 0)
    return csn_fail_errno(err, "make a folder for git");
  *dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return *dir < 0 ? csn_fail_errno(err, "open the folder for git") : 0;
}

/* Everything of the repository into the new folder `name`. */
static int
check_out(csn_copy *c, const csn_entry *e, int at, const char *name, int *dir, csn_err *err)
{
  bool is_local = csn_str_starts(e->repo, file_scheme);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(5000), store = CSN_BUF(32768);
  const char *env[ENV_MAX + 1];
  if (is_local) { /* the same rule as for local_dir: no path of the host unasked */
    csn_str path = csn_strn(e->repo.p + file_scheme.n, e->repo.n - file_scheme.n);
    csn_auto(csn_closep) int fd =
        csn_source_open(c->m, c->to->source_fd, path, O_PATH | O_DIRECTORY, err);
    if (fd < 0)
      return fd;
    csn_buf_add(&url, e->repo);
  } else {
    csn_buf_addf(&url, "https://%s/%s.git", e->host.p, e->repo.p);
  }
  git_environment(is_local, env, &store);
  int rc = empty_dir(at, name, dir, err);
  if (rc < 0 || !is_commit(e->ref))
    return rc < 0 ? rc : fetch_named(c, e, *dir, url.p, env, err);
  rc = fetch_commit(c, e, *dir, url.p, env, err);
  if (rc == 0 || rc == CSN_E_CANCELLED || rc == CSN_E_TIMEOUT || rc == CSN_E_UNSUPPORTED)
    return rc;
  /* It may be a branch that looks like a commit; if not, the first error tells. */
  int again = empty_dir(at, name, dir, NULL);
  return again == 0 && fetch_named(c, e, *dir, url.p, env, NULL) == 0 ? 0 : rc;
}

int
csn_git_fill(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int dir = -1;
  csn_str sub = e->subpath;
  if (sub.n == 0 || csn_str_eq(sub, CSN_STR("."))) {
    int rc = check_out(c, e, at, name, &dir, err);
    return rc < 0 ? rc : csn_copy_own(c, dir, err);
  }
  /* Only a part: beside its place, then the wanted folder is moved there. */
  char temp[40] = ".caisson-git-";
  csn_random_name(temp + strlen(temp), 12);
  int rc = check_out(c, e, at, temp, &dir, err);
  csn_auto(csn_closep) int part = -1;
  if (rc == 0) {
    part = csn_open_beneath(dir, sub.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
    if (part < 0)
      rc = csn_wrap(err, part, "subpath");
  }
  if (rc == 0 && renameat(dir, sub.p, at, name) < 0)
    rc = csn_fail_errno(err, "subpath %s", sub.p);
  if (rc == 0)
    rc = csn_copy_own(c, part, err);
  csn_err ignored;
  (void)!csn_remove_tree(at, temp, &ignored);
  return rc;
}
