/* SPDX-License-Identifier: Apache-2.0
 * caisson snapshot - saved workspaces: save, list, compare, move, check. */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd_snapshot.h"
#include "commands.h"
#include "depots.h"
#include "importing.h"
#include "sandbox/snapshots.h"

enum { OUT_MAX = 256 << 20 };

int
cli_snapshots_open(cli *c, csn_snapshots **s, csn_err *err)
{
  csn_auto(csn_closep) int state = -1;
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = cli_state_open(c, true, &state, NULL, err);
  return rc < 0 ? rc : cli_snapshots_at(state, s, err);
}

struct json_opts {
  bool json;
};

static const cli_opt json_options[] = {
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct json_opts, json)},
    {0},
};

struct place_opts {
  const char *store;
  bool quick, json;
};

static const cli_opt place_options[] = {
    {"store", 0, "NAME", "In that store of caisson.yaml", CLI_STR(struct place_opts, store)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct place_opts, json)},
    {0},
};

/* ---- ls, show ---- */

static void
add_line(cli *c, csn_buf *out, const csn_snapshot *r)
{
  time_t t = (time_t)(r->created_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  csn_buf_addf(out, "%-30s %04d-%02d-%02d %02d:%02d  %8lld files %10s%s%s\n", r->name,
               tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
               (long long)r->files, cli_size(c->arena, (uint64_t)r->bytes).p, r->tag[0] ? "  " : "",
               r->tag);
}

static int
list_there(cli *c, const char *store, csn_snapshot **list, size_t *n, csn_err *err)
{
  cli_depot d = {0};
  int rc = cli_depot_open(c, &d, store, err);
  if (rc == 0)
    rc = csn_depot_list(d.depot, &c->scope, list, n, err);
  cli_depot_close(&d);
  return rc;
}

static int
ls_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct place_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_auto(csn_freep) csn_snapshot *list = NULL;
  size_t n = 0;
  csn_jw w;
  int rc = o->store ? list_there(c, o->store, &list, &n, err) : cli_snapshots_open(c, &s, err);
  if (rc == 0 && s)
    rc = csn_snapshot_list(s, &list, &n, err);
  if (rc < 0)
    return rc;
  csn_jw_init(&w, &out);
  if (o->json)
    csn_jw_arr(&w);
  for (size_t i = 0; i < n; i++) {
    if (o->json)
      csn_snapshot_to_json(&list[i], &w);
    else
      add_line(c, &out, &list[i]);
  }
  if (o->json) {
    csn_jw_end(&w);
    csn_buf_addc(&out, '\n');
  }
  if (!out.n)
    cli_note(c, "no snapshots yet");
  cli_print(csn_buf_str(&out));
  return 0;
}

/* As in the tree's own text, but for people: kind and mode, size, path. */
static void
add_entry(csn_buf *out, const csn_snap_entry *e)
{
  static const char letters[] = "d-l";
  csn_buf_addf(out, "%c%03o %10lld ", letters[e->kind], e->kind == CSN_SNAP_LINK ? 0777u : e->mode,
               (long long)e->size);
  csn_buf_add(out, e->path);
  if (e->kind == CSN_SNAP_LINK) {
    csn_buf_addz(out, " -> ");
    csn_buf_add(out, e->target);
  }
  csn_buf_addc(out, '\n');
}

static void
entry_to_json(csn_jw *w, const csn_snap_entry *e)
{
  static const char *const kinds[] = {"dir", "file", "link"};
  char hex[80] = "sha256:";
  csn_jw_obj(w);
  csn_jw_key(w, "path");
  csn_jw_str(w, e->path);
  csn_jw_key(w, "kind");
  csn_jw_strz(w, kinds[e->kind]);
  if (e->kind == CSN_SNAP_FILE) {
    csn_digest_hex(&e->digest, hex + 7);
    csn_jw_key(w, "size");
    csn_jw_int(w, e->size);
    csn_jw_key(w, "digest");
    csn_jw_strz(w, hex);
  }
  if (e->kind == CSN_SNAP_LINK) {
    csn_jw_key(w, "target");
    csn_jw_str(w, e->target);
  } else {
    csn_jw_key(w, "mode");
    csn_jw_int(w, e->mode);
  }
  csn_jw_end(w);
}

