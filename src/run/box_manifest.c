/* SPDX-License-Identifier: Apache-2.0
 * box_manifest.c - what a manifest says about the sandbox of a run: its files,
 * its environment. */
#include "run/box_manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "run/box_network.h"
#include "sandbox/jail.h"
#include "sandbox/manifest_mount.h"
#include "sandbox/mount_authority.h"

int
csn_box_source(const struct csn_box *b, csn_err *err)
{
  const char *folder = b->agent->folder;
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "folder of the agent file %s", folder) : fd;
}

static void
on_progress(void *user, const char *what, int64_t files, int64_t bytes)
{
  struct csn_box *b = user;
  char text[600];
  csn_auto(csn_buf_finip) csn_buf quoted = CSN_BUF(400);
  csn_json_quote(&quoted, csn_strn(what, strnlen(what, 200)));
  int n = snprintf(text, sizeof text, "{\"what\":%s,\"files\":%lld,\"bytes\":%lld}",
                   quoted.p ? quoted.p : "\"\"", (long long)files, (long long)bytes);
  csn_run_notify(b->run, "progress", csn_strn(text, (size_t)n));
}

static void
on_warning(void *user, const char *text)
{
  const struct csn_box *b = user;
  csn_logf(b->run->rt->log, CSN_LOG_WARN, "manifest: %s", text);
}

static int
group_id(void *user, const char *name, gid_t *gid, csn_err *err)
{
  const struct csn_box *b = user;
  return csn_jail_group(b->sb, name, gid, err);
}

int
csn_box_fill(struct csn_box *b, csn_scope *sc, int base_fd, bool only_ephemeral, csn_err *err)
{
  const csn_sandbox *sb = b->sb;
  const csn_network *network = csn_box_network_policy(b);
  bool is_here = !sb->ops->is_remote;
  csn_auto(csn_closep) int source = csn_box_source(b, err);
  csn_auto(csn_closep) int cache = -1;
  if (source < 0)
    return source;
  int rc = csn_mkdirs(b->run->rt->state_fd, "git", 0700, err);
  if (rc == 0)
    rc = cache = csn_open_beneath(b->run->rt->state_fd, "git", O_RDONLY | O_DIRECTORY, 0, err);
  if (rc < 0)
    return rc;
  csn_materialize to = {
      .workspace_fd = is_here ? sb->workspace_fd : b->workspace_fd,
      .base_fd = base_fd,
      .source_fd = source,
      .cache_fd = cache,
      .uid = is_here ? sb->uid : -1,
      .gid = is_here ? sb->gid : -1,
      .progress = b->run->opts.listener ? on_progress : NULL,
      .warn = on_warning,
      .group = is_here && strcmp(sb->ops->name, "jail") == 0 ? group_id : NULL,
      .secrets = network ? network->secrets : NULL,
      .n_secrets = network ? network->n_secrets : 0,
      .user = b,
  };
  csn_project_file_id(b->run->rt->project, &to.omit_dev, &to.omit_ino);
  return only_ephemeral ? csn_manifest_apply_ephemeral(b->agent->manifest, sc, &to, err)
                        : csn_manifest_apply(b->agent->manifest, sc, &to, err);
}

/* Makes a folder of a new workspace, for the jail's user. */
static int
make_folder(const struct csn_box *b, const char *path, csn_err *err)
{
  const csn_sandbox *sb = b->sb;
  csn_auto(csn_freep) char *part = csn_dupz(csn_cstr(path));
  for (char *end = part; end;) {
    end = strchr(end, '/');
    if (end)
      *end = '\0';
    csn_auto(csn_freep) char *name = NULL;
    csn_auto(csn_closep) int at = csn_open_parent(sb->workspace_fd, part, &name, err);
    if (at < 0)
      return at;
    bool is_new = mkdirat(at, name, 0755) == 0;
    if (!is_new && errno != EEXIST)
      return csn_fail_errno(err, "make the folder %s", part);
    if (is_new && sb->uid != -1 &&
        fchownat(at, name, (uid_t)sb->uid, (gid_t)sb->gid, AT_SYMLINK_NOFOLLOW) < 0)
      return csn_fail_errno(err, "set the owner of %s", part);
    if (end)
      *end++ = '/';
  }
  return 0;
}

int
csn_box_fill_scopes(struct csn_box *b, csn_err *err)
{
  const csn_agent *root = b->run->agent;
  int rc = 0;
  for (size_t i = 0; i <= root->n_agents; i++) {
    const csn_agent *a = i ? root->agents[i - 1] : root;
    for (const char *const *p = a->has_scopes ? a->scopes.write : NULL; rc == 0 && p && *p; p++)
      if (strcmp(*p, ".") != 0)
        rc = csn_wrap(err, make_folder(b, *p, err), "agent %s: scopes", a->name);
  }
  return rc;
}

static const csn_callback *
find_callback(void *user, csn_str type)
{
  return csn_agent_callback(user, type);
}

int
csn_box_environment(const struct csn_box *b, csn_scope *sc, csn_arena *a, const char *const **out,
                    csn_err *err)
{
  const csn_manifest *m = b->agent->manifest;
  *out = NULL;
  if (!m)
    return 0;
  csn_auto(csn_closep) int source = csn_box_source(b, err);
  const csn_env_source from = {source, find_callback, (void *)(uintptr_t)b->agent};
  return source < 0 ? source : csn_manifest_resolve(m, sc, &from, a, out, err);
}

int
csn_agent_check_manifest(const csn_agent *a, csn_err *err)
{
  const csn_env_source from = {-1, find_callback, (void *)(uintptr_t)a};
  const csn_agent *box;
  int rc = 0;
  for (size_t i = 0; rc == 0 && (box = csn_agent_box(a, i)); i++) {
    const csn_manifest *m = box->manifest;
    if (m)
      rc = csn_manifest_check_mounts(m, box->sandbox.backend, box->sandbox.level, err);
    if (rc == 0)
      rc = csn_mount_allowed_check(m, box->sandbox.mount_credentials,
                                   csn_mount_enters(box->sandbox.backend), err);
    if (m && rc == 0)
      rc = csn_manifest_check_environment(m, &from, err);
    if (rc < 0 && i)
      rc = csn_wrap(err, rc, "sandbox %s", box->name);
  }
  return csn_wrap(err, rc, "agent %s: manifest", a->name);
}
