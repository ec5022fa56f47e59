/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson manifest check|show FILE - what a manifest would put into a
 * workspace, without a run.  FILE is a manifest or an agent file that has one.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>

#include "base/yaml.h"
#include "commands.h"
#include "core/fd.h"
#include "sandbox/manifest_check.h"
#include "sandbox/manifest_mount.h"

enum { OUT_MAX = 256 << 20 };

/* ---- reading ---- */

struct manifest_file {
  csn_manifest *m;
  const char *backend;
  int source_fd;
};

static int
read_tree(cli *c, const char *path, const csn_json **v, csn_err *err)
{
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return csn_fail_errno(err, "cannot open %s", path);
  csn_buf text = CSN_BUF(OUT_MAX);
  int rc = csn_fd_read_all(fd, &text, err);
  if (rc < 0)
    return csn_wrap(err, rc, "%s", path);
  csn_str all = csn_arena_dup(c->arena, csn_buf_str(&text));
  csn_buf_fini(&text);
  bool is_json = csn_str_starts(csn_str_trim(all), CSN_STR("{"));
  csn_err why = {0};
  rc = csn_yaml_parse(c->arena, all, path, v, &why); /* it knows lines, of JSON too */
  if (rc < 0 && is_json)
    return csn_wrap(err, csn_json_parse(c->arena, all, v, err), "%s", path);
  if (rc < 0 && err)
    *err = why;
  return rc;
}

/* Of several sandboxes: that one, or the first, which may leave it to the agent. */
static int
find_manifest(cli *c, const csn_json *agent, const char *box, struct manifest_file *f,
              const csn_json **out, csn_err *err)
{
  const csn_json *several = csn_json_get(agent, "sandboxes");
  const csn_json *at = several ? several->child : csn_json_get(agent, "sandbox");
  if (box && !(at = csn_json_get(several, box)))
    return csn_fail(err, CSN_E_INVALID, "option --sandbox: the agent has no sandbox '%.40s'", box);
  csn_str backend = csn_json_str(at, "backend", CSN_STR("jail"));
  f->backend = csn_arena_dup(c->arena, backend).p;
  *out = several ? csn_json_get(at, "manifest") : NULL;
  if (!*out && (!several || at == several->child))
    *out = csn_json_get(agent, "manifest");
  return 0;
}

static int
read_manifest(cli *c, const char *path, const char *box, struct manifest_file *f, csn_err *err)
{
  const csn_json *v = NULL;
  int rc = read_tree(c, path, &v, err);
  if (rc < 0)
    return rc;
  f->backend = "jail";
  bool is_agent = csn_json_get(v, "name") || csn_json_get(v, "manifest");
  if (box && !is_agent)
    return csn_fail(err, CSN_E_INVALID, "option --sandbox: %s is no agent file", path);
  if (is_agent) {
    rc = find_manifest(c, v, box, f, &v, err);
    if (rc < 0)
      return csn_wrap(err, rc, "%s", path);
    if (!v)
      return csn_fail(err, CSN_E_INVALID, "%s: this agent has no `manifest`", path);
  }
  rc = csn_manifest_from_json(c->arena, v, &f->m, err);
  if (rc < 0)
    return csn_wrap(err, rc, "%s", path);
  csn_auto(csn_freep) char *real = realpath(path, NULL);
  f->source_fd = open(real ? dirname(real) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return f->source_fd < 0 ? csn_fail_errno(err, "the folder of %s", path) : 0;
}

/* ---- check ---- */

struct check_opts {
  bool json;
  const char *box;
};

static const cli_opt check_options[] = {
    {"json", 0, NULL, "Print one JSON object", CLI_BOOL(struct check_opts, json)},
    {"sandbox", 0, "NAME", "That one of several sandboxes; else the first",
     CLI_STR(struct check_opts, box)},
    {0},
};

struct checking {
  cli *c;
  const char *file;
  csn_buf out, said; /* the list; problems and notes, for people */
  csn_jw w;
  bool is_json;
  size_t entries;
};

static void
member(csn_jw *w, const char *key, const char *z)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, z);
}

static void
on_line(void *user, const csn_manifest_line *l)
{
  struct checking *k = user;
  k->entries++;
  if (k->is_json) {
    char mode[8];
    snprintf(mode, sizeof mode, "%04o", l->mode);
    csn_jw_obj(&k->w);
    member(&k->w, "path", l->path);
    member(&k->w, "type", l->type);
    member(&k->w, "what", l->what);
    member(&k->w, "mode", mode);
    csn_jw_key(&k->w, "ephemeral");
    csn_jw_bool(&k->w, l->is_ephemeral);
    if (l->line) {
      csn_jw_key(&k->w, "line");
      csn_jw_int(&k->w, l->line);
    }
    if (l->problem)
      member(&k->w, "problem", l->problem);
    if (l->note)
      member(&k->w, "note", l->note);
    csn_jw_end(&k->w);
    return;
  }
  csn_buf_addf(&k->out, "%-32s  %-10s  %s%s\n", l->path, l->type, l->what,
               l->is_ephemeral ? "  (ephemeral)" : "");
  for (int i = 0; i < 2; i++) {
    const char *text = i ? l->note : l->problem;
    if (text && l->line)
      csn_buf_addf(&k->said, "%s%s:%u: %s: %s\n", i ? "note: " : "", k->file, l->line, l->where,
                   text);
    else if (text)
      csn_buf_addf(&k->said, "%s%s: %s: %s\n", i ? "note: " : "", k->file, l->where, text);
  }
}