static int
find_tree(cli *c, csn_snapshots *s, const char *name, csn_snapshot *r, csn_snap_tree *t,
          csn_err *err)
{
  csn_snap_tree_init(t);
  int rc = csn_snapshot_find(s, name, r, err);
  return rc < 0 ? rc
                : csn_wrap(err, csn_snapshot_tree(s, &c->scope, &r->tree, t, err), "snapshot %s",
                           name);
}

static int
show_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct json_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_auto(csn_snap_tree_finip) csn_snap_tree t = {0};
  csn_snapshot r = {0};
  csn_jw w;
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = find_tree(c, s, argv[0], &r, &t, err);
  if (rc < 0)
    return rc;
  csn_jw_init(&w, &out);
  if (o->json) {
    csn_jw_obj(&w);
    csn_jw_key(&w, "snapshot");
    csn_snapshot_to_json(&r, &w);
    csn_jw_key(&w, "entries");
    csn_jw_arr(&w);
  }
  for (size_t i = 0; i < t.n; i++) {
    if (o->json)
      entry_to_json(&w, &t.p[i]);
    else
      add_entry(&out, &t.p[i]);
  }
  if (o->json) {
    csn_jw_end(&w);
    csn_jw_end(&w);
    csn_buf_addc(&out, '\n');
  }
  rc = csn_buf_done(&out, "the list", err);
  cli_print(csn_buf_str(&out));
  return rc;
}

/* ---- diff ---- */

struct diffing {
  csn_buf *out;
  csn_jw w;
  bool json;
};

static void
add_difference(void *user, const csn_snap_entry *old, const csn_snap_entry *now)
{
  struct diffing *d = user;
  static const char *const words[] = {"added", "deleted", "changed"};
  const csn_snap_entry *e = now ? now : old; /* one of them is there */
  int what = !old ? 0 : !now ? 1 : 2;
  if (!e)
    return;
  if (!d->json) {
    csn_buf_addf(d->out, "%c ", "ADM"[what]);
    csn_buf_add(d->out, e->path);
    csn_buf_addc(d->out, '\n');
    return;
  }
  csn_jw_obj(&d->w);
  csn_jw_key(&d->w, "change");
  csn_jw_strz(&d->w, words[what]);
  csn_jw_key(&d->w, "path");
  csn_jw_str(&d->w, e->path);
  csn_jw_end(&d->w);
}

static int
diff_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct json_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  csn_auto(csn_snap_tree_finip) csn_snap_tree a = {0};
  csn_auto(csn_snap_tree_finip) csn_snap_tree b = {0};
  csn_snapshot r = {0};
  struct diffing d = {.out = &out, .json = o->json};
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = find_tree(c, s, argv[0], &r, &a, err);
  if (rc == 0)
    rc = find_tree(c, s, argv[1], &r, &b, err);
  if (rc < 0)
    return rc;
  csn_jw_init(&d.w, &out);
  if (d.json)
    csn_jw_arr(&d.w);
  csn_snap_tree_diff(&a, &b, add_difference, &d);
  if (d.json) {
    csn_jw_end(&d.w);
    csn_buf_addc(&out, '\n');
  }
  rc = csn_buf_done(&out, "the differences", err);
  cli_print(csn_buf_str(&out));
  return rc;
}

/* ---- save, restore, export, import ---- */

/* What a save has told, for a person or as JSON. */
static int
tell_saved(cli *c, const csn_snapshot *r, const csn_buf *told, bool json, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_jw w;
  if (told->n)
    cli_put(stderr, csn_buf_str(told));
  if (r->links_out)
    cli_note(c,
             "%lld links lead out of the workspace: they are kept, and an archive with them is "
             "not imported elsewhere",
             (long long)r->links_out);
  csn_jw_init(&w, &out);
  if (json)
    csn_snapshot_to_json(r, &w);
  else
    csn_buf_addz(&out, r->name);
  csn_buf_addc(&out, '\n');
  cli_print(csn_buf_str(&out));
  if (!json)
    cli_note(c, "%lld files, %s", (long long)r->files, cli_size(c->arena, (uint64_t)r->bytes).p);
  return csn_buf_done(&out, "the snapshot", err);
}

