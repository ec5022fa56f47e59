/* SPDX-License-Identifier: Apache-2.0
 *
 * gvisor.c - the level gvisor of the jail: commands see a kernel in user space
 * (runsc), which alone speaks to this machine's.
 *
 *   harness ---- keeper ---- runsc run, sandbox, gofer       on this machine
 *      \______________________________ keeper ---- commands   in the sandbox
 *
 * A keeper here (sandbox/keeper.c) starts runsc and outlives no harness: with
 * it end all processes of the sandbox.  The first process inside is a keeper,
 * too, whose control socket was handed in.  The kernel of runsc passes what
 * comes through it on, descriptors as well: so a command costs no start of
 * runsc, has our own pipes, and is known by the same protocol as elsewhere.
 * Folders cannot be handed in; a command's is told by its path.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/fd.h"
#include "core/poll.h"
#include "sandbox/backend/local.h"
#include "sandbox/backends.h"
#include "sandbox/gvisor.h"
#include "sandbox/gvisor_bundle.h"
#include "sandbox/jail_limits.h"
#include "sandbox/jail_spec.h"
#include "sandbox/keeper.h"
#include "sandbox/network.h"
#include "sandbox/proc.h"
#include "sandbox/program.h"
#include "sandbox/strings.h"

enum { MESSAGE_MAX = 4096, END_MS = 3000 };
#define BUNDLE "caisson-gvisor-"

struct gvisor {
  csn_sandbox base;
  int control, outer; /* of the keeper inside, and of that on this machine */
  pid_t keeper;
  csn_proc *runsc;
  int messages; /* what runsc says */
  char bundle[64];
  int folder; /* of it, locked */
  csn_rootfs *rootfs;
  csn_arena *arena;
  const char **environment;
};

static struct gvisor *
gvisor_of(csn_sandbox *sb)
{
  return (struct gvisor *)sb; /* base is the first member */
}

/* ---- runsc ---- */

/* Its last words; it has ended or is about to. */
static int
explain(struct gvisor *g, csn_err *err)
{
  char text[MESSAGE_MAX];
  size_t n = 0;
  struct pollfd fd = {.fd = g->messages, .events = POLLIN};
  while (n < sizeof text && poll(&fd, 1, END_MS) > 0) {
    ssize_t got = read(g->messages, text + n, sizeof text - n);
    if (got <= 0)
      break;
    n += (size_t)got;
  }
  csn_str said = csn_str_trim(csn_strn(text, n));
  return csn_fail(err, CSN_E_UNSUPPORTED, "runsc cannot make a sandbox here: %.*s",
                  said.n ? (int)(said.n < 300 ? said.n : 300) : 13,
                  said.n ? said.p : "it said nothing");
}

