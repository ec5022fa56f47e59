/* SPDX-License-Identifier: Apache-2.0
 * graft.c - see graft.h. */
#include "sandbox/graft.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/fd.h"
#include "core/poll.h"
#include "jail/graft.h"
#include "sandbox/jail_dial.h"
#include "sandbox/jail_network.h"
#include "sandbox/layer_store.h"
#include "sandbox/proc.h"

#define FOLDER "grafts"
#define PROGRAM "caisson-graft"
#define SOCKET "socket"

/* The program's bytes; made by the build. */
extern const char csn_spawner_image[], csn_spawner_image_end[];

const char *const csn_graft_command[] = {CSN_GRAFT_PLACE "/" PROGRAM, CSN_GRAFT_WORD,
                                         CSN_GRAFT_PLACE "/" SOCKET, NULL};

struct csn_graft {
  csn_arena *arena;
  const char *own, *trust;
  int own_fd, trust_fd, listener, control;
  pthread_mutex_t sending; /* one frame at a time on `control` */
  csn_jail_network_plan plan;
};

/* ---- the folder ---- */

/* The folder of all; its path too, when `path` is there. */
static int
open_all(csn_buf *path, csn_err *err)
{
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  int rc = csn_layer_store_open(&s, err);
  if (rc == 0)
    rc = csn_mkdirs(s->dir, FOLDER, 0700, err);
  if (rc < 0)
    return rc;
  if (path)
    csn_buf_addf(path, "%s/" FOLDER, s->path);
  return csn_open_beneath(s->dir, FOLDER, O_RDONLY | O_DIRECTORY, 0, err);
}

/* One of the two.  Whoever is mapped to be root in a container passes. */
static int
make_part(int dir, const char *part, csn_err *err)
{
  if (mkdirat(dir, part, 0755) < 0)
    return csn_fail_errno(err, "%s", part);
  int fd = csn_open_beneath(dir, part, O_RDONLY | O_DIRECTORY, 0, err);
  if (fd >= 0 && fchmod(fd, 0755) < 0) { /* whatever the umask is */
    close(fd);
    return csn_fail_errno(err, "%s", part);
  }
  return fd;
}

static int
make_folder(csn_graft *g, const char *name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  csn_auto(csn_closep) int all = open_all(&path, err);
  if (all < 0)
    return all;
  int rc = csn_remove_tree(all, name, err);
  if (rc == CSN_E_NOT_FOUND)
    rc = 0;
  csn_auto(csn_closep) int dir = rc < 0 ? rc : make_part(all, name, err);
  if (dir < 0)
    return dir;
  g->own = csn_arena_printf(g->arena, "%s/%s/own", path.p, name).p;
  g->trust = csn_arena_printf(g->arena, "%s/%s/trust", path.p, name).p;
  g->own_fd = make_part(dir, "own", err);
  g->trust_fd = g->own_fd < 0 ? g->own_fd : make_part(dir, "trust", err);
  return g->trust_fd < 0 ? g->trust_fd : 0;
}

/* The program, and a socket beside it, whose path is longer than one may be. */
static int
furnish(csn_graft *g, csn_err *err)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  csn_str image = csn_strn(csn_spawner_image, (size_t)(csn_spawner_image_end - csn_spawner_image));
  int rc = csn_file_write(g->own_fd, PROGRAM, image, 0555, false, err);
  if (rc < 0)
    return rc;
  snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/" SOCKET, g->own_fd);
  g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (g->listener < 0 || bind(g->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
      fchmodat(g->own_fd, SOCKET, 0666, 0) < 0 || listen(g->listener, 1) < 0)
    return csn_fail_errno(err, "a socket in %s", g->own);
  return 0;
}

void
csn_graft_remove(const char *name)
{
  csn_err unknown;
  csn_auto(csn_closep) int all = open_all(NULL, &unknown);
  if (all >= 0)
    (void)!csn_remove_tree(all, name, &unknown);
}

/* ---- its life ---- */

static void
graft_closep(csn_graft **g)
{
  csn_graft_close(*g);
}

int
csn_graft_open(csn_graft **out, const char *name, const csn_network *policy, csn_err *err)
{
  csn_auto(graft_closep) csn_graft *g = csn_alloc(sizeof *g);
  *g = (csn_graft){
      .arena = csn_arena_new(0), .own_fd = -1, .trust_fd = -1, .listener = -1, .control = -1};
  pthread_mutex_init(&g->sending, NULL);
  int rc = csn_jail_network_begin(&g->plan, policy, g->arena, err);
  if (rc == 0)
    rc = make_folder(g, name, err);
  if (rc == 0)
    rc = furnish(g, err);
  if (rc < 0)
    return rc;
  *out = csn_steal(g);
  return 0;
}

void
csn_graft_close(csn_graft *g)
{
  if (!g)
    return;
  csn_egress_close(g->plan.egress);
  csn_closep(&g->own_fd);
  csn_closep(&g->trust_fd);
  csn_closep(&g->listener);
  csn_closep(&g->control);
  pthread_mutex_destroy(&g->sending);
  csn_arena_free(g->arena);
  free(g);
}

const char *
csn_graft_own(const csn_graft *g)
{
  return g->own;
}

const char *
csn_graft_trust(const csn_graft *g)
{
  return g->trust;
}

const char *const *
csn_graft_variables(const csn_graft *g)
{
  return g->plan.variables;
}

/* ---- our program ---- */

static int
await_program(csn_graft *g, csn_scope *sc, int gone_fd, csn_err *err)
{
  struct pollfd fds[] = {{.fd = g->listener, .events = POLLIN}, {.fd = gone_fd, .events = POLLIN}};
  int rc = csn_poll(sc, fds, CSN_COUNT(fds), err);
  if (rc < 0)
    return rc;
  if (!fds[0].revents)
    return csn_fail(err, CSN_E_SANDBOX,
                    "the process that is to hold the network ended without a word");
  g->control = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
  if (g->control < 0)
    return csn_fail_errno(err, "accept");
  csn_closep(&g->listener); /* nobody else connects */
  g->listener = -1;
  return 0;
}

int
csn_graft_join(csn_graft *g, csn_scope *sc, int gone_fd, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf trust = CSN_BUF(CSN_JAIL_TRUST_MAX);
  csn_jail_open open;
  csn_jail_note note;
  memset(&open, 0, sizeof open);
  csn_jail_network_ask(&g->plan, &open);
  int rc = await_program(g, sc, gone_fd, err);
  if (rc == 0)
    rc = csn_fds_send(g->control, sc, csn_strn((const char *)&open, sizeof open), NULL, 0, err);
  if (rc == 0 && g->plan.policy)
    rc = csn_jail_network_join(&g->plan, g->control, sc, &trust, err);
  if (rc == 0)
    rc = csn_jail_await(g->control, sc, CSN_JAIL_READY, &note, NULL, 0, err);
  if (rc == 0 && g->plan.policy)
    rc = csn_file_write(g->trust_fd, strrchr(CSN_JAIL_TRUST_FILE, '/') + 1, csn_buf_str(&trust),
                        0444, false, err);
  return csn_wrap(err, rc, "the network of the container");
}

int
csn_graft_dial(csn_graft *g, csn_scope *sc, uint16_t port, int *fd, csn_err *err)
{
  return csn_jail_dial_port(g->control, &g->sending, sc, port, fd, err);
}

int
csn_graft_restrict(csn_graft *g, csn_scope *sc, enum csn_network_restriction to, int64_t *reached,
                   csn_err *err)
{
  return g->plan.egress ? csn_egress_restrict(g->plan.egress, sc, to, reached, err) : 0;
}
