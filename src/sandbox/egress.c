/* SPDX-License-Identifier: Apache-2.0
 *
 * egress.c - starts, configures, listens to and ends an egress process; see
 * sandbox/egress.h.
 *
 * What it says is read in an I/O thread, line by line and bounded: it handles
 * hostile bytes all day, so it is believed no more than it must be.
 */
#include "sandbox/egress.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/loop.h"
#include "core/poll.h"
#include "sandbox/proc.h"
#include "sandbox/program.h"
#include "wire/module.h"

enum { LINE_MAX_BYTES = 64 << 10, PIECE = 16 << 10, FAREWELL_MS = 1000 };

struct csn_egress {
  pid_t pid;
  int sock;
  csn_loop *loop, *own_loop; /* own: to be freed */
  csn_watch *watch;
  void (*on_event)(void *user, csn_str json);
  void *user;
  csn_buf line; /* the loop's thread only */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool is_closing, is_over; /* over: its last byte was read */
  int64_t asked, told;      /* words that were sent, that were answered */
  int64_t reached;          /* of the last answer */
  csn_buf answer;           /* its first line */
};

/* ---- what it says, in the loop's thread ---- */

static void
tell(csn_egress *e, csn_str line)
{
  if (e->on_event)
    e->on_event(e->user, line);
}

/* The answer to a word. */
static bool
is_told(csn_str line, int64_t *reached)
{
  static const csn_str head = CSN_STR_INIT("{\"at\":\"told\",\"reached\":");
  return csn_str_starts(line, head) && csn_str_ends(line, CSN_STR("}")) &&
         csn_str_int(csn_strn(line.p + head.n, line.n - head.n - 1), reached);
}

static void
take_line(csn_egress *e, csn_str line)
{
  int64_t reached = 0;
  pthread_mutex_lock(&e->lock);
  bool is_answer = e->answer.n == 0, told = !is_answer && is_told(line, &reached);
  if (is_answer)
    csn_buf_add(&e->answer, line);
  if (told) {
    e->told++;
    e->reached = reached;
  }
  if (is_answer || told)
    pthread_cond_broadcast(&e->changed);
  pthread_mutex_unlock(&e->lock);
  if (!is_answer && !told)
    tell(e, line);
}

static void
end_of_words(csn_egress *e)
{
  pthread_mutex_lock(&e->lock);
  csn_watch_set(e->watch, 0);
  bool is_death = !e->is_closing && !e->is_over && e->answer.n;
  e->is_over = true;
  pthread_cond_broadcast(&e->changed);
  pthread_mutex_unlock(&e->lock);
  shutdown(e->sock, SHUT_RDWR);
  if (is_death)
    tell(e, CSN_STR("{\"at\":\"end\",\"verdict\":\"refused\",\"reason\":\"the egress process "
                    "died; the sandbox reaches nothing any more\"}"));
}

static void
on_words(void *user, int events)
{
  (void)events;
  csn_egress *e = user;
  char piece[PIECE];
  ssize_t n = recv(e->sock, piece, sizeof piece, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n <= 0) {
    end_of_words(e);
    return;
  }
  csn_str rest = csn_strn(piece, (size_t)n);
  for (;;) {
    size_t end = csn_str_find(rest, CSN_STR("\n"), 0);
    csn_buf_add(&e->line, end == SIZE_MAX ? rest : csn_strn(rest.p, end));
    if (e->line.over) { /* no line of ours is that long */
      end_of_words(e);
      return;
    }
    if (end == SIZE_MAX)
      return;
    take_line(e, csn_buf_str(&e->line));
    csn_buf_clear(&e->line);
    rest = csn_strn(rest.p + end + 1, rest.n - end - 1);
  }
}

/* ---- its life ---- */

static int
open_loop(csn_egress *e, const csn_network *n, csn_err *err)
{
  e->loop = n->loop;
  if (e->loop)
    return 0;
  int rc = csn_loop_new(&e->own_loop, err);
  e->loop = e->own_loop;
  return rc;
}

static void
free_egress(csn_egress *e)
{
  if (e->watch)
    csn_watch_free(e->watch);
  if (e->own_loop)
    csn_loop_free(e->own_loop);
  csn_closep(&e->sock);
  csn_buf_fini(&e->line);
  csn_buf_fini(&e->answer);
  pthread_cond_destroy(&e->changed);
  pthread_mutex_destroy(&e->lock);
  free(e);
}

