/* SPDX-License-Identifier: Apache-2.0
 *
 * gate.h - how much of a provider the runs of a process use at once and in a
 * minute, and whose turn it is.
 *
 * Limits hold for any 60 seconds, not for minutes of a clock: a gate keeps what
 * it let in during the last 60.  Who has to wait stands in a queue in which
 * groups (a run with the agents it calls) take turns, so that one with many
 * calls does not hold up one with a single call.  A provider that asks to wait
 * (Retry-After) is left alone by all.  Time is CLOCK_MONOTONIC and comes in as
 * an argument: setting the clock changes nothing.
 */
#ifndef CSN_RUN_GATE_H
#define CSN_RUN_GATE_H

#include <pthread.h>

#include "base/loop.h"

/* Each 0: no limit. */
typedef struct csn_gate_limits {
  int64_t requests, tokens; /* in any 60 seconds */
  int64_t concurrency;
} csn_gate_limits;

typedef struct csn_gate csn_gate;

/* One call; the caller's memory until it has left or was dropped. */
typedef struct csn_gate_call {
  const void *group;
  int64_t tokens; /* what it will use, about */
  /* Called once when its turn has come, or (is_refused) when it would have to
   * wait for too long; under the gate's lock: it must not call the gate. */
  void (*wake)(void *user);
  void *user;
  enum { CSN_GATE_OUT, CSN_GATE_QUEUED, CSN_GATE_INSIDE } where;
  bool is_refused;
  int64_t turn, entry;
  struct csn_gate_call *next;
} csn_gate_call;

/* A longer wait than this is refused. */
enum { CSN_GATE_LONGEST_MS = 60000 };

csn_gate *csn_gate_new(csn_str name, const csn_gate_limits *limits);
void csn_gate_free(csn_gate *g);
csn_str csn_gate_name(const csn_gate *g);

/* All of these from any thread. */

/* 1: it is inside; 0: it waits, and wake will be called; CSN_E_UNAVAILABLE:
 * the provider asked for a longer pause than anybody should wait. */
int csn_gate_enter(csn_gate *g, csn_gate_call *c, int64_t now_ns, csn_err *err) CSN_MUST;
/* The refusal of one that was woken with is_refused. */
int csn_gate_refusal(csn_gate *g, int64_t now_ns, csn_err *err);
/* It used so many tokens.  Does nothing for one that is not inside. */
void csn_gate_leave(csn_gate *g, csn_gate_call *c, int64_t tokens, int64_t now_ns);
/* Takes it out of the queue; false: it is not there any more. */
bool csn_gate_drop(csn_gate *g, csn_gate_call *c, int64_t now_ns);
/* The provider speaks no WebSocket: known from now on. */
void csn_gate_forgo_sockets(csn_gate *g);
bool csn_gate_has_sockets(const csn_gate *g);
/* Nobody goes in before. */
void csn_gate_hold(csn_gate *g, int64_t until_ns, int64_t now_ns);
/* Lets in whose turn it is.  Returns when to call it again, INT64_MAX for when
 * somebody leaves. */
int64_t csn_gate_serve(csn_gate *g, int64_t now_ns);
/* From now on the loop's timer does that. */
void csn_gate_run_on(csn_gate *g, csn_loop *loop);

#endif
