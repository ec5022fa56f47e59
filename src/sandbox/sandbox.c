/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox.c - dispatch to the back-ends and what is built from their
 * operations.  Checks that every back-end would make are made here once, and
 * errors get the back-end's name. */
#include "caisson/freeze.h"
#include "caisson/remote.h"

#include <signal.h>
#include <stddef.h>

#include "core/fd.h"
#include "jail/layers.h"
#include "sandbox/backends.h"
#include "sandbox/grants.h"
#include "sandbox/guard.h"
#include "sandbox/limits.h"
#include "sandbox/manifest_mount.h"
#include "sandbox/snap_tree.h"
#include "sandbox/stack.h"

/* Every back-end of this build; the first is the default. */
static const csn_sandbox_ops *const backends[] = {
    &csn_sandbox_jail, &csn_sandbox_local, &csn_sandbox_fake, &csn_sandbox_docker, &csn_sandbox_e2b,
};

enum { MOST_STRINGS = 4096, MOST_PORTS = 64 };

const csn_sandbox_ops *
csn_sandbox_find_in(const csn_sandbox_ops *const *own, const char *name)
{
  for (size_t i = 0; i < CSN_COUNT(backends); i++)
    if (strcmp(backends[i]->name, name) == 0)
      return backends[i];
  for (; own && *own; own++)
    if (strcmp((*own)->name, name) == 0)
      return *own;
  return csn_exec_is_word(csn_cstr(name)) ? &csn_sandbox_program : NULL;
}

const csn_sandbox_ops *
csn_sandbox_find(const char *name)
{
  return csn_sandbox_find_in(NULL, name);
}

int
csn_sandbox_unknown(const csn_sandbox_ops *const *own, const char *name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf words = CSN_BUF(300);
  for (size_t i = 0; i < CSN_COUNT(backends); i++)
    csn_buf_addf(&words, "%s, ", backends[i]->name);
  for (; own && *own; own++)
    csn_buf_addf(&words, "%s, ", (*own)->name);
  return csn_fail(err, CSN_E_INVALID,
                  "unknown back-end '%.60s' of a sandbox; there are %s" CSN_EXEC_WORD "PROGRAM",
                  name, words.p);
}

/* ---- tables of a program ---- */

enum { MOST_OWN = 64, NAME_MOST = 40 };

static int
check_own(const csn_sandbox_ops *const *all, size_t i, csn_err *err)
{
  const csn_sandbox_ops *o = all[i];
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
  size_t n = o->name ? strlen(o->name) : 0;
  if (n == 0 || n > NAME_MOST || strspn(o->name, letters) < n)
    return csn_fail(err, CSN_E_INVALID,
                    "backends[%zu].name: expected at most %d small letters, digits, - and _", i,
                    NAME_MOST);
  if (csn_sandbox_find(o->name))
    return csn_fail(err, CSN_E_INVALID, "backends[%zu]: there is a back-end %s already", i,
                    o->name);
  for (size_t k = 0; k < i; k++)
    if (strcmp(all[k]->name, o->name) == 0)
      return csn_fail(err, CSN_E_INVALID, "backends[%zu]: %s is there twice", i, o->name);
  if (o->size < offsetof(csn_sandbox_ops, dial) || !o->open || !o->close || !o->spawn)
    return csn_fail(err, CSN_E_INVALID, "back-end %s: its size, open, close and spawn must be set",
                    o->name);
  return 0;
}

int
csn_sandbox_own_copy(const csn_sandbox_ops *const *given, const csn_sandbox_ops *const **out,
                     csn_err *err)
{
  size_t n = 0;
  *out = NULL;
  for (; given && given[n]; n++) {
    int rc = n == MOST_OWN ? csn_fail(err, CSN_E_LIMIT, "backends: more than %d", MOST_OWN)
                           : check_own(given, n, err);
    if (rc < 0)
      return rc;
  }
  if (n == 0)
    return 0;
  /* The list, and behind it what it points to. */
  const csn_sandbox_ops **list = csn_alloc((n + 1) * sizeof *list + n * sizeof **list);
  csn_sandbox_ops *tables = (csn_sandbox_ops *)(list + n + 1);
  for (size_t i = 0; i < n; i++) {
    memcpy(&tables[i], given[i], given[i]->size < sizeof *tables ? given[i]->size : sizeof *tables);
    tables[i].size = sizeof *tables;
    list[i] = &tables[i];
  }
  *out = list;
  return 0;
}

