/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson sandbox gc - ends sandboxes elsewhere that a process which died has
 * left, and that no run of the state folder can go on in. */
#include "caisson/remote.h"
#include "cli.h"
#include "commands.h"
#include "kept.h"
#include "run/box_remote.h"
#include "sandbox/backends.h"

struct gc_opts {
  const char *backend, *host;
  cli_list options;
  bool all;
};

static const cli_opt opts[] = {
    {"backend", 0, "NAME", "Only those of this back-end", CLI_STR(struct gc_opts, backend)},
    {"host", 0, "HOST", "Where the container engine is; else DOCKER_HOST, else its usual socket",
     CLI_STR(struct gc_opts, host)},
    {"option", 'o', "NAME=VALUE",
     "Set an option of the back-end --backend; may be given several times",
     CLI_LIST(struct gc_opts, options)},
    {"all", 0, NULL, "Also those of other state folders, and those that runs could go on in",
     CLI_BOOL(struct gc_opts, all)},
    {0},
};

struct sweeping {
  cli *c;
  int state;
  bool all;
};

static bool
is_wanted(void *user, const char *label)
{
  const struct sweeping *s = user;
  return !s->all && s->state >= 0 &&
         (csn_box_wants(s->state, label) || cli_kept_wants(s->c, s->state, label));
}

static void
on_removed(void *user, const char *what)
{
  (void)user;
  cli_put(stdout, csn_cstr(what));
  fputs(" removed\n", stdout);
}

static bool
has_host(const char *backend)
{
  const csn_sandbox_ops *ops = csn_sandbox_find(backend);
  for (const csn_sandbox_option *o = ops ? ops->options : NULL; o && o->name; o++)
    if (strcmp(o->name, "host") == 0)
      return true;
  return false;
}

/* One back-end; nobody there is told only where that one was asked for. */
static int
sweep(cli *c, const char *backend, const struct gc_opts *o, const csn_sandbox_sweep *how,
      csn_err *err)
{
  cli_list list = o->options;
  const csn_json *options = NULL;
  if (o->host) {
    list.v = csn_arena_alloc(c->arena, (o->options.n + 2) * sizeof *list.v);
    for (size_t i = 0; i < o->options.n; i++)
      list.v[i] = o->options.v[i];
    list.v[list.n++] = csn_arena_printf(c->arena, "host=%s", o->host).p;
  }
  int rc = cli_box_options(c, &list, &options, err);
  if (rc == 0)
    rc = csn_sandbox_sweep_all(backend, &c->scope, options, how, err);
  bool is_silent = !o->backend && !o->host;
  return rc < 0 && is_silent && (rc == CSN_E_UNAVAILABLE || rc == CSN_E_DENIED) ? 0 : rc;
}

static int
gc_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct gc_opts *o = opt;
  csn_auto(csn_closep) int state = -1;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(64 << 10), owner = CSN_BUF(100);
  int rc = cli_state_open(c, false, &state, &path, err), n = 0;
  if (rc == 0)
    rc = csn_box_label(path.p, NULL, &owner, err);
  if (rc < 0 && rc != CSN_E_NOT_FOUND)
    return rc;
  struct sweeping s = {.c = c, .state = state, .all = o->all};
  /* Without a state folder only those that belong to none. */
  csn_sandbox_sweep how = {.owner = o->all    ? NULL
                                    : owner.n ? owner.p
                                              : "none",
                           .is_wanted = is_wanted,
                           .removed = on_removed,
                           .user = &s};
  rc = 0;
  if (o->options.n && !o->backend)
    return csn_fail(err, CSN_E_INVALID, "option --option: of which back-end? give --backend, too");
  if (o->backend && !csn_sandbox_is_remote(o->backend))
    return csn_fail(err, CSN_E_INVALID, "option --backend: '%.60s' leaves no sandboxes behind",
                    o->backend);
  const char *const one[] = {o->backend, NULL};
  for (const char *const *b = o->backend ? one : csn_sandbox_backends(); *b && rc >= 0; b++) {
    if (!csn_sandbox_is_remote(*b) || (o->host && !has_host(*b)))
      continue;
    rc = sweep(c, *b, o, &how, err);
    n += rc > 0 ? rc : 0;
  }
  if (rc >= 0)
    printf("%d sandboxes removed\n", n);
  return rc < 0 ? rc : CLI_DONE;
}

const cli_cmd cmd_sandbox_gc = {
    .name = "gc",
    .brief = "End sandboxes elsewhere that nobody uses any more",
    .help = "A harness that is killed leaves its containers stopped. Those that a run of this "
            "state folder can go on in stay, and so do those of other state folders and those "
            "that run.",
    .size = sizeof(struct gc_opts),
    .opts = opts,
    .main = gc_main,
};
