/* SPDX-License-Identifier: Apache-2.0
 *
 * test_gvisor.c - what only the level gvisor promises: a kernel of its own,
 * and that nothing of runsc is left.  What every back-end promises is in
 * test_sandbox.c. */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/fd.h"
#include "machine.h"

/* Where bundles are: their paths are in the arguments of all that runsc
 * starts. */
static char folder[24];

static int
set_up(void **state)
{
  strcpy(folder, "/tmp/csn-gv-XXXXXX");
  return !mkdtemp(folder) || chmod(folder, 0755) < 0 || setenv("TMPDIR", folder, 1) < 0;
}

static int
tear_down(void **state)
{
  unsetenv("TMPDIR");
  return rmdir(folder); /* nothing was left there */
}

static void
expect_none(void)
{
  int64_t deadline = csn_now_ns() + 10000000000;
  while (count_processes_with(folder) > 0 && csn_now_ns() < deadline)
    pause_ms(5);
  assert_int_equal(count_processes_with(folder), 0);
}

TEST(it_has_a_kernel_of_its_own_and_nothing_of_the_host)
{
  struct machine m;
  machine_open(&m, "gvisor", NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  static const struct {
    const char *script, *want;
  } rows[] = {
      {"uname -r", "4.19.0-gvisor\n"},
      {"find /root /home/user /tmp /run /srv /opt /var /usr/local -mindepth 1 2>/dev/null", ""},
      {"ls /proc | grep -c '^[0-9]'", "4\n"},
      {"touch /usr/x /etc/x /x 2>&1 | grep -c Read-only", "3\n"},
      {"cat /proc/net/dev | grep -c eth", "0\n"},
      {"grep -c . /etc/shadow", ""},
      {"mount -t tmpfs x /tmp 2>/dev/null || echo no", "no\n"},
      {"exec 3<>/dev/tcp/169.254.169.254/80 2>/dev/null || echo no", "no\n"},
      {"grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"},
      {"grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_exec x = {.argv = (const char *const[]){"bash", "-c", rows[i].script, NULL},
                  .claim_fd = -1};
    csn_auto(csn_buf_finip) csn_buf other = CSN_BUF(10000);
    csn_exit end;
    csn_buf_clear(&out);
    OK(csn_sandbox_exec(m.sb, &m.sc, &x, &out, &other, &end, &m.err), &m.err);
    if (!csn_str_eq(csn_buf_str(&out), csn_cstr(rows[i].want)))
      fail_msg("%s printed '%s', expected '%s'", rows[i].script, out.p ? out.p : "", rows[i].want);
  }
  assert_true(count_processes_with(folder) > 0);
  machine_close(&m);
  expect_none();
}

TEST(files_belong_to_the_owner_of_the_workspace)
{
  struct machine m;
  struct stat st;
  char path[PATH_MAX + 8];
  machine_open(&m, "gvisor", NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  assert_int_equal(machine_run(&m, SH("echo x >made && mkdir d"), &out).code, 0);
  snprintf(path, sizeof path, "%s/made", m.folder);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_uid, geteuid());
  machine_close(&m);
}

TEST(daemons_and_those_who_ignore_signals_end_with_the_sandbox)
{
  struct machine m;
  machine_open(&m, "gvisor", NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  machine_run(&m, SH("trap '' TERM HUP INT; (setsid sleep 300 &); (while :; do :; done) & echo"),
              &out);
  csn_exit end; /* it may end its own sandbox */
  csn_exec x = SH("kill -STOP 1; kill -9 1; echo");
  (void)!csn_sandbox_exec(m.sb, &m.sc, &x, &out, NULL, &end, &m.err);
  machine_close(&m);
  expect_none();
}

TEST(nothing_survives_a_harness_that_was_killed)
{
  struct machine m; /* skips here when there is no runsc */
  machine_open(&m, "gvisor", NULL);
  machine_close(&m);
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t harness = fork();
  if (harness == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    machine_open(&m, "gvisor", NULL);
    csn_buf out = CSN_BUF(100);
    machine_run(&m, SH("(setsid sleep 300 >/dev/null 2>&1 &); echo"), &out);
    machine_spawn(&m, SH("kill -STOP 1; sleep 300"));
    (void)!write(ready[1], "r", 1);
    pause();
    _exit(0);
  }
  char c;
  assert_int_equal(read(ready[0], &c, 1), 1);
  assert_true(count_processes_with(folder) > 0);
  kill(harness, SIGKILL);
  waitpid(harness, NULL, 0);
  expect_none();
  close(ready[0]);
  close(ready[1]);
  /* Its folder is left, since nobody was there to remove it: the next one does,
   * once it is old enough not to be one that is being made. */
  int n = 0;
  DIR *d = opendir(folder);
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.') {
      const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
      n++;
      assert_int_equal(utimensat(dirfd(d), e->d_name, old, 0), 0);
    }
  closedir(d);
  assert_int_equal(n, 1);
  machine_open(&m, "gvisor", NULL);
  machine_close(&m); /* and tear_down() finds the folder empty */
}

/* What runsc needs places for is not made in there. */
TEST(a_folder_with_programs_is_read_and_not_written)
{
  char path[100], word[120];
  csn_err err;
  csn_exit end;
  csn_sandbox *sb = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  snprintf(path, sizeof path, "%s/image", folder);
  snprintf(word, sizeof word, "dir:%s", path);
  assert_int_equal(mkdir(path, 0755), 0);
  csn_auto(csn_closep) int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  static const char *const links[] = {"bin", "lib", "lib64"};
  for (size_t i = 0; i < CSN_COUNT(links); i++) {
    snprintf(path, sizeof path, "usr/%s", links[i]);
    assert_int_equal(symlinkat(path, at, links[i]), 0);
  }
  assert_int_equal(mkdirat(at, "app", 0755), 0);
  csn_sandbox_spec spec = machine_spec("gvisor");
  spec.rootfs = word;
  spec.root = "/app/nowhere";
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  assert_int_equal(rc, CSN_E_UNSUPPORTED);
  bool has_runsc = strstr(err.msg, "no folder /app/nowhere") != NULL;
  spec.root = "/app";
  rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == 0) {
    const char *argv[] = {"/nothing", NULL};
    rc = csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                          &err);
    assert_int_equal(rc, CSN_E_NOT_FOUND);
    csn_sandbox_close(sb);
  }
  int n = 0;
  DIR *d = fdopendir(fcntl(at, F_DUPFD_CLOEXEC, 3));
  while (readdir(d))
    n++;
  closedir(d);
  assert_int_equal(n, 6);
  csn_auto(csn_closep) int tmp = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(tmp, "image", &err), &err);
  assert_true(has_runsc);
}