/* What it cannot hold and does not know of would be taken for held. */
static int
check_holds(const csn_sandbox_ops *ops, const csn_sandbox_spec *spec, csn_err *err)
{
  if (spec->network && !ops->restrict_network)
    return csn_fail(err, CSN_E_UNSUPPORTED, "it cannot hold a network policy");
  if (spec->n_expose && !ops->dial)
    return csn_fail(err, CSN_E_UNSUPPORTED, "it cannot expose ports");
  return 0;
}

static int
choose_level(const csn_sandbox_ops **ops, const char *level, csn_err *err)
{
  if (!level || strcmp(level, "native") == 0)
    return 0;
  if (*ops != &csn_sandbox_jail || strcmp(level, "gvisor") != 0)
    return csn_fail(err, CSN_E_INVALID,
                    "level \"%.60s\": back-end %s has none such; the jail has native and gvisor",
                    level, (*ops)->name);
  *ops = &csn_sandbox_gvisor;
  return 0;
}

static int
check_list(const char *const *list, bool assignments, csn_err *err)
{
  for (size_t i = 0; list && list[i]; i++) {
    if (i == MOST_STRINGS)
      return csn_fail(err, CSN_E_LIMIT, "more than %d %s", MOST_STRINGS,
                      assignments ? "environment variables" : "arguments");
    const char *eq = assignments ? strchr(list[i], '=') : NULL;
    if (assignments && (!eq || eq == list[i]))
      return csn_fail(err, CSN_E_INVALID, "environment: \"%.60s\" is not NAME=VALUE", list[i]);
  }
  return 0;
}

static int
check_network(const csn_sandbox_spec *spec, csn_err *err)
{
  if (spec->n_expose > MOST_PORTS)
    return csn_fail(err, CSN_E_LIMIT, "expose: more than %d ports", MOST_PORTS);
  for (size_t i = 0; i < spec->n_expose; i++)
    if (spec->expose[i] == 0)
      return csn_fail(err, CSN_E_INVALID, "expose: there is no port 0");
  return spec->network ? csn_network_check(spec->network, err) : 0;
}

static int
no_scopes(csn_err *err)
{
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "it cannot hold commands to parts of the workspace (scopes); the jail's native "
                  "level can");
}

static void
keep_ports(csn_sandbox *sb, const csn_sandbox_spec *spec)
{
  sb->expose = csn_realloc(NULL, spec->n_expose, sizeof *sb->expose);
  memcpy(sb->expose, spec->expose, spec->n_expose * sizeof *sb->expose);
  sb->n_expose = spec->n_expose;
  sb->tunnels = csn_tunnels_new();
}

/* Storage that is mounted in the workspace is no part of it. */
static void
keep_skips(csn_sandbox *sb, const csn_mount *const *mounts)
{
  size_t n = 0, k = 0;
  while (mounts[n])
    n++;
  sb->skips = csn_realloc(NULL, 2 * n + 1, sizeof *sb->skips);
  for (size_t i = 0; i < n; i++) {
    csn_str cache = csn_json_str(mounts[i]->pattern_json, "cache_path", CSN_STR(""));
    csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(CSN_SNAP_PATH_MAX);
    if (mounts[i]->inside.n)
      sb->skips[k++] = csn_dupz(mounts[i]->inside);
    if (cache.n && csn_path_add(&clean, cache) && clean.n)
      sb->skips[k++] = csn_dupz(csn_buf_str(&clean));
  }
  sb->skips[k] = NULL;
}

