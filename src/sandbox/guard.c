/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.c - see guard.h.
 *
 * A command's deadline is the earlier of its own and its sandbox's.  Whoever
 * reads from it or waits for it at that time kills its process group and goes
 * on, so the caller sees a command that was killed and not a time-out of its
 * own.  Which limits the back-end saw reached is the difference between its
 * counts at the command's start and end; what two commands share is blamed on
 * both. */
#include "sandbox/guard.h"

#include <signal.h>

#include "sandbox/limits.h"

struct csn_guard {
  csn_sandbox *sb;
  pthread_mutex_t lock;
  int64_t deadline_ns; /* INT64_MAX: none */
  enum csn_limit late; /* which limit that is */
  int64_t output_bytes;
  unsigned reached;
  int64_t before[CSN_LIMITS];
};

static void
usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  *u = (csn_sandbox_usage){0};
  if (sb->ops->usage)
    sb->ops->usage(sb, is_lost, u);
}

static int64_t
after_ms(int64_t ms)
{
  return ms > 0 && ms < INT64_MAX / 2000000 ? csn_now_ns() + ms * 1000000 : INT64_MAX;
}

void
csn_guard_open(csn_sandbox *sb, const csn_sandbox_limits *l)
{
  static const enum csn_limit ours[] = {CSN_LIMIT_COMMAND_WALL, CSN_LIMIT_OUTPUT, CSN_LIMIT_WALL};
  for (size_t i = 0; i < CSN_COUNT(ours); i++) {
    if (sb->held.state[ours[i]] != CSN_LIMIT_ABSENT)
      continue;
    /* What has left its group outlives a command that we kill. */
    sb->held.state[ours[i]] = ours[i] == CSN_LIMIT_WALL ? CSN_LIMIT_SOFT : CSN_LIMIT_ENFORCED;
    sb->held.value[ours[i]] = csn_limit_asked(l, ours[i]);
  }
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++)
    if (sb->held.value[i] == 0 && i != CSN_LIMIT_SWAP)
      sb->held.value[i] = CSN_UNLIMITED;
  sb->deadline_ns = after_ms(sb->held.value[CSN_LIMIT_WALL]);
}

static int
is_over(const csn_sandbox *sb, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  csn_limit_tell(CSN_LIMIT_WALL, sb->held.value[CSN_LIMIT_WALL], &text);
  return csn_fail(err, CSN_E_LIMIT, "the sandbox's time of %s is over", text.p);
}

/* Why a sandbox is dead. */
static int
explain_death(const csn_sandbox *sb, const csn_sandbox_usage *u, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100);
  if (u->reached[CSN_LIMIT_WALL])
    return is_over(sb, err);
  if (u->lost)
    return csn_fail(err, CSN_E_SANDBOX, "%s; what ran in the sandbox was ended", u->lost);
  if (!u->reached[CSN_LIMIT_MEMORY])
    return csn_fail(err, CSN_E_SANDBOX,
                    "the sandbox died: its first process was killed; what ran in it is gone");
  csn_limit_tell(CSN_LIMIT_MEMORY, sb->held.value[CSN_LIMIT_MEMORY], &text);
  return csn_fail(err, CSN_E_SANDBOX,
                  "the sandbox died: its memory limit of %s was reached and nothing else was left "
                  "to kill; what ran in it is gone",
                  text.p);
}

int
csn_guard_check(csn_sandbox *sb, csn_err *err)
{
  return csn_now_ns() >= sb->deadline_ns ? is_over(sb, err) : 0;
}

bool
csn_guard_is_dead(csn_sandbox *sb)
{
  csn_sandbox_usage u;
  usage(sb, false, &u);
  return (u.is_dead || u.lost) && !u.reached[CSN_LIMIT_WALL] && csn_now_ns() < sb->deadline_ns;
}

int
csn_guard_explain(csn_sandbox *sb, int rc, csn_err *err)
{
  csn_sandbox_usage u;
  if (rc != CSN_E_SANDBOX)
    return rc;
  usage(sb, true, &u);
  return u.is_dead && !u.is_told ? explain_death(sb, &u, err) : rc;
}

struct csn_guard *
csn_guard_new(csn_sandbox *sb)
{
  struct csn_guard *g = csn_alloc(sizeof *g);
  csn_sandbox_usage u;
  *g = (struct csn_guard){.sb = sb, .late = CSN_LIMIT_COMMAND_WALL};
  pthread_mutex_init(&g->lock, NULL);
  g->deadline_ns = after_ms(sb->held.value[CSN_LIMIT_COMMAND_WALL]);
  if (sb->deadline_ns < g->deadline_ns) {
    g->deadline_ns = sb->deadline_ns;
    g->late = CSN_LIMIT_WALL;
  }
  usage(sb, false, &u);
  memcpy(g->before, u.reached, sizeof g->before);
  return g;
}