static int
save_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct json_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 20);
  csn_snapshot r = {0};
  csn_snapshot_saving how = {.name = argv[0], .told = &told};
  csn_auto(csn_closep) int folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return csn_fail_errno(err, "%s", argv[1]);
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = csn_snapshot_save(s, &c->scope, &how, folder, &r, err);
  return rc < 0 ? rc : tell_saved(c, &r, &told, o->json, err);
}

static int
import_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct json_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(1 << 20);
  csn_snapshot r = {0};
  csn_snapshot_saving how = {.name = argv[0], .told = &told};
  csn_auto(csn_closep) int file = open(argv[1], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (file < 0)
    return csn_fail_errno(err, "%s", argv[1]);
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = csn_snapshot_import(s, &c->scope, &how, file, &r, err);
  return rc < 0 ? rc : tell_saved(c, &r, &told, o->json, err);
}

static int
restore_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot r = {0};
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = csn_snapshot_find(s, argv[0], &r, err);
  if (rc < 0)
    return rc;
  /* A new folder: what stands in an old one would be mixed with it. */
  if (mkdir(argv[1], 0777) < 0)
    return csn_fail_errno(err, "cannot make the folder %s", argv[1]);
  csn_auto(csn_closep) int folder = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0)
    return csn_fail_errno(err, "%s", argv[1]);
  return csn_snapshot_restore(s, &c->scope, &r, folder, err);
}

static int
export_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_snapshot r = {0};
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = csn_snapshot_find(s, argv[0], &r, err);
  if (rc < 0)
    return rc;
  if (strcmp(argv[1], "-") == 0)
    return csn_snapshot_export(s, &c->scope, &r, STDOUT_FILENO, err);
  csn_auto(csn_closep) int file = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0)
    return csn_fail_errno(err, "%s", argv[1]);
  rc = csn_snapshot_export(s, &c->scope, &r, file, err);
  if (rc < 0)
    unlink(argv[1]);
  return rc;
}

/* ---- rm, gc, verify ---- */

static int
rm_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct place_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  cli_depot d = {0};
  int rc = o->store ? cli_depot_open(c, &d, o->store, err) : cli_snapshots_open(c, &s, err);
  for (int i = 0; rc == 0 && i < argc; i++)
    rc = s ? csn_snapshot_remove(s, argv[i], err)
           : csn_depot_remove(d.depot, &c->scope, argv[i], err);
  cli_depot_close(&d);
  return rc;
}

static const cli_opt rm_options[] = {
    {"store", 0, "NAME", "In that store of caisson.yaml", CLI_STR(struct place_opts, store)},
    {0},
};

static const cli_opt verify_options[] = {
    {"store", 0, "NAME", "In that store of caisson.yaml", CLI_STR(struct place_opts, store)},
    {"quick", 0, NULL, "With --store: only ask what is there, and read no contents",
     CLI_BOOL(struct place_opts, quick)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct place_opts, json)},
    {0},
};

struct verifying {
  csn_buf *out;
  csn_jw w;
  bool json;
};

static void
add_problem(void *user, const char *line)
{
  struct verifying *v = user;
  if (v->json)
    csn_jw_strz(&v->w, line);
  else
    csn_buf_addf(v->out, "%s\n", line);
}