/* An overlay where the back-end and this machine have one, else a copy. */
static int
open_on_layers(csn_sandbox **out, const csn_sandbox_ops *ops, csn_scope *sc,
               const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_stack_freep) csn_stack *stack = NULL;
  csn_sandbox_spec with = *spec;
  csn_err why;
  int rc = csn_stack_open(&stack, sc, spec->workspace_fd, spec->layers, err);
  if (rc < 0)
    return rc;
  const struct csn_sandbox_own plain = spec->own ? *spec->own : (struct csn_sandbox_own){0};
  struct csn_sandbox_own own = plain;
  own.stack = stack;
  with.own = &own;
  rc = ops == &csn_sandbox_jail ? csn_stack_prepare(stack, &why) : CSN_E_UNSUPPORTED;
  bool has_overlay = rc == 0;
  if (has_overlay) {
    rc = ops->open(out, sc, &with, &why);
    has_overlay = rc == 0 || !strstr(why.msg, CSN_JAIL_NO_STACK);
  }
  if (rc < 0 && (has_overlay || rc != CSN_E_UNSUPPORTED))
    return csn_fail(err, (enum csn_code)rc, "%s", why.msg);
  if (rc < 0) {
    csn_auto(csn_closep) int upper = -1;
    with.own = &plain;
    rc = csn_stack_copy(stack, sc, &upper, err);
    with.workspace_fd = upper;
    if (rc == 0)
      rc = ops->open(out, sc, &with, err);
  }
  if (rc == 0)
    (*out)->stack = csn_steal(stack);
  return rc;
}

int
csn_sandbox_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  const char *name = spec->backend ? spec->backend : "jail";
  const csn_sandbox_ops *ops = csn_sandbox_find(name);
  return ops ? csn_sandbox_open_of(out, sc, ops, spec, err) : csn_sandbox_unknown(NULL, name, err);
}

int
csn_sandbox_open_of(csn_sandbox **out, csn_scope *sc, const csn_sandbox_ops *ops,
                    const csn_sandbox_spec *spec, csn_err *err)
{
  const char *name = spec->backend ? spec->backend : "jail";
  bool is_own = csn_sandbox_find(name) == NULL;
  int rc = csn_scope_check(sc, err);
  if (rc == 0)
    rc = choose_level(&ops, spec->level, err);
  if (rc < 0)
    return rc;
  rc = check_list(spec->environment, true, err);
  csn_str type = csn_json_str(spec->state, "type", csn_cstr(name));
  if (rc == 0 && !csn_str_eq(type, csn_cstr(name)))
    rc = csn_fail(err, CSN_E_INVALID, "the state is that of a sandbox of back-end %.*s",
                  (int)(type.n & 0xff), type.p);
  if (rc == 0 && spec->root && spec->root[0] != '/')
    rc = csn_fail(err, CSN_E_INVALID, "root \"%.100s\" is not absolute", spec->root);
  if (rc == 0)
    rc = csn_limits_check(spec->limits, err);
  if (rc == 0 && ops != &csn_sandbox_jail &&
      ((spec->user && !ops->has_users) || spec->users || spec->n_groups))
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "only the jail has users and groups of its own");
  if (rc == 0 && ops->is_remote && (spec->workspace_fd >= 0 || spec->layers))
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "its workspace cannot be a folder of this machine; put the files into it");
  if (rc == 0 && ops != &csn_sandbox_jail && spec->devices && spec->devices[0])
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "only the jail has devices that can be chosen");
  if (rc == 0 && ops != &csn_sandbox_jail && spec->has_scopes)
    rc = no_scopes(err);
  if (rc == 0 && ops != &csn_sandbox_jail)
    rc = csn_grants_refuse(csn_spec_grants(spec), spec->level ? spec->level : name,
                           ops == &csn_sandbox_local, err);
  if (rc == 0)
    rc = check_network(spec, err);
  if (rc == 0 && is_own)
    rc = check_holds(ops, spec, err);
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  if (rc == 0)
    rc = spec->layers ? open_on_layers(&sb, ops, sc, spec, err) : ops->open(&sb, sc, spec, err);
  if (rc == 0 && is_own)
    sb->ops = ops; /* its own may be shorter */
  if (rc == 0) {
    if (spec->n_expose)
      keep_ports(sb, spec);
    if (spec->mounts)
      keep_skips(sb, spec->mounts);
    csn_guard_open(sb, spec->limits);
    rc = csn_limits_strict(sb, spec->limits, err);
    if (rc < 0 && !spec->state) /* nobody will know of it */
      (void)!csn_sandbox_destroy(sb, sc, NULL);
  }
  if (rc == 0)
    *out = csn_steal(sb);
  return csn_wrap(err, rc, "sandbox %s", name);
}

