/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson sandbox port - where the exposed ports of running sandboxes are.
 *
 * The process that has the sandbox serves its ports at ports of 127.0.0.1 and
 * tells which in the state folder (run/ports.h).  One that is to be elsewhere
 * is passed on from here, for as long as this command runs.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "commands.h"
#include "core/poll.h"
#include "networking.h"
#include "sandbox/forward.h"

enum { LOOK_MS = 500 };

struct port_opts {
  bool json;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct port_opts, json)},
    {0},
};

/* ---- all of them ---- */

struct listing {
  bool json;
  csn_buf out;
  csn_jw w;
  int n;
};

static void
add_json(csn_jw *w, const csn_ports_seen *s, csn_port p)
{
  char address[32];
  snprintf(address, sizeof address, "127.0.0.1:%u", p.here);
  csn_jw_obj(w);
  csn_jw_key(w, "sandbox");
  csn_jw_strz(w, s->id);
  csn_jw_key(w, "port");
  csn_jw_int(w, p.port);
  csn_jw_key(w, "host");
  csn_jw_strz(w, "127.0.0.1");
  csn_jw_key(w, "host_port");
  csn_jw_int(w, p.here);
  csn_jw_key(w, "address");
  csn_jw_strz(w, address);
  csn_jw_key(w, "pid");
  csn_jw_int(w, s->pid);
  csn_jw_end(w);
}

static int
add_sandbox(void *user, const csn_ports_seen *s)
{
  struct listing *l = user;
  for (size_t i = 0; i < s->n; i++, l->n++)
    if (l->json)
      add_json(&l->w, s, s->ports[i]);
    else
      csn_buf_addf(&l->out, "%-20s %5u  127.0.0.1:%u\n", s->id, s->ports[i].port, s->ports[i].here);
  return 0;
}

static int
list(cli *c, int state, const csn_ports_seen *one, bool json, csn_err *err)
{
  struct listing l = {.json = json, .out = CSN_BUF(16u << 20)};
  csn_jw_init(&l.w, &l.out);
  if (json)
    csn_jw_arr(&l.w);
  int rc = one ? add_sandbox(&l, one) : state < 0 ? 0 : csn_ports_each(state, add_sandbox, &l, err);
  if (json)
    csn_jw_end(&l.w);
  if (rc == 0)
    rc = csn_buf_done(&l.out, "the list of ports", err);
  if (rc == 0 && json)
    printf("%s\n", l.out.p);
  else if (rc == 0 && l.n)
    cli_put(stdout, csn_buf_str(&l.out));
  else if (rc == 0)
    cli_note(c, "no sandbox that runs exposes a port");
  csn_buf_fini(&l.out);
  return rc;
}

/* ---- one ---- */

struct wanted {
  csn_str head; /* of its id, or all of it */
  csn_ports_seen found;
  int n;
};

static int
compare(void *user, const csn_ports_seen *s)
{
  struct wanted *w = user;
  csn_str id = csn_cstr(s->id);
  bool is_all = csn_str_eq(id, w->head);
  if (!csn_str_starts(id, w->head))
    return 0;
  w->found = *s;
  w->n = is_all ? 1 : w->n + 1;
  return is_all;
}

static int
find(int state, const char *head, csn_ports_seen *out, csn_err *err)
{
  csn_auto(csn_freep) struct wanted *w = csn_alloc(sizeof *w);
  *w = (struct wanted){.head = csn_cstr(head)};
  int rc = state < 0 ? 0 : csn_ports_each(state, compare, w, err);
  if (rc < 0)
    return rc;
  if (w->n == 0)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "no sandbox of \"%.60s\" that runs exposes a port; `expose: [PORT]` in "
                    "agent.yaml and --expose of `caisson sandbox run` do",
                    head);
  if (w->n > 1)
    return csn_fail(err, CSN_E_INVALID, "several sandboxes begin with \"%.60s\"", head);
  *out = w->found;
  return 0;
}

/* ---- another port of ours for it ---- */

struct target {
  uint16_t port;
};

