/* SPDX-License-Identifier: Apache-2.0
 *
 * test_network.c - what a jail with a network policy can reach, with an egress
 * process of the test's (fake_egress.c): every address leads to a listener of
 * the harness or nowhere.  What the real one allows is in tests/egress. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "core/fd.h"
#include "identity.h"

struct cell {
  csn_sandbox *sb;
  csn_err err;
  csn_buf out;
  pthread_mutex_t lock;
  csn_buf events; /* a line each */
};

static void
on_event(void *user, csn_str json)
{
  struct cell *c = user;
  pthread_mutex_lock(&c->lock);
  csn_buf_add(&c->events, json);
  csn_buf_addc(&c->events, '\n');
  pthread_mutex_unlock(&c->lock);
}

/* Opens a jail with the policy; the code. */
static int
try_open(struct cell *c, csn_network policy, const uint16_t *expose, size_t n_expose)
{
  *c = (struct cell){.out = CSN_BUF(1 << 20), .events = CSN_BUF(1 << 20)};
  pthread_mutex_init(&c->lock, NULL);
  policy.on_event = on_event;
  policy.user = c;
  csn_sandbox_spec spec = {.backend = "jail",
                           .workspace_fd = -1,
                           .lock_fd = -1,
                           .network = policy.n_hosts || policy.open ? &policy : NULL,
                           .expose = expose,
                           .n_expose = n_expose};
  int rc = csn_sandbox_open(&c->sb, NULL, &spec, &c->err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", c->err.msg);
  if (rc < 0 && geteuid() != 0 && access("/proc/self/exe", X_OK) < 0)
    SKIP("user %d may not start programs of the build folder", (int)geteuid());
  return rc;
}

static void
cell_open(struct cell *c, const char *host)
{
  csn_network_host one = {.host = host};
  OK(try_open(c, (csn_network){.hosts = &one, .n_hosts = 1}, NULL, 0), &c->err);
}

static void
cell_close(struct cell *c)
{
  csn_sandbox_close(c->sb);
  c->sb = NULL;
}

static void
cell_free(struct cell *c)
{
  cell_close(c);
  csn_buf_fini(&c->out);
  csn_buf_fini(&c->events);
}

/* The output of a script of bash, which can open connections by itself. */
static const char *
bash(struct cell *c, const char *script)
{
  csn_exit end;
  csn_buf_clear(&c->out);
  int rc = csn_sandbox_exec(
      c->sb, NULL,
      &(csn_exec){.argv = (const char *[]){"bash", "-c", script, NULL}, .claim_fd = -1}, &c->out,
      NULL, &end, &c->err);
  if (rc == CSN_E_NOT_FOUND)
    SKIP("no bash on this machine");
  OK(rc, &c->err);
  return c->out.p ? c->out.p : "";
}

/* Waits until an event holds the text. */
static bool
has_event(struct cell *c, const char *text)
{
  for (int i = 0; i < 5000; i++) {
    pthread_mutex_lock(&c->lock);
    bool found = csn_str_find(csn_buf_str(&c->events), csn_cstr(text), 0) != SIZE_MAX;
    pthread_mutex_unlock(&c->lock);
    if (found)
      return true;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return false;
}

#define TALK "exec 3<>/dev/tcp/%s && cat <&3"

TEST(every_address_leads_to_the_harness_or_nowhere)
{
  struct cell c;
  cell_open(&c, "example.com");
  static const struct {
    const char *to, *want;
  } rows[] = {
      {"93.184.216.34/443", "tcp 93.184.216.34:443\n"},
      {"169.254.169.254/80", "tcp 169.254.169.254:80\n"},
      {"127.0.0.1/443", "tcp 127.0.0.1:443\n"},
      {"127.0.0.1/3128", "proxy 127.0.0.1:3128\n"},
      {"8.8.8.8/53", "dns_tcp 8.8.8.8:53\n"},
      {"2606:4700:4700::1111/443", "tcp [2606:4700:4700::1111]:443\n"},
      {"10.0.0.1/22", NULL},
      {"93.184.216.34/8080", NULL},
      {"::1/22", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char script[200];
    snprintf(script, sizeof script, TALK, rows[i].to);
    const char *got = bash(&c, script);
    if (rows[i].want && strstr(got, "ddress family"))
      print_message("# no IPv6 in this kernel\n");
    else if (rows[i].want ? strcmp(got, rows[i].want) != 0 : !strstr(got, "onnection refused"))
      fail_msg("%s: %s", rows[i].to, got);
  }
  assert_true(
      has_event(&c, "{\"at\":\"connection\",\"how\":\"tcp\",\"address\":\"93.184.216.34:443\"}"));
  cell_free(&c);
}

TEST(questions_about_names_come_to_the_harness)
{
  struct cell c;
  cell_open(&c, "example.com");
  assert_string_equal(bash(&c, "cat /etc/resolv.conf"),
                      "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n");
  assert_string_equal(bash(&c, "for s in 127.0.0.1 8.8.8.8; do exec 3<>/dev/udp/$s/53; echo q >&3; "
                               "echo $s $(timeout 20 head -n 1 <&3); done"),
                      "127.0.0.1 name\n8.8.8.8 name\n");
  cell_free(&c);
}

TEST(ports_of_the_policy_are_listened_on_and_no_others)
{
  struct cell c;
  const uint16_t ports[] = {22, 5432};
  csn_network_host hosts[] = {{.host = "db.example.com", .ports = ports, .n_ports = 2}};
  OK(try_open(&c, (csn_network){.hosts = hosts, .n_hosts = 1}, NULL, 0), &c.err);
  assert_string_equal(bash(&c, "exec 3<>/dev/tcp/198.18.0.1/22 && cat <&3"), "tcp 198.18.0.1:22\n");
  assert_string_equal(bash(&c, "exec 3<>/dev/tcp/1.2.3.4/5432 && cat <&3"), "tcp 1.2.3.4:5432\n");
  assert_non_null(strstr(bash(&c, "exec 3<>/dev/tcp/1.2.3.4/443"), "onnection refused"));
  cell_free(&c);
}

TEST(programs_find_the_proxy_and_trust_the_sandboxs_authority)
{
  struct cell c;
  cell_open(&c, "example.com");
  const char *got = bash(&c, "env; tail -n 1 /run/caisson/ca.pem; ls -l /run/caisson/ca.pem;"
                             "tail -n 1 /etc/ssl/certs/ca-certificates.crt;"
                             "[ -w /run/caisson/ca.pem ] || [ -w /etc/resolv.conf ] || echo fixed");
  static const char *const lines[] = {"HTTPS_PROXY=http://127.0.0.1:3128\n",
                                      "https_proxy=http://127.0.0.1:3128\n",
                                      "NO_PROXY=localhost,127.0.0.1,::1\n",
                                      "SSL_CERT_FILE=/run/caisson/ca.pem\n",
                                      "NODE_EXTRA_CA_CERTS=/run/caisson/ca.pem\n",
                                      "\nthe sandbox's own authority\n",
                                      "-r--r--r--",
                                      "\nfixed\n"};
  for (size_t i = 0; i < CSN_COUNT(lines); i++)
    if (!strstr(got, lines[i]))
      fail_msg("%s is missing in %s", lines[i], got);
  cell_free(&c);
}

TEST(a_jail_without_a_policy_reaches_nothing_and_is_told_of_nothing)
{
  struct cell c;
  OK(try_open(&c, (csn_network){0}, NULL, 0), &c.err);
  const char *got = bash(&c, "env | grep -iE 'proxy|cert|ca_'; exec 3<>/dev/tcp/1.2.3.4/443");
  assert_non_null(strstr(got, "nreachable"));
  assert_null(strstr(got, "3128"));
  assert_non_null(strstr(bash(&c, "exec 3<>/dev/tcp/127.0.0.1/443"), "onnection refused"));
  cell_free(&c);
}

TEST(a_secret_is_a_placeholder_inside)
{
  struct cell c;
  csn_network_host one = {.host = "API.example.com"};
  const char *hosts[] = {"api.example.com", NULL};
  csn_network_secret secret = {.name = "TOKEN", .value = "hunter2-hunter2", .hosts = hosts};
  OK(try_open(&c, (csn_network){.hosts = &one, .n_hosts = 1, .secrets = &secret, .n_secrets = 1},
              NULL, 0),
     &c.err);
  const char *got = bash(&c, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'");
  assert_non_null(strstr(got, "\nTOKEN=csn-secret-"));
  assert_null(strstr(got, "hunter2"));
  char want[200];
  snprintf(want, sizeof want, "\"value\":\"hunter2-hunter2\",\"placeholder\":\"%.43s\"",
           strstr(got, "\nTOKEN=") + 7);
  assert_true(has_event(&c, want));
  assert_true(has_event(&c, "{\"policy\":\"allow\",\"hosts\":[{\"host\":\"api.example.com\"}]"));
  cell_free(&c);
}

TEST(the_death_of_the_egress_process_is_told_and_ends_the_network)
{
  struct cell c;
  cell_open(&c, "dies.test");
  bash(&c, "exec 3<>/dev/tcp/1.2.3.4/443 && cat <&3");
  assert_true(has_event(&c, "\"at\":\"end\",\"verdict\":\"refused\""));
  assert_non_null(strstr(bash(&c, "exec 3<>/dev/tcp/1.2.3.4/443"), "onnection refused"));
  assert_string_equal(bash(&c, "echo still here"), "still here\n");
  cell_free(&c);
}

TEST(what_is_under_way_at_the_end_is_still_told)
{
  struct cell c;
  cell_open(&c, "example.com");
  cell_close(&c);
  assert_true(has_event(&c, "{\"at\":\"farewell\"}"));
  assert_false(csn_str_find(csn_buf_str(&c.events), CSN_STR("\"at\":\"end\""), 0) != SIZE_MAX);
  cell_free(&c);
}

TEST(a_line_without_an_end_ends_the_egress_process)
{
  struct cell c;
  cell_open(&c, "babbles.test");
  assert_true(has_event(&c, "\"at\":\"end\",\"verdict\":\"refused\""));
  cell_free(&c);
}

TEST(an_egress_process_that_does_not_start_is_a_failure)
{
  static const struct {
    const char *host, *want;
  } rows[] = {{"mute.test", "died while it started"}, {"sorry.test", "no roots"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct cell c;
    csn_network_host one = {.host = rows[i].host};
    assert_int_equal(try_open(&c, (csn_network){.hosts = &one, .n_hosts = 1}, NULL, 0),
                     CSN_E_SANDBOX);
    if (!strstr(c.err.msg, rows[i].want))
      fail_msg("%s", c.err.msg);
    cell_free(&c);
  }
}

TEST(waiting_for_the_egress_process_heeds_the_scope)
{
  csn_scope sc;
  csn_err err;
  csn_sandbox *sb = NULL;
  csn_network_host one = {.host = "hangs.test"};
  csn_network policy = {.hosts = &one, .n_hosts = 1};
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = -1, .lock_fd = -1, .network = &policy};
  struct cell c;
  OK(try_open(&c, (csn_network){0}, NULL, 0), &c.err); /* skips here if it must */
  cell_free(&c);
  csn_scope_init(&sc, NULL, 300);
  assert_int_equal(csn_sandbox_open(&sb, &sc, &spec, &err), CSN_E_TIMEOUT);
  csn_scope_fini(&sc);
}

/* ---- ports of the jail ---- */

static int
say_and_read(struct cell *c, uint16_t port, char *to, size_t room)
{
  int fd = -1, rc = CSN_E_UNAVAILABLE;
  for (int i = 0; i < 5000 && rc == CSN_E_UNAVAILABLE; i++) { /* the server starts */
    rc = csn_sandbox_dial(c->sb, NULL, port, &fd, &c->err);
    if (rc == CSN_E_UNAVAILABLE)
      nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  if (rc < 0)
    return rc;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  (void)!send(fd, "hello\n", 6, MSG_NOSIGNAL);
  poll(&p, 1, 10000);
  ssize_t n = recv(fd, to, room - 1, 0);
  to[n > 0 ? n : 0] = '\0';
  close(fd);
  return 0;
}

TEST(a_port_that_was_exposed_is_reached_from_outside)
{
  static const char server[] = "import socket,sys\n"
                               "s = socket.socket(getattr(socket, sys.argv[1]))\n"
                               "s.bind((sys.argv[2], int(sys.argv[3]))); s.listen()\n"
                               "while True:\n"
                               " c, a = s.accept(); c.sendall(b'got ' + c.recv(100)); c.close()\n";
  static const struct {
    const char *family, *address, *port;
    uint16_t number;
  } rows[] = {{"AF_INET", "127.0.0.1", "8000", 8000},
              {"AF_INET", "0.0.0.0", "8001", 8001},
              {"AF_INET6", "::1", "8002", 8002}};
  const uint16_t expose[] = {8000, 8001, 8002, 8003};
  for (int networked = 0; networked < 2; networked++) {
    struct cell c;
    csn_network_host one = {.host = "example.com"};
    OK(try_open(&c, networked ? (csn_network){.hosts = &one, .n_hosts = 1} : (csn_network){0},
                expose, 4),
       &c.err);
    if (strstr(bash(&c, "command -v python3 || echo none"), "none"))
      SKIP("no python3 on this machine");
    for (size_t i = 0; i < CSN_COUNT(rows); i++) {
      const char *argv[] = {"python3",       "-c",         server, rows[i].family,
                            rows[i].address, rows[i].port, NULL};
      csn_proc *p;
      char got[100] = "";
      OK(csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &c.err),
         &c.err);
      OK(say_and_read(&c, rows[i].number, got, sizeof got), &c.err);
      assert_string_equal(got, "got hello\n");
      csn_proc_close(p);
    }
    int fd = -1;
    assert_int_equal(csn_sandbox_dial(c.sb, NULL, 8003, &fd, &c.err), CSN_E_UNAVAILABLE);
    assert_int_equal(csn_sandbox_dial(c.sb, NULL, 9000, &fd, &c.err), CSN_E_DENIED);
    assert_int_equal(fd, -1);
    cell_free(&c);
  }
}

TEST(other_backends_refuse_a_policy_by_name)
{
  csn_network_host one = {.host = "example.com"};
  csn_network policy = {.hosts = &one, .n_hosts = 1};
  const uint16_t port = 80;
  static const char *const names[] = {"local", "fake"};
  for (size_t i = 0; i < 2; i++) {
    csn_sandbox *sb;
    csn_err err;
    csn_sandbox_spec spec = {.backend = names[i], .workspace_fd = -1, .lock_fd = -1};
    spec.network = &policy;
    assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, names[i]));
    spec.network = NULL;
    spec.expose = &port;
    spec.n_expose = 1;
    assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_UNSUPPORTED);
  }
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      RUN(every_address_leads_to_the_harness_or_nowhere),
      RUN(questions_about_names_come_to_the_harness),
      RUN(ports_of_the_policy_are_listened_on_and_no_others),
      RUN(programs_find_the_proxy_and_trust_the_sandboxs_authority),
      RUN(a_jail_without_a_policy_reaches_nothing_and_is_told_of_nothing),
      RUN(a_secret_is_a_placeholder_inside),
      RUN(the_death_of_the_egress_process_is_told_and_ends_the_network),
      RUN(what_is_under_way_at_the_end_is_still_told),
      RUN(a_line_without_an_end_ends_the_egress_process),
      RUN(an_egress_process_that_does_not_start_is_a_failure),
      RUN(waiting_for_the_egress_process_heeds_the_scope),
      RUN(a_port_that_was_exposed_is_reached_from_outside),
      RUN(other_backends_refuse_a_policy_by_name),
  };
  if (tree_is_closed()) {
    printf("1..0 # SKIP this user cannot enter the folder of this checkout\n");
    return 0;
  }
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail/network", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
