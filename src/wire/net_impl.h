/* SPDX-License-Identifier: Apache-2.0
 *
 * net_impl.h - inside the network module: net.c runs calls, net_poll.c lets
 * libuv watch libcurl's sockets and timer.  Everything in the loop's thread
 * unless it says otherwise.
 */
#ifndef CSN_WIRE_NET_IMPL_H
#define CSN_WIRE_NET_IMPL_H

#include <curl/curl.h>
#include <uv.h>

#include "wire/net.h"

struct sock;
struct slot;

struct csn_net {
  csn_net_host host;
  uv_loop_t *uv;
  CURLM *multi;
  CURLSH *share; /* TLS sessions */
  uv_timer_t timer, idle_timer;
  bool due_now; /* libcurl wants to be called at once */
  bool is_closing;
  struct sock **socks; /* by descriptor */
  size_t n_socks;
  size_t n_handles; /* of ours that libuv still knows */
  csn_loop_fn *gone;
  void *gone_user;
  csn_http_call *calls; /* that run, newest first */
  struct slot *spare;
  size_t n_spare;
};

/* net_poll.c */
void csn_net_poll_open(csn_net *n);
/* After curl_multi_cleanup().  Calls n->gone and frees n when libuv is done. */
void csn_net_poll_close(csn_net *n);
/* Makes the easy handle report the closing of sockets. */
void csn_net_poll_setup(csn_net *n, CURL *easy);
/* Serves what libcurl wants to do at once, then csn_net_check(). */
void csn_net_kick(csn_net *n);

/* net.c: reports the calls that libcurl has finished. */
void csn_net_check(csn_net *n);
/* Whether a byte of the reply to its present call came. */
bool csn_net_has_heard(CURL *easy);

#endif
