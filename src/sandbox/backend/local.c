/* SPDX-License-Identifier: Apache-2.0
 *
 * local.c - plain processes of this host in the workspace folder, without any
 * isolation; only used when it is named.
 *
 * Commands are children of a keeper process (sandbox/keeper.c), one for each
 * sandbox, started with posix_spawn from a sealed memfd (or from libexecdir
 * where memory may not be executed).  The keeper outlives no harness: when
 * its control socket ends it kills all that the sandbox ever started.
 * Commands get an allow-list of variables, never the harness's environment. */
#include "sandbox/backend/local.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/fd.h"
#include "sandbox/backends.h"
#include "sandbox/keeper.h"
#include "sandbox/keeper_image.h" /* made by the build: the keeper program's bytes */
#include "sandbox/network.h"
#include "sandbox/program.h"
#include "sandbox/strings.h"

struct local {
  csn_sandbox base;
  int control; /* its closing ends the sandbox */
  pid_t keeper;
  char **environment; /* NULL-terminated; owned */
  char *temporary;    /* path of a workspace of our own, removed at close; or NULL */
};

static struct local *
local_of(csn_sandbox *sb)
{
  return (struct local *)sb; /* base is the first member */
}

/* ---- environment ---- */

static void
make_environment(struct local *l, const char *const *given)
{
  static const struct {
    const char *name, *otherwise;
  } allowed[] = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"USER", NULL},
      {"LANG", "C.UTF-8"},
      {"TERM", "dumb"},
      {"TMPDIR", NULL},
  };
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char **list = csn_alloc((CSN_COUNT(allowed) + 2 + csn_strings_count(given)) * sizeof *list);
  size_t n = 0;
  for (size_t i = 0; i < CSN_COUNT(allowed); i++) {
    const char *value = getenv(allowed[i].name);
    if (!value || !*value)
      value = allowed[i].otherwise;
    if (value)
      list[n++] = csn_arena_printf(a, "%s=%s", allowed[i].name, value).p;
  }
  list[n++] = csn_arena_printf(a, "HOME=%s", l->base.root).p;
  n = csn_variables_put(list, n, given);
  l->environment = csn_alloc((n + 1) * sizeof *l->environment);
  for (size_t i = 0; i < n; i++)
    l->environment[i] = csn_dupz(csn_cstr(list[i]));
  free(list);
}

/* ---- the keeper ---- */

csn_str
csn_local_keeper_image(void)
{
  return csn_strn((const char *)keeper_image, sizeof keeper_image);
}

int
csn_local_keeper(pid_t *pid, int *control, int lock_fd, csn_err *err)
{
  csn_auto(csn_closep) int image =
      csn_program_open("caisson-keeper", csn_local_keeper_image(), err);
  if (image < 0)
    return image;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  *control = pair[0];
  csn_auto(csn_closep) int theirs = pair[1];
  int room = CSN_KEEPER_PACKET;
  setsockopt(*control, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  const int fds[] = {theirs, image, lock_fd};
  return csn_program_start(pid, "caisson-keeper", fds, lock_fd < 0 ? 2 : 3, 1, err);
}

/* ---- the operations ---- */

static void
remove_temporary(char *path)
{
  char *name = strrchr(path, '/');
  *name++ = '\0';
  csn_auto(csn_closep) int parent = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent >= 0)
    (void)!csn_remove_tree(parent, name, NULL);
}

static void
local_close(csn_sandbox *sb)
{
  struct local *l = local_of(sb);
  if (l->control >= 0)
    close(l->control);
  if (l->keeper > 0)
    while (waitpid(l->keeper, NULL, 0) < 0 && errno == EINTR)
      continue;
  if (l->base.workspace_fd >= 0)
    close(l->base.workspace_fd);
  if (l->temporary)
    remove_temporary(l->temporary);
  for (char **v = l->environment; v && *v; v++)
    free(*v);
  free(l->environment);
  free(l->temporary);
  free(l->base.root);
  free(l);
}