/* Starts it with the end of the control socket that is for inside. */
static int
launch(struct gvisor *g, csn_scope *sc, int theirs, csn_err *err)
{
  int pipe_fds[2];
  const char *path = csn_program_on_path(g->arena, "runsc");
  if (!path)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "there is no runsc on the PATH; the level gvisor needs it (gvisor.dev, or "
                    "tools/runsc)");
  if (pipe2(pipe_fds, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  g->messages = pipe_fds[0];
  csn_auto(csn_closep) int told = pipe_fds[1];
  csn_auto(csn_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  csn_auto(csn_closep) int here = open(g->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (null < 0 || here < 0)
    return csn_fail_errno(err, "%s", g->bundle);
  const char *state = csn_arena_printf(g->arena, "--root=%s/state", g->bundle).p;
  const char *argv[16], *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  size_t n = 0;
  argv[n++] = path;
  argv[n++] = state;
  argv[n++] = "--network=none";
  argv[n++] = "--ignore-cgroups";
  argv[n++] = "--overlay2=root:memory";
  if (geteuid() != 0)
    argv[n++] = "--rootless";
  argv[n++] = "run";
  argv[n++] = "--bundle=.";
  argv[n++] = "--pass-fd=0:3";
  argv[n++] = strrchr(g->bundle, '/') + 1;
  argv[n] = NULL;
  csn_exec x = {.argv = argv, .claim_fd = -1};
  return csn_local_proc_launch(&g->runsc, sc, g->outer, (csn_local_place){.fd = here},
                               (const int[]){theirs, null, told}, &x, environment, err);
}

/* The keeper inside says so when it is there. */
static int
await(struct gvisor *g, csn_scope *sc, csn_err *err)
{
  char byte;
  struct pollfd fds[2] = {{.fd = g->control, .events = POLLIN},
                          {.fd = ((struct csn_piped *)g->runsc)->channel, .events = POLLIN}};
  int rc = csn_poll(sc, fds, 2, err);
  if (rc < 0)
    return csn_wrap(err, rc, "waiting for runsc");
  return recv(g->control, &byte, 1, MSG_DONTWAIT) == 1 ? 0 : explain(g, err);
}

/* ---- opening ---- */

static int
check_spec(const csn_sandbox_spec *spec, csn_err *err)
{
  if (spec->user || spec->users || spec->n_groups)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "level gvisor: commands have one user, the owner of the workspace");
  if (spec->devices && spec->devices[0])
    return csn_fail(err, CSN_E_UNSUPPORTED, "level gvisor: there are no devices of this machine");
  int rc = csn_jail_spec_check(spec, err);
  return rc < 0 ? rc : csn_network_refuse(spec, "gvisor", err);
}

static void
make_environment(struct gvisor *g, const char *const *given)
{
  static const char *const usual[] = {
      "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
      "HOME=" CSN_GVISOR_HOME,
      "USER=user",
      "LOGNAME=user",
      "LANG=C.UTF-8",
      NULL};
  const char *const *image =
      g->rootfs->image ? (const char *const *)g->rootfs->image->config.environment : NULL;
  size_t n = CSN_COUNT(usual) + csn_strings_count(image) + csn_strings_count(given);
  g->environment = csn_arena_alloc(g->arena, (n + 1) * sizeof *g->environment);
  n = csn_variables_put(g->environment, 0, usual);
  n = csn_variables_put(g->environment, n, image);
  n = csn_variables_put(g->environment, n, given);
  for (size_t i = 0; i < n; i++)
    g->environment[i] = csn_arena_dup(g->arena, csn_cstr(g->environment[i])).p;
}

/* Folders of harnesses that were killed: nobody holds their lock, and they are
 * not just being made. */
static void
sweep(const char *tmp)
{
  enum { YOUNG_S = 60 };
  DIR *d = opendir(tmp);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    if (strncmp(e->d_name, BUNDLE, strlen(BUNDLE)) != 0)
      continue;
    csn_auto(csn_closep) int fd =
        openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
        st.st_mtime + YOUNG_S < time(NULL) && flock(fd, LOCK_EX | LOCK_NB) == 0)
      (void)!csn_remove_tree(dirfd(d), e->d_name, NULL);
  }
  if (d)
    closedir(d);
}

/* Who commands are: root's harness has the numbers of the owner, another's is
 * user 0 of a namespace in which nobody else is. */
static int
make_bundle(struct gvisor *g, const csn_sandbox_spec *spec, csn_err *err)
{
  struct stat st = {.st_uid = CSN_JAIL_UID, .st_gid = CSN_JAIL_UID};
  const char *tmp = getenv("TMPDIR");
  if (!tmp || tmp[0] != '/' || strlen(tmp) > 20)
    tmp = "/tmp";
  sweep(tmp);
  snprintf(g->bundle, sizeof g->bundle, "%s/" BUNDLE "XXXXXX", tmp);
  if (!mkdtemp(g->bundle)) {
    g->bundle[0] = '\0';
    return csn_fail_errno(err, "cannot make a folder in %s", tmp);
  }
  int folder = g->folder = open(g->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 || flock(folder, LOCK_SH) < 0 ||
      (g->base.workspace_fd >= 0 && fstat(g->base.workspace_fd, &st) < 0))
    return csn_fail_errno(err, "the workspace");
  bool is_root = geteuid() == 0;
  csn_gvisor_bundle b = {.path = g->bundle,
                         .folder = folder,
                         .spec = spec,
                         .rootfs = g->rootfs,
                         .root = g->base.root,
                         .workspace_fd = g->base.workspace_fd,
                         .uid = is_root ? st.st_uid : 0,
                         .gid = is_root ? st.st_gid : 0,
                         .keeper = csn_local_keeper_image()};
  if (is_root && g->base.workspace_fd >= 0 && (st.st_uid != 0 || st.st_gid != 0)) {
    g->base.uid = (int)st.st_uid;
    g->base.gid = (int)st.st_gid;
  }
  return csn_gvisor_bundle_make(&b, err);
}

