/* SPDX-License-Identifier: Apache-2.0
 *
 * e2b_stream.h - the events of one command inside of an E2B sandbox: a stream of
 * the service there, from which output is taken when somebody wants it.
 *
 * Commands are started by a script of ours (e2b_process.c), which says in their
 * output, behind a mark that no other program knows, that they began and how they
 * ended.  The service itself would tell the end only when the last process that
 * holds the output has closed it, and would not tell a signal from a code.
 */
#ifndef CSN_SANDBOX_BACKEND_E2B_STREAM_H
#define CSN_SANDBOX_BACKEND_E2B_STREAM_H

#include "sandbox/backend/e2b.h"

enum { CSN_E2B_SAID = 40 };

/* Finds marks in one output, however it is cut. */
struct csn_e2b_marks {
  char head[CSN_E2B_NONCE + 3]; /* what a mark begins with */
  size_t n_head, at;            /* at: how much of it was seen */
  char said[CSN_E2B_SAID];      /* the rest of its line */
  size_t n_said;
};
void csn_e2b_marks_init(struct csn_e2b_marks *m, const char *nonce);
/* Output goes to `out` (as much as fits), marks to on_mark. */
void csn_e2b_marks_feed(struct csn_e2b_marks *m, csn_str bytes, csn_buf *out,
                        void (*on_mark)(void *user, csn_str said), void *user);

struct csn_e2b_stream {
  pthread_mutex_t lock; /* guards all of it */
  pthread_cond_t changed;
  int refs; /* the command, and each call that runs */
  csn_http *http;
  csn_http_call *call; /* while it runs */
  csn_buf body;        /* of its request */
  csn_connect codec;
  csn_arena *arena; /* of one event */
  int status;
  csn_buf refusal; /* the body of a reply that is no stream */
  csn_err err;     /* why the call ended; code 0: well */
  bool is_done;    /* the call is over */
  bool is_put_off; /* somebody must read before more comes */
  bool is_waiting; /* for the end: output may pile up */
  bool is_split;
  /* what the command told */
  uint32_t pid; /* of the script: by this the service knows it; 0: not yet */
  int group;    /* its process group; 0: it has not begun */
  char fault;   /* why it did not begin: 'D' no folder, 'N' no program, 'X' none to execute; or 0 */
  int n_ends;   /* outputs whose end was told */
  bool has_ended;
  csn_exit exit;
  csn_buf out[2];
  struct csn_e2b_marks marks[2];
  int64_t linger_ns; /* when a call that nobody needs is ended */
  struct csn_e2b_stream *next;
};

struct csn_e2b_stream *csn_e2b_stream_new(csn_http *http, const char *nonce, bool is_split);
void csn_e2b_stream_unref(struct csn_e2b_stream *s);
/* Sends req, with s->body for its body.  No other call may run. */
int csn_e2b_stream_start(struct csn_e2b_stream *s, const csn_http_req *req, csn_err *err) CSN_MUST;
/* Ends the call, if it runs, and waits for that. */
void csn_e2b_stream_stop(struct csn_e2b_stream *s);
/* Locked: nothing more will be told of the command. */
bool csn_e2b_stream_is_over(const struct csn_e2b_stream *s);
/* Locked: lets more come when there is room. */
void csn_e2b_stream_go_on(struct csn_e2b_stream *s);

/* ---- a command ---- */

struct csn_e2b_proc {
  csn_proc base;
  struct csn_e2b *e;
  struct csn_e2b_stream *s;
  char nonce[CSN_E2B_NONCE + 1];
  char *user;     /* NULL: the template's */
  bool is_unsure; /* whether it began, after a failure */
  bool is_attaching, is_input_closed;
  int cuts;
};

extern const csn_proc_ops csn_e2b_proc_ops;
void csn_e2b_proc_free(struct csn_e2b_proc *p);
/* Opens a stream of `method`, which takes the one message. */
int csn_e2b_open_stream(struct csn_e2b_proc *p, const char *method, csn_str message,
                        csn_err *err) CSN_MUST;
/* The member "pty", with the size of a terminal. */
void csn_e2b_write_size(csn_jw *w, int rows, int cols);

#endif
