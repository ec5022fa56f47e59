/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson sandbox cp - files between this machine and a kept sandbox.
 *
 * Both ways go by a folder of ours: what a sandbox sends is unpacked there with
 * nothing followed, and only then copied to where it was asked for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "commands.h"
#include "kept.h"
#include "sandbox/copy_entry.h"
#include "sandbox/jail.h"
#include "sandbox/layer_flatten.h"
#include "sandbox/stage.h"

#define STAGE "copy"
#define COPY_MAX_BYTES (INT64_C(1) << 40) /* the disk is full before that */

/* "NAME:PATH", or a path of this machine, which has a slash before the colon. */
static bool
split(cli *c, const char *word, const char **name, const char **path)
{
  const char *colon = strchr(word, ':');
  if (!colon || memchr(word, '/', (size_t)(colon - word)))
    return false;
  *name = csn_arena_dup(c->arena, csn_strn(word, (size_t)(colon - word))).p;
  *path = colon + 1;
  return true;
}

/* The path below the workspace, without dots. */
static int
clean(cli_kept *k, const char *path, const char **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(PATH_MAX);
  csn_str p = csn_cstr(path), root = csn_cstr(k->sb->root);
  if (csn_str_starts(p, root) && (p.n == root.n || p.p[root.n] == '/'))
    p = csn_strn(p.p + root.n, p.n - root.n);
  else if (p.n && p.p[0] == '/')
    return csn_fail(err, CSN_E_DENIED, "%s: expected a path below the workspace %s", path,
                    k->sb->root);
  if (!csn_path_add(&b, p))
    return csn_fail(err, CSN_E_DENIED, "%s leads out of the workspace", path);
  int rc = csn_buf_done(&b, "a path in the sandbox", err);
  *out = csn_arena_dup(k->c->arena, csn_buf_str(&b)).p;
  return rc;
}

/* An entry of one folder into another, under a name; a folder with all in it.
 * The new file is whole when it appears. */
