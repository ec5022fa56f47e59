/* SPDX-License-Identifier: Apache-2.0
 * call.c - performing a tool call, and what a tool's function may ask for.
 *
 * Whatever goes wrong in a call becomes text for the model; only a stopped run
 * leaves a call without a result. */
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "run/box_network.h"
#include "run/driver.h"
#include "run/items.h"
#include "run/label.h"
#include "run/redact.h"
#include "sandbox/stage.h"

enum { OUT_MAX_BYTES = 32 << 20 };

struct csn_call {
  csn_job base;
  csn_arena *arena;
  const csn_agent *agent; /* at work when it was called */
  const csn_tool *tool;   /* NULL: the model named one that does not exist */
  csn_str id, name, input;
  int64_t timeout_ms, retries; /* of tool_settings; -1 and 0: none */
  csn_str answer;              /* not empty: of a call that is not made */
  bool is_custom, recovers, is_edited, is_held;
  bool is_cacheable, may_stand; /* its result, for later calls like `same` */
  csn_digest same;
  csn_str kept; /* the item with which an earlier one was answered; or empty */
  int64_t kept_seq;
  enum csn_call_how how;
  struct csn_box *in; /* the sandbox that it is about */
  unsigned used;      /* those in which it did something, as bits */
  bool takes_box;     /* its arguments say which */
  const csn_json *args;
  csn_scope scope;
  csn_buf out;
  csn_str content;
  csn_err err; /* of a call that answered later */
  int later_rc;
};

static const char unknown_outcome[] =
    "The outcome of this call is unknown: the harness died while it ran. Look at the state "
    "before you repeat it.";

static csn_call *
call_of(csn_job *j)
{
  return (csn_call *)j;
}

struct csn_box *
csn_call_in(const csn_call *c)
{
  return c->in;
}

int
csn_call_choose(csn_call *c, csn_str name, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_run *owner = csn_box_owner(c->base.run);
  size_t i = 0;
  if (name.n && !csn_agent_box_find(owner->agent, name, &i)) {
    csn_str names = csn_agent_box_names(owner->agent, a);
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no sandbox '%.*s'; there are: %.*s",
                    name.n < 40 ? (int)name.n : 40, name.p, (int)names.n, names.p);
  }
  c->in = csn_box_at(c->base.run, i);
  return 0;
}

int
csn_call_sandbox_named(csn_call *c, const char *name, csn_sandbox **out, csn_err *err)
{
  struct csn_box *was = c->in;
  int rc = csn_call_choose(c, csn_cstr(name), err);
  if (rc == 0)
    rc = csn_call_sandbox(c, out, err);
  c->in = was;
  return rc;
}

/* As the arguments say; another kind of value is no name. */
static int
choose_box(csn_call *c, csn_err *err)
{
  const csn_json *name = c->takes_box ? csn_json_get(c->args, "sandbox") : NULL;
  if (!name || name->kind == CSN_JSON_NULL)
    return 0;
  return csn_call_choose(c, name->kind == CSN_JSON_STRING ? name->text : name->raw, err);
}

/* The next of those that it used after i; NULL: none. */
static struct csn_box *
next_used(const csn_call *c, size_t *i)
{
  for (struct csn_box *b; (b = csn_box_at(c->base.run, *i)); (*i)++)
    if (c->used & 1u << *i) {
      (*i)++;
      return b;
    }
  return NULL;
}

static void
call_free(csn_job *j)
{
  csn_call *c = call_of(j);
  struct csn_box *b;
  for (size_t i = 0; (b = next_used(c, &i));)
    csn_box_leave(b);
  csn_scope_fini(&c->scope);
  csn_buf_fini(&c->out);
  csn_arena_free(c->arena);
  free(c);
}

static void
call_cancel(csn_job *j)
{
  csn_scope_mark(&call_of(j)->scope);
}

/* ---- the C API inside a tool ---- */

csn_str
csn_call_id(const csn_call *c)
{
  return c->id;
}

csn_str
csn_call_name(const csn_call *c)
{
  return c->name;
}

const csn_agent *
csn_call_agent(const csn_call *c)
{
  return c->agent;
}

