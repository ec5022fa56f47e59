/* SPDX-License-Identifier: Apache-2.0
 * grants.c - see grants.h. */
#include "sandbox/grants.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fd.h"
#include "sandbox/jail_spec.h"

enum { LIST_MAX = CSN_JAIL_GRANTS_MAX * (CSN_JAIL_ROOT_MAX + 2) };

int
csn_grants_refuse(const csn_path_grant *list, const char *backend, bool is_local, csn_err *err)
{
  for (; list && list->path; list++)
    if (!is_local || (list->from && strcmp(list->from, list->path) != 0))
      return csn_fail(err, CSN_E_UNSUPPORTED,
                      "extra_path_grants: %.200s: %s shows no folder of this machine at %s path; "
                      "the jail's native level does",
                      list->path, backend, is_local ? "another" : "any");
  return 0;
}

static bool
is_at_or_beneath(const char *path, const char *top)
{
  size_t n = strlen(top);
  return strncmp(path, top, n) == 0 && (path[n] == '/' || !path[n]);
}

static int
check_place(const csn_path_grant *g, const char *root, csn_err *err)
{
  static const char *const own[] = {"/tmp", "/run", CSN_JAIL_HOME};
  const char *why = NULL;
  if (strlen(g->path) >= CSN_JAIL_ROOT_MAX - 1)
    why = "it is too long";
  if (is_at_or_beneath(g->path, root) || is_at_or_beneath(root, g->path))
    why = "the workspace is there";
  if (csn_jail_owns_top(csn_cstr(g->path)))
    why = "this folder belongs to the jail";
  for (size_t i = 0; i < CSN_COUNT(own) && !why; i++)
    if (is_at_or_beneath(g->path, own[i]) || is_at_or_beneath(own[i], g->path))
      why = "the jail has one of its own there";
  return why ? csn_fail(err, CSN_E_INVALID,
                        "%s; grant it at another path: {path: /data, host_path: %.200s}", why,
                        g->from ? g->from : g->path)
             : 0;
}

static int
open_one(const csn_path_grant *g, int *fd, csn_err *err)
{
  struct stat st, top;
  const char *from = g->from ? g->from : g->path;
  *fd = open(from, O_PATH | O_CLOEXEC);
  if (*fd < 0 || fstat(*fd, &st) < 0 || stat("/", &top) < 0)
    return csn_fail_errno(err, "cannot open %.200s", from);
  if (st.st_dev == top.st_dev && st.st_ino == top.st_ino)
    return csn_fail(err, CSN_E_INVALID, "%.200s is all of this machine", from);
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "%.200s is neither a folder nor a file", from);
  return 0;
}

/* Shorter ones first: what lies in another is attached after that. */
static int
by_length(const void *a, const void *b)
{
  size_t n = strlen(((const csn_path_grant *)a)->path);
  size_t m = strlen(((const csn_path_grant *)b)->path);
  return n < m ? -1 : n > m;
}

static int
add(csn_grants *g, const csn_path_grant *one, const char *root, csn_err *err)
{
  int rc = check_place(one, root, err);
  if (rc < 0)
    return rc;
  rc = open_one(one, &g->fds[g->n], err);
  if (g->fds[g->n] >= 0)
    g->n++;
  csn_buf_addc(&g->list, one->is_writable ? 'w' : 'r');
  csn_buf_addz(&g->list, one->path);
  csn_buf_addc(&g->list, '\0');
  return rc;
}

int
csn_grants_open(csn_grants *g, const csn_path_grant *list, const char *root, csn_err *err)
{
  csn_path_grant sorted[CSN_JAIL_GRANTS_MAX];
  size_t n = 0;
  int rc = 0;
  *g = (csn_grants){.list = CSN_BUF(LIST_MAX), .list_fd = -1};
  for (; list && list[n].path; n++)
    if (n == CSN_JAIL_GRANTS_MAX)
      return csn_fail(err, CSN_E_LIMIT, "extra_path_grants: more than %d", CSN_JAIL_GRANTS_MAX);
  if (n == 0)
    return 0;
  memcpy(sorted, list, n * sizeof *list);
  qsort(sorted, n, sizeof *sorted, by_length);
  for (size_t i = 0; i < n && rc == 0; i++) {
    for (size_t k = 0; k < i && rc == 0; k++)
      if (strcmp(sorted[i].path, sorted[k].path) == 0)
        rc = csn_fail(err, CSN_E_INVALID, "it is granted twice");
    if (rc == 0)
      rc = add(g, &sorted[i], root, err);
    rc = csn_wrap(err, rc, "extra_path_grants: %.200s", sorted[i].path);
  }
  return rc < 0 ? rc : csn_buf_done(&g->list, "extra_path_grants", err);
}

void
csn_grants_close(csn_grants *g)
{
  for (size_t i = 0; i < g->n; i++)
    csn_closep(&g->fds[i]);
  g->n = 0;
  csn_closep(&g->list_fd);
  g->list_fd = -1;
  csn_buf_fini(&g->list);
}

int
csn_grants_ask(csn_grants *g, csn_jail_ask *ask, int all[CSN_JAIL_EXTRAS_MAX], csn_err *err)
{
  size_t n = ask->open.devices + ask->open.libraries;
  if (g->n == 0)
    return 0;
  if (n + g->n > CSN_JAIL_EXTRAS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "devices, their libraries and granted paths are more than %d",
                    CSN_JAIL_EXTRAS_MAX);
  if (g->list_fd < 0) {
    g->list_fd = csn_fd_memory("caisson-grants", csn_buf_str(&g->list), err);
    if (g->list_fd < 0)
      return g->list_fd;
  }
  if (n)
    memcpy(all, ask->extras, n * sizeof *all);
  memcpy(all + n, g->fds, g->n * sizeof *all);
  ask->extras = all;
  ask->open.grants = (uint32_t)g->n;
  ask->fds[CSN_JAIL_GRANTS] = g->list_fd;
  return 0;
}