static int
copy(cli *c, int from, const char *entry, int to, const char *name, csn_err *err)
{
  struct stat st;
  if (fstatat(from, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%s", entry);
  if (!S_ISDIR(st.st_mode)) {
    char whole[40] = ".caisson-copy-";
    csn_random_name(whole + strlen(whole), 16);
    if (mkdirat(to, whole, 0700) < 0)
      return csn_fail_errno(err, "%s", name);
    csn_auto(csn_closep) int at = openat(to, whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = at < 0 ? csn_fail_errno(err, "%s", name) : csn_copy_entry(at, from, entry, &st, err);
    if (rc == 0 && renameat(at, entry, to, name) < 0)
      rc = csn_fail_errno(err, "%s", name);
    (void)!csn_remove_tree(to, whole, NULL);
    return rc;
  }
  if (mkdirat(to, name, 0755) < 0 && errno != EEXIST)
    return csn_fail_errno(err, "%s", name);
  csn_auto(csn_closep) int a = openat(from, entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  csn_auto(csn_closep) int b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return a < 0 || b < 0 ? csn_fail_errno(err, "%s", name) : csn_layer_copy(b, a, &c->scope, err);
}

static const char *
last(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The folder and the name that something is to have here: inside of a folder
 * that is there, else as the word says. */
static int
target(cli *c, const char *word, const char *entry, int *dir, const char **name, csn_err *err)
{
  struct stat st;
  if (stat(word, &st) == 0 && S_ISDIR(st.st_mode)) {
    *name = entry;
    *dir = open(word, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } else {
    const char *end = last(word);
    const char *folder =
        end == word ? "." : csn_arena_dup(c->arena, csn_strn(word, (size_t)(end - word))).p;
    *name = end;
    *dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  if (*dir < 0)
    return csn_fail_errno(err, "%s", word);
  if (!**name)
    return csn_fail(err, CSN_E_NOT_FOUND, "%s: there is no such folder", word);
  return 0;
}

static int
bring(cli_kept *k, const char *path, const char *word, csn_err *err)
{
  csn_auto(csn_stage_freep) csn_stage *s = NULL;
  csn_auto(csn_closep) int to = -1;
  const char *inside = "", *name = "";
  int rc = clean(k, path, &inside, err);
  const char *const paths[] = {inside, NULL};
  if (rc == 0)
    rc = csn_stage_open(&s, &k->c->scope, k->sb, k->dir, STAGE, *inside ? paths : NULL,
                        COPY_MAX_BYTES, err);
  if (rc == 0 && *inside && faccessat(csn_stage_fd(s), inside, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "%s:%s: there is no such file", k->name, inside);
  if (rc == 0)
    rc = target(k->c, word, *inside ? last(inside) : k->name, &to, &name, err);
  if (rc < 0 || !*inside)
    return rc < 0 ? rc : copy(k->c, csn_stage_fd(s), ".", to, name, err);
  csn_auto(csn_freep) char *entry = NULL;
  csn_auto(csn_closep) int from = csn_open_parent(csn_stage_fd(s), inside, &entry, err);
  return from < 0 ? from : copy(k->c, from, entry, to, name, err);
}

/* Makes the folder that holds an entry of the stage, and opens it. */
static int
place(int stage, const char *inside, csn_err *err)
{
  const char *end = last(inside);
  csn_auto(csn_freep) char *up =
      csn_dupz(end == inside ? CSN_STR(".") : csn_strn(inside, (size_t)(end - inside) - 1));
  int rc = csn_mkdirs(stage, up, 0755, err);
  return rc < 0 ? rc : csn_open_beneath(stage, up, O_RDONLY | O_DIRECTORY, 0, err);
}

static int
take(cli_kept *k, const char *word, const char *path, csn_err *err)
{
  struct stat st;
  const char *inside = "";
  csn_auto(csn_freep) char *source = realpath(word, NULL);
  if (!source || stat(source, &st) < 0)
    return csn_fail_errno(err, "%s", word);
  size_t n = strlen(path);
  bool into = n == 0 || path[n - 1] == '/'; /* a folder that the entry goes into */
  int rc =
      clean(k, into ? csn_arena_printf(k->c->arena, "%s/%s", n ? path : ".", last(source)).p : path,
            &inside, err);
  if (rc == 0 && !*inside)
    rc = csn_fail(err, CSN_E_INVALID, "%s: expected a name for it; PATH/ keeps its own", path);
  if (rc == 0)
    rc = csn_jail_remove(k->dir, STAGE, err);
  if (rc == 0)
    rc = csn_mkdirs(k->dir, STAGE, 0755, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int stage = csn_open_beneath(k->dir, STAGE, O_RDONLY | O_DIRECTORY, 0, err);
  csn_auto(csn_closep) int to = stage < 0 ? -1 : place(stage, inside, err);
  csn_auto(csn_freep) char *folder = csn_dupz(csn_strn(source, (size_t)(last(source) - source)));
  csn_auto(csn_closep) int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  rc = stage < 0 ? stage : to < 0 ? to : from < 0 ? csn_fail_errno(err, "%s", folder) : 0;
  if (rc == 0)
    rc = copy(k->c, from, last(source), to, last(inside), err);
  if (rc == 0)
    rc = csn_stage_push(&k->c->scope, k->sb, stage, err);
  (void)!csn_jail_remove(k->dir, STAGE, NULL);
  return rc;
}

static int
cp_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const char *name = NULL, *path = NULL, *other, *unused;
  bool goes_in = split(c, argv[1], &name, &path);
  if (goes_in == split(c, argv[0], goes_in ? &other : &name, goes_in ? &unused : &path))
    return csn_fail(err, CSN_E_INVALID,
                    "expected a path of this machine and NAME:PATH of a sandbox, in either order");
  cli_kept kept;
  csn_auto(cli_kept_closep) cli_kept *k = &kept;
  int rc = cli_kept_use(c, k, name, true, err);
  if (rc == 0)
    rc = cli_kept_open(k, err);
  if (rc < 0)
    return rc;
  return goes_in ? take(k, argv[0], path, err) : bring(k, path, argv[1], err);
}

const cli_cmd cmd_sandbox_cp = {
    .name = "cp",
    .args = "FROM TO",
    .brief = "Copy files into a sandbox or out of it",
    .help = "One of the two is NAME:PATH, a file or folder below the workspace of a sandbox. A "
            "folder is copied with all in it. Into a folder that is there, here or as PATH/ "
            "there, something goes under its own name. Links are copied as links.",
    .main = cp_main,
};
