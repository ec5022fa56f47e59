/* SPDX-License-Identifier: Apache-2.0
 * job.c - the pieces of work of a run: registered, run by a thread of the pool
 * or by the one that delivered, parked and woken. */
#include "run/driver.h"

static void
pool_entry(void *user)
{
  csn_job_run(user);
}

void
csn_job_start(csn_run *r, csn_job *j, int64_t seq)
{
  j->run = r;
  j->seq = seq;
  j->next = r->jobs;
  j->link = &r->jobs;
  if (j->next)
    j->next->link = &j->next;
  r->jobs = j;
  if (r->may_hand && !r->handed)
    r->handed = j;
  else
    csn_pool_add(r->rt->pool, pool_entry, j);
}

void
csn_job_wake(csn_job *j)
{
  csn_pool_add(j->run->rt->pool, pool_entry, j);
}

void
csn_job_go_on(csn_job *j)
{
  if (!csn_loop_lend(j->run->rt->loop, pool_entry, j))
    csn_job_wake(j);
}

static void
job_end(csn_job *j)
{
  csn_run *r = j->run;
  pthread_mutex_lock(&r->lock);
  *j->link = j->next;
  if (j->next)
    j->next->link = j->link;
  j->free(j);
  csn_run_wake(r);
  if (!r->jobs)
    pthread_cond_broadcast(&r->changed);
  pthread_mutex_unlock(&r->lock); /* the run may be gone from here on */
}

void
csn_job_run(csn_job *j)
{
  while (j) {
    csn_job *next = j->fn(j);
    if (next == CSN_JOB_PARKED)
      return;
    job_end(j);
    j = next;
  }
}
