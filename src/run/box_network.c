/* SPDX-License-Identifier: Apache-2.0
 * box_network.c - the network of a run's sandbox: its policy with the values
 * of secrets, and its connections as notes.
 *
 * Events come in the I/O thread, which must not wait for the disk: they are
 * queued there and written by a thread of the pool, one at a time. */
#include "run/box_network.h"
#include "run/label.h"
#include "run/netlog.h"
#include "run/redact.h"
#include "sandbox/backends.h"

enum { QUEUE_MAX = 8 << 20, NOTE_MAX = 16384 };

struct csn_box_network {
  struct csn_box *box;
  csn_arena *arena; /* of the policy */
  csn_network *policy;
  csn_netlog *log; /* the writing thread's */
  pthread_mutex_t lock;
  pthread_cond_t idle;
  csn_buf queue; /* a line each */
  bool is_busy;  /* a thread writes */
};

static void
write_note(void *user, csn_str json)
{
  struct csn_box_network *n = user;
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(NOTE_MAX);
  csn_jw w;
  csn_err err;
  csn_jw_init(&w, &note);
  csn_jw_obj(&w);
  csn_jw_key(&w, "note");
  csn_jw_strz(&w, "network");
  csn_jw_key(&w, "network");
  csn_jw_raw(&w, json);
  if (n->box->index) {
    csn_jw_key(&w, "sandbox");
    csn_jw_strz(&w, n->box->name);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, &err);
  csn_redact_json(n->box->run->redact, &note);
  if (rc == 0)
    rc = csn_run_note(n->box->run, csn_buf_str(&note), &err);
  if (rc < 0 && rc != CSN_E_CANCELLED)
    csn_logf(n->box->run->rt->log, CSN_LOG_WARN, "a note about the network was lost: %s", err.msg);
}

static void
write_queue(void *user)
{
  struct csn_box_network *n = user;
  pthread_mutex_lock(&n->lock);
  while (n->queue.n) {
    csn_auto(csn_buf_finip) csn_buf some = n->queue;
    n->queue = CSN_BUF(QUEUE_MAX);
    pthread_mutex_unlock(&n->lock);
    csn_str rest = csn_buf_str(&some), line;
    while (csn_str_line(&rest, &line))
      csn_netlog_add(n->log, line);
    pthread_mutex_lock(&n->lock);
  }
  n->is_busy = false;
  pthread_cond_broadcast(&n->idle);
  pthread_mutex_unlock(&n->lock);
}

static void
on_event(void *user, csn_str json)
{
  struct csn_box_network *n = user;
  pthread_mutex_lock(&n->lock);
  if (n->queue.n + json.n < QUEUE_MAX) {
    csn_buf_add(&n->queue, json);
    csn_buf_addc(&n->queue, '\n');
  }
  bool is_first = !n->is_busy;
  n->is_busy = true;
  pthread_mutex_unlock(&n->lock);
  if (is_first)
    csn_pool_add(n->box->run->rt->pool, write_queue, n);
}

void
csn_box_network_settle(struct csn_box *b)
{
  struct csn_box_network *n = b->network;
  if (!n)
    return;
  pthread_mutex_lock(&n->lock);
  while (n->is_busy)
    pthread_cond_wait(&n->idle, &n->lock);
  pthread_mutex_unlock(&n->lock);
  csn_netlog_flush(n->log);
}

void
csn_box_redact_need(csn_run *r)
{
  if (r->redact)
    return;
  r->redact = csn_redact_new();
  for (const char *const *b = csn_sandbox_backends(); *b; b++)
    for (const char *const *key = csn_sandbox_find(*b)->keys; key && *key; key++)
      csn_redact_add(r->redact, csn_cstr(*key), csn_cstr(getenv(*key)));
}

int
csn_box_network_need(struct csn_box *b, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_network *policy = NULL;
  csn_loop *loop = NULL;
  const char *backend = b->agent->sandbox.backend;
  const csn_sandbox_ops *ops = backend ? csn_sandbox_find(backend) : NULL;
  if (!b->run->box_run && ops && ops->keys)
    csn_box_redact_need(b->run);
  if (b->run->box_run || b->network || !b->agent->sandbox.network)
    return 0;
  int rc = csn_agent_network(b->agent, a, &policy, err);
  if (rc == 0 && policy)
    rc = csn_rt_need_loop(b->run->rt, &loop, err);
  if (rc < 0 || !policy)
    return rc;
  csn_box_redact_need(b->run);
  for (size_t i = 0; i < policy->n_secrets; i++)
    csn_redact_add(b->run->redact, csn_cstr(policy->secrets[i].name),
                   csn_cstr(policy->secrets[i].value));
  struct csn_box_network *n = b->network = csn_alloc(sizeof *n);
  *n = (struct csn_box_network){
      .box = b, .policy = policy, .arena = csn_steal(a), .queue = CSN_BUF(QUEUE_MAX)};
  policy->loop = loop;
  policy->on_event = on_event;
  csn_label_policy(b->run, policy);
  policy->user = n;
  n->log = csn_netlog_new(write_note, n);
  pthread_mutex_init(&n->lock, NULL);
  csn_cond_init(&n->idle);
  return 0;
}

const csn_network *
csn_box_network_policy(const struct csn_box *b)
{
  return b->network ? b->network->policy : NULL;
}

void
csn_box_network_restrict(struct csn_box *b, enum csn_network_restriction to)
{
  struct csn_box_network *n = b->network;
  if (!n)
    return;
  pthread_mutex_lock(&n->lock);
  if (n->policy->restriction < to)
    n->policy->restriction = to;
  pthread_mutex_unlock(&n->lock);
}

const struct csn_redact *
csn_box_secrets(const csn_run *r)
{
  while (r->box_run)
    r = r->box_run;
  return r->redact;
}

void
csn_box_network_free(struct csn_box *b)
{
  struct csn_box_network *n = csn_steal(b->network);
  if (!n)
    return;
  for (size_t i = 0; i < n->policy->n_secrets; i++)
    explicit_bzero((char *)(uintptr_t)n->policy->secrets[i].value,
                   strlen(n->policy->secrets[i].value));
  csn_netlog_free(n->log);
  csn_buf_fini(&n->queue);
  pthread_cond_destroy(&n->idle);
  pthread_mutex_destroy(&n->lock);
  csn_arena_free(n->arena);
  free(n);
}
