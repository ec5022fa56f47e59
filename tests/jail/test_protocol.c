/* SPDX-License-Identifier: Apache-2.0
 *
 * test_protocol.c - what spawner and warden make of messages that are not what
 * they should be: the spawner answers each with an error and lives, the warden
 * ends its jail, and nobody hangs, leaks a descriptor or runs anything. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/fd.h"
#include "identity.h"
#include "sandbox/jail.h"
#include "sandbox/proc.h"
#include "sandbox/program.h"

enum { PATIENCE_MS = 30000, MOST_FDS = 64 };

extern const char csn_spawner_image[], csn_spawner_image_end[];

static struct {
  pid_t pid;
  int sock;
} spawner = {.sock = -1};

/* ---- a spawner of our own ---- */

static void
start_spawner(void)
{
  csn_err err;
  int pair[2];
  csn_str program =
      csn_strn(csn_spawner_image, (size_t)(csn_spawner_image_end - csn_spawner_image));
  csn_auto(csn_closep) int image = csn_program_open("caisson-spawner", program, &err);
  OK(image, &err);
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  csn_auto(csn_closep) int theirs = pair[1];
  const int fds[] = {theirs, image};
  OK(csn_program_start(&spawner.pid, "caisson-spawner", fds, 2, 1, &err), &err);
  spawner.sock = pair[0];
}

static bool
spawner_lives(void)
{
  return waitpid(spawner.pid, NULL, WNOHANG) == 0;
}

static void
stop_spawner(void)
{
  close(spawner.sock);
  assert_int_equal(waitpid(spawner.pid, NULL, 0), spawner.pid);
}

static int
spawner_descriptors(void)
{
  char path[40];
  int n = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", (int)spawner.pid);
  DIR *d = opendir(path);
  while (d && readdir(d))
    n++;
  if (d)
    closedir(d);
  return n;
}

/* ---- messages ---- */

/* Sends bytes with copies of a descriptor, unlike csn_fds_send() as many as
 * one likes. */
static bool
send_raw(int sock, const void *bytes, size_t n, const int *fds, size_t count)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * MOST_FDS)];
  } c = {.head = {.cmsg_len = CMSG_LEN(count * sizeof(int)),
                  .cmsg_level = SOL_SOCKET,
                  .cmsg_type = SCM_RIGHTS}};
  struct iovec iov = {(void *)(uintptr_t)bytes, n};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (count) {
    memcpy(CMSG_DATA(&c.head), fds, count * sizeof *fds);
    m.msg_control = &c;
    m.msg_controllen = CMSG_SPACE(count * sizeof(int));
  }
  return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)n;
}

static csn_jail_opened
answer(int fds[4])
{
  csn_jail_opened a = {.error = -1};
  struct pollfd fd = {.fd = spawner.sock, .events = POLLIN};
  for (size_t i = 0; i < 4; i++)
    fds[i] = -1;
  if (poll(&fd, 1, PATIENCE_MS) != 1)
    fail_msg("the spawner does not answer");
  if (csn_fds_recv(spawner.sock, &a, sizeof a, fds, 4) != sizeof a)
    fail_msg("the spawner died");
  return a;
}

static csn_jail_open
good_open(void)
{
  csn_jail_open open = {.with = CSN_JAIL_WITH(CSN_JAIL_CONTROL), .root = "/workspace"};
  open.limits = (csn_jail_limits){.memory = -1,
                                  .swap = -1,
                                  .pids = 100,
                                  .cpu = -1,
                                  .disk = -1,
                                  .inodes = -1,
                                  .open_files = 1024,
                                  .most_open_files = 4096,
                                  .file_size = 1 << 30,
                                  .wall_ms = -1,
                                  .data = -1};
  return open;
}

/* A jail by hand: *control is its stream.  False where none can be made. */
static bool
make_jail(int *control, int fds[4])
{
  csn_jail_open open = good_open();
  csn_jail_note note;
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  assert_true(send_raw(spawner.sock, &open, sizeof open, &pair[1], 1));
  close(pair[1]);
  *control = pair[0];
  csn_jail_opened a = answer(fds);
  struct pollfd fd = {.fd = pair[0], .events = POLLIN};
  if (a.error || poll(&fd, 1, PATIENCE_MS) != 1 ||
      recv(pair[0], &note, sizeof note, 0) != sizeof note || note.kind != CSN_JAIL_READY) {
    if (!machine_has_namespaces())
      return false;
    fail_msg("no jail: %s %s", a.step, note.kind == CSN_JAIL_FAILED ? note.step : "");
  }
  return true;
}

