/* SPDX-License-Identifier: Apache-2.0
 * caisson sandbox create, ls, exec, ... - sandboxes that stay until they are
 * removed (kept.h), on every back-end. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "caisson/remote.h"
#include "commands.h"
#include "depots.h"
#include "kept.h"
#include "sandbox/stage.h"
#include "snapshotting.h"
#include "streams.h"

/* ---- create ---- */

struct create_opts {
  cli_box_opts box;
  const char *from;
};

static const cli_opt create_options[] = {
    {"from", 0, "NAME", "Begin with what the snapshot NAME holds",
     CLI_STR(struct create_opts, from)},
    CLI_BOX_OPTS(struct create_opts, box),
    {0},
};

static int
open_snapshots(cli_kept *k, csn_snapshots **out, csn_err *err)
{
  return cli_snapshots_at(k->state, out, err);
}

/* Its files into the sandbox, which is open and empty. */
static int
fill(cli_kept *k, const char *from, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot r;
  int rc = open_snapshots(k, &s, err);
  if (rc == 0)
    rc = csn_snapshot_find(s, from, &r, err);
  int folder = rc < 0 ? rc : cli_kept_files(k, err); /* of one elsewhere: empty, here */
  rc = folder < 0 ? folder : csn_snapshot_restore(s, &k->c->scope, &r, folder, err);
  if (rc == 0 && csn_sandbox_is_remote(k->opts.backend))
    rc = csn_stage_push(&k->c->scope, k->sb, folder, err);
  return rc;
}

static int
create_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct create_opts *o = opt;
  cli_kept kept;
  csn_auto(cli_kept_closep) cli_kept *k = &kept;
  int rc = cli_kept_init(c, k, err);
  if (rc == 0)
    rc = cli_kept_make(k, argv[0], &o->box, err);
  if (rc < 0)
    return rc;
  rc = o->from ? fill(k, o->from, err) : 0;
  if (rc < 0) {
    csn_err unheard;
    (void)!cli_kept_remove(k, &unheard);
    return rc;
  }
  printf("%s\n", k->name);
  return CLI_DONE;
}

const cli_cmd cmd_sandbox_create = {
    .name = "create",
    .args = "NAME",
    .brief = "Make a sandbox that stays until it is removed",
    .help = "Its options hold for each command in it. Where its files are on this machine (jail, "
            "local) they stay, and processes end with the command that started them; elsewhere "
            "the whole sandbox stays, and goes on costing what it costs there.",
    .size = sizeof(struct create_opts),
    .opts = create_options,
    .main = create_main,
};

/* ---- ls ---- */

struct json_opts {
  bool json;
};

static const cli_opt json_options[] = {
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct json_opts, json)},
    {0},
};

static const char *
backend_of(const cli_kept *k)
{
  return k->opts.backend ? k->opts.backend : "jail";
}

static void
add_json(csn_jw *w, const cli_kept *k)
{
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_strz(w, k->name);
  csn_jw_key(w, "backend");
  csn_jw_strz(w, backend_of(k));
  csn_jw_key(w, "created_ms");
  csn_jw_int(w, k->created_ms);
  csn_jw_key(w, "options");
  cli_box_to_json(&k->opts, w);
  if (k->told) {
    csn_jw_key(w, "state");
    csn_jw_value(w, k->told);
  }
  csn_jw_end(w);
}

static void
add_line(csn_buf *out, const cli_kept *k)
{
  time_t t = (time_t)(k->created_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  csn_buf_addf(out, "%-30s %-8s %04d-%02d-%02d %02d:%02d\n", k->name, backend_of(k),
               tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
}

static int
ls_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct json_opts *o = opt;
  cli_kept all;
  csn_auto(cli_kept_closep) cli_kept *k = &all;
  csn_auto(csn_names_fini) csn_names names = {0};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(64u << 20);
  csn_jw w;
  int rc = cli_kept_init(c, k, err);
  if (rc == 0)
    rc = cli_kept_names(k, &names, err);
  csn_jw_init(&w, &out);
  if (o->json)
    csn_jw_arr(&w);
  for (size_t i = 0; rc == 0 && i < names.n; i++) {
    csn_err why;
    if (cli_kept_read(k, names.p[i], &why) < 0)
      cli_note(c, "%s", why.msg); /* one that is damaged does not hide the others */
    else if (o->json)
      add_json(&w, k);
    else
      add_line(&out, k);
  }
  if (rc < 0)
    return rc;
  if (o->json) {
    csn_jw_end(&w);
    csn_buf_addc(&out, '\n');
  }
  if (!out.n)
    cli_note(c, "no sandboxes; `caisson sandbox create` makes one, `caisson runs` lists those of "
                "runs");
  cli_print(csn_buf_str(&out));
  return CLI_DONE;
}

const cli_cmd cmd_sandbox_ls = {
    .name = "ls",
    .brief = "List the sandboxes that were made by create",
    .size = sizeof(struct json_opts),
    .opts = json_options,
    .main = ls_main,
};

/* ---- exec ---- */

struct exec_opts {
  const char *cwd, *user;
  cli_list env;
};

static const cli_opt exec_options[] = {
    {"chdir", 0, "PATH", "Start in PATH of the workspace", CLI_STR(struct exec_opts, cwd)},
    {"user", 'u', "USER", "Be USER for this command", CLI_STR(struct exec_opts, user)},
    {"env", 'e', "NAME=VALUE", "Set a variable; may be given several times",
     CLI_LIST(struct exec_opts, env)},
    {0},
};

static int
exec_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct exec_opts *o = opt;
  cli_kept kept;
  csn_auto(cli_kept_closep) cli_kept *k = &kept;
  csn_auto(cli_ports_close) cli_ports *ports = &kept.box.ports; /* before the sandbox */
  cli_no_sigpipe();
  int rc = cli_kept_use(c, k, argv[0], false, err);
  if (rc == 0)
    rc = cli_kept_open(k, err);
  if (rc == 0)
    rc = cli_ports_open(c, ports, k->sb, err);
  if (rc < 0)
    return rc;
  char **words = argv + 1 + (strcmp(argv[1], "--") == 0);
  if (!*words)
    return csn_fail(err, CSN_E_INVALID, "expected a command after --");
  const cli_command what = {
      .argv = (const char *const *)words, .cwd = o->cwd, .user = o->user, .environment = o->env.v};
  return cli_exec(c, k->sb, &what, err);
}

