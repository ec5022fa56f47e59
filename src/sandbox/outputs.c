/* SPDX-License-Identifier: Apache-2.0
 * outputs.c - declared results out of a workspace, copied and hashed. */
#include "sandbox/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"

#define DEPTH_MAX 100

typedef struct run {
  csn_outputs *o;
  csn_scope *sc;
  int work, target;
  int64_t files_left, bytes_left;
  int depth;
} run;

static const char *const words[] = {"ok", "missing", "refused", "too_large"};

static csn_collected *
note(run *r, csn_str path, csn_str to, enum csn_output_status status, const char *reason)
{
  csn_outputs *o = r->o;
  if (o->n == o->room) {
    o->room = o->room ? o->room * 2 : 16;
    o->items = csn_realloc(o->items, o->room, sizeof *o->items);
  }
  csn_collected *c = &o->items[o->n++];
  *c = (csn_collected){.path = csn_arena_dup(o->arena, path),
                       .to = csn_arena_dup(o->arena, to),
                       .status = status,
                       .reason = csn_arena_dup(o->arena, csn_cstr(reason))};
  return c;
}

/* Copies and hashes until the end or the cap; 1: the cap was passed. */
static int
pump(run *r, int in, int out, csn_collected *c, csn_err *err)
{
  csn_sha256 sha;
  csn_sha256_init(&sha);
  csn_auto(csn_freep) char *block = csn_realloc(NULL, 1, 65536);
  for (;;) {
    int rc = csn_scope_check(r->sc, err);
    if (rc < 0)
      return rc;
    ssize_t n = read(in, block, 65536);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read");
    if (n == 0)
      break;
    r->bytes_left -= n;
    c->size += n;
    if (r->bytes_left < 0)
      return 1;
    csn_sha256_add(&sha, csn_strn(block, (size_t)n));
    rc = csn_fd_write_all(out, csn_strn(block, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
  csn_digest d = csn_sha256_end(&sha);
  csn_digest_hex(&d, c->sha256);
  return 0;
}

/* The folder of `to` in the target, made when it is missing. */
static int
target_dir(const run *r, csn_str to, const char **base, csn_err *err)
{
  const char *slash = memrchr(to.p, '/', to.n);
  *base = slash ? slash + 1 : to.p;
  if (!slash)
    return csn_open_beneath(r->target, ".", O_RDONLY | O_DIRECTORY, 0, err);
  csn_auto(csn_freep) char *dir = csn_dupz(csn_strn(to.p, (size_t)(slash - to.p)));
  int rc = csn_mkdirs(r->target, dir, 0755, err);
  return rc < 0 ? rc : csn_open_beneath(r->target, dir, O_RDONLY | O_DIRECTORY, 0, err);
}

static int
take_file(run *r, int in, const struct stat *st, csn_str path, csn_str to, csn_err *err)
{
  if (r->files_left <= 0 || st->st_size > r->bytes_left) {
    note(r, path, to, CSN_OUTPUT_TOO_LARGE,
         r->files_left <= 0 ? "the limit of files is reached" : "the limit of bytes is reached")
        ->size = st->st_size;
    return 0;
  }
  csn_collected *c = note(r, path, to, CSN_OUTPUT_OK, "");
  const char *base;
  csn_auto(csn_closep) int at = target_dir(r, c->to, &base, err);
  if (at < 0)
    return csn_wrap(err, at, "output %.200s", c->to.p);
  char temp[32] = ".caisson-output-";
  csn_random_name(temp + 16, 12);
  csn_auto(csn_closep) int out =
      openat(at, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
             st->st_mode & 0111 ? 0777 : 0666);
  if (out < 0)
    return csn_fail_errno(err, "output %.200s", c->to.p);
  int rc = pump(r, in, out, c, err);
  if (rc == 0 && renameat(at, temp, at, base) < 0)
    rc = csn_fail_errno(err, "output %.200s", c->to.p);
  if (rc != 0)
    (void)!unlinkat(at, temp, 0);
  if (rc == 1) {
    c->status = CSN_OUTPUT_TOO_LARGE;
    c->reason = CSN_STR("it grew past the limit of bytes while it was copied");
  }
  r->files_left--;
  return rc < 0 ? rc : 0;
}

static int take(run *r, int at, const char *name, csn_str path, csn_str to, csn_err *err);

static int
take_dir(run *r, int dir, csn_str path, csn_str to, csn_err *err)
{
  int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = again < 0 ? NULL : fdopendir(again);
  if (!d) {
    csn_closep(&again);
    note(r, path, to, CSN_OUTPUT_REFUSED, "the folder cannot be listed");
    return 0;
  }
  int rc = 0;
  size_t before = r->o->n;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    if (r->files_left <= 0) {
      note(r, path, to, CSN_OUTPUT_TOO_LARGE, "the limit of files is reached");
      break;
    }
    csn_auto(csn_buf_finip) csn_buf p = CSN_BUF(4096), t = CSN_BUF(4096);
    csn_buf_addf(&p, "%.*s/%s", (int)path.n, path.p, e->d_name);
    csn_buf_addf(&t, "%.*s/%s", (int)to.n, to.p, e->d_name);
    /* What a host's git would run must not come out of a sandbox. */
    if (strcasecmp(e->d_name, ".git") == 0)
      note(r, csn_buf_str(&p), csn_buf_str(&t), CSN_OUTPUT_REFUSED,
           "a repository's own files; declare it by its name to have it");
    else if (p.over || t.over)
      note(r, path, to, CSN_OUTPUT_REFUSED, "a path in it is longer than 4096 bytes");
    else
      rc = take(r, dir, e->d_name, csn_buf_str(&p), csn_buf_str(&t), err);
  }
  closedir(d);
  if (rc == 0 && r->o->n == before)
    note(r, path, to, CSN_OUTPUT_MISSING, "the folder is empty");
  return rc;
}

/* One name in an open folder of the workspace. */
static int
take(run *r, int at, const char *name, csn_str path, csn_str to, csn_err *err)
{
  struct stat st;
  /* Looked at by path first: opening a device can have effects. */
  csn_auto(csn_closep) int probe = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (probe < 0 || fstat(probe, &st) < 0) {
    note(r, path, to, CSN_OUTPUT_MISSING, "no such file");
    return 0;
  }
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    note(r, path, to, CSN_OUTPUT_REFUSED,
         S_ISLNK(st.st_mode) ? "a symbolic link" : "not a regular file");
    return 0;
  }
  csn_auto(csn_closep) int fd = openat(at, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0) {
    note(r, path, to, CSN_OUTPUT_REFUSED, "it cannot be read");
    return 0;
  }
  if (S_ISREG(st.st_mode))
    return take_file(r, fd, &st, path, to, err);
  if (!S_ISDIR(st.st_mode) || r->depth >= DEPTH_MAX) {
    note(r, path, to, CSN_OUTPUT_REFUSED, "too many folders in each other, or it changed");
    return 0;
  }
  r->depth++;
  int rc = take_dir(r, fd, path, to, err);
  r->depth--;
  return rc;
}

/* Relative, without "..", empty parts and NUL: "a//./b" becomes "a/b". */
static bool
clean(csn_str in, csn_buf *out)
{
  if (in.n == 0 || in.p[0] == '/' || memchr(in.p, '\0', in.n))
    return false;
  for (size_t i = 0; i <= in.n;) {
    size_t end = i;
    while (end < in.n && in.p[end] != '/')
      end++;
    csn_str part = csn_strn(in.p + i, end - i);
    i = end + 1;
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR("..")))
      return false;
    if (out->n)
      csn_buf_addc(out, '/');
    csn_buf_add(out, part);
  }
  return out->n && !out->over;
}

