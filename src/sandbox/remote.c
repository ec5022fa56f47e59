/* SPDX-License-Identifier: Apache-2.0
 *
 * remote.c - files of a sandbox as tar streams, and its life elsewhere; see
 * caisson/remote.h.
 *
 * What a back-end cannot do by itself is done by commands inside.  They are
 * ours and not the model's: no limit on a command's output or time counts
 * them, only the scope does. */
#include "caisson/remote.h"

#include <errno.h>

#include "core/fd.h"
#include "sandbox/backends.h"
#include "sandbox/snap_tree.h"
#include "sandbox/strings.h"

enum { CHUNK = 64 << 10, MOST_PATHS = 4000, SAID_MAX = 1000, SCRIPT_MAX = 96 << 10 };

bool
csn_sandbox_is_remote(const char *backend)
{
  const csn_sandbox_ops *ops = backend ? csn_sandbox_find(backend) : NULL;
  return ops && ops->is_remote;
}

/* ---- commands of ours ---- */

static int
feed(csn_proc *p, csn_scope *sc, int from, csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  for (;;) {
    ssize_t n = read(from, chunk, CHUNK);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read the archive");
    if (n == 0)
      break;
    int rc = p->ops->write(p, sc, csn_strn(chunk, (size_t)n), err);
    if (rc < 0) /* it ended already, and what it said is why */
      return rc == CSN_E_IO ? 0 : rc;
  }
  p->ops->close_stdin(p);
  return 0;
}

static int
drain(csn_proc *p, csn_scope *sc, const csn_errand *e, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf chunk = CSN_BUF(CHUNK);
  int64_t bytes = 0;
  for (;;) {
    enum csn_stream which = CSN_STDOUT;
    csn_buf_clear(&chunk);
    int rc = p->ops->read(p, sc, &chunk, CHUNK, &which, err);
    if (rc <= 0)
      return rc;
    if (which == CSN_STDERR || e->to < 0) {
      size_t room = e->said->cap - e->said->n;
      csn_buf_add(e->said, csn_strn(chunk.p, chunk.n < room ? chunk.n : room));
      continue;
    }
    bytes += rc;
    if (bytes > CSN_SNAP_BYTES_MAX)
      return csn_fail(err, CSN_E_LIMIT, "the files come to more than %lld bytes",
                      (long long)CSN_SNAP_BYTES_MAX);
    rc = csn_fd_write_all(e->to, csn_buf_str(&chunk), err);
    if (rc < 0)
      return rc;
  }
}

int
csn_sandbox_errand(csn_sandbox *sb, csn_scope *sc, const csn_errand *e, csn_exit *end, csn_err *err)
{
  const csn_exec x = {
      .argv = e->argv, .with_stdin = e->from >= 0, .split_output = e->to >= 0, .claim_fd = -1};
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  *end = (csn_exit){0};
  int rc = sb->ops->spawn(sb, sc, &x, &p, err);
  if (rc == 0 && e->from >= 0)
    rc = feed(p, sc, e->from, err);
  if (rc >= 0)
    rc = drain(p, sc, e, err);
  return rc < 0 ? rc : p->ops->wait(p, sc, end, err);
}

/* `sh -c script sh ./PATH...`; exit codes up to `most` are fine. */
static int
run_script(csn_sandbox *sb, csn_scope *sc, const char *script, const char *const *paths, int most,
           int from, int to, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(SAID_MAX);
  size_t n = csn_strings_count(paths), k = 0;
  if (n > MOST_PATHS)
    return csn_fail(err, CSN_E_LIMIT, "more than %d paths at once", MOST_PATHS);
  const char **argv = csn_arena_alloc(a, (n + 5) * sizeof *argv);
  argv[k++] = "sh";
  argv[k++] = "-c";
  argv[k++] = script;
  argv[k++] = "sh";
  for (size_t i = 0; i < n; i++)
    argv[k++] = csn_arena_printf(a, "./%s", paths[i]).p;
  csn_exit end;
  const csn_errand e = {.argv = argv, .from = from, .to = to, .said = &text};
  int rc = csn_sandbox_errand(sb, sc, &e, &end, err);
  if (rc < 0 || end.code <= most)
    return rc;
  csn_str said = csn_str_trim(csn_buf_str(&text));
  return csn_fail(err, CSN_E_SANDBOX, "it ended with %d: %.*s", end.code, (int)said.n,
                  said.n ? said.p : "");
}

