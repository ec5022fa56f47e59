/* SPDX-License-Identifier: Apache-2.0
 * rt.c - what the runs of a process share. */
#include <limits.h>

#include "run/driver.h"
#include "run/statedir.h"
#include "sandbox/backends.h"

static int
open_state(csn_rt *rt, const csn_rt_options *o, csn_err *err)
{
  int rc = csn_statedir_open(o ? o->state_dir : NULL, true, &rt->state_path, &rt->state_fd, err);
  if (rc < 0)
    return csn_wrap(err, rc, "state folder %s", rt->state_path);
  rc = csn_state_store_open(
      rt->project, o ? o->state_dir : NULL, o ? o->state_url : NULL, rt->state_fd,
      o && o->survives_power_cut ? CSN_DURABLE_POWER : CSN_DURABLE_PROCESS, &rt->store, err);
  return o && o->state_url ? rc : csn_wrap(err, rc, "state folder %s", rt->state_path);
}

int
csn_rt_new(csn_rt **out, const csn_rt_options *o, csn_err *err)
{
  csn_auto(csn_rt_freep) csn_rt *rt = csn_alloc(sizeof *rt);
  rt->state_fd = -1;
  pthread_mutex_init(&rt->lock, NULL);
  csn_state_sessions_init(&rt->sessions, o ? o->session_store : NULL, o ? o->session_keys : NULL);
  csn_fault_init(&rt->fault, getenv("CAISSON_FAULT"));
  rt->log = o ? o->log : NULL;
  int rc = csn_sandbox_own_copy(o ? o->backends : NULL, &rt->backends, err);
  if (rc == 0)
    rc = csn_project_load(&rt->project, err);
  if (rc == 0)
    rc = open_state(rt, o, err);
  if (rc < 0)
    return rc;
  /* A commit that waits for the disk is shared by all who wait for it. */
  int max = o ? o->max_threads : 0;
  rt->pool = csn_pool_new(max, o && o->survives_power_cut ? INT_MAX : 0);
  *out = csn_steal(rt);
  return 0;
}

void
csn_rt_free(csn_rt *rt)
{
  if (!rt)
    return;
  if (rt->http)
    csn_http_free(rt->http);
  for (size_t i = 0; i < rt->n_gates; i++)
    csn_gate_free(rt->gates[i]);
  free(rt->gates);
  if (rt->loop)
    csn_loop_free(rt->loop);
  if (rt->pool)
    csn_pool_free(rt->pool);
  csn_state_sessions_fini(&rt->sessions);
  if (rt->store)
    csn_store_close(rt->store);
  csn_project_free(rt->project);
  csn_closep(&rt->state_fd);
  free((void *)(uintptr_t)rt->backends);
  free(rt->state_path);
  pthread_mutex_destroy(&rt->lock);
  free(rt);
}

int
csn_rt_need_loop(csn_rt *rt, csn_loop **out, csn_err *err)
{
  pthread_mutex_lock(&rt->lock);
  int rc = rt->loop ? 0 : csn_loop_new(&rt->loop, err);
  *out = rt->loop;
  pthread_mutex_unlock(&rt->lock);
  return rc;
}

int
csn_rt_need_http(csn_rt *rt, csn_http **out, csn_err *err)
{
  csn_loop *loop;
  int rc = csn_rt_need_loop(rt, &loop, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&rt->lock);
  if (!rt->http)
    rt->http = csn_http_new(loop);
  *out = rt->http;
  pthread_mutex_unlock(&rt->lock);
  return 0;
}

int
csn_rt_need_gate(csn_rt *rt, const struct csn_route *route, csn_gate **out, csn_err *err)
{
  csn_loop *loop;
  int rc = csn_rt_need_loop(rt, &loop, err);
  if (rc < 0)
    return rc;
  *out = NULL;
  pthread_mutex_lock(&rt->lock);
  for (size_t i = 0; i < rt->n_gates && !*out; i++)
    if (csn_str_eq(csn_gate_name(rt->gates[i]), route->provider))
      *out = rt->gates[i];
  if (!*out) {
    rt->gates = csn_realloc(rt->gates, rt->n_gates + 1, sizeof *rt->gates);
    *out = rt->gates[rt->n_gates++] = csn_gate_new(route->provider, &route->limits);
    csn_gate_run_on(*out, loop);
  }
  pthread_mutex_unlock(&rt->lock);
  return 0;
}

int
csn_rt_need_key(csn_rt *rt, const unsigned char **out, csn_err *err)
{
  pthread_mutex_lock(&rt->lock);
  int rc = rt->has_key ? 0 : csn_key_need(rt->state_fd, rt->key, err);
  rt->has_key = rc == 0;
  *out = rt->key;
  pthread_mutex_unlock(&rt->lock);
  return rc;
}
