/* SPDX-License-Identifier: Apache-2.0
 * machine.h - a sandbox of the back-end under test over a temporary folder,
 * and the few verbs that the conformance tests are written in. */
#ifndef CSN_TESTS_PORT_MACHINE_H
#define CSN_TESTS_PORT_MACHINE_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "caisson/remote.h"
#include "check.h"

/* One row per back-end and test; the back-end's word is the test's state. */
#ifdef CSN_TEST_REMOTE /* one that needs a server beside it: on its own */
#define ON_ALL(f)                                                                                  \
  {                                                                                                \
    CSN_TEST_REMOTE ": " #f, f, NULL, NULL, CSN_TEST_REMOTE                                        \
  }
#else
#define ON_ALL(f)                                                                                  \
  {"local: " #f, f, NULL, NULL, "local"}, {"jail: " #f, f, NULL, NULL, "jail"},                    \
  {                                                                                                \
    "gvisor: " #f, f, NULL, NULL, "gvisor"                                                         \
  }
#endif
#define BACKEND ((const char *)*state)
/* Its workspace is not a folder of this machine. */
#define IS_REMOTE csn_sandbox_is_remote(BACKEND)

/* Processes that are marked can be seen on this machine. */
#define NEEDS_HOST_PROCESSES                                                                       \
  do {                                                                                             \
    if (strcmp(BACKEND, "gvisor") == 0)                                                            \
      SKIP("its processes are those of another kernel; port/gvisor looks at runsc's");             \
  } while (0)

/* How long background processes sleep, in seconds, and how tests find theirs
 * again: no other program's, and gone by themselves should a test fail.
 * Commands see it as $MARK. */
static inline const char *
mark(void)
{
  static char text[40];
  if (!text[0])
    snprintf(text, sizeof text, "61.%07d", (int)getpid());
  return text;
}

struct machine {
  csn_sandbox *sb;
  csn_scope sc;
  csn_err err;
  char folder[PATH_MAX];
};

/* tests/with_server.py says where the daemon is. */
static inline const csn_json *
docker_options(void)
{
  static csn_json o = {.kind = CSN_JSON_OBJECT, .n = 2}, image, host;
  const char *at = getenv("CAISSON_TEST_DOCKER");
  image = (csn_json){.kind = CSN_JSON_STRING,
                     .key = CSN_STR_INIT("image"),
                     .text = CSN_STR_INIT("box"),
                     .next = &host};
  host = (csn_json){.kind = CSN_JSON_STRING, .key = CSN_STR_INIT("host"), .text = csn_cstr(at)};
  o.child = &image;
  return &o;
}

/* Of a program that is a back-end, where it needs some. */
static inline const csn_json *
program_options(void)
{
  static csn_arena *a;
  static const csn_json *o;
  const char *text = getenv("CAISSON_TEST_OPTIONS");
  csn_err err;
  if (text && !a) {
    a = csn_arena_new(0);
    OK(csn_json_parse(a, csn_cstr(text), &o, &err), &err);
  }
  return o;
}

/* "gvisor" is a level of the jail. */
static inline csn_sandbox_spec
machine_spec(const char *backend)
{
  bool is_level = strcmp(backend, "gvisor") == 0, is_docker = strcmp(backend, "docker") == 0;
  return (csn_sandbox_spec){.backend = is_level ? "jail" : backend,
                            .level = is_level ? backend : NULL,
                            .options = is_docker ? docker_options() : program_options(),
                            .workspace_fd = -1,
                            .lock_fd = -1};
}

/* port: that it exposes, or NULL. */
static inline void
machine_open_with(struct machine *m, const char *backend, const char *const *environment,
                  const uint16_t *port)
{
  *m = (struct machine){0};
  csn_scope_init(&m->sc, NULL, 60000);
  snprintf(m->folder, sizeof m->folder, "/tmp/caisson-test-XXXXXX");
  assert_non_null(mkdtemp(m->folder));
  char marked[60];
  snprintf(marked, sizeof marked, "MARK=%s", mark());
  const char *all[8] = {marked};
  for (int i = 0; environment && environment[i]; i++)
    all[i + 1] = environment[i];
  csn_auto(csn_closep) int fd = open(m->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_sandbox_spec spec = machine_spec(backend);
  spec.workspace_fd = csn_sandbox_is_remote(spec.backend) ? -1 : fd;
  spec.root = strcmp(backend, "e2b") == 0 ? m->folder : NULL; /* its processes are this machine's */
  spec.environment = all;
  spec.expose = port;
  spec.n_expose = port != NULL;
  int rc = csn_sandbox_open(&m->sb, &m->sc, &spec, &m->err);
  if (rc == CSN_E_UNSUPPORTED) {
    rmdir(m->folder);
    SKIP("%.190s", m->err.msg);
  }
  OK(rc, &m->err);
}

static inline void
machine_open(struct machine *m, const char *backend, const char *const *environment)
{
  machine_open_with(m, backend, environment, NULL);
}

static inline void
machine_close(struct machine *m)
{
  csn_sandbox_close(m->sb);
  const char *argv[] = {"rm", "-rf", m->folder, NULL};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1};
  csn_sandbox *sb;
  csn_buf out = CSN_BUF(1000);
  csn_exit end;
  if (csn_sandbox_open(&sb, NULL, &spec, NULL) == 0) {
    (void)!csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                            NULL);
    csn_sandbox_close(sb);
  }
  csn_buf_fini(&out);
  csn_scope_fini(&m->sc);
}

