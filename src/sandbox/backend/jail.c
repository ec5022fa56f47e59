/* SPDX-License-Identifier: Apache-2.0
 *
 * jail.c - Linux namespaces of our own around each sandbox: the default.
 *
 * The spawner (sandbox/jail_hub.c, jail/spawner.c) makes the jail, its warden
 * (jail/warden.c) starts the commands.  Here: what the caller may ask for, the
 * commands' environment and descriptors, and the end.  Output never passes
 * through the warden; it has the commands' own pipes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/poll.h"
#include "jail/layers.h"
#include "sandbox/backends.h"
#include "sandbox/devices.h"
#include "sandbox/disk_watch.h"
#include "sandbox/egress.h"
#include "sandbox/grants.h"
#include "sandbox/jail.h"
#include "sandbox/jail_dial.h"
#include "sandbox/jail_limits.h"
#include "sandbox/jail_network.h"
#include "sandbox/jail_pack.h"
#include "sandbox/jail_spec.h"
#include "sandbox/jail_stack.h"
#include "sandbox/jail_users.h"
#include "sandbox/jail_variables.h"
#include "sandbox/mount_host.h"
#include "sandbox/network.h"
#include "sandbox/proc.h"
#include "sandbox/rootfs.h"
#include "sandbox/stack.h"
#include "sandbox/strings.h"

struct jail {
  csn_sandbox base;
  int control, pidfd, life; /* -1 until they are there */
  int landlock;
  int owner, user; /* csn_jail_got's */
  bool ranged, is_build;
  pthread_mutex_t sending; /* one frame at a time on `control` */
  csn_egress *egress;      /* of a networked jail, else NULL */
  csn_arena *arena;        /* of the environment's strings */
  const char **environment;
  csn_jail_counts counts;
  csn_disk_watch *watch; /* of a workspace folder's size, or NULL */
  csn_rootfs *rootfs;    /* its layers are in use while the jail is */
  csn_accounts *accounts;
  csn_devices devices;
  csn_grants grants;
  csn_mount_host *mounts; /* storage of others; NULL: none */
};

enum { MOUNT_MS = 60000 };

static struct jail *
jail_of(csn_sandbox *sb)
{
  return (struct jail *)sb; /* base is the first member */
}

int
csn_jail_user(const csn_sandbox *sb)
{
  return ((const struct jail *)sb)->user;
}

int
csn_jail_group(const csn_sandbox *sb, const char *name, gid_t *gid, csn_err *err)
{
  const struct jail *j = (const struct jail *)sb;
  return csn_jail_users_group(j->accounts, j->ranged && j->owner == CSN_JAIL_MAPPED, name, gid,
                              err);
}

/* ---- opening ---- */