static void
close_all(int *fds, size_t n)
{
  for (size_t i = 0; i < n; i++)
    csn_closep(&fds[i]);
}

/* ---- the spawner ---- */

static const struct packet {
  const char *name;
  size_t length; /* 0: that of a request */
  uint32_t with;
  size_t fds;
  const char *root; /* NULL: a good one */
  uint32_t layers, under, pool;
  bool is_build;
} packets[] = {
    {"a byte", 1, 0, 1, NULL},
    {"one byte too few", sizeof(csn_jail_open) - 1, 8, 1, NULL},
    {"one byte too many", sizeof(csn_jail_open) + 1, 8, 1, NULL},
    {"64 KiB", 65536, 8, 1, NULL},
    {"no descriptor", 0, 8, 0, NULL},
    {"two for one", 0, 8, 2, NULL},
    {"one for two", 0, 8 | 16, 1, NULL},
    {"no stream", 0, 16, 1, NULL},
    {"a number that is not ours", 0, 8 | 1u << 31, 2, NULL},
    {"a number of standard input", 0, 8 | 1, 2, NULL},
    {"all numbers", 0, ~0u, 4, NULL},
    {"one more than there is room for", 0, 8, 5, NULL},
    {"two more", 0, 8, 6, NULL},
    {"64 descriptors", 0, 8, MOST_FDS, NULL},
    {"an empty root", 0, 8, 1, ""},
    {"a relative root", 0, 8, 1, "workspace"},
    {"the root itself", 0, 8, 1, "/"},
    {"a root that leads up", 0, 8, 1, "/../../etc"},
    {"a root that leads up later", 0, 8, 1, "/work/../../etc"},
    {"a root with an empty part", 0, 8, 1, "//etc"},
    {"a root that ends in a slash", 0, 8, 1, "/work/"},
    {"a build upon nothing", 0, 8 | 32, 2, NULL, .is_build = true},
    {"a build without a folder", 0, 8, 2, NULL, .layers = 1, .is_build = true},
    {"a build upon the host", 0, 8 | 32, 3, NULL, .under = 1, .is_build = true},
    {"builds kept ready", 0, 8 | 32, 4, NULL, .layers = 1, .under = 1, .pool = 1, .is_build = true},
};

TEST(the_spawner_answers_malformed_packets_and_lives)
{
  static char bytes[65536];
  int pair[2], fds[4], control;
  start_spawner();
  if (!make_jail(&control, fds))
    SKIP("no user namespaces here");
  close(control);
  close_all(fds, 4);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  int many[MOST_FDS];
  for (size_t i = 0; i < MOST_FDS; i++)
    many[i] = pair[1];
  int before = spawner_descriptors();
  for (size_t i = 0; i < CSN_COUNT(packets) * 8; i++) {
    const struct packet *p = &packets[i % CSN_COUNT(packets)];
    csn_jail_open open = good_open();
    open.with = p->with;
    open.layers = p->layers;
    open.under = p->under;
    open.pool = p->pool;
    open.is_build = p->is_build;
    if (p->root)
      snprintf(open.root, sizeof open.root, "%s", p->root);
    memcpy(bytes, &open, sizeof open);
    assert_true(send_raw(spawner.sock, bytes, p->length ? p->length : sizeof open, many, p->fds));
    csn_jail_opened a = answer(fds);
    if (a.error != EPROTO || fds[0] >= 0)
      fail_msg("%s was answered with %d %s", p->name, a.error, a.step);
  }
  /* Names without an end, and noise. */
  unsigned seed = 1;
  for (int i = 0; i < 500; i++) {
    csn_jail_open open = good_open();
    for (size_t k = 0; k < sizeof open.root; k++)
      open.root[k] = (char)((seed = seed * 1103515245 + 12345) >> 16 | 1);
    if (i % 2)
      open.root[0] = '/';
    assert_true(send_raw(spawner.sock, &open, sizeof open, many, 1));
    assert_int_equal(answer(fds).error, EPROTO);
  }
  assert_true(spawner_lives());
  assert_in_range(spawner_descriptors(), 0, before + 40); /* what it makes ahead */
  close(pair[0]);
  close(pair[1]);
  assert_true(make_jail(&control, fds));
  close(control);
  close_all(fds, 4);
  stop_spawner();
}