const csn_file_scope *
csn_call_files(const csn_call *c)
{
  return c->agent->has_scopes ? &c->agent->scopes : NULL;
}

csn_str
csn_call_input(const csn_call *c)
{
  return c->input;
}

const csn_json *
csn_call_args(const csn_call *c)
{
  return c->args;
}

csn_scope *
csn_call_scope(csn_call *c)
{
  return &c->scope;
}

csn_buf *
csn_call_out(csn_call *c)
{
  return &c->out;
}

void
csn_call_set_content(csn_call *c, csn_str json)
{
  c->content = csn_arena_dup(c->arena, json);
}

csn_run *
csn_call_run(csn_call *c)
{
  return c->base.run;
}

int
csn_call_sandbox(csn_call *c, csn_sandbox **out, csn_err *err)
{
  csn_shell *shell;
  return csn_call_box(c, out, &shell, err);
}

int
csn_call_box(csn_call *c, csn_sandbox **sb, csn_shell **shell, csn_err *err)
{
  if (!(c->used & 1u << c->in->index))
    csn_box_enter(c->in);
  c->used |= 1u << c->in->index;
  return csn_label_box(c->base.run, c->in, &c->scope, sb, shell, err);
}

int
csn_call_note(csn_call *c, csn_str json, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "note");
  csn_jw_strz(&w, "intent");
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, c->base.seq);
  csn_jw_key(&w, "data");
  csn_jw_raw(&w, json);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_run_note(c->base.run, csn_buf_str(&b), err);
}

const csn_json *
csn_call_last_note(const csn_call *c)
{
  for (const struct csn_noted *n = c->base.run->notes; n; n = n->next)
    if (n->effect == c->base.seq)
      return n->data;
  return NULL;
}

/* ---- claims ---- */

/* What a call of that seq has in `folder` of its box. */
static void
name_in(const char *folder, const csn_run *r, int64_t seq, char name[CSN_CLAIM_NAME])
{
  if (r->box_run) /* in its parent's box, where others count from 0, too */
    snprintf(name, CSN_CLAIM_NAME, "%s/%s-%lld", folder, csn_run_id(r), (long long)seq);
  else
    snprintf(name, CSN_CLAIM_NAME, "%s/%lld", folder, (long long)seq);
}

void
csn_claim_name(const csn_run *r, int64_t seq, char name[CSN_CLAIM_NAME])
{
  name_in("claims", r, seq, name);
}

int
csn_call_claim(csn_call *c, csn_err *err)
{
  char name[CSN_CLAIM_NAME];
  csn_claim_name(c->base.run, c->base.seq, name);
  csn_auto(csn_closep) int dir = csn_box_folder_of(csn_call_in(c), err);
  int rc = dir < 0 ? dir : csn_mkdirs(dir, "claims", 0700, err);
  return rc < 0 ? rc : csn_open_beneath(dir, name, O_WRONLY | O_CREAT | O_APPEND, 0600, err);
}

bool
csn_call_was_claimed(csn_call *c)
{
  char name[CSN_CLAIM_NAME];
  csn_claim_name(c->base.run, c->base.seq, name);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64);
  csn_err err;
  csn_auto(csn_closep) int dir = csn_box_folder_of(csn_call_in(c), &err);
  int rc = dir < 0 ? dir : csn_file_read(dir, name, &b, &err);
  /* What cannot be read proves nothing, so it may have begun. */
  return rc == 0 ? b.n > 0 : rc != CSN_E_NOT_FOUND;
}

/* ---- stages ---- */

int
csn_call_stage(csn_call *c, csn_sandbox *sb, const char *const *paths, int64_t most,
               csn_stage **out, csn_err *err)
{
  char name[CSN_CLAIM_NAME];
  name_in("staged", c->base.run, c->base.seq, name);
  csn_auto(csn_closep) int dir = csn_box_folder_of(csn_call_in(c), err);
  return dir < 0 ? dir : csn_stage_open(out, &c->scope, sb, dir, name, paths, most, err);
}

int
csn_call_stage_recover(csn_call *c, csn_sandbox *sb, csn_err *err)
{
  char name[CSN_CLAIM_NAME];
  name_in("staged", c->base.run, c->base.seq, name);
  csn_auto(csn_closep) int dir = csn_box_folder_of(csn_call_in(c), err);
  return dir < 0 ? dir : csn_stage_recover(&c->scope, sb, dir, name, err);
}