static int
open_workspace(struct jail *j, int given, csn_err *err)
{
  if (given < 0)
    return 0;
  j->base.workspace_fd = openat(given, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (j->base.workspace_fd < 0)
    return csn_fail_errno(err, "workspace_fd %d", given);
  return 0;
}

/* Waits for a word of that kind with n descriptors, or why there is none. */
static int
await_with(struct jail *j, csn_scope *sc, int kind, int *fds, size_t n, csn_err *err)
{
  csn_jail_note note;
  int rc = csn_jail_await(j->control, sc, kind, &note, fds, n, err);
  if (rc == 0)
    j->landlock = note.landlock;
  if (rc < 0 && note.kind == CSN_JAIL_FAILED)
    return csn_jail_explain(rc, note.step, err);
  return csn_wrap(err, rc, "waiting for the jail");
}

static int
await(struct jail *j, csn_scope *sc, int kind, csn_err *err)
{
  return await_with(j, sc, kind, NULL, 0, err);
}

/* The egress process has been starting beside the jail: it gets the jail's
 * listeners, the jail what its programs shall trust. */
static int
join_network(struct jail *j, csn_scope *sc, const csn_jail_network_plan *net, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf file = CSN_BUF(CSN_JAIL_TRUST_MAX);
  int rc = csn_jail_network_join(net, j->control, sc, &file, err);
  if (rc < 0)
    return rc;
  csn_jail_frame head = {.kind = CSN_JAIL_TRUST, .length = (uint32_t)file.n};
  rc = csn_fds_send(j->control, sc, csn_strn((const char *)&head, sizeof head), NULL, 0, err);
  if (rc == 0)
    rc = csn_fds_send(j->control, sc, csn_buf_str(&file), NULL, 0, err);
  return rc == CSN_E_SANDBOX ? 0 : rc; /* a jail that ends has said why: it is read next */
}

/* The workspace is in the jail: gives it folders for the storage, and serves that.
 * The jail is ready when it has seen something of each. */
static int
join_mounts(struct jail *j, csn_scope *sc, csn_err *err)
{
  const csn_account *who = csn_accounts_main(j->accounts);
  csn_jail_frame frame = {.kind = CSN_JAIL_MOUNT};
  int fds[CSN_JAIL_MOUNTS_MAX];
  csn_scope part;
  int rc = csn_mount_host_folders(j->mounts, j->base.workspace_fd, j->base.uid, j->base.gid, err);
  if (rc == 0)
    rc = csn_fds_send(j->control, sc, csn_strn((const char *)&frame, sizeof frame), NULL, 0, err);
  if (rc == 0 || rc == CSN_E_SANDBOX) /* a jail that ends has said why: it is read next */
    rc = await_with(j, sc, CSN_JAIL_MOUNTED, fds, csn_mount_host_count(j->mounts), err);
  if (rc == 0)
    rc = csn_mount_host_serve(j->mounts, sc, fds, j->ranged ? who->uid : CSN_JAIL_UID,
                              j->ranged ? who->gid : CSN_JAIL_UID, err);
  if (rc < 0)
    return rc;
  csn_scope_init(&part, sc, MOUNT_MS);
  rc = await(j, &part, CSN_JAIL_READY, err);
  csn_scope_fini(&part);
  return csn_mount_host_explain(j->mounts, rc, err);
}

static int
start(struct jail *j, csn_scope *sc, const csn_sandbox_spec *spec, const csn_jail_network_plan *net,
      csn_err *err)
{
  csn_jail_ask ask;
  csn_jail_got got;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  j->control = pair[0];
  csn_auto(csn_closep) int theirs = pair[1];
  csn_jail_ask_init(&ask);
  snprintf(ask.open.root, sizeof ask.open.root, "%s", j->base.root);
  csn_jail_network_ask(net, &ask.open);
  ask.open.pool = spec->pool;
  ask.fds[CSN_JAIL_CONTROL] = theirs;
  ask.fds[CSN_JAIL_LOCK] = spec->lock_fd;
  ask.fds[CSN_JAIL_WORKSPACE] = j->base.workspace_fd;
  csn_jail_stack_ask(&ask, csn_spec_stack(spec));
  j->is_build = csn_spec_build(spec) != NULL;
  csn_auto(csn_closep) int accounts = -1;
  int rc = csn_jail_users_file(j->accounts, j->rootfs, spec, &accounts, err);
  if (rc < 0)
    return rc;
  ask.fds[CSN_JAIL_ACCOUNTS] = accounts;
  ask.open.uid = csn_accounts_main(j->accounts)->uid;
  ask.open.gid = csn_accounts_main(j->accounts)->gid;
  ask.open.layers = (uint32_t)j->rootfs->n;
  ask.layers = j->rootfs->layers;
  csn_jail_limits_ask(spec->limits, &ask.open.limits);
  rc = csn_spec_build(spec) ? csn_jail_build_ask(&ask, *csn_spec_build(spec), err) : 0;
  if (rc == 0)
    rc = csn_devices_ask(&j->devices, &ask, err);
  int extras[CSN_JAIL_EXTRAS_MAX];
  if (rc == 0)
    rc = csn_grants_ask(&j->grants, &ask, extras, err);
  if (rc == 0)
    rc = csn_mount_host_ask(j->mounts, &ask, err);
  if (rc < 0)
    return rc;
  rc = csn_jail_request(&ask, &got, err);
  if (rc < 0)
    return rc;
  close(theirs); /* so that the end of the warden's is seen */
  theirs = -1;
  j->pidfd = got.pidfd;
  j->life = got.life;
  j->base.uid = got.uid;
  j->base.gid = got.gid;
  j->owner = got.owner;
  csn_jail_stack_take(&j->base, got.view);
  j->user = got.user;
  j->ranged = got.ranged;
  memcpy(j->counts.events, got.events, sizeof got.events);
  j->counts.control = j->control;
  j->counts.life = j->life;
  csn_jail_counts_open(&j->counts);
  csn_jail_limits_held(&j->base.held, spec->limits, &got.held, j->base.workspace_fd < 0);
  if (net->policy)
    rc = join_network(j, sc, net, err);
  if (rc == 0 && j->mounts)
    return join_mounts(j, sc, err);
  return rc < 0 ? rc : await(j, sc, CSN_JAIL_READY, err);
}

static void
end_jail(struct jail *j)
{
  /* The kernel ends all of a process namespace with its first process; the
   * life pipe ends when that is done and the lock is free. */
  if (j->pidfd >= 0)
    (void)!syscall(SYS_pidfd_send_signal, j->pidfd, SIGKILL, NULL, 0);
  csn_mount_host_end(j->mounts, j->life);
  struct pollfd fd = {.fd = j->life};
  while (j->life >= 0 && poll(&fd, 1, -1) < 0 && errno == EINTR)
    continue;
  csn_closep(&j->control);
  csn_closep(&j->pidfd);
  csn_closep(&j->life);
  csn_closep(&j->counts.events[0]);
  csn_closep(&j->counts.events[1]);
  j->control = j->pidfd = j->life = j->counts.events[0] = j->counts.events[1] = -1;
}

/* Where the layers cannot be laid over each other, they are merged into one
 * folder, once for each image. */
static int
start_on(struct jail *j, csn_scope *sc, const csn_sandbox_spec *spec,
         const csn_jail_network_plan *net, csn_err *err)
{
  csn_err own;
  int rc = start(j, sc, spec, net, &own);
  if (rc < 0 && j->rootfs->n > 1 && strstr(own.msg, CSN_JAIL_NO_OVERLAY)) {
    end_jail(j);
    rc = csn_rootfs_flatten(j->rootfs, sc, &own);
    if (rc == 0)
      rc = start(j, sc, spec, net, &own);
  }
  if (rc < 0 && err)
    *err = own;
  return rc;
}

/* Ends all commands, but not the jail: what is too much can be removed. */
static void
end_commands(void *user)
{
  struct jail *j = user;
  csn_jail_frame frame = {.kind = CSN_JAIL_KILL};
  csn_err is_dead;
  pthread_mutex_lock(&j->sending);
  (void)!csn_fds_send(j->control, NULL, csn_strn((const char *)&frame, sizeof frame), NULL, 0,
                      &is_dead);
  pthread_mutex_unlock(&j->sending);
}

static int
watch_disk(struct jail *j, const csn_sandbox_limits *l, csn_err *err)
{
  if (j->base.workspace_fd < 0 || !l || (l->disk_bytes <= 0 && l->inodes <= 0))
    return 0;
  return csn_disk_watch_new(&j->watch, j->base.workspace_fd,
                            l->disk_bytes > 0 ? l->disk_bytes : CSN_UNLIMITED,
                            l->inodes > 0 ? l->inodes : CSN_UNLIMITED, end_commands, j, err);
}

/* The last descriptor of a workspace of layers is to be the spawner's. */
static void
end_with_workspace(struct jail *j, csn_buf *told)
{
  csn_disk_watch_free(csn_steal(j->watch));
  csn_closep(&j->base.workspace_fd);
  if (j->mounts && j->control >= 0)
    end_commands(j);
  csn_mount_host_store(j->mounts, told);
  end_jail(j);
}

void
csn_jail_settle(csn_sandbox *sb, csn_buf *told)
{
  end_with_workspace(jail_of(sb), told);
}

static int
jail_stop(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct jail *j = jail_of(sb);
  pthread_mutex_lock(&j->sending);
  int rc = csn_jail_idle(j->control, sc, NULL, err), control = j->control;
  if (rc == 0) /* nobody starts anything from here on */
    j->control = j->counts.control = j->counts.life = -1;
  pthread_mutex_unlock(&j->sending);
  if (rc < 0)
    return rc;
  end_with_workspace(j, NULL);
  csn_closep(&control);
  return 0;
}

static int
jail_rests(csn_sandbox *sb, csn_scope *sc, bool *has_more, csn_err *err)
{
  struct jail *j = jail_of(sb);
  pthread_mutex_lock(&j->sending);
  int rc = csn_jail_idle(j->control, sc, has_more, err);
  pthread_mutex_unlock(&j->sending);
  return rc;
}

static void
jail_close(csn_sandbox *sb)
{
  struct jail *j = jail_of(sb);
  end_with_workspace(j, NULL);
  csn_egress_close(j->egress);
  csn_mount_host_free(j->mounts);
  pthread_mutex_destroy(&j->counts.lock);
  pthread_mutex_destroy(&j->sending);
  csn_arena_free(j->arena);
  csn_rootfs_free(j->rootfs);
  csn_accounts_free(j->accounts);
  csn_devices_close(&j->devices);
  csn_grants_close(&j->grants);
  free(sb->root);
  free(j);
}

static void
jail_closep(struct jail **j)
{
  if (*j)
    jail_close(&(*j)->base);
}

static int
jail_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = csn_jail_spec_check(spec, err);
  if (rc == 0)
    rc = csn_jail_start(err); /* so that it gets ready while we do */
  if (rc < 0)
    return rc;
  csn_auto(jail_closep) struct jail *j = csn_alloc(sizeof *j);
  *j = (struct jail){.base = {.ops = &csn_sandbox_jail, .workspace_fd = -1, .uid = -1, .gid = -1},
                     .user = -1,
                     .devices = {.names_fd = -1},
                     .grants = {.list_fd = -1},
                     .control = -1,
                     .pidfd = -1,
                     .life = -1};
  pthread_mutex_init(&j->sending, NULL);
  csn_jail_counts_init(&j->counts);
  j->base.root = csn_dupz(csn_cstr(spec->root ? spec->root : "/workspace"));
  j->arena = csn_arena_new(0);
  csn_jail_network_plan net;
  rc = csn_jail_network_begin(&net, spec->network, j->arena, err);
  j->egress = net.egress;
  if (rc == 0)
    rc = csn_rootfs_open(&j->rootfs, sc, spec->rootfs, NULL, err);
  if (rc == 0)
    rc = csn_mount_host_new(&j->mounts, spec->mounts, j->base.root, err);
  if (rc == 0)
    rc = csn_devices_open(&j->devices, spec->devices, j->rootfs->n == 0, err);
  if (rc == 0)
    rc = csn_grants_open(&j->grants, csn_spec_grants(spec), j->base.root, err);
  if (rc == 0)
    rc = csn_jail_users_make(&j->accounts, j->rootfs, spec, err);
  if (rc < 0)
    return rc;
  j->environment =
      csn_jail_variables(j->arena, &(csn_jail_sources){.rootfs = j->rootfs,
                                                       .devices = &j->devices,
                                                       .who = csn_accounts_main(j->accounts),
                                                       .network = net.variables,
                                                       .given = spec->environment});
  rc = open_workspace(j, spec->workspace_fd, err);
  if (rc == 0)
    rc = start_on(j, sc, spec, &net, err);
  if (rc == 0 && !j->ranged)
    rc = csn_jail_users_check(j->accounts, spec, err);
  if (rc == 0 && spec->has_scopes && !j->landlock)
    rc = csn_jail_no_scopes(err);
  if (rc == 0)
    rc = watch_disk(j, spec->limits, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(j)->base;
  return 0;
}

/* ---- commands ---- */

/* The command's ends; all are closed here once the warden has them. */
struct ends {
  int channel, std[3];
};

static void
ends_close(struct ends *e)
{
  csn_closep(&e->channel);
  for (int i = 0; i < 3; i++)
    csn_closep(&e->std[i]);
}

static int
send_exec(struct jail *j, const csn_buf *frame, const struct ends *e, const csn_exec *x,
          csn_err *err)
{
  int fds[CSN_JAIL_EXEC_FDS];
  size_t n = 0;
  fds[n++] = e->channel;
  if (e->std[1] >= 0)
    fds[n++] = e->std[1];
  if (e->std[0] >= 0)
    fds[n++] = e->std[0];
  if (e->std[2] >= 0)
    fds[n++] = e->std[2];
  if (x->claim_fd >= 0)
    fds[n++] = x->claim_fd;
  /* A frame that is cut by a scope's end would spoil all that follow; the
   * warden takes it as soon as it has started the one before. */
  pthread_mutex_lock(&j->sending);
  int rc = csn_fds_send(j->control, NULL, csn_buf_str(frame), fds, n, err);
  pthread_mutex_unlock(&j->sending);
  return rc;
}

static int
jail_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct jail *j = jail_of(sb);
  csn_auto(csn_buf_finip) csn_buf frame = CSN_BUF(CSN_JAIL_BODY_MAX);
  csn_account who;
  int rc = csn_accounts_find(j->accounts, x->user, &who, err);
  if (rc == 0 && j->is_build && j->ranged)
    who = (csn_account){.home = CSN_JAIL_HOME, .name = "root"};
  if (rc == 0 && x->files && !j->landlock)
    rc = csn_jail_no_scopes(err);
  if (rc == 0 && !j->ranged && who.uid != CSN_JAIL_UID)
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "this jail has one user id, so no command can be user %u; `caisson doctor` says "
                  "how to have more",
                  who.uid);
  if (rc == 0)
    rc = csn_jail_pack(&frame, j->base.root, j->environment, x, &who, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_piped_freep) struct csn_piped *p = csn_piped_new(x->tty);
  csn_auto(ends_close) struct ends e = {-1, {-1, -1, -1}};
  rc = csn_piped_channel(p, &e.channel, err);
  if (rc == 0 && !x->tty)
    rc = csn_piped_pipes(p, x, e.std, err);
  if (rc == 0)
    rc = csn_jail_users_pipes(j->accounts, j->user, e.std, &who, err);
  if (rc == 0)
    rc = send_exec(j, &frame, &e, x, err);
  ends_close(&e);
  e = (struct ends){-1, {-1, -1, -1}};
  if (rc == 0)
    rc = csn_piped_await(p, sc, x, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(p)->base;
  return 0;
}