/* Descriptors that are not what their numbers say. */
TEST(the_spawner_survives_descriptors_of_another_kind)
{
  int fds[4], control;
  start_spawner();
  if (!make_jail(&control, fds))
    SKIP("no user namespaces here");
  close(control);
  close_all(fds, 4);
  int pair[2], pipes[2];
  assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
  csn_auto(csn_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  csn_auto(csn_closep) int file = memfd_create("file", MFD_CLOEXEC);
  const int kinds[] = {pipes[0], null, file, spawner.sock};
  for (size_t i = 0; i < CSN_COUNT(kinds) * 3; i++) {
    csn_jail_open open = good_open();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    int sent[2] = {pair[1], kinds[i % CSN_COUNT(kinds)]};
    int number = CSN_JAIL_LOCK + (int)(i / CSN_COUNT(kinds));
    open.with |= CSN_JAIL_WITH(number);
    assert_true(send_raw(spawner.sock, &open, sizeof open, sent, 2));
    csn_jail_opened a = answer(fds);
    close(pair[1]);
    /* A lock may be anything; another is an error now, or of the jail. */
    char note[sizeof(csn_jail_note)];
    struct pollfd fd = {.fd = pair[0], .events = POLLIN};
    if (a.error == 0 && number != CSN_JAIL_LOCK) {
      assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
      ssize_t n = recv(pair[0], note, sizeof note, 0);
      if (n == sizeof note && ((csn_jail_note *)(void *)note)->kind == CSN_JAIL_READY)
        fail_msg("kind %zu was taken as number %d", i % CSN_COUNT(kinds), number);
    }
    close(pair[0]);
    close_all(fds, 4);
  }
  close(pipes[0]);
  close(pipes[1]);
  assert_true(spawner_lives());
  assert_true(make_jail(&control, fds));
  close(control);
  close_all(fds, 4);
  stop_spawner();
}

/* ---- the warden ---- */

static const struct frame {
  const char *name;
  uint32_t kind, length;
  uint32_t args, variables;
  const char *body; /* after the fixed part, with its NULs */
  size_t n, fds;
} frames[] = {
    {"an unknown kind", 77, 0, 0, 0, "", 0, 0},
    {"kind 0", 0, 0, 0, 0, "", 0, 0},
    {"no body", CSN_JAIL_EXEC, 0, 0, 0, "", 0, 2},
    {"a length past the limit", CSN_JAIL_EXEC, CSN_JAIL_BODY_MAX + 1, 1, 0, "", 0, 2},
    {"the largest length", CSN_JAIL_EXEC, UINT32_MAX, 1, 0, "", 0, 2},
    {"a body of the fixed part alone", CSN_JAIL_EXEC, 16, 1, 0, "", 0, 2},
    {"no argument", CSN_JAIL_EXEC, 18, 0, 0, "/\0", 2, 2},
    {"fewer strings than counted", CSN_JAIL_EXEC, 23, 9, 0, "/\0true\0", 7, 2},
    {"more strings than counted", CSN_JAIL_EXEC, 25, 1, 0, "/\0true\0x\0", 9, 2},
    {"no end of the last string", CSN_JAIL_EXEC, 22, 1, 0, "/\0true", 6, 2},
    {"4294967295 arguments", CSN_JAIL_EXEC, 23, UINT32_MAX, 0, "/\0true\0", 7, 2},
    {"4294967295 variables", CSN_JAIL_EXEC, 23, 1, UINT32_MAX, "/\0true\0", 7, 2},
    {"sums that wrap", CSN_JAIL_EXEC, 23, 2, UINT32_MAX, "/\0true\0", 7, 2},
    {"as many as the list, and their NULLs", CSN_JAIL_EXEC, 23, CSN_JAIL_STRINGS_MAX, 0,
     "/\0true\0", 7, 2},
    {"no descriptor", CSN_JAIL_EXEC, 23, 1, 0, "/\0true\0", 7, 0},
    {"one too few", CSN_JAIL_EXEC, 23, 1, 0, "/\0true\0", 7, 1},
    {"one too many", CSN_JAIL_EXEC, 23, 1, 0, "/\0true\0", 7, 3},
    {"one more than there is room for", CSN_JAIL_EXEC, 23, 1, 0, "/\0true\0", 7, 6},
    {"64 descriptors", CSN_JAIL_EXEC, 23, 1, 0, "/\0true\0", 7, MOST_FDS},
    {"descriptors of a kill", CSN_JAIL_KILL, 0, 0, 0, "", 0, 1},
};

/* The jail ends, which its life pipe tells. */
static bool
jail_ended(int life)
{
  char room[256];
  for (;;) {
    struct pollfd fd = {.fd = life, .events = POLLIN};
    if (poll(&fd, 1, PATIENCE_MS) != 1)
      return false;
    if (read(life, room, sizeof room) <= 0)
      return true;
  }
}

TEST(the_warden_ends_its_jail_at_a_malformed_frame)
{
  int fds[4], control, pair[2];
  start_spawner();
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  int many[MOST_FDS];
  for (size_t i = 0; i < MOST_FDS; i++)
    many[i] = pair[1];
  for (size_t i = 0; i < CSN_COUNT(frames); i++) {
    const struct frame *f = &frames[i];
    char bytes[256];
    csn_jail_frame head = {.kind = f->kind, .length = f->length};
    csn_jail_exec x = {.args = f->args, .variables = f->variables};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &x, sizeof x);
    memcpy(bytes + sizeof head + sizeof x, f->body, f->n);
    size_t n = f->length == 0 ? sizeof head : sizeof head + sizeof x + f->n;
    if (!make_jail(&control, fds))
      SKIP("no user namespaces here");
    assert_true(send_raw(control, bytes, n, many, f->fds));
    if (!jail_ended(fds[1]))
      fail_msg("%s did not end the jail", f->name);
    close(control);
    close_all(fds, 4);
  }
  /* Nothing was started and told of. */
  char event[64];
  assert_int_equal(recv(pair[0], event, sizeof event, MSG_DONTWAIT), -1);
  assert_true(spawner_lives());
  close(pair[0]);
  close(pair[1]);
  stop_spawner();
}

