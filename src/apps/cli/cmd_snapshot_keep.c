/* SPDX-License-Identifier: Apache-2.0
 * caisson snapshot gc, tag - which snapshots are kept, here and elsewhere. */
#include <fcntl.h>
#include <time.h>

#include "cmd_snapshot.h"
#include "commands.h"
#include "core/fd.h"
#include "depots.h"
#include "importing.h"
#include "sandbox/git_keep.h"

struct gc_opts {
  int64_t keep_last, keep_days, days;
  const char *store;
  bool keep_tagged, dry_run, json;
};

static const cli_opt gc_options[] = {
    {"keep-last", 0, "N", "Forget snapshots but the N newest", CLI_INT(struct gc_opts, keep_last)},
    {"keep-days", 0, "N", "Forget snapshots but those of the last N days",
     CLI_INT(struct gc_opts, keep_days)},
    {"days", 0, "N", "The same as --keep-days", CLI_INT(struct gc_opts, days)},
    {"keep-tagged", 0, NULL, "Of these, keep what has a tag",
     CLI_BOOL(struct gc_opts, keep_tagged)},
    {"dry-run", 'n', NULL, "Only print what would be forgotten", CLI_BOOL(struct gc_opts, dry_run)},
    {"store", 0, "NAME", "In that store of caisson.yaml", CLI_STR(struct gc_opts, store)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct gc_opts, json)},
    {0},
};

static int
read_rules(const struct gc_opts *o, csn_retention *keep, csn_err *err)
{
  enum { DAY_MS = 86400000, DAYS_MAX = 36500, LAST_MAX = 1000000 };
  int64_t days = o->keep_days ? o->keep_days : o->days;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (days < 0 || days > DAYS_MAX)
    return csn_fail(err, CSN_E_INVALID, "option --keep-days: expected a number from 1 to %d",
                    DAYS_MAX);
  if (o->keep_last < 0 || o->keep_last > LAST_MAX)
    return csn_fail(err, CSN_E_INVALID, "option --keep-last: expected a number from 1 to %d",
                    LAST_MAX);
  *keep = (csn_retention){.last = o->keep_last,
                          .since_ms = days ? (int64_t)now.tv_sec * 1000 - days * DAY_MS : 0,
                          .tagged = o->keep_tagged,
                          .dry_run = o->dry_run};
  if (o->keep_tagged && !csn_retention_forgets(keep))
    return csn_fail(err, CSN_E_INVALID,
                    "option --keep-tagged: nothing would be forgotten without --keep-last or "
                    "--keep-days");
  return 0;
}

struct forgetting {
  csn_buf out;
  csn_jw w;
  bool json;
};

static void
add_forgotten(void *user, const char *name)
{
  struct forgetting *f = user;
  if (f->json)
    csn_jw_strz(&f->w, name);
  else
    csn_buf_addf(&f->out, "%s\n", name);
}

/* Repositories that git_repo entries have left: a cache. */
static int
trim_git(cli *c, csn_git_trimmed *out, csn_err *err)
{
  enum { DAY_S = 86400 };
  csn_auto(csn_closep) int state = -1;
  int rc = cli_state_open(c, true, &state, NULL, err);
  csn_auto(csn_closep) int cache =
      rc < 0 ? rc : csn_open_beneath(state, "git", O_RDONLY | O_DIRECTORY, 0, NULL);
  return cache < 0 ? rc
                   : csn_git_kept_trim(&c->scope, cache, CSN_GIT_KEEP_BYTES,
                                       (int64_t)time(NULL) - CSN_GIT_KEEP_DAYS * DAY_S, out, err);
}

static int
gc_here(cli *c, const csn_retention *keep, csn_snapshots_swept *swept, csn_git_trimmed *git,
        csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  int rc = cli_snapshots_open(c, &s, err);
  if (rc == 0)
    rc = csn_snapshots_gc(s, &c->scope, keep, swept, err);
  return rc < 0 || keep->dry_run ? rc : trim_git(c, git, err);
}

