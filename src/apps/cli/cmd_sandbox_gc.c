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
  bool all;
};

static const cli_opt opts[] = {
    {"backend", 0, "NAME", "Only those of this back-end", CLI_STR(struct gc_opts, backend)},
    {"host", 0, "HOST", "Where the container engine is; else DOCKER_HOST, else its usual socket",
     CLI_STR(struct gc_opts, host)},
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
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  const csn_json *options = NULL;
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  if (o->host) {
    csn_jw_key(&w, "host");
    csn_jw_strz(&w, o->host);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_buf_str(&text)), &options, err);
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
  if (o->backend && !csn_sandbox_is_remote(o->backend))
    return csn_fail(err, CSN_E_INVALID, "option --backend: '%.60s' leaves no sandboxes behind",
                    o->backend);
  for (const char *const *b = csn_sandbox_backends(); *b && rc >= 0; b++) {
    if (!csn_sandbox_is_remote(*b) || (o->backend && strcmp(o->backend, *b) != 0) ||
        (o->host && !has_host(*b)))
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