/* ---- files ---- */

static int
check_paths(const char *const *paths, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(CSN_SNAP_PATH_MAX + 1);
  for (size_t i = 0; paths && paths[i]; i++) {
    csn_buf_clear(&clean);
    if (paths[i][0] == '/' || !csn_path_add(&clean, csn_cstr(paths[i])) || clean.n == 0 ||
        clean.over)
      return csn_fail(err, CSN_E_INVALID, "\"%.200s\" is no path in a workspace", paths[i]);
  }
  return 0;
}

static void
add_quoted(csn_buf *out, csn_str text)
{
  csn_buf_addc(out, '\'');
  for (size_t i = 0; i < text.n; i++)
    if (text.p[i] == '\'')
      csn_buf_addz(out, "'\\''");
    else
      csn_buf_addc(out, text.p[i]);
  csn_buf_addc(out, '\'');
}

/* Whether the path is beneath that folder; n 0: of the workspace itself. */
static bool
is_beneath(const char *path, const char *dir, size_t n)
{
  return n == 0 || (strncmp(path, dir, n) == 0 && path[n] == '/');
}

/* Adds what is in a folder, but for names that are storage or lead to it. */
static void
add_folder(csn_buf *out, char *const *skips, const char *dir, size_t n)
{
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(CSN_SNAP_PATH_MAX + 4);
  csn_buf_addf(&at, "./%.*s%s", (int)n, dir, n ? "/" : "");
  csn_buf_addz(out, "for p in");
  for (const char *const *all = (const char *const[]){"*", ".[!.]*", "..?*", NULL}; *all; all++) {
    csn_buf_addc(out, ' ');
    add_quoted(out, csn_buf_str(&at));
    csn_buf_addz(out, *all);
  }
  csn_buf_addz(out, "; do case $p in");
  bool is_first = true;
  for (char *const *s = skips; *s; s++) {
    if (!is_beneath(*s, dir, n))
      continue;
    const char *name = *s + n + (n > 0);
    csn_buf_addz(out, is_first ? " " : "|");
    is_first = false;
    add_quoted(out, csn_buf_str(&at));
    add_quoted(out, csn_strn(name, strcspn(name, "/")));
  }
  csn_buf_addz(out, ") continue ;; esac; if [ -e \"$p\" ] || [ -L \"$p\" ]; then "
                    "set -- \"$@\" \"$p\"; fi; done; ");
}

/* The folders that storage is in, each once and none that is storage itself. */
static void
add_folders(csn_buf *out, char *const *skips)
{
  for (char *const *s = skips; *s; s++)
    for (size_t n = 0; (*s)[n]; n++) {
      bool is_told = false;
      if (n > 0 && (*s)[n] != '/')
        continue;
      for (char *const *t = skips; *t; t++)
        is_told = is_told || (t < s && is_beneath(*t, *s, n)) ||
                  (n > 0 && strncmp(*t, *s, strlen(*t)) == 0 && strlen(*t) <= n &&
                   strchr("/", (*s)[strlen(*t)]));
      if (!is_told)
        add_folder(out, skips, *s, n);
    }
}

int
csn_sandbox_get_by_tar(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd,
                       csn_err *err)
{
  static const char all[] = "exec tar -cf - .",
                    some[] = "for p do shift; if [ -e \"$p\" ] || [ -L \"$p\" ]; then "
                             "set -- \"$@\" \"$p\"; fi; done; "
                             "[ $# -eq 0 ] || exec tar -cf - -- \"$@\"";
  csn_auto(csn_buf_finip) csn_buf most = CSN_BUF(SCRIPT_MAX);
  if (!paths && sb->skips && sb->skips[0]) { /* not every tar can leave something out */
    add_folders(&most, sb->skips);
    csn_buf_addz(&most, "[ $# -eq 0 ] || exec tar -cf - -- \"$@\"");
    int rc = csn_buf_done(&most, "the paths of storage in the workspace", err);
    if (rc < 0)
      return rc;
  }
  /* 1: a file changed while it was read */
  return run_script(sb, sc, paths ? some : most.n ? most.p : all, paths, 1, -1, tar_fd, err);
}