int
csn_egress_start(csn_egress **out, const csn_network *n, csn_err *err)
{
  int pair[2];
  char path[PATH_MAX];
  csn_auto(csn_closep) int image = csn_module_find("caisson-egress", "egress", path, err);
  if (image < 0)
    return image;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  csn_auto(csn_closep) int theirs = pair[1];
  csn_egress *e = csn_alloc(sizeof *e);
  *e = (csn_egress){.sock = pair[0],
                    .on_event = n->on_event,
                    .user = n->user,
                    .line = CSN_BUF(LINE_MAX_BYTES),
                    .answer = CSN_BUF(LINE_MAX_BYTES)};
  pthread_mutex_init(&e->lock, NULL);
  csn_cond_init(&e->changed);
  const int fds[] = {theirs, image};
  int rc = open_loop(e, n, err);
  if (rc == 0)
    rc = csn_program_start(&e->pid, "caisson-egress", fds, CSN_COUNT(fds), 1, err);
  if (rc < 0) {
    free_egress(e);
    return rc;
  }
  pthread_mutex_lock(&e->lock); /* it may die before we know our watch */
  e->watch = csn_loop_watch(e->loop, e->sock, CSN_READABLE, on_words, e);
  pthread_mutex_unlock(&e->lock);
  *out = e;
  return 0;
}

static int
send_config(csn_egress *e, csn_scope *sc, csn_str config, const int *fds, size_t n, csn_err *err)
{
  const unsigned char head[4] = {(unsigned char)config.n, (unsigned char)(config.n >> 8),
                                 (unsigned char)(config.n >> 16), (unsigned char)(config.n >> 24)};
  int rc = csn_fds_send(e->sock, sc, csn_strn((const char *)head, sizeof head), fds, n, err);
  return rc < 0 ? rc : csn_fds_send(e->sock, sc, config, NULL, 0, err);
}

/* The first line: ready, or why not. */
static int
read_answer(csn_egress *e, csn_arena *a, csn_str *ca_pem, csn_err *err)
{
  const csn_json *v;
  csn_err why;
  if (e->answer.n == 0)
    return csn_fail(err, CSN_E_SANDBOX, "the egress process died while it started");
  csn_str text = csn_arena_dup(a, csn_buf_str(&e->answer));
  int rc = csn_json_parse(a, text, &v, &why);
  if (rc < 0)
    return csn_fail(err, CSN_E_SANDBOX, "the egress process: %s", why.msg);
  csn_str error = csn_json_str(v, "error", CSN_STR(""));
  if (error.n || !csn_json_bool(v, "ready", false))
    return csn_fail(err, CSN_E_SANDBOX, "the egress process: %.*s", (int)(error.n & 0xffff),
                    error.p);
  *ca_pem = csn_json_str(v, "ca_pem", CSN_STR(""));
  return 0;
}

int
csn_egress_configure(csn_egress *e, csn_scope *sc, csn_str config, const int *fds, size_t n,
                     csn_arena *a, csn_str *ca_pem, csn_err *err)
{
  int rc = send_config(e, sc, config, fds, n, err);
  if (rc < 0 && rc != CSN_E_SANDBOX) /* else it has said why, or dies without a word */
    return rc;
  rc = 0;
  pthread_mutex_lock(&e->lock);
  while (rc == 0 && e->answer.n == 0 && !e->is_over)
    rc = csn_scope_wait(sc, &e->changed, &e->lock, err);
  if (rc == 0)
    rc = read_answer(e, a, ca_pem, err);
  pthread_mutex_unlock(&e->lock);
  return rc;
}

int
csn_egress_restrict(csn_egress *e, csn_scope *sc, enum csn_network_restriction to, int64_t *reached,
                    csn_err *err)
{
  static const char words[] = {
      [CSN_NETWORK_AS_LISTED] = '?', [CSN_NETWORK_NO_WRITES] = 'w', [CSN_NETWORK_NOTHING] = 'a'};
  int rc = 0;
  pthread_mutex_lock(&e->lock);
  ssize_t n = send(e->sock, &words[to], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n == 1) {
    int64_t number = ++e->asked;
    while (rc == 0 && e->told < number && !e->is_over)
      rc = csn_scope_wait(sc, &e->changed, &e->lock, err);
  } else if (!e->is_over && errno != EPIPE && errno != ECONNRESET) {
    rc = csn_fail_errno(err, "the egress process cannot be told");
  } /* else it died, and nothing goes out any more */
  *reached = e->reached;
  pthread_mutex_unlock(&e->lock);
  return rc;
}

void
csn_egress_close(csn_egress *e)
{
  if (!e)
    return;
  csn_scope sc;
  csn_scope_init(&sc, NULL, FAREWELL_MS);
  pthread_mutex_lock(&e->lock);
  e->is_closing = true;
  shutdown(e->sock, SHUT_WR);
  while (!e->is_over && csn_scope_wait(&sc, &e->changed, &e->lock, NULL) == 0)
    continue;
  bool is_over = e->is_over;
  pthread_mutex_unlock(&e->lock);
  csn_scope_fini(&sc);
  if (!is_over)
    kill(e->pid, SIGKILL);
  while (waitpid(e->pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  free_egress(e);
}
