/* SPDX-License-Identifier: Apache-2.0
 * caisson show - the records of a run. */
#include <time.h>

#include "commands.h"
#include "networking.h"
#include "stored.h"

enum { SHOWN_MAX = 200 };

struct show_opts {
  bool json, network;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print each record as a line of JSON", CLI_BOOL(struct show_opts, json)},
    {"network", 0, NULL, "Print the connections of its sandbox instead",
     CLI_BOOL(struct show_opts, network)},
    {0},
};

static int
print_json(void *user, const csn_record *r, csn_err *err)
{
  char prev[65], hash[65];
  csn_digest_hex(&r->prev, prev);
  csn_digest_hex(&r->hash, hash);
  printf("{\"seq\":%lld,\"ts\":%lld,\"kind\":\"%.*s\",\"data\":", (long long)r->seq,
         (long long)r->ts_ms, (int)r->kind.n, r->kind.p);
  fwrite(r->data.p, 1, r->data.n, stdout);
  printf(",\"prev\":\"%s\",\"hash\":\"%s\"}\n", prev, hash);
  return 0;
}

static int
print_line(void *user, const csn_record *r, csn_err *err)
{
  time_t t = (time_t)(r->ts_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  printf("%5lld %02d:%02d:%02d.%03d  %-18.*s ", (long long)r->seq, tm.tm_hour, tm.tm_min, tm.tm_sec,
         (int)(r->ts_ms % 1000), (int)r->kind.n, r->kind.p);
  csn_str data = r->data;
  bool cut = data.n > SHOWN_MAX;
  if (cut) {
    data.n = SHOWN_MAX;
    data.n = csn_utf8_valid(data);
  }
  cli_put(stdout, data);
  printf("%s\n", cut ? "..." : "");
  return 0;
}

/* ---- connections ---- */

struct connections {
  bool json;
  size_t n;
};

static int
print_connection(void *user, const csn_record *r, csn_err *err)
{
  struct connections *c = user;
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF(16384);
  const csn_json *v;
  if (!csn_str_eq(r->kind, CSN_STR("note")) || csn_json_parse(tmp, r->data, &v, NULL) < 0)
    return 0;
  v = csn_json_get(v, "network");
  if (!v)
    return 0;
  c->n++;
  if (c->json) {
    printf("{\"seq\":%lld,\"ts\":%lld,\"network\":%.*s}\n", (long long)r->seq, (long long)r->ts_ms,
           (int)v->raw.n, v->raw.p);
    return 0;
  }
  if (c->n == 1)
    printf("seq   time     verdict  how         where                                   "
           "       up      down   times  why\n");
  time_t t = (time_t)(r->ts_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  csn_buf_addf(&line, "%5lld %02d:%02d:%02d ", (long long)r->seq, tm.tm_hour, tm.tm_min, tm.tm_sec);
  cli_network_line(v, &line);
  csn_buf_addc(&line, '\n');
  cli_put(stdout, csn_buf_str(&line));
  return 0;
}

static int
show_network(cli *c, csn_journal *j, bool json, csn_err *err)
{
  struct connections all = {.json = json};
  int rc = csn_journal_read(j, 0, print_connection, &all, err);
  if (rc == 0 && all.n == 0)
    cli_note(c, "the run's sandbox made no connections");
  return rc;
}

static int
show_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct show_opts *v = o;
  cli_stored s;
  csn_journal *j = NULL;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = csn_journal_open(s.store, csn_cstr(argv[0]), false, &j, err);
  if (rc == 0 && v->network)
    rc = show_network(c, j, v->json, err);
  else if (rc == 0)
    rc = csn_journal_read(j, 0, v->json ? print_json : print_line, c, err);
  if (j)
    csn_journal_close(j);
  cli_stored_close(&s);
  return rc;
}

const cli_cmd cmd_show = {
    .name = "show",
    .args = "RUN",
    .brief = "Print the records of a run",
    .help = "Every event and effect in order. The hash chain is checked while it is read; a "
            "record that was altered ends the listing with an error. With --network: who "
            "was reached or refused, why, and with how many bytes; connections that are alike "
            "may be told as one.",
    .size = sizeof(struct show_opts),
    .opts = opts,
    .main = show_main,
};
