/* SPDX-License-Identifier: Apache-2.0
 * caisson session - the conversations that runs go on with. */
#include "store/session.h"

#include <time.h>

#include "caisson/session.h"
#include "commands.h"
#include "running.h"
#include "starting.h"
#include "stored.h"

enum { SHOWN_MAX = 200 };

struct session_opts {
  bool json;
  int64_t at;
  const char *agent, *model, *keep_as;
};

/* ---- ls ---- */

static int
print_row(void *user, const csn_session_row *r)
{
  time_t t = (time_t)(r->updated_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  (void)user;
  printf("%-24.*s %04d-%02d-%02d %02d:%02d  %6lld items%s%.*s\n", (int)r->name.n, r->name.p,
         tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, (long long)r->items,
         r->parent.n ? "  fork of " : "", (int)r->parent.n, r->parent.p);
  return 0;
}

static int
add_row(void *user, const csn_session_row *r)
{
  csn_jw *w = user;
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_str(w, r->name);
  csn_jw_key(w, "items");
  csn_jw_int(w, r->items);
  csn_jw_key(w, "created");
  csn_jw_int(w, r->created_ms);
  csn_jw_key(w, "updated");
  csn_jw_int(w, r->updated_ms);
  if (r->parent.n) {
    csn_jw_key(w, "parent");
    csn_jw_str(w, r->parent);
  }
  csn_jw_end(w);
  return 0;
}

static int
ls_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct session_opts *v = o;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 20);
  csn_jw w;
  cli_stored s;
  csn_jw_init(&w, &b);
  csn_jw_arr(&w);
  int rc = cli_stored_open_sessions(c, &s, err);
  if (rc == 0)
    rc = csn_session_list(s.sessions, v->json ? add_row : print_row, &w, err);
  cli_stored_close(&s);
  csn_jw_end(&w);
  if (rc == 0 && v->json && (rc = csn_jw_done(&w, err)) == 0)
    puts(b.p);
  return rc;
}

/* ---- show ---- */

struct showing {
  bool json;
  int64_t n;
};

/* The text of a content or an output, its parts one after the other. */
static void
add_text(csn_buf *to, const csn_json *v)
{
  if (csn_json_is(v, CSN_JSON_STRING))
    csn_buf_add(to, v->text);
  else if (csn_json_is(v, CSN_JSON_ARRAY))
    csn_json_each (part, v)
      add_text(to, csn_json_get(part, "text"));
}

static void
print_item(int64_t n, const csn_json *v)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64 << 20);
  csn_str type = csn_json_str(v, "type", CSN_STR("message"));
  csn_str who = csn_json_str(v, "role", type);
  add_text(&text, csn_json_get(v, "content"));
  add_text(&text, csn_json_get(v, "output"));
  add_text(&text, csn_json_get(v, "summary"));
  if (!text.n)
    csn_buf_addf(&text, "%.*s %.*s", (int)csn_json_str(v, "name", CSN_STR("")).n,
                 csn_json_str(v, "name", CSN_STR("")).p,
                 (int)csn_json_str(v, "arguments", csn_json_str(v, "input", CSN_STR(""))).n,
                 csn_json_str(v, "arguments", csn_json_str(v, "input", CSN_STR(""))).p);
  csn_str shown = csn_buf_str(&text);
  bool is_said = csn_str_eq(type, CSN_STR("message"));
  bool is_cut = !is_said && shown.n > SHOWN_MAX;
  if (is_cut) {
    shown.n = SHOWN_MAX;
    shown.n = csn_utf8_valid(shown);
  }
  printf("%4lld  %.*s: ", (long long)n, (int)who.n, who.p);
  cli_put(stdout, shown);
  puts(is_cut ? "..." : "");
}

static int
show_item(void *user, int64_t n, csn_str item)
{
  struct showing *s = user;
  s->n++;
  if (s->json) {
    fwrite(item.p, 1, item.n, stdout);
    putchar('\n');
    return 0;
  }
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  if (csn_json_parse(a, item, &v, NULL) == 0)
    print_item(n, v);
  return 0;
}

static int
show_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct session_opts *v = o;
  struct showing show = {.json = v->json};
  csn_str name = csn_cstr(argv[0]);
  cli_stored s;
  int rc = cli_stored_open_sessions(c, &s, err);
  if (rc == 0)
    rc = csn_session_read(s.sessions, name, 0, 0, show_item, &show, err);
  if (rc == 0 && show.n == 0)
    rc =
        csn_fail(err, CSN_E_NOT_FOUND, "there is nothing in a session '%.*s'", (int)name.n, name.p);
  cli_stored_close(&s);
  return rc;
}

/* ---- changing ---- */

static int
fork_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct session_opts *v = o;
  cli_stored s;
  int rc = cli_stored_open_sessions(c, &s, err);
  if (rc == 0)
    rc =
        csn_session_fork(s.sessions, csn_cstr(argv[0]), csn_cstr(argv[1]), v->at ? v->at : -1, err);
  cli_stored_close(&s);
  return rc;
}

static int
undo_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open_sessions(c, &s, err);
  if (rc == 0)
    rc = csn_session_undo(s.sessions, csn_cstr(argv[0]), err);
  cli_stored_close(&s);
  if (rc >= 0)
    cli_note(c, "%d items taken back", rc);
  return rc < 0 ? rc : CLI_DONE;
}

static int
rm_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open_sessions(c, &s, err);
  for (int i = 0; i < argc && rc == 0; i++)
    rc = csn_session_remove(s.sessions, csn_cstr(argv[i]), err);
  cli_stored_close(&s);
  return rc;
}

