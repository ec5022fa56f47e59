/* SPDX-License-Identifier: Apache-2.0
 * exec_talk.c - see exec_talk.h: the program's life, the thread that reads and
 * writes, and requests with their answers.  exec_stream.c has the streams. */
#include "sandbox/backend/exec_talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "core/proc.h"

enum {
  PIECE = 64 << 10,
  SEND_HIGH = 256 << 10, /* of what waits to be sent: more waits itself */
  LINE_MEMORY = 16 << 20,
  CLOSE_MS = 2000,
  END_POLLS = 50,
  END_POLL_MS = 10,
};

/* ---- the end ---- */

static void
wake(csn_talk *t)
{
  (void)!write(t->wake, &(uint64_t){1}, sizeof(uint64_t)); /* a full counter has woken already */
}

void
csn_talk_die(csn_talk *t, const char *fmt, ...)
{
  char text[400];
  va_list ap;
  if (t->is_dead)
    return;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  t->is_dead = true;
  csn_fail(&t->why, CSN_E_SANDBOX, "%s", text);
  if (!t->is_closing)
    csn_logf(t->said.log, CSN_LOG_WARN, "%s: %s", t->name, text);
  kill(-t->pid, SIGKILL); /* it is not reaped yet, so the number is still its group's */
  pthread_cond_broadcast(&t->changed);
  wake(t);
}

void
csn_talk_end(csn_talk *t, const char *why)
{
  pthread_mutex_lock(&t->lock);
  csn_talk_die(t, "%s", why);
  pthread_mutex_unlock(&t->lock);
}

bool
csn_talk_is_dead(csn_talk *t)
{
  pthread_mutex_lock(&t->lock);
  bool is_dead = t->is_dead;
  pthread_mutex_unlock(&t->lock);
  return is_dead;
}

