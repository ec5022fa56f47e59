/* SPDX-License-Identifier: Apache-2.0
 *
 * environment_run.c - the commands of an environment in an open sandbox,
 * whichever it is; see environment_remote.h. */
#include "sandbox/environment_remote.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "core/fd.h"
#include "sandbox/layer_store.h"

enum { TAIL_BYTES = 2000, LIST_MAX = 4 << 20, PIECE = 16384 };

/* What the commands need. */
struct running {
  csn_environment *e;
  const csn_environment_progress *progress;
  csn_sandbox *sb;
};

/* ---- commands ---- */

static void
tell(const struct running *b, const char *step, const csn_str *text)
{
  if (b->progress)
    b->progress->fn(b->progress->user, step, text);
}

/* Runs one command to its end; what it prints is told, and its end is kept in
 * `tail`. */
static int
run(const struct running *b, csn_scope *sc, const csn_environment_step *s, csn_err *err)
{
  const csn_exec x = {
      .argv = s->argv, .environment = csn_environment_variables, .cwd = "/", .claim_fd = -1};
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(PIECE), tail = CSN_BUF(2 * TAIL_BYTES + PIECE);
  csn_exit end = {0};
  tell(b, s->what, NULL);
  int rc = csn_sandbox_spawn(b->sb, sc, &x, &p, err);
  if (rc == CSN_E_NOT_FOUND)
    return csn_wrap(err, rc, "`%.300s`: the base has none, and packages.apt brings none", s->what);
  while (rc == 0 && (rc = csn_proc_read(p, sc, &piece, PIECE, NULL, err)) > 0) {
    csn_str text = csn_buf_str(&piece);
    tell(b, s->what, &text);
    csn_buf_add(&tail, text);
    if (tail.n > TAIL_BYTES)
      csn_buf_drop(&tail, tail.n - TAIL_BYTES);
    csn_buf_clear(&piece);
    rc = 0;
  }
  if (rc == 0)
    rc = csn_proc_wait(p, sc, &end, err);
  if (rc == 0 && end.code)
    rc = csn_fail(err, CSN_E_SANDBOX, "`%.300s` ended with status %d; the last it printed:\n%.*s",
                  s->what, end.code, (int)tail.n, tail.p ? tail.p : "");
  return rc;
}

/* ---- versions ---- */

static const struct lister {
  const char *key;
  const char *script; /* prints NAME=VERSION or the like, a line each */
} listers[] = {
    {"apt", "command -v dpkg-query >/dev/null && dpkg-query -W -f '${Package}=${Version}\\n'"},
    {"pip", "command -v python3 >/dev/null && python3 -m pip freeze 2>/dev/null | grep '=='"},
    {"npm", "command -v npm >/dev/null && cd \"$(npm root -g 2>/dev/null)\" 2>/dev/null && "
            "for p in */package.json @*/*/package.json; do [ -e \"$p\" ] && node -e "
            "'const p=require(process.argv[1]);console.log(p.name+\"@\"+p.version)' \"$PWD/$p\"; "
            "done"},
};
enum { LISTERS = CSN_COUNT(listers) };

static bool
is_wanted(const csn_environment *e, size_t i)
{
  const char **const lists[LISTERS] = {e->apt, e->pip, e->npm};
  return lists[i][0] != NULL;
}

/* What is installed, as each lister tells it; one that cannot tells nothing. */
static int
look(const struct running *b, csn_scope *sc, csn_buf lists[LISTERS], csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < LISTERS; i++) {
    const csn_exec x = {.argv = (const char *const[]){"sh", "-c", listers[i].script, NULL},
                        .environment = csn_environment_variables,
                        .cwd = "/",
                        .claim_fd = -1};
    csn_exit end;
    csn_buf_clear(&lists[i]);
    if (is_wanted(b->e, i))
      rc = csn_sandbox_exec(b->sb, sc, &x, &lists[i], NULL, &end, err);
  }
  return rc;
}

static bool
has_line(csn_str text, csn_str want)
{
  csn_str line;
  while (csn_str_line(&text, &line))
    if (csn_str_eq(line, want))
      return true;
  return false;
}