/* The largest body, all NULs: the lists would not hold its strings. */
TEST(the_warden_survives_a_body_of_nothing_but_ends_of_strings)
{
  static char bytes[sizeof(csn_jail_frame) + CSN_JAIL_BODY_MAX];
  static const struct {
    uint32_t args, variables;
  } counts[] = {{CSN_JAIL_STRINGS_MAX, CSN_JAIL_BODY_MAX - 16 - CSN_JAIL_STRINGS_MAX - 1},
                {CSN_JAIL_STRINGS_MAX - 1, 1000000},
                {1, CSN_JAIL_BODY_MAX - 18}};
  int fds[4], control;
  start_spawner();
  for (size_t i = 0; i < CSN_COUNT(counts); i++) {
    csn_jail_frame head = {.kind = CSN_JAIL_EXEC, .length = CSN_JAIL_BODY_MAX};
    csn_jail_exec x = {.args = counts[i].args, .variables = counts[i].variables};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &x, sizeof x);
    if (!make_jail(&control, fds))
      SKIP("no user namespaces here");
    csn_err err;
    (void)!csn_fd_write_all(control, csn_strn(bytes, sizeof bytes), &err);
    if (!jail_ended(fds[1]))
      fail_msg("row %zu did not end the jail", i);
    close(control);
    close_all(fds, 4);
  }
  stop_spawner();
}

TEST(a_frame_in_pieces_and_one_that_is_cut_off_do_no_harm)
{
  int fds[4], control;
  start_spawner();
  for (size_t cut = 1; cut < 31; cut += 3) {
    char bytes[31] = "";
    csn_jail_frame head = {.kind = CSN_JAIL_EXEC, .length = 23};
    memcpy(bytes, &head, sizeof head);
    if (!make_jail(&control, fds))
      SKIP("no user namespaces here");
    assert_true(send_raw(control, bytes, cut, NULL, 0));
    shutdown(control, SHUT_WR);
    if (!jail_ended(fds[1]))
      fail_msg("a frame cut off after %zu bytes did not end the jail", cut);
    close(control);
    close_all(fds, 4);
  }
  assert_true(spawner_lives());
  stop_spawner();
}

/* What a caller may ask for is refused before it is sent. */
TEST(a_command_with_too_many_words_is_an_error_and_the_jail_lives)
{
  csn_sandbox *sb;
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  for (size_t n = CSN_JAIL_STRINGS_MAX - 40; n < CSN_JAIL_STRINGS_MAX + 40; n++) {
    const char **argv = csn_alloc((n + 1) * sizeof *argv);
    argv[0] = "true";
    for (size_t i = 1; i < n; i++)
      argv[i] = "";
    rc = csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                          &err);
    free(argv);
    if (rc != CSN_E_LIMIT && (rc != 0 || end.code != 0))
      fail_msg("%zu words: %d %s", n, rc, rc < 0 ? err.msg : "");
  }
  csn_sandbox_close(sb);
}

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      RUN(the_spawner_answers_malformed_packets_and_lives),
      RUN(the_spawner_survives_descriptors_of_another_kind),
      RUN(the_warden_ends_its_jail_at_a_malformed_frame),
      RUN(the_warden_survives_a_body_of_nothing_but_ends_of_strings),
      RUN(a_frame_in_pieces_and_one_that_is_cut_off_do_no_harm),
      RUN(a_command_with_too_many_words_is_an_error_and_the_jail_lives),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail/protocol", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