void
csn_guard_free(struct csn_guard *g)
{
  if (!g)
    return;
  pthread_mutex_destroy(&g->lock);
  free(g);
}

/* Kills the command for a limit; a second time does nothing. */
static void
end(csn_proc *p, enum csn_limit which)
{
  struct csn_guard *g = p->guard;
  csn_err ended_already;
  pthread_mutex_lock(&g->lock);
  bool first = !(g->reached & 1u << which);
  g->reached |= 1u << which;
  pthread_mutex_unlock(&g->lock);
  if (first)
    (void)!p->ops->signal(p, SIGKILL, &ended_already);
}

static bool
has_reached(struct csn_guard *g, enum csn_limit which)
{
  pthread_mutex_lock(&g->lock);
  bool reached = g->reached & 1u << which;
  pthread_mutex_unlock(&g->lock);
  return reached;
}

/* A part of the caller's scope that ends no later than the command's time; the
 * caller's own when that is over already or far off. */
static csn_scope *
limit_scope(struct csn_guard *g, csn_scope *limit, csn_scope *sc)
{
  if (g->deadline_ns == INT64_MAX || has_reached(g, g->late))
    return sc;
  int64_t left = g->deadline_ns - csn_now_ns();
  csn_scope_init(limit, sc, left > 0 ? left / 1000000 + 1 : 0);
  return limit;
}

/* After an operation in a scope of limit_scope(): true when it was cut by the
 * command's time, so that it is to be repeated. */
static bool
was_cut(csn_proc *p, csn_scope *used, csn_scope *limit, csn_scope *sc, int rc)
{
  if (used != limit)
    return false;
  csn_scope_fini(limit);
  if (rc != CSN_E_TIMEOUT || csn_scope_check(sc, NULL) < 0)
    return false;
  end(p, p->guard->late);
  return true;
}

/* Counts what came; cuts what is beyond the limit and kills who wrote it. */
static int
count_output(csn_proc *p, csn_buf *out, int n)
{
  struct csn_guard *g = p->guard;
  int64_t most = g->sb->held.value[CSN_LIMIT_OUTPUT];
  if (n <= 0 || most == CSN_UNLIMITED)
    return n;
  pthread_mutex_lock(&g->lock);
  int64_t over = g->output_bytes + n - most;
  g->output_bytes += n;
  pthread_mutex_unlock(&g->lock);
  if (over <= 0)
    return n;
  end(p, CSN_LIMIT_OUTPUT);
  over = over < n ? over : n;
  out->n -= (size_t)over;
  out->p[out->n] = '\0';
  return n - (int)over;
}

int
csn_guard_read(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
               csn_err *err)
{
  csn_scope limit, *used;
  int rc;
  do {
    if (has_reached(p->guard, CSN_LIMIT_OUTPUT))
      return 0;
    used = limit_scope(p->guard, &limit, sc);
    rc = p->ops->read(p, used, out, max, which, err);
  } while (was_cut(p, used, &limit, sc, rc));
  return count_output(p, out, rc);
}

/* What the command's end is told with; true when its sandbox ended it. */
static bool
settle(csn_proc *p, bool is_lost, csn_sandbox_usage *u, csn_exit *exit)
{
  struct csn_guard *g = p->guard;
  usage(g->sb, is_lost, u);
  pthread_mutex_lock(&g->lock);
  exit->reached = g->reached;
  pthread_mutex_unlock(&g->lock);
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++)
    if (u->reached[i] > g->before[i])
      exit->reached |= 1u << i;
  if (exit->signal == SIGXFSZ || exit->code == 128 + SIGXFSZ)
    exit->reached |= 1u << CSN_LIMIT_FILE_SIZE;
  return exit->reached & 1u << CSN_LIMIT_WALL;
}

int
csn_guard_wait(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  csn_scope limit, *used;
  csn_sandbox_usage u;
  int rc;
  do {
    used = limit_scope(p->guard, &limit, sc);
    rc = p->ops->wait(p, used, exit, err);
  } while (was_cut(p, used, &limit, sc, rc));
  if (rc < 0 && rc != CSN_E_SANDBOX)
    return rc;
  if (rc < 0)
    *exit = (csn_exit){.code = 128 + SIGKILL, .signal = SIGKILL};
  bool was_ended = settle(p, rc < 0, &u, exit);
  if (rc < 0 && !was_ended && u.is_dead && !u.is_told)
    return explain_death(p->guard->sb, &u, err);
  return was_ended ? 0 : rc;
}