/* It closed its output: how it ended, which is known a moment later. */
static void
die_of_end(csn_talk *t)
{
  siginfo_t si = {0};
  char how[60] = "closed its output";
  for (int i = 0; i < END_POLLS && si.si_pid == 0; i++) {
    struct timespec pause = {.tv_nsec = END_POLL_MS * 1000000L};
    if (waitid(P_PID, (id_t)t->pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
      break;
    if (si.si_pid == 0)
      nanosleep(&pause, NULL);
  }
  if (si.si_pid && si.si_code == CLD_EXITED)
    snprintf(how, sizeof how, "ended with code %d", si.si_status);
  else if (si.si_pid)
    snprintf(how, sizeof how, "was killed by signal %d", si.si_status);
  csn_talk_said_read(&t->said, t->said_fd);
  csn_talk_die(t, "the program %s%s%.200s", how, t->said.last.n ? "; it said: " : "",
               t->said.last.n ? t->said.last.p : "");
}

/* ---- the thread ---- */

static void
send_some(csn_talk *t)
{
  while (t->to_send.n) {
    ssize_t n = write(t->to, t->to_send.p, t->to_send.n);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN)
      break;
    if (n < 0) { /* its end is told by its output */
      csn_closep(&t->to);
      csn_buf_clear(&t->to_send);
      break;
    }
    csn_buf_drop(&t->to_send, (size_t)n);
  }
  pthread_cond_broadcast(&t->changed);
}

/* What has come, as lines; false at the end. */
static bool
hear_some(csn_talk *t)
{
  char *room = csn_buf_room(&t->come, PIECE);
  ssize_t n = read(t->from, room, PIECE);
  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  if (n == 0)
    return false;
  t->come.n += (size_t)n;
  size_t at = 0;
  const char *end;
  while (!t->is_dead && (end = memchr(t->come.p + at, '\n', t->come.n - at))) {
    size_t len = (size_t)(end - t->come.p) - at;
    if (len > CSN_TALK_LINE_MAX)
      csn_talk_die(t, "the program sent a line of more than %d bytes", CSN_TALK_LINE_MAX);
    else
      csn_talk_hear(t, csn_strn(t->come.p + at, len));
    at += len + 1;
  }
  csn_buf_drop(&t->come, at);
  if (t->come.n > CSN_TALK_LINE_MAX)
    csn_talk_die(t, "the program sent a line of more than %d bytes", CSN_TALK_LINE_MAX);
  return true;
}

static void *
attend(void *talk)
{
  csn_talk *t = talk;
  sigset_t all;
  sigfillset(&all); /* a pipe that nobody reads is an error here, not a signal */
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  pthread_mutex_lock(&t->lock);
  while (!t->is_dead) {
    struct pollfd p[] = {{.fd = t->wake, .events = POLLIN},
                         {.fd = t->from, .events = POLLIN},
                         {.fd = t->said_fd, .events = POLLIN},
                         {.fd = t->to_send.n ? t->to : -1, .events = POLLOUT}};
    int64_t left_ms = t->is_closing ? (t->close_ns - csn_now_ns()) / 1000000 : -1;
    if (t->is_closing && left_ms <= 0)
      csn_talk_die(t, "the program did not end");
    if (t->is_closing && t->to_send.n == 0)
      csn_closep(&t->to);
    pthread_mutex_unlock(&t->lock);
    int n = poll(p, CSN_COUNT(p), (int)left_ms);
    pthread_mutex_lock(&t->lock);
    if (n <= 0)
      continue;
    if (p[0].revents)
      (void)!read(t->wake, &(uint64_t){0}, sizeof(uint64_t));
    if (p[3].revents)
      send_some(t);
    if (p[2].revents && !csn_talk_said_read(&t->said, t->said_fd))
      csn_closep(&t->said_fd);
    if (p[1].revents && !hear_some(t))
      die_of_end(t);
  }
  pthread_mutex_unlock(&t->lock);
  return NULL;
}

/* ---- its life ---- */

static void
free_all(csn_talk *t)
{
  int *const fds[] = {&t->to, &t->from, &t->said_fd, &t->wake};
  for (size_t i = 0; i < CSN_COUNT(fds); i++)
    csn_closep(fds[i]);
  while (t->streams)
    csn_talk_stream_free(t, t->streams);
  for (struct csn_talk_call *c = t->calls, *next; c; c = next) {
    next = c->next;
    free(c->answer);
    free(c);
  }
  csn_buf_fini(&t->to_send);
  csn_buf_fini(&t->come);
  csn_buf_fini(&t->decoded);
  csn_talk_said_fini(&t->said);
  csn_arena_free(t->arena);
  pthread_cond_destroy(&t->changed);
  pthread_mutex_destroy(&t->lock);
  free(t->name);
  free(t);
}

static void
free_allp(csn_talk **t)
{
  if (*t)
    free_all(*t);
}

/* Three pipes; its ends of them are closed again. */
static int
start(csn_talk *t, const csn_talk_start *how, csn_err *err)
{
  const char *const argv[] = {how->program, NULL};
  int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}}, rc = 0;
  for (int i = 0; i < 3 && rc == 0; i++)
    if (pipe2(pipes[i], O_CLOEXEC) < 0)
      rc = csn_fail_errno(err, "pipe");
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const csn_command c = {.argv = argv,
                         .environment = how->environment,
                         .cwd_fd = top,
                         .stdin_fd = pipes[0][0],
                         .stderr_fd = pipes[2][1]};
  if (rc == 0)
    rc = csn_command_start(&c, pipes[1][1], &t->pid, err);
  t->to = pipes[0][1];
  t->from = pipes[1][0];
  t->said_fd = pipes[2][0];
  csn_closep(&pipes[0][0]);
  csn_closep(&pipes[1][1]);
  csn_closep(&pipes[2][1]);
  if (rc < 0) /* not to be taken for a sandbox that is gone */
    return rc == CSN_E_NOT_FOUND ? csn_fail(err, CSN_E_UNAVAILABLE, "no program %s", how->program)
                                 : rc;
  int flags[] = {t->to, t->from, t->said_fd};
  for (size_t i = 0; i < CSN_COUNT(flags); i++)
    fcntl(flags[i], F_SETFL, O_NONBLOCK);
  return 0;
}

static void
reap(csn_talk *t)
{
  kill(-t->pid, SIGKILL);
  while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
    continue;
}

int
csn_talk_open(csn_talk **out, const csn_talk_start *how, csn_err *err)
{
  csn_auto(free_allp) csn_talk *t = csn_alloc(sizeof *t);
  *t = (csn_talk){.name = csn_dupz(csn_cstr(how->name)),
                  .to = -1,
                  .from = -1,
                  .said_fd = -1,
                  .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                  .to_send = CSN_BUF(2u * CSN_TALK_ASK_MAX),
                  .come = CSN_BUF(CSN_TALK_LINE_MAX + 2u * PIECE),
                  .decoded = CSN_BUF(CSN_TALK_DECODED),
                  .arena = csn_arena_new(LINE_MEMORY)};
  pthread_mutex_init(&t->lock, NULL);
  csn_cond_init(&t->changed);
  csn_talk_said_init(&t->said, how);
  t->said.name = t->name;
  if (t->wake < 0)
    return csn_fail_errno(err, "eventfd");
  int rc = start(t, how, err);
  if (rc < 0)
    return rc;
  errno = pthread_create(&t->thread, NULL, attend, t);
  if (errno) {
    rc = csn_fail_errno(err, "a thread for %s", how->name);
    reap(t);
    return rc;
  }
  *out = csn_steal(t);
  return 0;
}

