/* SPDX-License-Identifier: Apache-2.0
 *
 * live.c - see live.h.  Everything is taken from the run's own records, so the
 * line says what the journal says. */
#include "live.h"

#include <stdio.h>

#include "run/items.h"
#include "run/prices.h"
#include "running.h"

void
cli_live_init(cli_live *l, cli *c, int64_t began_ns)
{
  *l = (cli_live){.c = c, .began_ns = began_ns, .arena = csn_arena_new(1 << 20)};
  pthread_mutex_init(&l->lock, NULL);
  csn_cond_init(&l->ends);
}

void
cli_live_fini(cli_live *l)
{
  cli_live_stop(l);
  csn_arena_free(l->arena);
  pthread_cond_destroy(&l->ends);
  pthread_mutex_destroy(&l->lock);
}

/* "3,141" */
static void
add_number(csn_buf *to, int64_t n)
{
  if (n >= 1000)
    add_number(to, n / 1000);
  csn_buf_addf(to, n >= 1000 ? ",%03lld" : "%lld", (long long)(n % 1000));
}

static void
add_time(csn_buf *to, int64_t seconds)
{
  if (seconds >= 3600)
    csn_buf_addf(to, "%lld:%02lld:%02lld", (long long)(seconds / 3600),
                 (long long)(seconds / 60 % 60), (long long)(seconds % 60));
  else
    csn_buf_addf(to, "%lld:%02lld", (long long)(seconds / 60), (long long)(seconds % 60));
}

/* Locked. */
static void
draw(cli_live *l)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  int64_t seconds = (csn_now_ns() - l->began_ns) / 1000000000;
  if (!*l->doing)
    return;
  csn_buf_addf(&text, "%s  turn %lld  ", l->agent, (long long)l->turn);
  add_number(&text, l->tokens);
  csn_buf_addz(&text, " tokens  ");
  if (l->is_priced)
    csn_buf_addf(&text, "$%.4f  ", (double)l->cost_pusd / 1e12);
  if (l->wall_ms) {
    int64_t left = l->wall_ms / 1000 - seconds;
    add_time(&text, left > 0 ? left : 0);
    csn_buf_addz(&text, " left");
  } else {
    add_time(&text, seconds);
  }
  csn_buf_addf(&text, "  %s", l->doing); /* last: a narrow terminal cuts it */
  cli_status(l->c, "%s", text.p);
}

static void
set(char *to, size_t room, csn_str text)
{
  snprintf(to, room, "%.*s", (int)text.n, text.p);
}

static void
read_first(cli_live *l, const csn_json *v)
{
  const csn_json *agent = csn_json_get(v, "agent");
  csn_auto(csn_buf_finip) csn_buf copy = CSN_BUF(1 << 20);
  const csn_json *prices = csn_json_get(v, "prices");
  set(l->agent, sizeof l->agent, csn_json_str(agent, "name", CSN_STR("")));
  l->wall_ms = csn_json_int(csn_json_get(agent, "limits"), "wall_ms", 0);
  if (prices &&
      csn_json_parse(l->arena, csn_arena_dup(l->arena, prices->raw), &l->prices, NULL) < 0)
    l->prices = NULL;
  l->is_priced = l->prices && l->prices->n > 0;
}

static void
read_reply(cli_live *l, const csn_json *v)
{
  csn_usage u = {0};
  csn_str model = csn_json_str(v, "model", CSN_STR(""));
  const csn_json *price = NULL;
  csn_usage_add(&u, csn_json_get(v, "usage"));
  csn_json_each (it, l->prices) {
    if (csn_str_eq(it->key, model))
      price = it;
  }
  l->tokens += u.total_tokens;
  csn_price cost = csn_price_of(price);
  if (cost.is_known)
    l->cost_pusd += csn_price_cost(&cost, &u);
  else
    l->is_priced = false;
  set(l->doing, sizeof l->doing, CSN_STR("works"));
}

void
cli_live_event(cli_live *l, const char *type, const csn_json *v)
{
  if (!l->c->err_tty)
    return;
  csn_auto(csn_buf_finip) csn_buf what = CSN_BUF(8192);
  pthread_mutex_lock(&l->lock);
  if (strcmp(type, "run") == 0 && !*l->agent) { /* not of the agents that it calls */
    read_first(l, v);
  } else if (strcmp(type, "model_call") == 0) {
    csn_str who = csn_json_str(v, "agent", CSN_STR(""));
    if (who.n)
      set(l->agent, sizeof l->agent, who);
    l->turn = csn_json_int(v, "turn", 0);
    set(l->doing, sizeof l->doing, CSN_STR("the model thinks"));
  } else if (strcmp(type, "model_replied") == 0) {
    read_reply(l, v);
  } else if (strcmp(type, "tool_call") == 0 || strcmp(type, "child_start") == 0) {
    const csn_json *input = csn_json_get(v, "input");
    cli_call_brief(&what, csn_json_str(v, "name", CSN_STR("?")),
                   input ? input->text : csn_json_str(v, "arguments", CSN_STR("")), input != NULL);
    set(l->doing, sizeof l->doing, csn_buf_str(&what));
  } else if (strcmp(type, "progress") == 0) {
    csn_str name = csn_json_str(v, "what", CSN_STR(""));
    int64_t files = csn_json_int(v, "files", 0);
    if (files)
      csn_buf_addf(&what, "workspace: %.*s, %lld files", (int)name.n, name.p, (long long)files);
    else
      csn_buf_add(&what, name);
    set(l->doing, sizeof l->doing, csn_buf_str(&what));
  } else {
    pthread_mutex_unlock(&l->lock);
    return;
  }
  draw(l);
  pthread_mutex_unlock(&l->lock);
}

static void *
tick(void *user)
{
  cli_live *l = user;
  pthread_mutex_lock(&l->lock);
  while (!l->is_over) {
    csn_scope second;
    csn_scope_init(&second, NULL, 1000);
    while (!l->is_over && csn_scope_wait(&second, &l->ends, &l->lock, NULL) == 0) {
    }
    csn_scope_fini(&second);
    if (!l->is_over)
      draw(l);
  }
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

void
cli_live_start(cli_live *l)
{
  if (!l->c->err_tty || l->is_ticking)
    return;
  l->is_over = false;
  l->is_ticking = pthread_create(&l->ticker, NULL, tick, l) == 0;
}

void
cli_live_stop(cli_live *l)
{
  if (!l->is_ticking)
    return;
  pthread_mutex_lock(&l->lock);
  l->is_over = true;
  *l->doing = '\0';
  pthread_cond_signal(&l->ends);
  pthread_mutex_unlock(&l->lock);
  pthread_join(l->ticker, NULL);
  l->is_ticking = false;
  cli_status(l->c, NULL);
}