const cli_cmd cmd_sandbox_exec = {
    .name = "exec",
    .args = "NAME CMD...",
    .brief = "Run a command in a sandbox that was made by create",
    .help = "Streams, terminal, signals and the status are as with `caisson sandbox run`.",
    .rest = true,
    .size = sizeof(struct exec_opts),
    .opts = exec_options,
    .main = exec_main,
};

/* ---- pause, resume ---- */

static int
rest(cli *c, char **argv, bool goes_on, csn_err *err)
{
  cli_kept kept;
  csn_auto(cli_kept_closep) cli_kept *k = &kept;
  int rc = cli_kept_use(c, k, argv[0], false, err);
  if (rc == 0 && !csn_sandbox_is_remote(k->opts.backend))
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "%s is a %s: its processes end with the command that started them, so there is "
                  "nothing to pause",
                  k->name, backend_of(k));
  if (rc == 0)
    rc = cli_kept_open(k, err);
  if (rc == 0)
    rc = goes_on ? csn_sandbox_resume(k->sb, &c->scope, err)
                 : csn_sandbox_pause(k->sb, &c->scope, err);
  return rc;
}

static int
pause_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  return rest(c, argv, false, err);
}

static int
resume_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  return rest(c, argv, true, err);
}

const cli_cmd cmd_sandbox_pause = {
    .name = "pause",
    .args = "NAME",
    .brief = "Let a sandbox elsewhere rest, with all its processes",
    .main = pause_main,
};

const cli_cmd cmd_sandbox_resume = {
    .name = "resume",
    .args = "NAME",
    .brief = "Let a paused sandbox go on",
    .main = resume_main,
};

/* ---- snapshot ---- */

static int
snapshot_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  cli_kept kept;
  csn_auto(cli_kept_closep) cli_kept *k = &kept;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 20);
  const csn_snapshot_saving how = {.name = argv[1], .told = &told};
  csn_snapshot r = {0};
  int rc = cli_kept_use(c, k, argv[0], true, err);
  int folder = rc < 0 ? rc : cli_kept_files(k, err);
  rc = folder < 0 ? folder : open_snapshots(k, &s, err);
  if (rc == 0)
    rc = csn_snapshot_save(s, &c->scope, &how, folder, &r, err);
  if (rc < 0)
    return rc;
  cli_snapshot_saved(c, &r, &told);
  return CLI_DONE;
}

const cli_cmd cmd_sandbox_snapshot = {
    .name = "snapshot",
    .args = "NAME SNAPSHOT",
    .brief = "Save a sandbox's workspace as a snapshot",
    .help = "`caisson snapshot` lists them, `caisson sandbox create --from` begins with one.",
    .main = snapshot_main,
};

/* ---- move ---- */

struct move_opts {
  cli_box_opts box;
};

static const cli_opt move_options[] = {CLI_BOX_OPTS(struct move_opts, box), {0}};

static int
send(cli_kept *from, cli_kept *to, csn_err *err)
{
  int folder = cli_kept_files(from, err);
  return folder < 0 ? folder : csn_stage_push(&to->c->scope, to->sb, folder, err);
}

static int
move_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct move_opts *o = opt;
  char name[CLI_KEPT_NAME_MAX + 1] = "moving-";
  cli_kept here, there;
  csn_auto(cli_kept_closep) cli_kept *from = &here;
  csn_auto(cli_kept_closep) cli_kept *to = &there;
  int rc = cli_kept_init(c, from, err), second = cli_kept_init(c, to, err);
  if (rc == 0)
    rc = second;
  if (rc == 0)
    rc = cli_kept_find(from, argv[0], true, err);
  if (rc < 0)
    return rc;
  csn_random_name(name + strlen(name), 16);
  rc = cli_kept_make(to, name, &o->box, err);
  if (rc < 0)
    return rc;
  rc = send(from, to, err);
  if (rc == 0)
    rc = cli_kept_replace(to, from, err);
  if (rc < 0) {
    csn_err unheard;
    (void)!cli_kept_remove(to, &unheard);
  }
  return rc;
}

const cli_cmd cmd_sandbox_move = {
    .name = "move",
    .args = "NAME",
    .brief = "Carry a sandbox's workspace into a new one of the same name",
    .help = "The options are those of the new one, which may be of another back-end. The old one "
            "is removed when all files have arrived. Processes do not move.",
    .size = sizeof(struct move_opts),
    .opts = move_options,
    .main = move_main,
};

/* ---- rm ---- */

static int
rm_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  int rc = 0;
  for (int i = 0; rc == 0 && i < argc; i++) {
    cli_kept kept;
    csn_auto(cli_kept_closep) cli_kept *k = &kept;
    rc = cli_kept_use(c, k, argv[i], true, err);
    if (rc == 0)
      rc = cli_kept_remove(k, err);
  }
  return rc;
}

const cli_cmd cmd_sandbox_rm = {
    .name = "rm",
    .args = "NAME...",
    .brief = "Remove sandboxes that were made by create, with all their files",
    .main = rm_main,
};
