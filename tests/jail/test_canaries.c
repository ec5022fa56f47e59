/* SPDX-License-Identifier: Apache-2.0
 *
 * test_canaries.c - marked things of the host, each in reach of an ordinary
 * process and none in reach of a command in the jail.
 *
 * Each probe runs twice.  Outside it must succeed, or it proves nothing and
 * the test fails; inside it must be refused, and one that could not run fails.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "identity.h"

#define CANARY "canary-7f3a91c4d2e8"

static char in_memory[] = "memory-" CANARY;

static struct {
  char folder[64]; /* the workspace, on the host */
  char marked[6][PATH_MAX];
  size_t marks;
  char socket_path[64], abstract[64], port[8];
  int descriptor;
} host;

/* ---- the canaries ---- */

static void
mark_file(const char *folder)
{
  char *path = host.marked[host.marks];
  snprintf(path, PATH_MAX, "%s/caisson-canary-%d", folder, (int)getpid());
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0)
    return; /* not ours to write, so nothing of ours is there */
  dprintf(fd, "%s\n", CANARY);
  close(fd);
  host.marks++;
}

static bool
listen_unix(const char *name, bool abstract)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  size_t n = strlen(name);
  memcpy(at.sun_path + abstract, name, n);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + n);
  return fd >= 0 && bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 8) == 0;
}

static bool
listen_tcp(void)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 8) < 0 ||
      getsockname(fd, (struct sockaddr *)&at, &size) < 0)
    return false;
  snprintf(host.port, sizeof host.port, "%d", ntohs(at.sin_port));
  return true;
}

static bool
set_out(void)
{
  static const char *const folders[] = {"/tmp", "/home", "/root", "/srv", "/usr/local"};
  for (size_t i = 0; i < CSN_COUNT(folders); i++)
    mark_file(folders[i]);
  setenv("CAISSON_CANARY", CANARY, 1);
  snprintf(host.socket_path, sizeof host.socket_path, "/tmp/caisson-canary-%d.sock", (int)getpid());
  snprintf(host.abstract, sizeof host.abstract, "caisson-canary-%d", (int)getpid());
  snprintf(host.folder, sizeof host.folder, "/tmp/caisson-jail-XXXXXX");
  host.descriptor = memfd_create("canary", 0); /* inherited on purpose */
  if (!mkdtemp(host.folder) || chmod(host.folder, 0777) < 0 || host.descriptor < 0 ||
      dprintf(host.descriptor, "%s\n", CANARY) < 0)
    return false;
  return listen_unix(host.socket_path, false) && chmod(host.socket_path, 0777) == 0 &&
         listen_unix(host.abstract, true) && listen_tcp();
}

static void
clear_up(void)
{
  for (size_t i = 0; i < host.marks; i++)
    unlink(host.marked[i]);
  unlink(host.socket_path);
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/probe", host.folder);
  unlink(path);
  rmdir(host.folder);
}

/* ---- probes ---- */

/* A fresh standard input that holds the canary. */
static void
refill_stdin(void)
{
  int fd[2];
  assert_int_equal(pipe(fd), 0);
  assert_true(write(fd[1], CANARY "\n", sizeof CANARY) > 0);
  dup2(fd[0], 0);
  close(fd[0]);
  close(fd[1]);
}

static int
probe_outside(const char *const *args)
{
  extern char **environ;
  char path[PATH_MAX];
  char *argv[8] = {path};
  snprintf(path, sizeof path, "%s/probe", host.folder);
  for (int i = 0; args[i]; i++)
    argv[i + 1] = (char *)(uintptr_t)args[i];
  posix_spawn_file_actions_t fa;
  posix_spawn_file_actions_init(&fa);
  posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
  pid_t pid;
  int status = -1;
  assert_int_equal(posix_spawn(&pid, path, &fa, NULL, argv, environ), 0);
  posix_spawn_file_actions_destroy(&fa);
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int
probe_inside(csn_sandbox *sb, const char *const *args)
{
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  const char *argv[8] = {"./probe"};
  for (int i = 0; args[i]; i++)
    argv[i + 1] = args[i];
  OK(csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err),
     &err);
  return end.signal ? 128 + end.signal : end.code;
}

static void
check_canary(csn_sandbox *sb, const char *const *args)
{
  refill_stdin();
  int outside = probe_outside(args);
  if (outside != 0)
    fail_msg("%s %s proves nothing: outside it ended with %d", args[0], args[1], outside);
  refill_stdin();
  int inside = probe_inside(sb, args);
  if (inside != 1)
    fail_msg("%s %s: %s (%d)", args[0], args[1],
             inside == 0 ? "IN REACH of a command in the jail" : "the probe did not run", inside);
}

TEST(nothing_of_the_host_is_in_reach)
{
  csn_err err;
  csn_sandbox *sb;
  csn_auto(csn_closep) int fd = open(host.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(host.marks > 0);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = fd, .lock_fd = -1};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  char pid[16], address[32];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  snprintf(address, sizeof address, "0x%lx", (unsigned long)(uintptr_t)in_memory);
  for (size_t i = 0; i < host.marks; i++) {
    if (geteuid() != 0 && strncmp(host.marked[i], "/root", 5) == 0)
      continue; /* not in reach outside either */
    check_canary(sb, (const char *[]){"file", host.marked[i], CANARY, NULL});
    char around[PATH_MAX + 16]; /* a root that was left under the new one shows up here */
    snprintf(around, sizeof around, "/usr/..%s", host.marked[i]);
    check_canary(sb, (const char *[]){"file", around, CANARY, NULL});
  }
  check_canary(sb, (const char *[]){"environment", CANARY, NULL});
  check_canary(sb, (const char *[]){"socket", host.socket_path, NULL});
  check_canary(sb, (const char *[]){"abstract", host.abstract, NULL});
  check_canary(sb, (const char *[]){"tcp", "127.0.0.1", host.port, NULL});
  check_canary(sb, (const char *[]){"memory", pid, address, in_memory, NULL});
  check_canary(sb, (const char *[]){"descriptors", CANARY, NULL});
  check_canary(sb, (const char *[]){"stdin", CANARY, NULL});
  csn_sandbox_close(sb);
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {RUN(nothing_of_the_host_is_in_reach)};
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* the probe of memory, where Yama guards it */
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail/canaries", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  const char *probe = getenv("CSN_JAIL_PROBE");
  csn_auto(csn_closep) int fd = probe ? open(probe, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0 || !set_out()) {
    printf("Bail out! CSN_JAIL_PROBE or a canary is missing\n");
    return 1;
  }
  csn_auto(csn_closep) int folder = open(host.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  place_probe(fd, folder);
  int rc = run_as(argc, argv, tests);
  clear_up();
  return rc;
}