void
csn_sandbox_close(csn_sandbox *sb)
{
  if (!sb)
    return;
  struct csn_stack *stack = sb->stack;
  free(sb->expose);
  for (char **p = sb->skips; p && *p; p++)
    free(*p);
  free(sb->skips);
  csn_tunnels_free(sb->tunnels);
  sb->ops->close(sb);
  csn_stack_free(stack);
}

int
csn_sandbox_freeze(csn_sandbox *sb, csn_scope *sc, const char *const **names, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  if (rc == 0 && !sb->stack)
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "its workspace has no layers");
  if (rc == 0 && !sb->ops->stop)
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "it cannot tell whether a process still runs in it");
  if (rc == 0 && !sb->is_frozen)
    rc = sb->ops->stop(sb, sc, err);
  if (rc == 0 && !sb->is_frozen) {
    csn_closep(&sb->workspace_fd);
    rc = csn_stack_freeze(sb->stack, err);
    sb->is_frozen = rc == 0;
  }
  if (rc == 0)
    *names = (const char *const *)sb->stack->names;
  return csn_wrap(err, rc, "freeze sandbox %s", sb->ops->name);
}

int
csn_sandbox_rests(csn_sandbox *sb, csn_scope *sc, bool *has_more, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  if (rc == 0)
    rc = sb->ops->rests ? sb->ops->rests(sb, sc, has_more, err)
                        : csn_fail(err, CSN_E_UNSUPPORTED, "it cannot tell what runs in it");
  return csn_wrap(err, rc, "sandbox %s", sb->ops->name);
}

int
csn_sandbox_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to,
                     int64_t *reached, csn_err *err)
{
  *reached = 0;
  if (!sb->ops->restrict_network) /* it has no network */
    return 0;
  int rc = sb->ops->restrict_network(sb, sc, to, reached, err);
  return csn_wrap(err, rc, "sandbox %s: network", sb->ops->name);
}

int
csn_sandbox_dial(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd, csn_err *err)
{
  bool is_exposed = false;
  for (size_t i = 0; i < sb->n_expose; i++)
    is_exposed |= sb->expose[i] == port;
  if (!is_exposed)
    return csn_fail(err, CSN_E_DENIED, "sandbox %s: port %u was not exposed", sb->ops->name, port);
  int rc = csn_scope_check(sc, err);
  if (rc == 0)
    rc = sb->ops->dial ? sb->ops->dial(sb, sc, port, fd, err)
                       : csn_fail(err, CSN_E_UNSUPPORTED, "it has no ports");
  return csn_wrap(err, rc, "sandbox %s: port %u", sb->ops->name, port);
}

static int
check_exec(const csn_exec *x, csn_err *err)
{
  if (!x->argv || !x->argv[0] || !x->argv[0][0])
    return csn_fail(err, CSN_E_INVALID, "a command needs at least a program name");
  if (x->cwd && !x->cwd[0])
    return csn_fail(err, CSN_E_INVALID, "cwd is empty; leave it out for the workspace");
  if (x->tty && x->split_output)
    return csn_fail(err, CSN_E_INVALID, "a terminal has one output: tty excludes split_output");
  int rc = check_list(x->argv, false, err);
  return rc < 0 ? rc : check_list(x->environment, true, err);
}