/* ---- performing ---- */

/* The model asked for something else than what was done. */
static void
tell_edit(csn_call *c)
{
  csn_buf text = CSN_BUF(c->out.cap);
  csn_buf_addf(&text, "A human changed this call before allowing it. It was made with: ");
  csn_buf_add(&text, c->input);
  csn_buf_addz(&text, "\n\n");
  csn_buf_add(&text, csn_buf_str(&c->out));
  csn_buf_fini(&c->out);
  c->out = text;
}

/* Before what the call gave: the files are not those that the model knows. */
static void
tell_news(csn_call *c, csn_str news)
{
  csn_buf text = CSN_BUF(c->out.cap);
  if (c->content.n) { /* a list of parts */
    csn_buf_addz(&text, "[{\"type\":\"input_text\",\"text\":");
    csn_json_quote(&text, news);
    csn_buf_addz(&text, "},");
    csn_buf_add(&text, csn_strn(c->content.p + 1, c->content.n - 1));
    c->content = csn_arena_dup(c->arena, csn_buf_str(&text));
    csn_buf_fini(&text);
    return;
  }
  csn_buf_add(&text, news);
  csn_buf_addz(&text, "\n\n");
  csn_buf_add(&text, csn_buf_str(&c->out));
  csn_buf_fini(&c->out);
  c->out = text;
}

/* Why what it gave is not to be trusted: because of any sandbox that it was in. */
static const char *
label_of(csn_call *c)
{
  const char *why = c->used ? NULL : csn_label_of_call(c->base.run, c->agent, c->name, NULL);
  struct csn_box *b;
  for (size_t i = 0; !why && (b = next_used(c, &i));)
    why = csn_label_of_call(c->base.run, c->agent, c->name, b);
  return why;
}

static csn_job *
deliver_output(csn_call *c)
{
  csn_auto(csn_buf_finip) csn_buf news = CSN_BUF(1 << 16);
  if (c->is_edited && !c->content.n)
    tell_edit(c);
  struct csn_box *b;
  for (size_t i = 0; (b = next_used(c, &i));) {
    size_t was = news.n;
    csn_buf_addz(&news, was ? "\n\n" : "");
    size_t from = news.n;
    csn_box_news(c->base.run, b, &news);
    news.n = news.n > from ? news.n : was;
  }
  if (news.n)
    tell_news(c, csn_buf_str(&news));
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)8 * OUT_MAX_BYTES);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, c->base.seq);
  if (c->is_held) {
    csn_jw_key(&w, "held");
    csn_jw_bool(&w, true);
  }
  if (c->kept.n) {
    csn_jw_key(&w, "cached");
    csn_jw_int(&w, c->kept_seq);
  } else if (c->may_stand) {
    char hex[65];
    csn_digest_hex(&c->same, hex);
    csn_jw_key(&w, "call");
    csn_jw_strz(&w, hex);
  }
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  struct csn_call_answer answer = {.how = c->how,
                                   .is_custom = c->is_custom,
                                   .is_denied = c->answer.n > 0,
                                   .call_id = c->id,
                                   .input = c->input,
                                   .text = csn_buf_str(&c->out),
                                   .parts = c->content};
  csn_item_answer(&w, &answer);
  csn_jw_end(&w);
  const char *why = c->answer.n ? NULL : label_of(c);
  if (why) {
    csn_jw_key(&w, "untrusted");
    csn_jw_strz(&w, why);
  }
  if (c->used && c->base.run->state.cfg.checkpoint_ms >= 0) {
    csn_jw_key(&w, "sandbox");
    csn_jw_bool(&w, true);
  }
  csn_jw_end(&w);
  csn_redact_json(csn_box_secrets(c->base.run), &text);
  csn_run *r = c->base.run;
  csn_fault_pass(&r->rt->fault, "tool.performed");
  csn_job *next = csn_run_deliver(r, CSN_EV_TOOL_RETURNED, csn_buf_str(&text), true);
  if (news.n)
    for (size_t i = 0; (b = next_used(c, &i));)
      csn_box_news_told(r, b);
  return next;
}