static int
start(struct gvisor *g, csn_scope *sc, int lock_fd, csn_err *err)
{
  int pair[2], room = CSN_KEEPER_PACKET;
  int rc = csn_local_keeper(&g->keeper, &g->outer, lock_fd, err);
  if (rc < 0)
    return rc;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  g->control = pair[0];
  csn_auto(csn_closep) int theirs = pair[1];
  setsockopt(g->control, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  rc = launch(g, sc, theirs, err);
  csn_closep(&theirs);
  theirs = -1;
  return rc < 0 ? rc : await(g, sc, err);
}

/* What the kernel of runsc holds for each process; the rest is nobody's. */
static void
set_held(struct gvisor *g, const csn_sandbox_limits *l)
{
  csn_jail_limits asked;
  csn_jail_limits_ask(l, &asked);
  g->base.held.state[CSN_LIMIT_OPEN_FILES] = CSN_LIMIT_ENFORCED;
  g->base.held.value[CSN_LIMIT_OPEN_FILES] = asked.most_open_files;
  g->base.held.state[CSN_LIMIT_FILE_SIZE] = CSN_LIMIT_ENFORCED;
  g->base.held.value[CSN_LIMIT_FILE_SIZE] = asked.file_size;
}

/* The end of its control socket ends the keeper inside, and with it the
 * sandbox; runsc then tidies up.  What does not end by itself is killed. */
static void
gvisor_close(csn_sandbox *sb)
{
  struct gvisor *g = gvisor_of(sb);
  csn_exit end;
  csn_scope sc;
  csn_closep(&g->control);
  csn_scope_init(&sc, NULL, END_MS);
  if (g->runsc)
    (void)!g->runsc->ops->wait(g->runsc, &sc, &end, NULL);
  csn_scope_fini(&sc);
  if (g->runsc)
    g->runsc->ops->close(g->runsc);
  csn_closep(&g->outer);
  while (g->keeper > 0 && waitpid(g->keeper, NULL, 0) < 0 && errno == EINTR)
    continue;
  csn_closep(&g->messages);
  csn_closep(&g->folder);
  csn_closep(&sb->workspace_fd);
  if (g->bundle[0]) {
    char *name = strrchr(g->bundle, '/');
    *name++ = '\0';
    csn_auto(csn_closep) int parent = open(g->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0)
      (void)!csn_remove_tree(parent, name, NULL);
  }
  csn_rootfs_free(g->rootfs);
  csn_arena_free(g->arena);
  free(sb->root);
  free(g);
}

static void
gvisor_closep(struct gvisor **g)
{
  if (*g)
    gvisor_close(&(*g)->base);
}

static int
gvisor_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = check_spec(spec, err);
  if (rc < 0)
    return rc;
  csn_auto(gvisor_closep) struct gvisor *g = csn_alloc(sizeof *g);
  *g = (struct gvisor){
      .base = {.ops = &csn_sandbox_gvisor, .workspace_fd = -1, .uid = -1, .gid = -1},
      .control = -1,
      .outer = -1,
      .messages = -1,
      .folder = -1};
  g->arena = csn_arena_new(0);
  g->base.root = csn_dupz(csn_cstr(spec->root ? spec->root : "/workspace"));
  if (spec->workspace_fd >= 0) {
    g->base.workspace_fd = openat(spec->workspace_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (g->base.workspace_fd < 0)
      return csn_fail_errno(err, "workspace_fd %d", spec->workspace_fd);
  }
  rc = csn_rootfs_open(&g->rootfs, sc, spec->rootfs, NULL, err);
  if (rc == 0 && g->rootfs->n > 1)
    rc = csn_rootfs_flatten(g->rootfs, sc, err);
  if (rc < 0)
    return rc;
  make_environment(g, spec->environment);
  rc = make_bundle(g, spec, err);
  if (rc == 0)
    rc = start(g, sc, spec->lock_fd, err);
  if (rc < 0)
    return rc;
  set_held(g, spec->limits);
  *out = &csn_steal(g)->base;
  return 0;
}

/* ---- commands ---- */

static int
gvisor_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct gvisor *g = gvisor_of(sb);
  csn_auto(csn_buf_finip) csn_buf cwd = CSN_BUF(PATH_MAX);
  if (x->cwd && x->cwd[0] == '/')
    csn_buf_addz(&cwd, x->cwd);
  else
    csn_buf_addf(&cwd, "%s/%s", sb->root, x->cwd ? x->cwd : "");
  int rc = csn_buf_done(&cwd, "cwd", err);
  if (rc < 0)
    return rc;
  static const char *const terminal[] = {"TERM=xterm-256color", NULL};
  size_t n = csn_strings_count(g->environment) + csn_strings_count(x->environment) + 2;
  csn_auto(csn_freep) const char **list = csn_alloc(n * sizeof *list);
  n = csn_variables_put(list, 0, x->tty ? terminal : NULL);
  n = csn_variables_put(list, n, g->environment);
  csn_variables_put(list, n, x->environment);
  return csn_local_proc_open(out, sc, g->control, (csn_local_place){.fd = -1, .path = cwd.p}, x,
                             list, err);
}

