/* SPDX-License-Identifier: Apache-2.0
 * skill_load.c - the files of one skill into the workspace.
 *
 * Folders are copied as entries of a manifest are: no link leads out, nothing but
 * files and folders, capped.  They are laid out under a name of their own and
 * renamed when they are whole, so that a skill is there or not, whoever else
 * loads it and whatever dies. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "core/fd.h"
#include "core/hash.h"
#include "run/skill.h"
#include "run/skill_source.h"

enum { FILES_MAX = 10000, DEPTH_MAX = 64 };
#define BYTES_MAX ((int64_t)256 << 20)

int
csn_skill_lay_out(int into, const char *path, csn_str entry, int source_fd, csn_scope *sc,
                  csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(64u << 20);
  const csn_json *v;
  csn_manifest *m = NULL;
  csn_jw w;
  csn_jw_init(&w, &json);
  csn_jw_obj(&w);
  csn_jw_key(&w, "entries");
  csn_jw_obj(&w);
  csn_jw_key(&w, path);
  csn_jw_raw(&w, entry);
  csn_jw_end(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&json), &v, err);
  if (rc == 0)
    rc = csn_manifest_from_json(a, v, &m, err);
  csn_materialize to = {.workspace_fd = into,
                        .base_fd = -1,
                        .cache_fd = -1,
                        .source_fd = source_fd,
                        .uid = -1,
                        .gid = -1,
                        .max_files = FILES_MAX,
                        .max_bytes = BYTES_MAX};
  return rc < 0 ? rc : csn_manifest_apply(m, sc, &to, err);
}

/* ---- where it comes from ---- */

static int
fetch(const csn_json *git, const char *name, csn_scope *sc, const struct csn_skill_places *p,
      csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf entry = CSN_BUF(1 << 16);
  csn_jw w;
  csn_jw_init(&w, &entry);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "git_repo");
  csn_json_each (m, git) {
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  csn_auto(csn_closep) int folder =
      p->folder ? open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (rc == 0)
    rc = csn_skill_lay_out(p->cache_fd, name, csn_buf_str(&entry), folder, sc, err);
  return csn_wrap(err, rc, "skills");
}

int
csn_skill_source_open(const csn_json *source, int64_t n, csn_scope *sc,
                      const struct csn_skill_places *p, csn_err *err)
{
  csn_str local = csn_json_str(source, "local", CSN_STR(""));
  const csn_json *git = csn_json_get(source, "git");
  char name[40];
  if (local.n) {
    csn_auto(csn_freep) char *path = csn_dupz(local);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? csn_fail_errno(err, "skills: the folder %s", path) : fd;
  }
  snprintf(name, sizeof name, "skills-%lld", (long long)n);
  int fd = csn_open_beneath(p->cache_fd, name, O_RDONLY | O_DIRECTORY, 0, NULL);
  if (fd >= 0)
    return fd;
  int rc = fetch(git, name, sc, p, err);
  return rc < 0 ? rc : csn_open_beneath(p->cache_fd, name, O_RDONLY | O_DIRECTORY, 0, err);
}

