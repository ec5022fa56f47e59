/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.c - warm jails: made before somebody asks, used once.
 *
 * A warm jail is all built but for its workspace.  Its first process holds
 * only what the graft needs, and waits for us on a socket of its own; it has
 * read no byte of a harness or a sandbox.  The order brings the workspace, the
 * control stream and the lock; the process puts them in place, seals itself
 * and tells the harness that it is ready, as every jail does.
 *
 * A kind is what a request says, all but the descriptors that an order can
 * bring, and the template.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "jail/jails.h"
#include "jail/sys.h"

enum { KINDS = 8, MOST_WARM = 256 };

struct csn_kind {
  csn_jail_open open; /* `pool` is 0 */
  const struct csn_template *template;
  uint64_t serial; /* of the template */
  size_t wanted, n;
  bool is_broken; /* one ended before it was used; no more are made */
  struct csn_kind *next;
};

struct csn_warm {
  struct csn_kind *kind; /* NULL: it is gone, and so shall this one be */
  csn_jail_held held;
  int orders;
  int fds[4]; /* for the harness */
};

static void
close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* ---- kinds ---- */

/* A newer one may have taken its place. */
static bool
has_template(const struct csn_jails *s, const struct csn_kind *k)
{
  for (const struct csn_template *t = s->templates; t; t = t->next)
    if (t == k->template && t->serial == k->serial)
      return true;
  return false;
}

/* The jails are in the table until they have ended. */
static void
cut_to(struct csn_jails *s, struct csn_kind *k, size_t n)
{
  for (size_t i = 0; i < s->n && k->n > n; i++)
    if (s->all[i].warm && s->all[i].warm->kind == k) {
      s->all[i].warm->kind = NULL;
      k->n--;
      kill(s->all[i].pid, SIGKILL);
    }
}

static void
drop_kind(struct csn_jails *s, struct csn_kind **at)
{
  struct csn_kind *k = *at;
  *at = k->next;
  cut_to(s, k, 0);
  free(k);
}

struct csn_kind *
csn_pool_kind(struct csn_jails *s, const csn_jail_open *open, const struct csn_template *t)
{
  csn_jail_open what = *open;
  struct csn_kind **at = &s->kinds, *k = NULL;
  what.with &= ~(CSN_JAIL_WITH(CSN_JAIL_CONTROL) | CSN_JAIL_WITH(CSN_JAIL_LOCK));
  what.pool = 0;
  what.under = 0; /* the order brings one tree, whatever it is made of */
  what.keep_owner = 0;
  if (what.with & ~CSN_JAIL_WITH(CSN_JAIL_WORKSPACE) || what.layers || what.networked)
    return NULL; /* more than an order can bring */
  for (size_t n = 0; *at; n++) {
    /* Bytes, and so what others add: the harness has set all of them. */
    bool same = memcmp((const char *)&(*at)->open, (const char *)&what, sizeof what) == 0;
    if (same && (*at)->template == t && (*at)->serial == t->serial) {
      k = *at;
      *at = k->next;
      break;
    }
    if (n == KINDS || !has_template(s, *at))
      drop_kind(s, at);
    else
      at = &(*at)->next;
  }
  if (!k && !open->pool)
    return NULL;
  if (!k && !(k = calloc(1, sizeof *k)))
    return NULL;
  k->open = what;
  k->template = t;
  k->serial = t->serial;
  if (open->pool || !(open->with & CSN_JAIL_WITH(CSN_JAIL_CONTROL)))
    k->wanted = open->pool < MOST_WARM ? open->pool : MOST_WARM;
  k->next = s->kinds;
  return s->kinds = k;
}

/* ---- making ---- */

static bool
make_warm(struct csn_jails *s, struct csn_kind *k)
{
  int pair[2];
  const char *failed = NULL;
  csn_jail_opened a = {0};
  struct csn_warm *w = calloc(1, sizeof *w);
  if (!w || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
    free(w);
    return false;
  }
  *w = (struct csn_warm){.kind = k, .orders = pair[0], .fds = {-1, -1, -1, -1}};
  struct csn_jail_plan plan = {.open = k->open, .fds = {[CSN_JAIL_ORDERS] = pair[1]}};
  const uint32_t inside[] = {k->open.uid, k->open.gid};
  struct csn_ids *ids = csn_ids_take(&s->home.ids, false, inside, &failed);
  if (!failed && s->home.is_root && k->open.with)
    csn_ids_owner(ids, s->uid, s->gid, inside, false);
  struct csn_jail j = {
      .ids = ids, .lock = -1, .view = -1, .life = -1, .deadline_ms = INT64_MAX, .warm = w};
  if (!failed)
    failed = csn_jails_start(s, k->template, &plan, j, &a, w->fds);
  close(pair[1]);
  if (!failed) {
    w->held = a.held;
    k->n++;
    return true;
  }
  csn_ids_drop(ids);
  for (size_t i = 0; i < 4; i++)
    close_fd(w->fds[i]);
  close(w->orders);
  free(w);
  return false;
}

