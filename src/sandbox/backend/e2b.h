/* SPDX-License-Identifier: Apache-2.0
 *
 * e2b.h - inside the back-end "e2b": e2b.c opens and closes, e2b_control.c
 * speaks with the service that makes sandboxes, e2b_call.c with the one inside of
 * a sandbox, e2b_process.c and e2b_stream.c run commands, e2b_files.c moves files.
 */
#ifndef CSN_SANDBOX_BACKEND_E2B_H
#define CSN_SANDBOX_BACKEND_E2B_H

#include "caisson/remote.h"
#include "sandbox/backends.h"
#include "wire/connect.h"
#include "wire/exchange.h"

enum {
  CSN_E2B_REPLY_MAX = 1 << 20, /* of one reply that is no stream */
  CSN_E2B_ID_MAX = 128,
  CSN_E2B_TRIES = 3,
  CSN_E2B_CALL_MS = 60000, /* for one call that is no stream */
  CSN_E2B_NONCE = 20,
};

/* What the operator says, checked; in the arena of who reads it. */
struct csn_e2b_config {
  csn_str template, api_url, sandbox_url, domain, key;
  const char *key_env;
  int64_t timeout_s;    /* that it may be unused */
  int64_t life_s;       /* that it can run without a pause; the account's plan says */
  bool is_killed_after; /* by its time-out; else it is paused */
  const csn_json *metadata;
};

#define CSN_E2B_KEY "E2B_API_KEY"
/* Overwrites a secret; one without bytes is fine. */
void csn_e2b_forget(csn_str secret);
extern const csn_sandbox_option csn_e2b_options[];
/* Reads `options` and the environment.  With a message that says what to do. */
int csn_e2b_config(struct csn_e2b_config *c, csn_arena *a, const csn_json *options,
                   csn_err *err) CSN_MUST;

/* ---- the service that makes sandboxes ---- */

/* An account at it. */
struct csn_e2b_account {
  csn_http *http;
  csn_str api_url, key;
  const char *key_env; /* for messages */
};

/* One request: path below the address, body NULL or JSON.  The reply's JSON, in
 * a, which may be NULL for those who want none.  is_safe: may be repeated when it
 * is not known what became of it.  The HTTP status, or an error for one of 400
 * and more with the service's reason. */
struct csn_e2b_request {
  const char *method;
  csn_str path, body;
  bool is_safe;
  const char *once;   /* a key by which the service knows a repetition; or NULL */
  int64_t timeout_ms; /* 0: CSN_E2B_CALL_MS */
};
int csn_e2b_ask(const struct csn_e2b_account *at, csn_scope *sc, const struct csn_e2b_request *q,
                csn_exchange *x, csn_arena *a, const csn_json **reply, csn_err *err) CSN_MUST;

/* What speaks with it without a sandbox. */
struct csn_e2b_desk {
  csn_arena *arena;
  csn_loop *loop;
  struct csn_e2b_config config;
  struct csn_e2b_account account;
};
/* options: as in csn_sandbox_spec.  It must not move. */
int csn_e2b_desk_open(struct csn_e2b_desk *d, const csn_json *options, csn_err *err) CSN_MUST;
/* Also of one that could not be opened. */
void csn_e2b_desk_close(struct csn_e2b_desk *d);

/* All pages of a list; path has a query.  Their number; in a. */
enum { CSN_E2B_PAGES = 100, CSN_E2B_PAGE = 100 };
int csn_e2b_pages(const struct csn_e2b_account *at, csn_scope *sc, csn_str path, csn_arena *a,
                  const csn_json *pages[CSN_E2B_PAGES], csn_err *err) CSN_MUST;

/* ---- a sandbox ---- */

struct csn_e2b_stream;

struct csn_e2b {
  csn_sandbox base;
  csn_loop *loop; /* ours; the client's */
  csn_arena *arena;
  struct csn_e2b_config config;
  struct csn_e2b_account account;
  const char *user; /* whom commands are; NULL: the template's */
  const char *const *environment;
  bool keep;
  csn_str id;           /* once it was made */
  pthread_mutex_t lock; /* guards what is below */
  pthread_cond_t idle;
  csn_str envd_url, domain; /* may change when it is resumed; the old ones stay valid */
  csn_str token, traffic_token;
  bool is_gone, is_ended; /* ended: by us */
  int64_t renew_ns;       /* when its time-out is to be put off again */
  struct csn_e2b_stream *streams;
};

static inline struct csn_e2b *
csn_e2b_of(csn_sandbox *sb)
{
  return (struct csn_e2b *)sb; /* base is the first member */
}

int csn_e2b_create(struct csn_e2b *e, csn_scope *sc, const csn_sandbox_spec *spec,
                   csn_err *err) CSN_MUST;
/* To the one of e->id, which is resumed if it was paused. */
int csn_e2b_connect(struct csn_e2b *e, csn_scope *sc, csn_err *err) CSN_MUST;
int csn_e2b_kill(const struct csn_e2b_account *at, csn_scope *sc, csn_str id,
                 csn_err *err) CSN_MUST;
int csn_e2b_pause(struct csn_e2b *e, csn_scope *sc, csn_err *err) CSN_MUST;
/* Puts its time-out off when that is due.  Failing is no failure of who uses it. */
void csn_e2b_renew(struct csn_e2b *e, csn_scope *sc);
int csn_e2b_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to,
                     int64_t *reached, csn_err *err) CSN_MUST;
/* CSN_E_UNSUPPORTED for a policy that the service cannot hold, by its member. */
int csn_e2b_check_network(const csn_network *n, csn_err *err) CSN_MUST;
int csn_e2b_sweep(csn_scope *sc, const csn_json *options, const csn_sandbox_sweep *how,
                  csn_err *err) CSN_MUST;

/* ---- inside of it ---- */

/* Headers of each request to it; the strings are in a. */
void csn_e2b_headers(struct csn_e2b *e, csn_arena *a, csn_http_req *req, const char *user);
/* A call without a stream.  is_safe as above. */
int csn_e2b_rpc(struct csn_e2b *e, csn_scope *sc, const char *method, csn_str body, bool is_safe,
                csn_err *err) CSN_MUST;
csn_str csn_e2b_url(struct csn_e2b *e, csn_arena *a, const char *path);
/* The reason in a reply that is an error. */
int csn_e2b_refusal(csn_str body, int status, csn_err *err);
/* A call failed with `why`.  0: it may be that the sandbox was paused, and it goes
 * on now.  CSN_E_SANDBOX: it is gone.  CSN_E_CONFLICT: neither. */
int csn_e2b_revive(struct csn_e2b *e, csn_scope *sc, const csn_err *why, csn_err *err) CSN_MUST;
/* Waits before a repetition; false: it is not to be repeated. */
bool csn_e2b_again(csn_scope *sc, int tries, bool is_safe, int rc, const csn_err *err);

int csn_e2b_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out,
                  csn_err *err) CSN_MUST;
int csn_e2b_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err) CSN_MUST;

#endif