int
csn_sandbox_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  if (rc < 0)
    return rc;
  rc = check_exec(x, err);
  if (rc == 0 && sb->is_frozen)
    rc = csn_fail(err, CSN_E_SANDBOX, "it was frozen; open its workspace again");
  if (rc == 0 && x->user && sb->ops != &csn_sandbox_jail && !sb->ops->has_users)
    rc = csn_fail(err, CSN_E_UNSUPPORTED, "only commands in a jail can be another user");
  if (rc == 0 && x->files && sb->ops != &csn_sandbox_jail)
    rc = no_scopes(err);
  if (rc == 0)
    rc = csn_guard_check(sb, err);
  if (rc < 0)
    return csn_wrap(err, rc, "sandbox %s", sb->ops->name);
  csn_exec full = *x;
  if (full.tty) {
    full.rows = full.rows ? full.rows : 24;
    full.cols = full.cols ? full.cols : 80;
  }
  struct csn_guard *g = csn_guard_new(sb);
  rc = sb->ops->spawn(sb, sc, &full, out, err);
  if (rc == 0)
    (*out)->guard = g;
  else
    csn_guard_free(g);
  rc = csn_guard_explain(sb, rc, err);
  return csn_wrap(err, rc, "sandbox %s: %.60s", sb->ops->name, x->argv[0]);
}

/* What fits of the bytes; the rest is dropped and the buffer says so. */
static void
add_capped(csn_buf *to, csn_str bytes)
{
  size_t room = to->over ? 0 : to->cap - to->n;
  csn_buf_add(to, csn_strn(bytes.p, bytes.n < room ? bytes.n : room));
  to->over |= bytes.n > room;
}

int
csn_sandbox_exec(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_buf *out,
                 csn_buf *stderr_out, csn_exit *exit, csn_err *err)
{
  csn_exec own = *x;
  own.split_output = stderr_out != NULL;
  own.with_stdin = false;
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  int rc = csn_sandbox_spawn(sb, sc, &own, &p, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(65536);
  do {
    enum csn_stream which = CSN_STDOUT;
    csn_buf_clear(&piece);
    rc = csn_proc_read(p, sc, &piece, piece.cap, &which, err);
    if (rc > 0)
      add_capped(which == CSN_STDERR && stderr_out ? stderr_out : out, csn_buf_str(&piece));
  } while (rc > 0);
  if (rc == 0)
    rc = csn_proc_wait(p, sc, exit, err);
  return csn_wrap(err, rc, "sandbox %s: %.60s", sb->ops->name, x->argv[0]);
}

int
csn_proc_read(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
              csn_err *err)
{
  enum csn_stream ignored;
  if (max == 0 || out->n >= out->cap)
    return csn_fail(err, CSN_E_LIMIT, "no room to read output into");
  int rc = csn_scope_check(sc, err);
  return rc < 0 ? rc : csn_guard_read(p, sc, out, max, which ? which : &ignored, err);
}

int
csn_proc_wait(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  return rc < 0 ? rc : csn_guard_wait(p, sc, exit, err);
}

int
csn_proc_write(csn_proc *p, csn_scope *sc, csn_str bytes, csn_err *err)
{
  int rc = csn_scope_check(sc, err);
  return rc < 0 || bytes.n == 0 ? rc : p->ops->write(p, sc, bytes, err);
}

void
csn_proc_close_stdin(csn_proc *p)
{
  p->ops->close_stdin(p);
}

int
csn_proc_signal(csn_proc *p, int sig, csn_err *err)
{
  if (sig < 1 || sig >= NSIG)
    return csn_fail(err, CSN_E_INVALID, "signal %d does not exist", sig);
  return p->ops->signal(p, sig, err);
}

int
csn_proc_resize(csn_proc *p, int rows, int cols, csn_err *err)
{
  if (!p->tty)
    return csn_fail(err, CSN_E_INVALID, "the command has no terminal to resize");
  if (rows < 1 || cols < 1 || rows > UINT16_MAX || cols > UINT16_MAX)
    return csn_fail(err, CSN_E_INVALID, "a terminal of %d x %d cannot be", rows, cols);
  return p->ops->resize(p, rows, cols, err);
}

void
csn_proc_close(csn_proc *p)
{
  if (!p)
    return;
  csn_guard_free(p->guard);
  p->ops->close(p);
}

const char *const *
csn_sandbox_backends(void)
{
  static const char *const words[] = {"jail", "local", "fake", "docker", "e2b", NULL};
  return words;
}