static int
verify_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct place_opts *o = opt;
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(OUT_MAX);
  struct verifying v = {.out = &out, .json = o->json};
  cli_depot d = {0};
  if (o->quick && !o->store)
    return csn_fail(err, CSN_E_INVALID, "option --quick: only with --store NAME");
  int rc = o->store ? cli_depot_open(c, &d, o->store, err) : cli_snapshots_open(c, &s, err);
  if (rc < 0) {
    cli_depot_close(&d);
    return rc;
  }
  csn_jw_init(&v.w, &out);
  if (v.json)
    csn_jw_arr(&v.w);
  rc = s ? csn_snapshots_verify(s, &c->scope, add_problem, &v, err)
         : csn_depot_verify(d.depot, &c->scope, o->quick, add_problem, &v, err);
  cli_depot_close(&d);
  if (v.json) {
    csn_jw_end(&v.w);
    csn_buf_addc(&out, '\n');
  }
  if (rc < 0)
    return rc;
  cli_print(csn_buf_str(&out));
  if (rc == 0)
    cli_note(c, "all is sound");
  return rc ? CLI_FAILED : CLI_DONE;
}

/* ---- the table ---- */

static const cli_cmd snapshot_ls = {.name = "ls",
                                    .brief = "List snapshots",
                                    .size = sizeof(struct place_opts),
                                    .opts = place_options,
                                    .main = ls_main};

static const cli_cmd snapshot_show = {.name = "show",
                                      .args = "NAME",
                                      .brief = "List what a snapshot holds",
                                      .size = sizeof(struct json_opts),
                                      .opts = json_options,
                                      .main = show_main};

static const cli_cmd snapshot_diff = {
    .name = "diff",
    .args = "NAME NAME",
    .brief = "List what differs between two snapshots",
    .help = "A is a file, folder or link that only the second has, D one that only the first has, "
            "M one whose content, mode or target differs. Times are not compared.",
    .size = sizeof(struct json_opts),
    .opts = json_options,
    .main = diff_main};

static const cli_cmd snapshot_save = {
    .name = "save",
    .args = "NAME DIR",
    .brief = "Save a folder",
    .help = "Owners, hard links and attributes are not kept; pipes, sockets, devices and what "
            "cannot be read are left out and told, as is any folder .caisson.",
    .size = sizeof(struct json_opts),
    .opts = json_options,
    .main = save_main};

static const cli_cmd snapshot_restore = {.name = "restore",
                                         .args = "NAME DIR",
                                         .brief = "Restore a snapshot into a new folder",
                                         .main = restore_main};

static const cli_cmd snapshot_export = {
    .name = "export",
    .args = "NAME FILE",
    .brief = "Write a snapshot as a tar archive",
    .help = "FILE must not exist; - is the standard output. The same snapshot gives the same "
            "bytes. Times are written in whole seconds, owners as 0.",
    .main = export_main};

static const cli_cmd snapshot_import = {
    .name = "import",
    .args = "NAME FILE",
    .brief = "Save what is in a tar archive",
    .help = "The archive may be packed by gzip, xz, bzip2 or zstd. One with an absolute name, with "
            "\"..\", with a link that leads out, a device, a pipe or a sparse file is refused as a "
            "whole; set-user-id bits are dropped.",
    .size = sizeof(struct json_opts),
    .opts = json_options,
    .main = import_main};

static const cli_cmd snapshot_rm = {.name = "rm",
                                    .args = "NAME...",
                                    .brief = "Forget snapshots; gc gives back what they took",
                                    .size = sizeof(struct place_opts),
                                    .opts = rm_options,
                                    .main = rm_main};

static const cli_cmd snapshot_verify = {
    .name = "verify",
    .brief = "Read all of the store and say what is damaged",
    .help = "The status is 1 when something is. A snapshot that is not named can be restored.",
    .size = sizeof(struct place_opts),
    .opts = verify_options,
    .main = verify_main};

static const cli_cmd *const subs[] = {&snapshot_ls,       &snapshot_show,
                                      &snapshot_diff,     &snapshot_save,
                                      &snapshot_restore,  &snapshot_export,
                                      &snapshot_import,   &snapshot_rm,
                                      &cli_snapshot_tag,  &cli_snapshot_push,
                                      &cli_snapshot_pull, &cli_snapshot_gc,
                                      &snapshot_verify,   NULL};

const cli_cmd cmd_snapshot = {
    .name = "snapshot",
    .brief = "Save, compare, move and check workspaces",
    .sub = subs,
};