/* A connection that is refused later ends the link then. */
static int
dial(void *user, csn_scope *sc, int *fd, csn_err *err)
{
  const struct target *t = user;
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons(t->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  csn_auto(csn_closep) int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s < 0)
    return csn_fail_errno(err, "socket");
  if (connect(s, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
    return csn_fail_errno(err, "connect");
  struct pollfd ready = {.fd = s, .events = POLLOUT};
  int rc = csn_poll(sc, &ready, 1, err), failed = 0;
  socklen_t n = sizeof failed;
  if (rc < 0)
    return rc;
  if (getsockopt(s, SOL_SOCKET, SO_ERROR, &failed, &n) < 0 || failed) {
    errno = failed ? failed : errno;
    return csn_fail_errno(err, "connect");
  }
  *fd = s;
  s = -1;
  return 0;
}

/* Until the command is interrupted or the ports are served no longer. */
static int
wait_for_end(cli *c, int state, const csn_ports_seen *s, csn_err *err)
{
  csn_auto(csn_freep) csn_ports_seen *now = csn_alloc(sizeof *now);
  for (;;) {
    csn_scope turn;
    csn_scope_init(&turn, &c->scope, LOOK_MS);
    int rc = csn_poll(&turn, NULL, 0, err);
    csn_scope_fini(&turn);
    if (rc != CSN_E_TIMEOUT)
      return rc;
    rc = find(state, s->id, now, err);
    if (rc == CSN_E_NOT_FOUND || (rc == 0 && now->pid != s->pid)) {
      cli_note(c, "the sandbox of %s has ended", s->id);
      return CLI_DONE;
    }
    if (rc < 0)
      return rc;
  }
}

static int
pass_on(cli *c, int state, const csn_ports_seen *s, csn_port p, uint16_t here, bool json,
        csn_err *err)
{
  csn_forward *f = NULL;
  struct target to = {p.here};
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = csn_forward_open_by(&f, dial, &to, here, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_jw w;
  csn_jw_init(&w, &text);
  add_json(&w, s, (csn_port){p.port, here});
  if (json)
    puts(text.p);
  else
    cli_note(c, "port %u of %s is at 127.0.0.1:%u", p.port, s->id, here);
  rc = cli_flush(err);
  if (rc == 0)
    rc = wait_for_end(c, state, s, err);
  csn_forward_close(f);
  return rc;
}

static int
show(cli *c, int state, const csn_ports_seen *s, const char *word, bool json, csn_err *err)
{
  uint16_t here, port = 0;
  if (!cli_port_parse(csn_cstr(word), &here, &port))
    return csn_fail(err, CSN_E_INVALID, "'%.60s' should be [HERE:]PORT", word);
  const csn_port *p = NULL;
  for (size_t i = 0; i < s->n; i++)
    if (s->ports[i].port == port)
      p = &s->ports[i];
  if (!p)
    return csn_fail(err, CSN_E_NOT_FOUND, "%s does not expose port %u", s->id, port);
  if (here)
    return pass_on(c, state, s, *p, here, json, err);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_jw w;
  csn_jw_init(&w, &text);
  add_json(&w, s, *p);
  if (json)
    puts(text.p);
  else
    printf("127.0.0.1:%u\n", p->here);
  return CLI_DONE;
}

static int
port_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct port_opts *v = o;
  csn_auto(csn_closep) int state = -1;
  csn_auto(csn_freep) csn_ports_seen *s = csn_alloc(sizeof *s);
  int rc = cli_state_open(c, false, &state, NULL, err);
  if (rc < 0 && rc != CSN_E_NOT_FOUND)
    return rc;
  if (argc == 0)
    return list(c, state, NULL, v->json, err);
  rc = find(state, argv[0], s, err);
  if (rc < 0)
    return rc;
  return argc == 1 ? list(c, state, s, v->json, err) : show(c, state, s, argv[1], v->json, err);
}

const cli_cmd cmd_sandbox_port = {
    .name = "port",
    .args = "[RUN] [PORT]",
    .brief = "Tell where exposed ports of running sandboxes are",
    .help = "Without PORT all that are exposed, of RUN or of all that go on; RUN is a run or a "
            "sandbox-PID of `caisson sandbox run`, or how it begins. With PORT the address alone, "
            "for a script. HERE:PORT makes it reachable at 127.0.0.1:HERE as well, until this "
            "command is interrupted or the sandbox ends.\n\n"
            "What listens there is a process of the sandbox: do not trust what it says. "
            "Everybody on this machine can reach these ports.",
    .size = sizeof(struct port_opts),
    .opts = opts,
    .main = port_main,
};