void
csn_talk_close(csn_talk *t)
{
  if (!t)
    return;
  pthread_mutex_lock(&t->lock);
  t->is_closing = true;
  t->close_ns = csn_now_ns() + CLOSE_MS * 1000000LL;
  wake(t);
  pthread_mutex_unlock(&t->lock);
  pthread_join(t->thread, NULL);
  reap(t);
  free_all(t);
}

/* ---- requests ---- */

void
csn_talk_tell(csn_talk *t, csn_str line)
{
  csn_buf_add(&t->to_send, line);
  csn_buf_addc(&t->to_send, '\n');
  if (t->to_send.over)
    csn_talk_die(t, "the program does not read what it is told");
  wake(t);
}

void
csn_talk_ask_init(csn_talk *t, csn_talk_ask *q, const char *what)
{
  pthread_mutex_lock(&t->lock);
  int64_t id = ++t->last_id;
  pthread_mutex_unlock(&t->lock);
  *q = (csn_talk_ask){.id = id, .text = CSN_BUF(CSN_TALK_ASK_MAX)};
  csn_jw_init(&q->w, &q->text);
  csn_jw_obj(&q->w);
  csn_jw_key(&q->w, "id");
  csn_jw_int(&q->w, id);
  csn_jw_key(&q->w, "do");
  csn_jw_strz(&q->w, what);
}

static int
is_over(const csn_talk *t, csn_err *err)
{
  return t->is_dead ? csn_fail(err, CSN_E_SANDBOX, "%s", t->why.msg) : 0;
}

static struct csn_talk_call *
call_new(csn_talk *t, int64_t id)
{
  struct csn_talk_call *c = csn_alloc(sizeof *c);
  *c = (struct csn_talk_call){.id = id, .next = t->calls};
  t->calls = c;
  t->n_calls++;
  return c;
}

int
csn_talk_ask_begin(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_err *err)
{
  csn_jw_end(&q->w);
  int rc = csn_jw_done(&q->w, err);
  pthread_mutex_lock(&t->lock);
  while (rc == 0 && !t->is_dead && t->to_send.n > SEND_HIGH)
    rc = csn_scope_wait(sc, &t->changed, &t->lock, err);
  if (rc == 0)
    rc = is_over(t, err);
  if (rc == 0 && t->n_calls >= CSN_TALK_ASKS_MAX)
    rc = csn_fail(err, CSN_E_LIMIT, "%d requests to the program are not answered",
                  CSN_TALK_ASKS_MAX);
  if (rc == 0) {
    struct csn_talk_call *c = call_new(t, q->id);
    for (csn_talk_stream *s = t->streams; s; s = s->next)
      if (s->id == q->id && s->has_ended) { /* see csn_talk_listen() */
        s->has_ended = false;
        c->ends = s;
      }
    csn_talk_tell(t, csn_buf_str(&q->text));
  }
  pthread_mutex_unlock(&t->lock);
  return rc;
}

static struct csn_talk_call *
find_call(csn_talk *t, int64_t id)
{
  struct csn_talk_call *c = t->calls;
  while (c && c->id != id)
    c = c->next;
  return c;
}

static void
call_free(csn_talk *t, struct csn_talk_call *c)
{
  struct csn_talk_call **at = &t->calls;
  while (*at != c)
    at = &(*at)->next;
  *at = c->next;
  t->n_calls--;
  free(c->answer);
  free(c);
}

/* A refusal: its code becomes ours, its text is cut and has no control characters. */
static int
refuse(csn_talk *t, csn_talk_ask *q, const csn_json *error, csn_err *err)
{
  static const struct {
    const char *word;
    enum csn_code code;
    const char *text;
  } rows[] = {
      {"invalid", CSN_E_INVALID, "the program does not take that"},
      {"no_program", CSN_E_NOT_FOUND, "no such program"},
      {"no_folder", CSN_E_NOT_FOUND, "no such folder"},
      {"not_found", CSN_E_NOT_FOUND, "there is no such thing"},
      {"closed", CSN_E_IO, "the command has ended or closed its input"},
      {"unsupported", CSN_E_UNSUPPORTED, "the program cannot do that"},
      {"limit", CSN_E_LIMIT, "a limit was reached"},
      {"unavailable", CSN_E_UNAVAILABLE, "it cannot be reached now"},
      {"denied", CSN_E_DENIED, "it is not allowed"},
      {"conflict", CSN_E_CONFLICT, "it is used by others"},
      {"gone", CSN_E_SANDBOX, "the sandbox is gone"},
      {"failed", CSN_E_SANDBOX, "it failed"},
  };
  csn_str word = csn_json_str(error, "code", CSN_STR("")),
          text = csn_json_str(error, "message", CSN_STR(""));
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(320);
  for (size_t i = 0; i < text.n && i < 300; i++)
    csn_buf_addc(&clean, (unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f ? ' ' : text.p[i]);
  clean.n = csn_utf8_valid(csn_buf_str(&clean));
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    if (!csn_str_eq(word, csn_cstr(rows[i].word)))
      continue;
    q->refused = rows[i].word;
    if (strcmp(rows[i].word, "gone") == 0)
      csn_talk_die(t, "the sandbox is gone%s%.*s", clean.n ? ": " : "", (int)clean.n, clean.p);
    csn_fail(err, rows[i].code, "%s%s%.*s", rows[i].text, clean.n ? ": " : "", (int)clean.n,
             clean.n ? clean.p : "");
    if (err && rows[i].code == CSN_E_IO)
      err->sys_errno = EPIPE;
    return rows[i].code;
  }
  csn_talk_die(t, "the program refused request %lld with an unknown code \"%.*s\"",
               (long long)q->id, (int)(word.n < 40 ? word.n : 40), word.p);
  return is_over(t, err);
}