static int
gc_there(cli *c, const char *store, const csn_retention *keep, csn_snapshots_swept *swept,
         csn_err *err)
{
  cli_depot d = {0};
  int rc = cli_depot_open(c, &d, store, err);
  if (rc == 0)
    rc = csn_depot_gc(d.depot, &c->scope, keep, swept, err);
  cli_depot_close(&d);
  return rc;
}

static void
tell_swept(cli *c, const csn_snapshots_swept *s, const csn_git_trimmed *git, bool is_dry)
{
  if (is_dry)
    cli_note(c, "%lld snapshots would be forgotten", (long long)s->snapshots);
  else
    cli_note(c, "%lld snapshots forgotten, %lld layers removed, %s of packs freed",
             (long long)s->snapshots, (long long)s->layers,
             cli_size(c->arena, s->bytes > 0 ? (uint64_t)s->bytes : 0).p);
  if (git->repositories)
    cli_note(c, "%lld kept repositories of git removed, %s", (long long)git->repositories,
             cli_size(c->arena, (uint64_t)git->bytes).p);
}

static int
gc_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct gc_opts *o = opt;
  struct forgetting f = {.out = CSN_BUF(64 << 20), .json = o->json};
  csn_snapshots_swept swept = {0};
  csn_git_trimmed git = {0};
  csn_retention keep;
  int rc = read_rules(o, &keep, err);
  csn_jw_init(&f.w, &f.out);
  if (o->json) {
    csn_jw_obj(&f.w);
    csn_jw_key(&f.w, "forgotten");
    csn_jw_arr(&f.w);
  }
  keep.forgotten = add_forgotten;
  keep.user = &f;
  if (rc == 0)
    rc =
        o->store ? gc_there(c, o->store, &keep, &swept, err) : gc_here(c, &keep, &swept, &git, err);
  if (o->json && rc == 0) {
    csn_jw_end(&f.w);
    const struct {
      const char *key;
      int64_t value;
    } numbers[] = {{"snapshots", swept.snapshots},
                   {"layers", swept.layers},
                   {"bytes", swept.bytes},
                   {"repositories", git.repositories}};
    for (size_t i = 0; i < CSN_COUNT(numbers); i++) {
      csn_jw_key(&f.w, numbers[i].key);
      csn_jw_int(&f.w, numbers[i].value);
    }
    csn_jw_end(&f.w);
    csn_buf_addc(&f.out, '\n');
  }
  if (rc == 0) {
    cli_print(csn_buf_str(&f.out));
    if (!o->json)
      tell_swept(c, &swept, &git, o->dry_run);
  }
  csn_buf_fini(&f.out);
  return rc;
}

const cli_cmd cli_snapshot_gc = {
    .name = "gc",
    .brief = "Forget snapshots by rules, and drop what no snapshot needs",
    .help = "A snapshot is kept when any of the rules keeps it; without a rule none is forgotten. "
            "Nothing is dropped while others use the store. Repositories that git_repo entries "
            "have left and that were not used for 30 days go, too, and those used longest ago when "
            "all take more than 2 GiB.",
    .size = sizeof(struct gc_opts),
    .opts = gc_options,
    .main = gc_main,
};

/* ---- tag ---- */

static int
tag_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_snapshots_freep) csn_snapshots *s = NULL;
  int rc = cli_snapshots_open(c, &s, err);
  return rc < 0 ? rc : csn_snapshot_tag(s, argv[0], argc > 1 ? argv[1] : "", err);
}

const cli_cmd cli_snapshot_tag = {
    .name = "tag",
    .args = "NAME [TAG]",
    .brief = "Give a snapshot a tag, or take it away",
    .help =
        "A tag says that it is to be kept: see gc --keep-tagged. It goes with the snapshot when "
        "that is pushed; one of a snapshot that is there already goes with the next push.",
    .main = tag_main,
};
