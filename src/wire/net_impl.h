/* SPDX-License-Identifier: Apache-2.0
 *
 * net_impl.h - inside the network module: net.c runs calls, net_ws.c those over
 * WebSockets, net_poll.c lets libuv watch libcurl's sockets and timer.  Everything in the loop's
 * thread unless it says otherwise.
 */
#ifndef CSN_WIRE_NET_IMPL_H
#define CSN_WIRE_NET_IMPL_H

#include <curl/curl.h>
#include <uv.h>

#include <stdatomic.h>

#include "wire/address.h"
#include "wire/net.h"

struct sock;
typedef struct csn_net_ws csn_net_ws;

struct csn_http_call {
  csn_net *net;
  csn_http_call *next, **link; /* in net->calls */
  atomic_int refs;             /* the loop, and each cancel on its way */
  bool is_done, is_put_off;    /* put off: its body waits for resume */
  struct slot *slot;           /* while it runs, unless over a WebSocket: */
  csn_net_ws *ws;
  bool is_ws, is_second; /* second: over a connection of its own, as the first was lost */
  uint64_t due_ms;       /* of uv_now: its end; 0: none */
  csn_http_sink sink;
  void *user;
  csn_str body;
  int64_t timeout_ms, idle_ms;
  bool is_guarded;
  const char *const *allowed;
  uint64_t heard_ms;          /* of uv_now: the peer's last byte */
  char *method, *url, *lines; /* lines: "name: value" with NUL after each */
  size_t n_lines, lines_size;
};

struct slot {
  CURL *easy;
  struct slot *next;
  csn_http_call *call;
  csn_net_ws *ws; /* that it is the pipe of; or NULL */
  struct curl_slist *headers;
  csn_buf head;
  size_t head_bytes;
  int status;
  int stop; /* why a callback ended the transfer */
  char error[CURL_ERROR_SIZE];
  char refused[CSN_ENDPOINT_TEXT + 40]; /* an address that may not be connected to; or "" */
};

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
  csn_net_ws *ws;       /* connections of net_ws.c */
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

/* A handle with what never changes; not for others after it was used. */
struct slot *csn_net_slot_new(csn_net *n);
void csn_net_slot_free(struct slot *s);
/* The call is over: err NULL for success. */
void csn_net_end(csn_http_call *c, const csn_err *err);
void csn_net_fail(csn_http_call *c, enum csn_code code, const char *why);
enum csn_code csn_net_code_of(CURLcode rc);
/* net_poll.c: a handle that libuv knew, and that n_handles counts, is gone. */
void csn_net_poll_gone(csn_net *n);

/* net_ws.c */
void csn_net_ws_start(csn_http_call *c);
void csn_net_ws_connected(struct slot *s, CURLcode rc);
/* From csn_net_end(): its connection rests or ends. */
void csn_net_ws_leave(csn_http_call *c);
void csn_net_ws_close(csn_net *n);

#endif
