/* SPDX-License-Identifier: Apache-2.0
 *
 * exec_talk.h - what is said with a program that is a back-end: JSON lines over
 * its standard input and output (docs/exec-backend.md).
 *
 * One thread does all input and output.  Lines are bounded, numbers that nobody
 * gave and words that nobody knows end the talk, and a program sends no more of
 * a stream than it was given credit for.  The talk ends once, for one reason; who
 * waits then, or asks later, hears it.
 */
#ifndef CSN_SANDBOX_BACKEND_EXEC_TALK_H
#define CSN_SANDBOX_BACKEND_EXEC_TALK_H

#include "base/log.h"
#include "caisson/sandbox.h"

enum {
  CSN_TALK_LINE_MAX = 1 << 20, /* of the program; longer ones end the talk */
  CSN_TALK_ASK_MAX = 16 << 20, /* of ours */
  CSN_TALK_WINDOW = 256 << 10, /* bytes of one stream that nobody has read yet */
  CSN_TALK_CHUNK = 64 << 10,   /* bytes of one write */
  CSN_TALK_DECODED = 1 << 20,  /* what a line can hold */
  CSN_TALK_ASKS_MAX = 1024,    /* requests without an answer */
};

typedef struct csn_talk csn_talk;
typedef struct csn_talk_stream csn_talk_stream;

/* Starts `program`, an absolute path, in a process group of its own.  What it
 * writes to its standard error goes to the log, which may be NULL, without the
 * values of `hidden` (NAME=VALUE, NULL-terminated). */
typedef struct csn_talk_start {
  const char *program, *name; /* name: for messages */
  const char *const *environment, *const *hidden;
  csn_log *log;
} csn_talk_start;
int csn_talk_open(csn_talk **out, const csn_talk_start *how, csn_err *err) CSN_MUST;
/* Closes its input, waits a moment for its end, then kills its group. */
void csn_talk_close(csn_talk *t);
bool csn_talk_is_dead(csn_talk *t);
/* It has said what it must not; or what it serves is gone. */
void csn_talk_end(csn_talk *t, const char *why);

/* A request: members are written to w between init and the call. */
typedef struct csn_talk_ask {
  int64_t id;
  csn_buf text;
  csn_jw w;
  const char *refused; /* after the call: the code of a refusal; or NULL */
} csn_talk_ask;
void csn_talk_ask_init(csn_talk *t, csn_talk_ask *q, const char *what);
static inline void
csn_talk_ask_finip(csn_talk_ask *q)
{
  csn_buf_fini(&q->text);
}
/* Sends it and waits for the answer, an object in `a`. */
int csn_talk_ask_send(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_arena *a,
                      const csn_json **ok, csn_err *err) CSN_MUST;
/* The two halves, for who reads or writes a stream meanwhile. */
int csn_talk_ask_begin(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_err *err) CSN_MUST;
int csn_talk_ask_await(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_arena *a,
                       const csn_json **ok, csn_err *err) CSN_MUST;

/* ---- streams: what comes of a request ---- */

/* Before the request with that number is sent.  ends: with the request's answer,
 * else by an event. */
csn_talk_stream *csn_talk_listen(csn_talk *t, int64_t id, bool ends);
/* Nobody reads it any more; a command that still runs is ended. */
void csn_talk_drop(csn_talk *t, csn_talk_stream *s);
/* The same of one whose request did not begin anything. */
void csn_talk_forget(csn_talk *t, csn_talk_stream *s);
/* As of csn_proc_ops. */
int csn_talk_read(csn_talk *t, csn_talk_stream *s, csn_scope *sc, csn_buf *out, size_t max,
                  enum csn_stream *which, csn_err *err) CSN_MUST;
int csn_talk_wait(csn_talk *t, csn_talk_stream *s, csn_scope *sc, csn_exit *exit,
                  csn_err *err) CSN_MUST;
bool csn_talk_has_ended(csn_talk *t, csn_talk_stream *s);
/* To the stream of the request `of`; nothing: its end. */
int csn_talk_write(csn_talk *t, csn_scope *sc, int64_t of, csn_str bytes, csn_err *err) CSN_MUST;

/* ---- between the files of the talk ---- */

struct csn_talk_call {
  int64_t id;
  bool is_forgotten, is_done;
  char *answer; /* its line */
  size_t n;
  csn_talk_stream *ends, *frees; /* by its answer; NULL: none */
  struct csn_talk_call *next;
};

struct csn_talk_stream {
  int64_t id;
  csn_buf out[2];
  int64_t credit, taken; /* what may still come; what was read and not given back */
  bool has_ended, is_dropped;
  csn_exit exit;
  csn_talk_stream *next;
};

/* What it says on its standard error; exec_said.c. */
struct csn_talk_said {
  csn_log *log;
  const char *name;
  const char *const *hidden;
  csn_buf line, last; /* the one that comes; the last whole one */
  int n_lines;
};
void csn_talk_said_init(struct csn_talk_said *s, const csn_talk_start *how);
void csn_talk_said_fini(struct csn_talk_said *s);
/* Takes what is there; false at the end. */
bool csn_talk_said_read(struct csn_talk_said *s, int fd);

struct csn_talk {
  char *name;
  pid_t pid;
  int to, from, said_fd, wake;
  pthread_t thread;
  pthread_mutex_t lock; /* guards what is below */
  pthread_cond_t changed;
  int64_t last_id;
  struct csn_talk_call *calls;
  size_t n_calls;
  csn_talk_stream *streams;
  csn_buf to_send, come, decoded; /* come, decoded: the thread's */
  csn_arena *arena;               /* of one line; the thread's */
  bool is_dead, is_closing;
  int64_t close_ns; /* when it is killed */
  csn_err why;      /* once it is dead */
  struct csn_talk_said said;
};

/* Lock held, for all. */
void csn_talk_die(csn_talk *t, const char *fmt, ...) CSN_PRINTF(2, 3);
/* One line of the program; one that is an event. */
void csn_talk_hear(csn_talk *t, csn_str line);
void csn_talk_on_event(csn_talk *t, const csn_json *v);
/* Sends a whole line; nobody waits for room, who says little. */
void csn_talk_tell(csn_talk *t, csn_str line);
/* A request whose answer nobody wants. */
void csn_talk_tell_end(csn_talk *t, csn_talk_stream *s);
void csn_talk_stream_free(csn_talk *t, csn_talk_stream *s);

#endif