/* A `sh -c` command; argv lives as long as the block. */
#define SH(text)                                                                                   \
  ((csn_exec){.argv = (const char *const[]){"sh", "-c", (text), NULL}, .claim_fd = -1})

/* Runs to the end; both streams in *out. */
static inline csn_exit
machine_run(struct machine *m, csn_exec x, csn_buf *out)
{
  csn_exit end = {-1, -1};
  csn_buf_clear(out);
  OK(csn_sandbox_exec(m->sb, &m->sc, &x, out, NULL, &end, &m->err), &m->err);
  return end;
}

static inline csn_proc *
machine_spawn(struct machine *m, csn_exec x)
{
  csn_proc *p = NULL;
  int rc = csn_sandbox_spawn(m->sb, &m->sc, &x, &p, &m->err);
  if (rc == CSN_E_UNSUPPORTED && x.tty) {
    machine_close(m);
    SKIP("%.190s", m->err.msg);
  }
  OK(rc, &m->err);
  return p;
}

/* Reads until `want` occurs in what was read; fails at the end of output. */
static inline void
proc_expect(struct machine *m, csn_proc *p, csn_buf *got, const char *want)
{
  while (csn_str_find(csn_buf_str(got), csn_cstr(want), 0) == SIZE_MAX) {
    enum csn_stream which;
    int rc = csn_proc_read(p, &m->sc, got, 4096, &which, &m->err);
    OK(rc, &m->err);
    if (rc == 0)
      fail_msg("output ended with '%s', expected '%s'", got->p ? got->p : "", want);
  }
}

/* Everything that is left until read says 0. */
static inline void
proc_drain(struct machine *m, csn_proc *p, csn_buf *got)
{
  int rc;
  while ((rc = csn_proc_read(p, &m->sc, got, 4096, NULL, &m->err)) > 0)
    continue;
  OK(rc, &m->err);
}

static inline int
count_fds(void)
{
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (readdir(d))
    n++;
  closedir(d);
  return n;
}

/* Processes of this host whose arguments hold the text. */
static inline int
count_processes_with(const char *needle)
{
  int n = 0;
  DIR *d = opendir("/proc");
  for (struct dirent *e; (e = readdir(d));) {
    char path[300], line[4096];
    snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
    int fd = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
      continue;
    ssize_t got = read(fd, line, sizeof line);
    close(fd);
    n += got > 0 && memmem(line, (size_t)got, needle, strlen(needle)) != NULL;
  }
  closedir(d);
  return n;
}

/* Processes of this host that were started with $MARK. */
static inline int
count_marked(void)
{
  return count_processes_with(mark());
}

static inline void
pause_ms(int ms)
{
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* Waits until so many of them are there. */
static inline void
expect_marked(int n)
{
  int64_t deadline = csn_now_ns() + 10000000000;
  int now;
  while ((now = count_marked()) != n && csn_now_ns() < deadline)
    pause_ms(5);
  assert_int_equal(now, n);
}

#endif