/* {type: dir, children: {SKILL.md: ..., FILE: ...}} */
static int
write_inline(const csn_json *s, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2 * CSN_SKILL_FILE_MAX);
  csn_str name = csn_json_str(s, "name", CSN_STR("")),
          about = csn_json_str(s, "description", CSN_STR("")),
          body = csn_json_str(s, "content", CSN_STR(""));
  csn_buf_addf(&text, "---\nname: %.*s\ndescription: %.*s\n---\n\n%.*s\n", (int)name.n, name.p,
               (int)about.n, about.p, (int)body.n, body.p);
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "dir");
  csn_jw_key(&w, "children");
  csn_jw_obj(&w);
  csn_jw_key(&w, "SKILL.md");
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "file");
  csn_jw_key(&w, "content");
  csn_jw_str(&w, csn_buf_str(&text));
  csn_jw_end(&w);
  csn_json_each (f, csn_json_get(s, "files")) {
    csn_jw_keyn(&w, f->key);
    csn_jw_obj(&w);
    csn_jw_key(&w, "type");
    csn_jw_strz(&w, "file");
    csn_jw_key(&w, "content");
    csn_jw_value(&w, f);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

static int
write_local_dir(csn_str dir, csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "local_dir");
  csn_jw_key(&w, "src");
  csn_jw_str(&w, dir);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* ---- into the workspace ---- */

/* Takes writing away from everybody and gives reading to everybody. */
static int
protect(int dir, int depth, csn_err *err) /* NOLINT(misc-no-recursion): bounded by DEPTH_MAX */
{
  if (depth > DEPTH_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the skill has folders too deep in each other");
  csn_auto(csn_names_fini) csn_names names = {0};
  int rc = csn_names_read(&names, dir, FILES_MAX, err);
  for (size_t i = 0; i < names.n && rc == 0; i++) {
    struct stat st;
    csn_auto(csn_closep) int fd =
        openat(dir, names.p[i], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) /* a link: it has no mode */
      continue;
    if (S_ISDIR(st.st_mode))
      rc = protect(fd, depth + 1, err);
    else if (fchmod(fd, st.st_mode & 0111 ? 0555 : 0444) < 0)
      rc = csn_fail_errno(err, "the skill's files");
  }
  if (rc == 0 && fchmod(dir, 0555) < 0)
    rc = csn_fail_errno(err, "the skill's folder");
  return rc;
}

/* 1: somebody else was faster. */
static int
put_in_place(int parent, const char *temp, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int fd =
      openat(parent, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int rc = fd < 0 ? csn_fail_errno(err, "the skill's folder") : protect(fd, 0, err);
  if (rc < 0)
    return rc;
  fchmod(fd, 0755); /* an ordinary user cannot rename a folder that it may not write */
  if (renameat2(parent, temp, parent, name, RENAME_NOREPLACE) < 0)
    return errno == EEXIST || errno == ENOTEMPTY ? 1 : csn_fail_errno(err, "the skill's folder");
  fchmod(fd, 0555);
  return 0;
}

static int
bring(int workspace, csn_str folder, const char *name, csn_str entry, int source_fd, csn_scope *sc,
      csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf temp = CSN_BUF(200), path = CSN_BUF(8192);
  unsigned char random[8];
  csn_auto(csn_freep) char *parent_path = csn_dupz(folder);
  csn_random_bytes(random, sizeof random);
  csn_buf_addz(&temp, ".loading-");
  for (size_t i = 0; i < sizeof random; i++)
    csn_buf_addf(&temp, "%02x", random[i]);
  csn_buf_addf(&path, "%s/%s", parent_path, temp.p);
  int rc = csn_mkdirs(workspace, parent_path, 0755, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int parent =
      csn_open_beneath(workspace, parent_path, O_RDONLY | O_DIRECTORY, 0, err);
  if (parent < 0)
    return parent;
  rc = csn_skill_lay_out(parent, temp.p, entry, source_fd, sc, err);
  if (rc == 0)
    rc = put_in_place(parent, temp.p, name, err);
  if (rc != 0)
    (void)!csn_remove_tree(parent, temp.p, NULL);
  return rc;
}

/* ---- loading ---- */

static int
read_body(int fd, const char *path, csn_str dir, csn_buf *body, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_SKILL_FILE_MAX);
  csn_skill s;
  int rc = csn_file_read(fd, path, &text, err);
  if (rc == 0)
    rc = csn_skill_parse(&s, a, csn_buf_str(&text), dir, err);
  if (rc == 0)
    csn_buf_add(body, csn_str_trim(s.body));
  return rc;
}

static csn_str
last_part(csn_str path)
{
  const char *slash = memrchr(path.p, '/', path.n);
  return slash ? csn_strn(slash + 1, path.n - (size_t)(slash + 1 - path.p)) : path;
}

/* What the workspace has is read where it stands. */
static int
load_here(const csn_json *entry, const struct csn_skill_places *p, csn_buf *path, csn_buf *body,
          csn_err *err)
{
  csn_str file = csn_json_str(entry, "file", CSN_STR(""));
  if (p->cwd && csn_str_starts(file, csn_cstr(p->root)))
    file = csn_strn(file.p + strlen(p->root) + 1, file.n - strlen(p->root) - 1);
  csn_buf_add(path, file);
  csn_str dir = csn_json_str(entry, "dir", CSN_STR(""));
  if (csn_str_eq(dir, CSN_STR(".")))
    dir = last_part(csn_strn(file.p, file.n - sizeof "/SKILL.md" + 1));
  int rc = read_body(p->workspace_fd, path->p, dir, body, err);
  return rc < 0 ? rc : 1;
}

int
csn_skill_load(const csn_json *config, const csn_json *entry, csn_scope *sc,
               const struct csn_skill_places *p, csn_buf *path, csn_buf *body, csn_err *err)
{
  int64_t n = csn_json_int(entry, "source", 0);
  const csn_json *source = csn_json_at(csn_json_get(config, "sources"), (size_t)n);
  const csn_json *in_file = csn_json_get(source, "inline");
  csn_str dir = csn_json_str(entry, "dir", CSN_STR("")),
          folder = csn_json_str(config, "path", CSN_STR(".agents"));
  if (!source || csn_json_get(source, "workspace"))
    return load_here(entry, p, path, body, err);
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(64u << 20), there = CSN_BUF(8192);
  csn_auto(csn_freep) char *name = csn_dupz(csn_json_str(entry, "name", CSN_STR("")));
  csn_auto(csn_closep) int from = -1;
  int rc;
  if (in_file) {
    csn_buf_add(body, csn_str_trim(csn_json_str(in_file, "content", CSN_STR(""))));
    rc = write_inline(in_file, &json, err);
  } else {
    from = csn_skill_source_open(source, n, sc, p, err);
    csn_buf_addf(&there, "%.*s/SKILL.md", (int)dir.n, dir.p);
    rc = from < 0 ? from : read_body(from, there.p, csn_cstr(name), body, err);
    if (rc == 0)
      rc = write_local_dir(dir, &json, err);
  }
  csn_buf_addf(path, "%.*s/%s/SKILL.md", (int)folder.n, folder.p, name);
  if (rc < 0 || p->workspace_fd < 0)
    return rc;
  csn_auto(csn_closep) int old = csn_open_beneath(p->workspace_fd, path->p, O_PATH, 0, NULL);
  if (old >= 0)
    return 1;
  return bring(p->workspace_fd, folder, name, csn_buf_str(&json), from, sc, err);
}