/* What came, with its versions. */
static int
write_new(const csn_buf before[LISTERS], const csn_buf after[LISTERS], csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  for (size_t i = 0; i < LISTERS; i++) {
    csn_str text = csn_buf_str(&after[i]), line;
    csn_jw_key(&w, listers[i].key);
    csn_jw_arr(&w);
    while (csn_str_line(&text, &line))
      if (line.n && !has_line(csn_buf_str(&before[i]), line))
        csn_jw_str(&w, line);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

int
csn_environment_run(csn_environment *e, csn_sandbox *sb, csn_scope *sc,
                    const csn_environment_progress *progress, csn_buf *resolved, csn_err *err)
{
  const struct running running = {e, progress, sb}, *b = &running;
  const csn_environment_step *steps;
  csn_buf before[LISTERS], after[LISTERS];
  for (size_t i = 0; i < LISTERS; i++)
    before[i] = after[i] = CSN_BUF(LIST_MAX);
  size_t n = csn_environment_steps(b->e, &steps);
  int rc = look(b, sc, before, err);
  for (size_t i = 0; rc == 0 && i < n; i++)
    rc = run(b, sc, &steps[i], err);
  if (rc == 0)
    rc = look(b, sc, after, err);
  if (rc == 0)
    rc = write_new(before, after, resolved, err);
  for (size_t i = 0; i < LISTERS; i++) {
    csn_buf_fini(&before[i]);
    csn_buf_fini(&after[i]);
  }
  return rc;
}

csn_digest
csn_environment_hash(csn_environment *e, csn_str base)
{
  const csn_environment_step *steps;
  csn_sha256 sum;
  size_t n = csn_environment_steps(e, &steps);
  csn_sha256_init(&sum);
  csn_sha256_add(&sum, CSN_STR("built 1:"));
  csn_sha256_add(&sum, base);
  for (size_t i = 0; i < n; i++) {
    for (const char *const *p = steps[i].argv; *p; p++)
      csn_sha256_add(&sum, csn_strn(*p, strlen(*p) + 1));
    csn_sha256_add(&sum, csn_strn("", 1));
  }
  return csn_sha256_end(&sum);
}

int
csn_environment_own(int *fd, csn_scope *sc, const csn_digest *name, csn_err *err)
{
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  struct flock one = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  int opened = csn_layer_store_open(&s, err);
  if (opened < 0)
    return opened;
  *fd = csn_open_beneath(s->dir, "building", O_RDWR | O_CREAT, 0600, err);
  if (*fd < 0)
    return *fd;
  memcpy(&one.l_start, name->b, sizeof one.l_start);
  one.l_start = (one.l_start & INT64_MAX) >> 1;
  while (fcntl(*fd, F_OFD_SETLK, &one) < 0) {
    struct timespec pause = {.tv_nsec = 20000000};
    int rc = errno == EAGAIN || errno == EACCES || errno == EINTR
                 ? csn_scope_check(sc, err)
                 : csn_fail_errno(err, "lock the build");
    if (rc < 0)
      return csn_wrap(err, rc, "another process builds this environment");
    nanosleep(&pause, NULL); /* the kernel offers no wait with a deadline here */
  }
  return 0;
}

/* ---- who makes them ---- */

/* Each back-end that does; NULL ends the list. */
static const csn_environment_maker *const makers[] = {
    &csn_environment_docker,
    &csn_environment_e2b,
    NULL,
};

const csn_environment_maker *
csn_environment_maker_of(const char *backend)
{
  for (size_t i = 0; backend && makers[i]; i++)
    if (strcmp(makers[i]->backend, backend) == 0)
      return makers[i];
  return NULL;
}

int
csn_environment_check(const csn_environment *e, const char *backend, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf words = CSN_BUF(200);
  if (csn_environment_maker_of(backend))
    return 0;
  if (!backend || strcmp(backend, "jail") == 0)
    return e->base.n ? 0
                     : csn_fail(err, CSN_E_INVALID,
                                "environment: base: expected an image, like image:NAME; `caisson "
                                "image import` makes one");
  for (size_t i = 0; makers[i]; i++)
    csn_buf_addf(&words, ", %s", makers[i]->backend);
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "environment: back-end %s builds none; those that do: jail%s", backend,
                  words.n ? words.p : "");
}

int
csn_environment_make(csn_environment *e, csn_scope *sc, const char *backend,
                     const csn_json *options, const csn_environment_progress *progress,
                     csn_environment_built *built, csn_err *err)
{
  const csn_environment_maker *m = csn_environment_maker_of(backend);
  int rc = csn_environment_check(e, backend, err);
  if (rc < 0 || !m)
    return rc < 0 ? rc : csn_environment_build(e, sc, progress, built, err);
  *built = (csn_environment_built){.resolved = CSN_BUF(LIST_MAX)};
  rc = m->build(e, sc, options, progress, built, err);
  if (rc < 0)
    csn_environment_built_fini(built);
  return csn_wrap(err, rc, "environment");
}

int
csn_environment_options(const csn_environment_maker *m, const csn_json *options, const char *image,
                        csn_arena *a, const csn_json **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_json_each (v, options)
    if (!csn_str_eq(v->key, csn_cstr(m->option))) {
      csn_jw_keyn(&w, v->key);
      csn_jw_value(&w, v);
    }
  csn_jw_key(&w, m->option);
  csn_jw_strz(&w, image);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&text)), out, err);
}