TEST(what_it_does_not_have_is_refused_by_name)
{
  static const csn_network_host host = {.host = "a.test"};
  static const csn_network policy = {.hosts = &host, .n_hosts = 1};
  static const char *const devices[] = {"fuse", NULL};
  const uint16_t port = 80;
  csn_sandbox_spec plain = machine_spec("gvisor");
  csn_sandbox_spec specs[] = {plain, plain, plain, plain, plain};
  static const char *const words[] = {"network", "ports", "devices", "users and groups",
                                      "native and gvisor"};
  specs[0].network = &policy;
  specs[1].expose = &port;
  specs[1].n_expose = 1;
  specs[2].devices = devices;
  specs[3].user = "33";
  specs[4].backend = "local";
  for (size_t i = 0; i < CSN_COUNT(specs); i++) {
    csn_sandbox *sb = NULL;
    csn_err err = {0};
    int rc = csn_sandbox_open(&sb, NULL, &specs[i], &err);
    assert_int_equal(rc, i == 4 ? CSN_E_INVALID : CSN_E_UNSUPPORTED);
    if (!strstr(err.msg, words[i]))
      fail_msg("%s is not in %s", words[i], err.msg);
  }
}

#define HERE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
  const struct CMUnitTest all[] = {
      HERE(it_has_a_kernel_of_its_own_and_nothing_of_the_host),
      HERE(files_belong_to_the_owner_of_the_workspace),
      HERE(daemons_and_those_who_ignore_signals_end_with_the_sandbox),
      HERE(nothing_survives_a_harness_that_was_killed),
      HERE(a_folder_with_programs_is_read_and_not_written),
      HERE(what_it_does_not_have_is_refused_by_name),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  tap_stdout();
  return cmocka_run_group_tests_name("port/gvisor", all, NULL, NULL);
}