static void
gvisor_describe(csn_sandbox *sb, csn_jw *w)
{
  static const char *const lines[][2] = {{"isolation", "gvisor"},
                                         {"files", "enforced"},
                                         {"network", "none"},
                                         {"processes", "enforced"},
                                         {"devices", "enforced"},
                                         {"capabilities", "none"},
                                         {"system_calls", "a kernel of its own"}};
  for (size_t i = 0; i < CSN_COUNT(lines); i++) {
    csn_jw_key(w, lines[i][0]);
    csn_jw_strz(w, lines[i][1]);
  }
  csn_jw_key(w, "files_belong_to");
  csn_jw_strz(w, sb->workspace_fd < 0 ? "nobody outside" : "the folder's owner");
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

static void
gvisor_usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  struct gvisor *g = gvisor_of(sb);
  struct pollfd fd = {.fd = g->control};
  u->is_dead = poll(&fd, 1, is_lost ? END_MS : 0) > 0;
}

const csn_sandbox_ops csn_sandbox_gvisor = {
    .size = sizeof(csn_sandbox_ops),
    .name = "gvisor",
    .open = gvisor_open,
    .close = gvisor_close,
    .spawn = gvisor_spawn,
    .describe = gvisor_describe,
    .usage = gvisor_usage,
};

bool
csn_gvisor_probe(csn_scope *sc, csn_buf *note)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const char *argv[] = {"true", NULL}, *path = csn_program_on_path(a, "runsc");
  csn_sandbox_spec spec = {.level = "gvisor", .workspace_fd = -1, .lock_fd = -1};
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
  csn_err err = {0};
  csn_exit end = {0};
  int rc = path ? csn_sandbox_open(&sb, sc, &spec, &err)
                : csn_fail(&err, CSN_E_UNSUPPORTED, "there is no runsc on the PATH");
  if (rc == 0)
    rc =
        csn_sandbox_exec(sb, sc, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err);
  csn_buf_addz(note, rc == 0 ? path : err.msg);
  return rc == 0 && end.code == 0;
}
