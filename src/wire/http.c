/* SPDX-License-Identifier: Apache-2.0
 *
 * http.c - the door to the network module: opens caisson-net.so at the first
 * request and passes calls on.
 */
#include <ctype.h>

#include "wire/module.h"
#include "wire/net.h"

struct csn_http {
  csn_loop *loop;
  pthread_mutex_t lock; /* guards what is below */
  const csn_net_module *module;
  csn_net *net;
  pthread_cond_t gone_cond;
  bool is_gone;
};

csn_http *
csn_http_new(csn_loop *loop)
{
  csn_http *h = csn_alloc(sizeof *h);
  h->loop = loop;
  pthread_mutex_init(&h->lock, NULL);
  csn_cond_init(&h->gone_cond);
  return h;
}

static int
need_module(csn_http *h, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&h->lock);
  if (!h->net) {
    const csn_module *m = NULL;
    rc = csn_module_open("caisson-net.so", "csn_net_entry", CSN_NET_ABI, &m, err);
    h->module = (const csn_net_module *)m; /* it is the first member */
    if (rc == 0)
      h->net = h->module->open(&(csn_net_host){.loop = h->loop,
                                               .loop_uv = csn_loop_uv,
                                               .loop_post = csn_loop_post,
                                               .loop_post_last = csn_loop_post_last,
                                               .loop_hold = csn_loop_hold,
                                               .loop_is_current = csn_loop_is_current});
  }
  pthread_mutex_unlock(&h->lock);
  return rc;
}

static void
warm(void *user)
{
  (void)need_module(user, NULL); /* the first request reports what is wrong */
}

void
csn_http_warm(csn_http *h)
{
  pthread_mutex_lock(&h->lock);
  bool is_open = h->net != NULL;
  pthread_mutex_unlock(&h->lock);
  if (!is_open)
    csn_loop_post(h->loop, warm, h);
}

static void
on_gone(void *user)
{
  csn_http *h = user;
  pthread_mutex_lock(&h->lock);
  h->is_gone = true;
  pthread_cond_signal(&h->gone_cond);
  pthread_mutex_unlock(&h->lock);
}

/* Posted after everything else, so also after a csn_http_warm(). */
static void
close_net(void *user)
{
  csn_http *h = user;
  pthread_mutex_lock(&h->lock);
  csn_net *n = h->net;
  pthread_mutex_unlock(&h->lock);
  if (n)
    h->module->close(n, on_gone, h);
  else
    on_gone(h);
}

void
csn_http_free(csn_http *h)
{
  if (!h)
    return;
  csn_loop_post(h->loop, close_net, h);
  pthread_mutex_lock(&h->lock);
  while (!h->is_gone)
    pthread_cond_wait(&h->gone_cond, &h->lock);
  pthread_mutex_unlock(&h->lock);
  pthread_cond_destroy(&h->gone_cond);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

int
csn_http_start(csn_http *h, const csn_http_req *req, const csn_http_sink *sink, void *user,
               csn_http_call **out, csn_err *err)
{
  int rc = need_module(h, err);
  return rc < 0 ? rc : h->module->start(h->net, req, sink, user, out, err);
}

void
csn_http_cancel(csn_http *h, csn_http_call *c)
{
  h->module->cancel(h->net, c);
}

void
csn_http_resume(csn_http *h, csn_http_call *c)
{
  h->module->resume(h->net, c);
}

void
csn_url_add(csn_buf *to, csn_str s)
{
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (isalnum(c) || (c && strchr("-_.~", c)))
      csn_buf_addc(to, (char)c);
    else
      csn_buf_addf(to, "%%%02X", c);
  }
}
