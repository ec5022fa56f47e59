/* SPDX-License-Identifier: Apache-2.0
 * caisson show - the records of a run. */
#include <time.h>

#include "commands.h"
#include "stored.h"

enum { SHOWN_MAX = 200 };

struct show_opts {
  bool json;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print each record as a line of JSON", CLI_BOOL(struct show_opts, json)},
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

static int
show_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct show_opts *v = o;
  cli_stored s;
  csn_journal *j = NULL;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = csn_journal_open(s.store, csn_cstr(argv[0]), false, &j, err);
  if (rc == 0)
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
            "record that was altered ends the listing with an error.",
    .size = sizeof(struct show_opts),
    .opts = opts,
    .main = show_main,
};