/* What the model reads when the tool could not do its work. */
static void
explain(csn_call *c, const csn_err *err)
{
  csn_buf_clear(&c->out);
  c->content = CSN_STR("");
  if (c->timeout_ms > 0 && csn_scope_check(&c->scope, NULL) == CSN_E_TIMEOUT) {
    csn_buf_addf(&c->out, "Tool '%.*s' timed out after %g seconds.", (int)c->name.n, c->name.p,
                 (double)c->timeout_ms / 1000);
    return;
  }
  csn_buf_addf(&c->out, "The call failed: %s", *err->msg ? err->msg : csn_code_name(err->code));
}

static int
parse_args(csn_call *c, csn_err *err)
{
  csn_str text = csn_str_trim(c->input);
  if (c->is_custom)
    return 0;
  if (text.n == 0)
    text = CSN_STR("{}");
  int rc = csn_json_parse(c->arena, text, &c->args, err);
  if (rc < 0)
    return rc;
  if (c->args->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "the arguments must be a JSON object");
  return 0;
}

/* What a tool itself says of its failure begins like explain(). */
static bool
is_failure(csn_str text)
{
  return csn_str_starts(text, CSN_STR("The call failed"));
}

static csn_job *
after_call(csn_call *c, int rc, const csn_err *err)
{
  c->may_stand = c->is_cacheable && rc == 0 && !c->out.over && !is_failure(csn_buf_str(&c->out));
  if (rc < 0) {
    csn_err why = *err; /* a tool may return a code and say nothing */
    why.code = (enum csn_code)rc;
    explain(c, &why);
  }
  if (c->out.over) {
    csn_err limit;
    csn_fail(&limit, CSN_E_LIMIT, "the output is larger than %d bytes", OUT_MAX_BYTES);
    explain(c, &limit);
  }
  return deliver_output(c);
}

static csn_job *
answered_later(csn_job *j)
{
  csn_call *c = call_of(j);
  return after_call(c, c->later_rc, &c->err);
}

void
csn_call_done(csn_call *c, int rc, const csn_err *err)
{
  c->later_rc = rc;
  if (err)
    c->err = *err;
  c->base.fn = answered_later;
  csn_job_wake(&c->base); /* without the run's lock: the caller may hold locks of its own */
}

static csn_job *
perform(csn_call *c)
{
  csn_err err = {0};
  csn_pool *pool = c->base.run->rt->pool; /* a call that answers later may be over before this */
  csn_fault_pass(&c->base.run->rt->fault, "tool.begins");
  csn_pool_wait_begin(pool);
  int rc = c->tool->call(c, c->tool->user, &err);
  for (int64_t i = 0; rc < 0 && i < c->retries && csn_scope_check(&c->scope, NULL) == 0; i++) {
    csn_buf_clear(&c->out);
    c->content = CSN_STR("");
    rc = c->tool->call(c, c->tool->user, &err);
  }
  csn_pool_wait_end(pool);
  return rc == CSN_CALL_LATER ? CSN_JOB_PARKED : after_call(c, rc, &err);
}

static csn_job *
perform_again(csn_call *c)
{
  csn_err err = {0};
  if (c->tool->recover) {
    csn_pool_wait_begin(c->base.run->rt->pool);
    int rc = c->tool->recover(c, c->tool->user, &err);
    csn_pool_wait_end(c->base.run->rt->pool);
    return rc == CSN_CALL_PERFORM ? perform(c) : after_call(c, rc, &err);
  }
  if (c->tool->replay == CSN_REPLAY_SAFE)
    return perform(c);
  csn_buf_addz(&c->out, unknown_outcome);
  return deliver_output(c);
}

/* With what an earlier one brought. */
static csn_job *
answer_again(csn_call *c)
{
  csn_err err;
  const csn_json *item;
  int rc = csn_json_parse(c->arena, c->kept, &item, &err);
  if (rc < 0)
    return after_call(c, rc, &err);
  const csn_json *output = csn_json_get(item, "output");
  if (csn_json_is(output, CSN_JSON_ARRAY))
    csn_call_set_content(c, output->raw);
  else
    csn_buf_add(&c->out, csn_json_str(item, "output", CSN_STR("")));
  return deliver_output(c);
}