/* ---- summing up ---- */

/* A run of its own writes the summary: it is shown, listed and stopped like others. */
static int
compact_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct session_opts *v = o;
  csn_auto(csn_agent_freep) csn_agent *agent = NULL;
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  csn_auto(csn_conversation_closep) csn_conversation *talk = NULL;
  int rc = v->agent ? csn_agent_load(&agent, v->agent, err) : 0;
  if (rc == 0 && !agent)
    agent = csn_agent_new("summary");
  if (rc == 0)
    rc = cli_rt_open(c, &rt, err);
  if (rc == 0)
    rc = csn_conversation_open(rt, argv[0], &talk, err);
  if (rc == 0)
    rc = cli_catch_signals(c, err);
  if (rc < 0)
    return rc;
  cli_choose_model(c, agent, v->model, rt);
  csn_auto(cli_show_fini) cli_show show;
  cli_show_init(&show, c, false);
  csn_compaction how = {
      .at = v->at, .keep_as = v->keep_as, .listener = cli_show_event, .user = &show};
  rc = csn_conversation_compact(talk, &c->scope, agent, &how, err);
  if (rc > 0)
    cli_note(c, "summed up: %d items fewer", rc);
  else if (rc == 0)
    cli_note(c, "too few items could go; see --at");
  return rc < 0 ? rc : CLI_DONE;
}

/* ---- search ---- */

static int
print_hit(void *user, const csn_session_hit *h)
{
  (void)user;
  printf("%.*s %lld: ", (int)h->session.n, h->session.p, (long long)h->n);
  for (size_t i = 0, start = 0; i <= h->text.n; i++)
    if (i == h->text.n || h->text.p[i] == '\n') {
      cli_put(stdout, csn_strn(h->text.p + start, i - start));
      putchar(i < h->text.n ? ' ' : '\n');
      start = i + 1;
    }
  return 0;
}

static int
search_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf words = CSN_BUF(1 << 16);
  cli_stored s;
  for (int i = 0; i < argc; i++)
    csn_buf_addf(&words, "%s%s", i ? " " : "", argv[i]);
  int rc = cli_stored_open_sessions(c, &s, err);
  if (rc == 0)
    rc = csn_session_search(s.sessions, csn_buf_str(&words), print_hit, NULL, err);
  cli_stored_close(&s);
  return rc;
}

static const cli_opt ls_opts[] = {
    {"json", 0, NULL, "Print one JSON list", CLI_BOOL(struct session_opts, json)},
    {0},
};
static const cli_opt show_opts[] = {
    {"json", 0, NULL, "Print each item as a line of JSON", CLI_BOOL(struct session_opts, json)},
    {0},
};
static const cli_opt fork_opts[] = {
    {"at", 0, "N", "Take the first N items only", CLI_INT(struct session_opts, at)},
    {0},
};

static const cli_opt compact_opts[] = {
    {"agent", 0, "AGENT.yaml", "The agent whose model and settings sum up",
     CLI_STR(struct session_opts, agent)},
    {"model", 'm', "PREFIX/NAME", "Use this model instead", CLI_STR(struct session_opts, model)},
    {"at", 0, "N", "Only when N items or more could go (10)", CLI_INT(struct session_opts, at)},
    {"keep-as", 0, "NEW", "Keep all of it as a session of that name",
     CLI_STR(struct session_opts, keep_as)},
    {0},
};

static const cli_cmd cmd_ls = {.name = "ls",
                               .brief = "List sessions, newest first",
                               .size = sizeof(struct session_opts),
                               .opts = ls_opts,
                               .main = ls_main};
static const cli_cmd cmd_show_items = {.name = "show",
                                       .args = "NAME",
                                       .brief = "Print what was said in a session",
                                       .size = sizeof(struct session_opts),
                                       .opts = show_opts,
                                       .main = show_main};
static const cli_cmd cmd_fork = {.name = "fork",
                                 .args = "NAME NEW",
                                 .brief = "Make a session that begins like another one",
                                 .size = sizeof(struct session_opts),
                                 .opts = fork_opts,
                                 .main = fork_main};
static const cli_cmd cmd_undo = {.name = "undo",
                                 .args = "NAME",
                                 .brief =
                                     "Take the last message of the user back, and what followed",
                                 .main = undo_main};
static const cli_cmd cmd_compact = {
    .name = "compact",
    .args = "NAME",
    .brief = "Sum up what stands before the last message of the user",
    .help =
        "A model writes the summary, in a run of its own. It replaces what stands before the last "
        "message of the user, but for the user's messages, where the session is kept; a fork that "
        "was made before keeps all of it.",
    .size = sizeof(struct session_opts),
    .opts = compact_opts,
    .main = compact_main};
static const cli_cmd cmd_search = {
    .name = "search",
    .args = "WORD...",
    .brief = "Find items in all sessions that hold all the words, best first",
    .main = search_main};
static const cli_cmd cmd_rm = {
    .name = "rm", .args = "NAME...", .brief = "Remove sessions; runs stay", .main = rm_main};

static const cli_cmd *const subs[] = {&cmd_ls,      &cmd_show_items, &cmd_fork, &cmd_undo,
                                      &cmd_compact, &cmd_search,     &cmd_rm,   NULL};

const cli_cmd cmd_session = {
    .name = "session",
    .brief = "The conversations that runs go on with",
    .sub = subs,
};