int
csn_sandbox_put_by_tar(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err)
{
  /* It reads all there is before it says what was wrong, so nobody waits for
   * the other. */
  static const char script[] = "e=$(tar -xopf - 2>&1); s=$?; cat >/dev/null; "
                               "printf %s \"$e\"; exit $s";
  return run_script(sb, sc, script, NULL, 0, tar_fd, -1, err);
}

int
csn_sandbox_remove_by_rm(csn_sandbox *sb, csn_scope *sc, const char *const *paths, csn_err *err)
{
  return run_script(sb, sc, "exec rm -rf -- \"$@\"", paths, 0, -1, -1, err);
}

/* Before each operation. */
static int
check(csn_sandbox *sb, csn_scope *sc, const char *const *paths, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  if (rc == 0 && sb->is_frozen)
    rc = csn_fail(err, CSN_E_SANDBOX, "it was frozen; open its workspace again");
  return rc < 0 ? rc : check_paths(paths, err);
}

int
csn_sandbox_get(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd, csn_err *err)
{
  int rc = check(sb, sc, paths, err);
  if (rc == 0 && (!paths || paths[0]))
    rc = (sb->ops->get ? sb->ops->get : csn_sandbox_get_by_tar)(sb, sc, paths, tar_fd, err);
  return csn_wrap(err, rc, "sandbox %s: get files", sb->ops->name);
}

int
csn_sandbox_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err)
{
  int rc = check(sb, sc, NULL, err);
  if (rc == 0)
    rc = (sb->ops->put ? sb->ops->put : csn_sandbox_put_by_tar)(sb, sc, tar_fd, err);
  return csn_wrap(err, rc, "sandbox %s: put files", sb->ops->name);
}

int
csn_sandbox_remove(csn_sandbox *sb, csn_scope *sc, const char *const *paths, csn_err *err)
{
  int rc = check(sb, sc, paths, err);
  if (rc == 0 && paths && paths[0])
    rc = (sb->ops->remove ? sb->ops->remove : csn_sandbox_remove_by_rm)(sb, sc, paths, err);
  return csn_wrap(err, rc, "sandbox %s: remove files", sb->ops->name);
}

/* ---- life ---- */

void
csn_sandbox_state(csn_sandbox *sb, csn_jw *w)
{
  if (!sb->ops->state)
    return;
  csn_jw_key(w, "type");
  csn_jw_strz(w, sb->ops == &csn_sandbox_program ? csn_exec_word_of(sb) : sb->ops->name);
  sb->ops->state(sb, w);
}

static int
turn(csn_sandbox *sb, csn_scope *sc, int (*op)(csn_sandbox *, csn_scope *, csn_err *),
     const char *what, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  if (rc == 0)
    rc = op ? op(sb, sc, err) : csn_fail(err, CSN_E_UNSUPPORTED, "it cannot");
  return csn_wrap(err, rc, "sandbox %s: %s", sb->ops->name, what);
}

int
csn_sandbox_pause(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return turn(sb, sc, sb->ops->pause, "pause", err);
}

int
csn_sandbox_resume(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return turn(sb, sc, sb->ops->resume, "resume", err);
}

int
csn_sandbox_destroy(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return sb->ops->destroy ? turn(sb, sc, sb->ops->destroy, "destroy", err) : 0;
}

int
csn_sandbox_sweep_all(const char *backend, csn_scope *sc, const csn_json *options,
                      const csn_sandbox_sweep *how, csn_err *err)
{
  const csn_sandbox_ops *ops = csn_sandbox_find(backend);
  if (!ops)
    return csn_sandbox_unknown(NULL, backend, err);
  csn_sandbox_sweep of = *how;
  of.backend = backend;
  int rc = ops->sweep ? ops->sweep(sc, options, &of, err) : 0;
  return csn_wrap(err, rc, "sandboxes of %s", backend);
}