static int
collect_one(run *r, const csn_output *w, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4000), to = CSN_BUF(4000);
  if (!clean(w->path, &path) || (w->to.n && !clean(w->to, &to))) {
    note(r, w->path, w->to, CSN_OUTPUT_REFUSED, "not a path inside of the workspace");
    return 0;
  }
  csn_str target = w->to.n ? csn_buf_str(&to) : csn_buf_str(&path);
  char *slash = strrchr(path.p, '/');
  csn_auto(csn_closep) int at = -1;
  csn_err why = {0};
  if (slash) {
    csn_auto(csn_freep) char *dir = csn_dupz(csn_strn(path.p, (size_t)(slash - path.p)));
    at = csn_open_beneath(r->work, dir, O_RDONLY | O_DIRECTORY, 0, &why);
  } else {
    at = csn_open_beneath(r->work, ".", O_RDONLY | O_DIRECTORY, 0, &why);
  }
  if (at < 0) {
    note(r, csn_buf_str(&path), target,
         at == CSN_E_NOT_FOUND ? CSN_OUTPUT_MISSING : CSN_OUTPUT_REFUSED,
         at == CSN_E_NOT_FOUND ? "no such file" : "its folder leads out of the workspace");
    return 0;
  }
  return take(r, at, slash ? slash + 1 : path.p, csn_buf_str(&path), target, err);
}