/* Lock held: what the line of an answer says. */
static int
read_answer(csn_talk *t, csn_talk_ask *q, csn_str line, csn_arena *a, const csn_json **out,
            csn_err *err)
{
  const csn_json *v = NULL;
  int rc = csn_json_parse(a, csn_arena_dup(a, line), &v, err);
  if (rc < 0)
    return rc;
  const csn_json *error = csn_json_get(v, "error"), *ok = csn_json_get(v, "ok");
  if (csn_json_is(error, CSN_JSON_OBJECT))
    return refuse(t, q, error, err);
  if (!csn_json_is(ok, CSN_JSON_OBJECT)) {
    csn_talk_die(t, "the program's answer to request %lld has neither `ok` nor `error`, an object",
                 (long long)q->id);
    return is_over(t, err);
  }
  *out = ok;
  return 0;
}

int
csn_talk_ask_await(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_arena *a, const csn_json **ok,
                   csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&t->lock);
  struct csn_talk_call *c = find_call(t, q->id);
  while (rc == 0 && !c->is_done && !t->is_dead)
    rc = csn_scope_wait(sc, &t->changed, &t->lock, err);
  if (c->is_done)
    rc = read_answer(t, q, csn_strn(c->answer, c->n), a, ok, err);
  else if (rc == 0)
    rc = is_over(t, err);
  if (c->is_done || t->is_dead)
    call_free(t, c);
  else
    c->is_forgotten = true;
  pthread_mutex_unlock(&t->lock);
  return rc;
}

int
csn_talk_ask_send(csn_talk *t, csn_scope *sc, csn_talk_ask *q, csn_arena *a, const csn_json **ok,
                  csn_err *err)
{
  int rc = csn_talk_ask_begin(t, sc, q, err);
  return rc < 0 ? rc : csn_talk_ask_await(t, sc, q, a, ok, err);
}

/* ---- what is heard ---- */

static void
on_answer(csn_talk *t, const csn_json *v, csn_str line)
{
  int64_t id = 0;
  struct csn_talk_call *c = csn_json_to_int(csn_json_get(v, "id"), &id) ? find_call(t, id) : NULL;
  if (!c || c->is_done) {
    csn_talk_die(t, "the program answers request %lld, which waits for no answer", (long long)id);
    return;
  }
  if (c->ends)
    c->ends->has_ended = true;
  if (c->frees)
    csn_talk_stream_free(t, c->frees);
  c->is_done = true;
  if (c->is_forgotten) {
    call_free(t, c);
    return;
  }
  c->answer = csn_dupz(line);
  c->n = line.n;
}

void
csn_talk_hear(csn_talk *t, csn_str line)
{
  const csn_json *v = NULL;
  csn_err err;
  csn_arena_clear(t->arena);
  if (csn_json_parse(t->arena, line, &v, &err) < 0 || v->kind != CSN_JSON_OBJECT)
    csn_talk_die(t, "the program sent a line that is no JSON object: %.*s",
                 (int)(line.n < 80 ? line.n : 80), line.p);
  else if (csn_json_get(v, "event"))
    csn_talk_on_event(t, v);
  else
    on_answer(t, v, line);
  pthread_cond_broadcast(&t->changed);
}

void
csn_talk_tell_end(csn_talk *t, csn_talk_stream *s)
{
  char line[100];
  if (t->is_dead)
    return;
  struct csn_talk_call *c = call_new(t, ++t->last_id);
  c->is_forgotten = true;
  c->frees = s;
  snprintf(line, sizeof line, "{\"id\":%lld,\"do\":\"end\",\"of\":%lld}", (long long)c->id,
           (long long)s->id);
  csn_talk_tell(t, csn_cstr(line));
}