static int
jail_dial(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd, csn_err *err)
{
  struct jail *j = jail_of(sb);
  return csn_jail_dial_port(j->control, &j->sending, sc, port, fd, err);
}

static void
jail_describe(csn_sandbox *sb, csn_jw *w)
{
  const struct jail *j = jail_of(sb);
  const struct {
    const char *name, *state;
  } lines[] = {{"isolation", "jail"},
               {"files", "enforced"},
               {"network", j->egress ? "policy" : "none"},
               {"processes", "enforced"},
               {"devices", "enforced"},
               {"capabilities", "none"},
               {"system_calls", "enforced"}};
  for (size_t i = 0; i < CSN_COUNT(lines); i++) {
    csn_jw_key(w, lines[i].name);
    csn_jw_strz(w, lines[i].state);
  }
  csn_jw_key(w, "landlock_abi");
  csn_jw_int(w, j->landlock);
  csn_jw_key(w, "user_ids");
  csn_jw_strz(w, j->user >= 0 ? "own range" : j->ranged ? "lent range" : "one");
  static const char *const owners[] = {[CSN_JAIL_SAME] = "the harness's user",
                                       [CSN_JAIL_MAPPED] = "the folder's owner",
                                       [CSN_JAIL_GIVEN_AWAY] = "user 1000001000"};
  csn_jw_key(w, "files_belong_to");
  csn_jw_strz(w, sb->workspace_fd < 0 ? "nobody outside" : owners[j->owner]);
  csn_jw_key(w, "workspace");
  csn_jw_strz(w, csn_jail_workspace(sb));
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

static void
jail_usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  struct jail *j = jail_of(sb);
  csn_jail_counts_get(&j->counts, is_lost, u);
  u->lost = csn_mount_host_lost(j->mounts);
  if (j->watch)
    csn_disk_watch_count(j->watch, u);
}

static int
jail_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to, int64_t *reached,
              csn_err *err)
{
  struct jail *j = jail_of(sb);
  return j->egress ? csn_egress_restrict(j->egress, sc, to, reached, err) : 0;
}

const csn_sandbox_ops csn_sandbox_jail = {
    .size = sizeof(csn_sandbox_ops),
    .name = "jail",
    .open = jail_open,
    .close = jail_close,
    .spawn = jail_spawn,
    .dial = jail_dial,
    .describe = jail_describe,
    .usage = jail_usage,
    .stop = jail_stop,
    .restrict_network = jail_restrict,
    .rests = jail_rests,
};