int
csn_outputs_collect(csn_outputs *o, csn_scope *sc, int work_fd, int target_fd,
                    const csn_output *want, size_t n, const csn_output_limits *limits, csn_err *err)
{
  *o = (csn_outputs){.arena = csn_arena_new(0)};
  run r = {.o = o,
           .sc = sc,
           .work = work_fd,
           .target = target_fd,
           .files_left = limits && limits->max_files > 0 ? limits->max_files : 10000,
           .bytes_left = limits && limits->max_bytes > 0 ? limits->max_bytes : (int64_t)1 << 30};
  for (size_t i = 0; i < n; i++) {
    int rc = csn_scope_check(sc, err);
    if (rc == 0)
      rc = collect_one(&r, &want[i], err);
    if (rc < 0) {
      csn_outputs_fini(o);
      return rc;
    }
  }
  return 0;
}

int
csn_outputs_from_json(csn_arena *a, const csn_json *v, csn_output **out, size_t *n, csn_err *err)
{
  *n = 0;
  *out = NULL;
  if (!v || v->kind == CSN_JSON_NULL)
    return 0;
  if (v->kind != CSN_JSON_ARRAY)
    return csn_fail(err, CSN_E_INVALID, "outputs: expected a list of {path, to}");
  *out = csn_arena_alloc(a, (v->n + 1) * sizeof **out);
  if (!*out)
    return csn_fail(err, CSN_E_LIMIT, "outputs: too many");
  csn_json_each (it, v) {
    csn_output *o = &(*out)[*n];
    int rc = 0;
    if (it->kind == CSN_JSON_STRING)
      o->path = it->text;
    else if ((rc = csn_json_need_str(it, "path", &o->path, err)) < 0)
      return csn_wrap(err, rc, "outputs.%zu", *n);
    o->to = csn_json_str(it, "to", (csn_str){0});
    csn_json_each (k, it->kind == CSN_JSON_OBJECT ? it : NULL) {
      int kn = k->key.n < 60 ? (int)k->key.n : 60;
      if (!csn_str_eq(k->key, CSN_STR("path")) && !csn_str_eq(k->key, CSN_STR("to")))
        return csn_fail(err, CSN_E_INVALID,
                        "outputs.%zu.%.*s: unknown key; known here are: path to", *n, kn, k->key.p);
      if (k->kind != CSN_JSON_STRING)
        return csn_fail(err, CSN_E_INVALID, "outputs.%zu.%.*s: expected a string", *n, kn,
                        k->key.p);
    }
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4000), to = CSN_BUF(4000);
    if (!clean(o->path, &path) || (o->to.n && !clean(o->to, &to)))
      return csn_fail(err, CSN_E_INVALID, "outputs.%zu: expected relative paths without \"..\"",
                      *n);
    (*n)++;
  }
  return 0;
}

void
csn_outputs_to_json(const csn_outputs *o, csn_jw *w)
{
  csn_jw_arr(w);
  for (size_t i = 0; i < o->n; i++) {
    const csn_collected *c = &o->items[i];
    csn_jw_obj(w);
    csn_jw_key(w, "path");
    csn_jw_str(w, c->path);
    csn_jw_key(w, "to");
    csn_jw_str(w, c->to);
    csn_jw_key(w, "size");
    csn_jw_int(w, c->size);
    csn_jw_key(w, "sha256");
    csn_jw_strz(w, c->sha256[0] ? c->sha256 : NULL);
    csn_jw_key(w, "status");
    csn_jw_strz(w, words[c->status]);
    if (c->status != CSN_OUTPUT_OK) {
      csn_jw_key(w, "reason");
      csn_jw_str(w, c->reason);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

void
csn_outputs_fini(csn_outputs *o)
{
  if (o->arena)
    csn_arena_free(o->arena);
  free(o->items);
  *o = (csn_outputs){0};
}
