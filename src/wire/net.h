/* SPDX-License-Identifier: Apache-2.0
 *
 * net.h - between http.c, which is in every program, and the module
 * caisson-net.so, which brings libcurl.  The module uses the program's loop
 * through csn_net_host and has its own copy of core.
 */
#ifndef CSN_WIRE_NET_H
#define CSN_WIRE_NET_H

#include "wire/http.h"
#include "wire/module.h"

/* Raised with every change of the tables below. */
enum { CSN_NET_ABI = 5 };

/* What the program lends to the module. */
typedef struct csn_net_host {
  csn_loop *loop;
  void *(*loop_uv)(csn_loop *l);
  void (*loop_post)(csn_loop *l, csn_loop_fn *fn, void *user);
  void (*loop_post_last)(csn_loop *l, csn_loop_fn *fn, void *user);
  void (*loop_hold)(csn_loop *l, int by);
  bool (*loop_is_current)(csn_loop *l);
} csn_net_host;

typedef struct csn_net csn_net;

typedef struct csn_net_module {
  csn_module base; /* version: both files come from one build */
  /* Any thread; sets itself up in the loop's thread. */
  csn_net *(*open)(const csn_net_host *host);
  /* In the loop's thread.  Cancels what runs, calls each done, then gone(user)
   * once nothing of it is left in the loop. */
  void (*close)(csn_net *n, csn_loop_fn *gone, void *user);
  int (*start)(csn_net *n, const csn_http_req *req, const csn_http_sink *sink, void *user,
               csn_http_call **out, csn_err *err);
  void (*cancel)(csn_net *n, csn_http_call *c);
  void (*resume)(csn_net *n, csn_http_call *c);
} csn_net_module;

/* The one symbol that the module exports. */
CSN_API extern const csn_net_module csn_net_entry;

#endif