bool
csn_pool_refill(struct csn_jails *s)
{
  for (struct csn_kind *k = s->kinds; k; k = k->next)
    if (k->n < k->wanted && !k->is_broken) {
      k->is_broken = !has_template(s, k) || !make_warm(s, k);
      return true;
    }
  return false;
}

void
csn_pool_fill(struct csn_jails *s, struct csn_kind *k)
{
  if (k)
    cut_to(s, k, k->wanted);
  while (k && k->n < k->wanted && !k->is_broken)
    k->is_broken = !make_warm(s, k);
}

/* ---- handing over ---- */

static void
free_warm(struct csn_jail *j)
{
  struct csn_warm *w = j->warm;
  if (w->kind)
    w->kind->n--;
  for (size_t i = 0; i < 4; i++)
    close_fd(w->fds[i]);
  close(w->orders);
  free(w);
  j->warm = NULL;
}

void
csn_pool_forget(struct csn_jail *j)
{
  if (!j->warm)
    return;
  if (j->warm->kind)
    j->warm->kind->is_broken = true;
  free_warm(j);
}

/* The descriptors of the request, named as in a request. */
static bool
send_order(int to, const struct csn_request *r)
{
  static const int brought[] = {CSN_JAIL_CONTROL, CSN_JAIL_LOCK, CSN_JAIL_WORKSPACE};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof brought)];
  } c = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  uint32_t with = 0;
  int fds[sizeof brought / sizeof *brought];
  size_t n = 0;
  for (size_t i = 0; i < sizeof brought / sizeof *brought; i++)
    if (r->fds[brought[i]] >= 0) {
      with |= CSN_JAIL_WITH(brought[i]);
      fds[n++] = r->fds[brought[i]];
    }
  c.head.cmsg_len = CMSG_LEN(n * sizeof(int));
  memcpy(CMSG_DATA(&c.head), fds, n * sizeof(int));
  struct iovec iov = {&with, sizeof with};
  struct msghdr m = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = &c,
                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  return sendmsg(to, &m, MSG_NOSIGNAL) == sizeof with;
}

/* One whose process still listens. */
static struct csn_jail *
find_warm(struct csn_jails *s, const struct csn_kind *k)
{
  for (size_t i = 0; i < s->n && k; i++)
    if (s->all[i].warm && s->all[i].warm->kind == k) {
      struct pollfd fd = {.fd = s->all[i].warm->orders};
      if (poll(&fd, 1, 0) == 0)
        return &s->all[i];
    }
  return NULL;
}

bool
csn_pool_take(struct csn_jails *s, struct csn_kind *k, struct csn_request *r, csn_jail_opened *a,
              int fds[4])
{
  struct csn_jail *j = find_warm(s, k);
  csn_jail_opened got = *a;
  uint32_t keep_owner = r->open.keep_owner;
  if (!j)
    return false;
  /* Ids that are made for the folder's owner are the cold road's. */
  r->open.keep_owner = 1;
  const char *failed = csn_jails_workspace(s, r, &j->ids, &got);
  r->open.keep_owner = keep_owner;
  if (failed)
    return false;
  if (!send_order(j->warm->orders, r)) { /* it has died this very moment */
    a->error = EPIPE;
    step_name(a->step, sizeof a->step, "hand over a warm jail", "");
    return true;
  }
  got.held = j->warm->held;
  *a = got;
  memcpy(fds, j->warm->fds, sizeof j->warm->fds);
  memset(j->warm->fds, -1, sizeof j->warm->fds);
  free_warm(j);
  j->lock = r->fds[CSN_JAIL_LOCK];
  j->view = csn_jails_keep(r->view);
  j->deadline_ms = csn_jails_deadline_ms(&r->open.limits);
  r->fds[CSN_JAIL_LOCK] = -1; /* the table's now */
  return true;
}
