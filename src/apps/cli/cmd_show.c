/* SPDX-License-Identifier: Apache-2.0
 * caisson show - the records of a run. */
#include <time.h>

#include "commands.h"
#include "networking.h"
#include "run/told.h"
#include "starting.h"
#include "stored.h"

enum { SHOWN_MAX = 200 };

struct show_opts {
  bool json, network, instructions, skills;
  const char *agent;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print each record as a line of JSON", CLI_BOOL(struct show_opts, json)},
    {"network", 0, NULL, "Print the connections of its sandbox instead",
     CLI_BOOL(struct show_opts, network)},
    {"instructions", 0, NULL, "Print what its model is told before the conversation instead",
     CLI_BOOL(struct show_opts, instructions)},
    {"skills", 0, NULL, "Print the skills that it has instead", CLI_BOOL(struct show_opts, skills)},
    {"agent", 0, "NAME", "Of several agents, the one whose instructions are printed",
     CLI_STR(struct show_opts, agent)},
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
  csn_str box = csn_json_str(v, "sandbox", CSN_STR(""));
  v = csn_json_get(v, "network");
  if (!v)
    return 0;
  c->n++;
  if (c->json) {
    printf("{\"seq\":%lld,\"ts\":%lld,\"network\":%.*s", (long long)r->seq, (long long)r->ts_ms,
           (int)v->raw.n, v->raw.p);
    if (box.n)
      printf(",\"sandbox\":\"%.*s\"", (int)box.n, box.p);
    puts("}");
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
  if (box.n)
    csn_buf_addf(&line, "  (%.*s)", (int)box.n, box.p);
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

/* ---- what the model is told ---- */

static int
print_instructions(const struct csn_telling *t, const char *agent, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  int rc = csn_telling_write(t, agent, &text, err);
  if (rc < 0)
    return rc;
  csn_buf_addc(&text, '\n');
  cli_print(csn_buf_str(&text));
  return 0;
}

static void
print_skills(cli *c, const struct csn_telling *t, bool json)
{
  const csn_json *skills = csn_json_get(t->told.workspace, "skills");
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  if (json) {
    csn_str list = skills ? skills->raw : CSN_STR("[]");
    printf("%.*s\n", (int)list.n, list.p);
    return;
  }
  csn_json_each (s, skills) {
    csn_str name = csn_json_str(s, "name", CSN_STR("")), file = csn_json_str(s, "file", name);
    csn_buf_addf(&text, "%-24.*s %.*s\n    ", (int)name.n, name.p, (int)file.n, file.p);
    csn_buf_add(&text, csn_json_str(s, "description", CSN_STR("")));
    csn_buf_addc(&text, '\n');
  }
  cli_print(csn_buf_str(&text));
  csn_json_each (s, csn_json_get(t->told.workspace, "skipped")) {
    csn_str file = csn_json_str(s, "file", CSN_STR("")), why = csn_json_str(s, "why", file);
    cli_note(c, "left out: %.*s: %.*s", (int)file.n, file.p, (int)why.n, why.p);
  }
  if (!skills)
    cli_note(c, t->agent->skills ? "there are no skills" : "the agent has no capability skills");
}

/* Of a run, or of one that an agent file would begin now. */
static int
show_told(cli *c, const struct show_opts *v, const char *what, csn_err *err)
{
  csn_auto(csn_telling_fini) struct csn_telling t = {0};
  csn_journal *j = NULL;
  cli_stored s = {.fd = -1};
  bool is_file = cli_is_agent_file(what);
  csn_auto(csn_closep) int state = -1;
  if (is_file)
    (void)!cli_state_open(c, false, &state, NULL, NULL);
  int rc = is_file ? cli_catch_signals(c, err) : cli_stored_open(c, &s, err);
  if (rc == 0 && is_file)
    rc = csn_telling_try(&t, &c->scope, what, state, err);
  else if (rc == 0)
    rc = csn_journal_open(s.store, csn_cstr(what), false, &j, err);
  if (rc == 0 && j)
    rc = csn_telling_read(&t, s.store, j, err);
  if (rc == 0 && v->skills)
    print_skills(c, &t, v->json);
  else if (rc == 0)
    rc = print_instructions(&t, v->agent, err);
  if (rc == 0 && !v->skills && t.agent && t.agent->instructions_callback && !t.own.n)
    cli_note(c, "the agent's own part is given by the callback %s before each call",
             t.agent->instructions_callback);
  if (j)
    csn_journal_close(j);
  if (!is_file)
    cli_stored_close(&s);
  return rc;
}

static int
show_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct show_opts *v = o;
  cli_stored s;
  csn_journal *j = NULL;
  if (v->instructions || v->skills)
    return show_told(c, v, argv[0], err);
  if (cli_is_agent_file(argv[0]))
    return csn_fail(err, CSN_E_INVALID,
                    "%s is an agent file; say --instructions or --skills, or name a run", argv[0]);
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
    .brief = "Print the records of a run, or what its model was told",
    .help = "Every event and effect in order. The hash chain is checked while it is read; a "
            "record that was altered ends the listing with an error. With --network: who "
            "was reached or refused, why, and with how many bytes; connections that are alike "
            "may be told as one.\n\n"
            "--instructions prints what the model got before the conversation, to the byte, and "
            "--skills the skills that it could load. Given an agent file in the place of a run "
            "they print what a run of it "
            "would get now: the workspace is laid out in a temporary folder for that.",
    .size = sizeof(struct show_opts),
    .opts = opts,
    .main = show_main,
};