/* Of a manifest that could be read; the number of its problems. */
static size_t
look(struct checking *k, const struct manifest_file *f)
{
  const csn_env_source from = {.source_fd = f->source_fd};
  csn_err why;
  size_t problems = csn_manifest_look(f->m, &k->c->scope, f->source_fd, on_line, k);
  if (k->is_json)
    csn_jw_end(&k->w);
  bool is_open = csn_manifest_check_environment(f->m, &from, &why) < 0;
  if (k->is_json && is_open)
    member(&k->w, "note", why.msg);
  else if (is_open)
    csn_buf_addf(&k->said, "note: %s: %s\n", k->file, why.msg);
  return problems;
}

static int
check_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct check_opts *o = opt;
  struct manifest_file f = {.source_fd = -1};
  struct checking k = {.c = c,
                       .file = argv[0],
                       .out = CSN_BUF(OUT_MAX),
                       .said = CSN_BUF(OUT_MAX),
                       .is_json = o->json};
  csn_err why = {0};
  size_t problems = 1;
  csn_jw_init(&k.w, &k.out);
  int rc = read_manifest(c, argv[0], o->box, &f, &why);
  if (o->json) {
    csn_jw_obj(&k.w);
    member(&k.w, "file", argv[0]);
    if (rc == 0)
      member(&k.w, "root", csn_manifest_root(f.m));
    else
      member(&k.w, "error", why.msg);
    csn_jw_key(&k.w, "entries");
    csn_jw_arr(&k.w);
  }
  if (rc == 0)
    problems = look(&k, &f);
  else if (o->json)
    csn_jw_end(&k.w);
  if (o->json) {
    csn_jw_key(&k.w, "problems");
    csn_jw_int(&k.w, (int64_t)problems);
    csn_jw_end(&k.w);
    csn_buf_addc(&k.out, '\n');
  }
  csn_closep(&f.source_fd);
  cli_print(csn_buf_str(&k.out));
  if (!o->json)
    cli_put(stderr, csn_buf_str(&k.said));
  csn_buf_fini(&k.out);
  csn_buf_fini(&k.said);
  if (rc < 0 && !o->json)
    cli_error(c, "%s", why.msg);
  if (rc < 0) /* whatever it is: the file is at fault */
    return CLI_USAGE;
  if (!o->json)
    cli_note(c, "%zu %s, %zu %s", k.entries, k.entries == 1 ? "entry" : "entries", problems,
             problems == 1 ? "problem" : "problems");
  return problems ? CLI_USAGE : CLI_DONE;
}

/* ---- show ---- */

struct show_opts {
  const char *box;
};

static const cli_opt show_options[] = {
    {"sandbox", 0, "NAME", "That one of several sandboxes; else the first",
     CLI_STR(struct show_opts, box)},
    {0},
};

static int
show_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct show_opts *o = opt;
  struct manifest_file f = {.source_fd = -1};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_jw w;
  int rc = read_manifest(c, argv[0], o->box, &f, err);
  csn_closep(&f.source_fd);
  if (rc < 0)
    return rc;
  csn_jw_init(&w, &out);
  csn_manifest_to_json(f.m, &w);
  rc = csn_jw_done(&w, err);
  csn_buf_addc(&out, '\n');
  if (rc == 0)
    cli_print(csn_buf_str(&out));
  return rc;
}

static const cli_cmd manifest_check = {
    .name = "check",
    .args = "FILE",
    .brief = "Say what a manifest would make, and what would go wrong",
    .help = "FILE is a manifest in JSON or YAML, or an agent file that has one. Sources of this "
            "machine are looked for, archives are compared with their checksums; nothing is made "
            "and nothing is asked for. The status is 0 when nothing is wrong and 2 else.",
    .size = sizeof(struct check_opts),
    .opts = check_options,
    .main = check_main,
};

static const cli_cmd manifest_show = {
    .name = "show",
    .args = "FILE",
    .brief = "Print a manifest as the JSON that other software reads",
    .help = "All keys are there, in the order of the common form.",
    .size = sizeof(struct show_opts),
    .opts = show_options,
    .main = show_main,
};

static const cli_cmd *const subs[] = {&manifest_check, &manifest_show, NULL};

const cli_cmd cmd_manifest = {
    .name = "manifest",
    .brief = "Check or show what a workspace begins with",
    .sub = subs,
};
