/* SPDX-License-Identifier: Apache-2.0
 * caisson snapshot push, pull - between this machine and a store of caisson.yaml. */
#include "cmd_snapshot.h"
#include "commands.h"
#include "depots.h"
#include "importing.h"

struct store_opts {
  const char *store, *as;
  bool json;
};

static void
write_moved(csn_jw *w, const csn_snapshot *r, const csn_depot_moved *m, const char *moved)
{
  const struct {
    const char *key;
    int64_t value;
  } numbers[] = {{"contents", m->contents},
                 {"packs", m->packs},
                 {moved, m->bytes_sent},
                 {"bytes_resumed", m->bytes_there}};
  csn_jw_obj(w);
  csn_jw_key(w, "snapshot");
  csn_snapshot_to_json(r, w);
  csn_jw_key(w, "was_there");
  csn_jw_bool(w, m->was_there);
  if (m->is_tagged) {
    csn_jw_key(w, "tagged");
    csn_jw_bool(w, true);
  }
  for (size_t i = 0; i < CSN_COUNT(numbers); i++) {
    csn_jw_key(w, numbers[i].key);
    csn_jw_int(w, numbers[i].value);
  }
  csn_jw_end(w);
}

static int
tell_moved(cli_depot *d, const csn_snapshot *r, const csn_depot_moved *m, bool is_push, bool json,
           csn_err *err)
{
  cli *c = d->c;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_jw w;
  csn_jw_init(&w, &out);
  if (json)
    write_moved(&w, r, m, is_push ? "bytes_sent" : "bytes_fetched");
  else
    csn_buf_addz(&out, r->name);
  csn_buf_addc(&out, '\n');
  cli_print(csn_buf_str(&out));
  if (!json && m->is_tagged)
    cli_note(c, "it was there already, and has the tag %s now", r->tag);
  else if (!json && m->was_there)
    cli_note(c, "it was there already");
  else if (!json)
    cli_note(c, "%lld files, %s; %s %s%s%s", (long long)r->files,
             cli_size(c->arena, (uint64_t)r->bytes).p,
             cli_size(c->arena, (uint64_t)m->bytes_sent).p, is_push ? "sent" : "fetched",
             m->bytes_there ? ", and there already of a push that was cut: " : "",
             m->bytes_there ? cli_size(c->arena, (uint64_t)m->bytes_there).p : "");
  return csn_buf_done(&out, "what was moved", err);
}

static int
push_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct store_opts *o = opt;
  cli_depot d = {0};
  int rc = cli_depot_open(c, &d, o->store, err);
  for (int i = 0; rc == 0 && i < argc; i++) {
    csn_depot_moved moved;
    csn_snapshot r;
    rc = csn_depot_push(d.depot, &c->scope, argv[i], &moved, err);
    cli_status(c, NULL);
    if (rc == 0)
      rc = csn_snapshot_find(d.here, argv[i], &r, err);
    if (rc == 0)
      rc = tell_moved(&d, &r, &moved, true, o->json, err);
  }
  cli_depot_close(&d);
  return rc;
}

static int
pull_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct store_opts *o = opt;
  cli_depot d = {0};
  csn_depot_moved moved;
  csn_snapshot r;
  int rc = cli_depot_open(c, &d, o->store, err);
  if (rc == 0)
    rc = csn_depot_pull(d.depot, &c->scope, argv[0], o->as ? o->as : argv[0], &r, &moved, err);
  cli_status(c, NULL);
  if (rc == 0)
    rc = tell_moved(&d, &r, &moved, false, o->json, err);
  cli_depot_close(&d);
  return rc;
}

static const cli_opt push_options[] = {
    {"store", 0, "NAME", "The store of caisson.yaml; it may be left out when there is one",
     CLI_STR(struct store_opts, store)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct store_opts, json)},
    {0},
};

static const cli_opt pull_options[] = {
    {"store", 0, "NAME", "The store of caisson.yaml; it may be left out when there is one",
     CLI_STR(struct store_opts, store)},
    {"as", 0, "NAME", "Its name here", CLI_STR(struct store_opts, as)},
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct store_opts, json)},
    {0},
};

const cli_cmd cli_snapshot_push = {
    .name = "push",
    .args = "NAME...",
    .brief = "Put snapshots into a store of caisson.yaml",
    .help = "Only what the store lacks is sent. One that was cut goes on where it was when it is "
            "run again.",
    .size = sizeof(struct store_opts),
    .opts = push_options,
    .main = push_main,
};

const cli_cmd cli_snapshot_pull = {
    .name = "pull",
    .args = "NAME",
    .brief = "Get a snapshot from a store of caisson.yaml",
    .help = "Only what is not here is fetched, and it counts when it is what its digest says. One "
            "that was cut goes on where it was when it is run again.",
    .size = sizeof(struct store_opts),
    .opts = pull_options,
    .main = pull_main,
};