static csn_job *
call_run(csn_job *j)
{
  csn_call *c = call_of(j);
  csn_err err;
  if (c->kept.n)
    return answer_again(c);
  if (c->answer.n) {
    csn_buf_add(&c->out, c->answer);
    return deliver_output(c);
  }
  if (c->how == CSN_HOW_MCP) /* the provider makes it, once it is told that it may */
    return deliver_output(c);
  if (!c->tool) {
    csn_buf_addf(&c->out, "Tool '%.*s' not found. The tools are:", (int)c->name.n, c->name.p);
    for (size_t i = 0; i < c->agent->n_tools; i++)
      csn_buf_addf(&c->out, "%s %s", i ? "," : "", c->agent->tools[i].tool.name);
    return deliver_output(c);
  }
  if (c->is_custom != (c->tool->schema == NULL)) {
    csn_buf_addf(&c->out, "'%.*s' is a %s tool; call it as one.", (int)c->name.n, c->name.p,
                 c->is_custom ? "function" : "custom");
    return deliver_output(c);
  }
  if (parse_args(c, &err) < 0) {
    csn_buf_addf(&c->out, "Invalid JSON input for tool %.*s: %s", (int)c->name.n, c->name.p,
                 err.msg);
    return deliver_output(c);
  }
  if (choose_box(c, &err) < 0)
    return after_call(c, err.code, &err);
  return c->recovers ? perform_again(c) : perform(c);
}

/* The run's lock is held.  What a human or a guardrail has a word in is of this call only. */
static void
look_for_same(csn_call *c, csn_run *r)
{
  const csn_json *cache = csn_agent_tool_setting(c->agent, c->name, "cache");
  if (!csn_json_is(cache, CSN_JSON_BOOL) || !cache->truth || !c->tool || c->answer.n || c->how ||
      c->is_custom || c->is_edited || c->is_held || parse_args(c, NULL) < 0)
    return;
  c->same = csn_result_call(csn_cstr(csn_agent_name(c->agent)), c->name, c->args);
  c->is_cacheable = true;
  const struct csn_kept_result *k = csn_results_find(&r->results, &c->same);
  if (k) {
    c->kept = k->item;
    c->kept_seq = k->seq;
  }
}

csn_job *
csn_call_job_new(csn_run *r, const csn_pending *p, bool recover)
{
  csn_call *c = csn_alloc(sizeof *c);
  c->base.fn = call_run;
  c->base.free = call_free;
  c->base.cancel = call_cancel;
  c->arena = csn_arena_new(64u << 20);
  c->out = CSN_BUF(OUT_MAX_BYTES);
  c->id = csn_arena_dup(c->arena, csn_cstr(p->call_id));
  c->name = csn_arena_dup(c->arena, csn_cstr(p->name));
  c->input = csn_arena_dup(c->arena, csn_cstr(p->arguments));
  c->answer = csn_arena_dup(c->arena, csn_cstr(p->answer));
  c->is_custom = p->is_custom;
  c->how = p->how;
  c->is_edited = p->is_edited;
  c->is_held = p->is_held;
  c->recovers = recover;
  c->agent = csn_run_agent(r);
  c->in = csn_box_at(r, 0);
  for (size_t i = 0; i < c->agent->n_tools; i++)
    if (csn_str_eq(c->name, csn_cstr(c->agent->tools[i].tool.name))) {
      c->tool = &c->agent->tools[i].tool;
      c->takes_box = c->agent->tools[i].takes_box;
    }
  const csn_json *timeout = csn_agent_tool_setting(c->agent, c->name, "timeout_ms");
  const csn_json *retries = csn_agent_tool_setting(c->agent, c->name, "retries");
  if (!timeout || !csn_json_to_int(timeout, &c->timeout_ms))
    c->timeout_ms = -1;
  if (retries && !csn_json_to_int(retries, &c->retries))
    c->retries = 0;
  csn_scope_init(&c->scope, &r->scope, c->timeout_ms > 0 ? (int64_t)c->timeout_ms : -1);
  if (p->is_cancelled)
    csn_scope_mark(&c->scope);
  look_for_same(c, r);
  return &c->base;
}