static void
local_closep(struct local **l)
{
  if (*l)
    local_close(&(*l)->base);
}

static int
open_workspace(struct local *l, int given, csn_err *err)
{
  char path[PATH_MAX], link[40];
  if (given < 0) {
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/caisson-local-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    if (!mkdtemp(path))
      return csn_fail_errno(err, "cannot make a workspace %s", path);
    l->temporary = csn_dupz(csn_cstr(path));
    l->base.workspace_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } else {
    l->base.workspace_fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
  }
  if (l->base.workspace_fd < 0)
    return csn_fail_errno(err, "workspace");
  struct stat st;
  if (fstat(l->base.workspace_fd, &st) < 0 || !S_ISDIR(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "workspace_fd %d is not a folder", given);
  snprintf(link, sizeof link, "/proc/self/fd/%d", l->base.workspace_fd);
  ssize_t n = readlink(link, path, sizeof path);
  if (n < 0 || n == sizeof path)
    return csn_fail_errno(err, "the workspace's path");
  l->base.root = csn_dupz(csn_strn(path, (size_t)n));
  return 0;
}

static int
check_spec(const csn_sandbox_spec *spec, csn_err *err)
{
  if (spec->rootfs && strcmp(spec->rootfs, "host") != 0)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "rootfs %.100s: local processes see the host; use the jail for another one",
                    spec->rootfs);
  if (spec->options && spec->options->child)
    return csn_fail(err, CSN_E_INVALID, "options.%.*s: this back-end has no options",
                    (int)(spec->options->child->key.n & 0xff), spec->options->child->key.p);
  return 0;
}

static int
local_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = check_spec(spec, err);
  if (rc == 0)
    rc = csn_network_refuse(spec, "local", err);
  if (rc < 0)
    return rc;
  csn_auto(local_closep) struct local *l = csn_alloc(sizeof *l);
  l->base = (csn_sandbox){.ops = &csn_sandbox_local, .workspace_fd = -1, .uid = -1, .gid = -1};
  l->control = -1;
  rc = open_workspace(l, spec->workspace_fd, err);
  if (rc < 0)
    return rc;
  if (spec->root && strcmp(spec->root, "/workspace") != 0 && strcmp(spec->root, l->base.root) != 0)
    return csn_fail(
        err, CSN_E_UNSUPPORTED,
        "root %.100s: a local workspace stays at its host path; use the jail to move it",
        spec->root);
  make_environment(l, spec->environment);
  rc = csn_local_keeper(&l->keeper, &l->control, spec->lock_fd, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(l)->base;
  return 0;
}

static int
local_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct local *l = local_of(sb);
  const char *cwd = x->cwd ? x->cwd : ".";
  csn_auto(csn_closep) int cwd_fd = openat(sb->workspace_fd, cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (cwd_fd < 0)
    return csn_fail_errno(err, "cwd %.200s", cwd);
  size_t room = csn_strings_count((const char *const *)l->environment) +
                csn_strings_count(x->environment) + 1;
  csn_auto(csn_freep) const char **list = csn_alloc(room * sizeof *list);
  size_t n = csn_variables_put(list, 0, (const char *const *)l->environment);
  csn_variables_put(list, n, x->environment);
  return csn_local_proc_open(out, sc, l->control, (csn_local_place){.fd = cwd_fd}, x, list, err);
}

static void
local_describe(csn_sandbox *sb, csn_jw *w)
{
  static const char *const shared[] = {"files", "network", "processes", "devices"};
  csn_jw_key(w, "isolation");
  csn_jw_strz(w, "none");
  for (size_t i = 0; i < CSN_COUNT(shared); i++) {
    csn_jw_key(w, shared[i]);
    csn_jw_strz(w, "host");
  }
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

const csn_sandbox_ops csn_sandbox_local = {
    .size = sizeof(csn_sandbox_ops),
    .name = "local",
    .open = local_open,
    .close = local_close,
    .spawn = local_spawn,
    .describe = local_describe,
};
