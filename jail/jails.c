/* SPDX-License-Identifier: Apache-2.0
 *
 * jails.c - the jails of a spawner: one is made, cold or from the pool, and
 * remembered until its last process has ended.
 */
#include "jail/jails.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "jail/extras.h"
#include "jail/layers.h"
#include "jail/steps.h"
#include "jail/storage.h"

enum { RETRY_MS = 50 }; /* for a control group that is not empty yet */

static void
close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* ---- what the harness gave us ---- */

/* The tree of the workspace, in which user 1000 of the jail is its owner. */
static const char *
own_tree(struct csn_jails *s, struct csn_ids **ids, int folder, int tree, const csn_jail_open *open,
         csn_jail_opened *a)
{
  struct stat st;
  const char *failed = NULL;
  if (!s->home.is_root)
    return sys_tree_protect(tree, CSN_SAFE, -1) < 0 ? "protect the workspace" : NULL;
  if (open->is_build) {
    int ours = csn_ids_system(*ids);
    return ours < 0 || sys_tree_protect(tree, CSN_SAFE, ours) < 0 ? "map the owners of an image"
                                                                  : NULL;
  }
  if (fstat(folder, &st) < 0)
    return "look at the workspace";
  int owner = csn_ids_owner(*ids, st.st_uid, st.st_gid, (const uint32_t[]){open->uid, open->gid},
                            open->under > 0);
  if (owner >= 0 && sys_tree_protect(tree, CSN_SAFE, owner) == 0) {
    bool same = st.st_uid == geteuid() && st.st_gid == getegid();
    s->uid = st.st_uid; /* the next one's as well, most likely */
    s->gid = st.st_gid;
    a->owner = CSN_JAIL_MAPPED;
    a->uid = same ? -1 : (int32_t)st.st_uid;
    a->gid = same ? -1 : (int32_t)st.st_gid;
    return NULL;
  }
  if (open->under)
    return CSN_JAIL_NO_STACK;
  if (open->keep_owner)
    return "map the owner of the workspace";
  csn_ids_drop(*ids);
  *ids = csn_ids_take(&s->home.ids, true, NULL, &failed);
  if (failed)
    return failed;
  a->owner = CSN_JAIL_GIVEN_AWAY;
  a->uid = (int32_t)(CSN_JAIL_BASE + open->uid);
  a->gid = (int32_t)(CSN_JAIL_BASE + open->gid);
  if (fchown(folder, (uid_t)a->uid, (gid_t)a->gid) < 0)
    return "change the owner of the workspace";
  return sys_tree_protect(tree, CSN_SAFE, -1) < 0 ? "protect the workspace" : NULL;
}

/* Who commands are on the host. */
static int32_t
user_of(const struct csn_jails *s, const struct csn_ids *ids, const csn_jail_open *open)
{
  return s->home.is_root ? (int32_t)(ids->base + open->uid) : -1;
}

/* Lays the workspace's layers below the tree; r->view is the whole for the
 * harness, which sees it as the jail does. */
static const char *
stack_up(const struct csn_jails *s, struct csn_request *r, const struct csn_ids *ids, int *tree,
         csn_jail_opened *a)
{
  struct statvfs fs;
  const char *failed = csn_home_stack(&s->home, s->home.is_root ? ids->owner : -1,
                                      r->layers + r->open.layers, r->open.under, tree);
  if (failed)
    return failed;
  /* What is mounted on the tree in the jail is to be seen there alone. */
  int twin = r->open.mounts ? sys_open_tree(*tree, "", AT_EMPTY_PATH) : -1;
  int view = openat(r->open.mounts ? twin : *tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close_fd(twin);
  if (view < 0 || fstatvfs(view, &fs) < 0 || fs.f_flag & ST_RDONLY) {
    /* Read-only is what the kernel makes of one whose `work` it cannot use. */
    close_fd(view);
    errno = view < 0 ? errno : EROFS;
    return CSN_JAIL_NO_STACK;
  }
  if (r->open.is_build) { /* the harness looks at what came of it when it is over */
    close(view);
    return NULL;
  }
  r->view = view;
  if (s->home.is_root) {
    a->uid = (int32_t)(ids->base + r->open.uid);
    a->gid = (int32_t)(ids->base + r->open.gid);
  }
  return NULL;
}

const char *
csn_jails_workspace(struct csn_jails *s, struct csn_request *r, struct csn_ids **ids,
                    csn_jail_opened *a)
{
  int folder = r->fds[CSN_JAIL_WORKSPACE];
  a->user = user_of(s, *ids, &r->open);
  if (folder < 0)
    return NULL;
  int tree = csn_home_tree(&s->home, folder);
  if (tree < 0)
    return errno == ESTALE ? "find the folder of the workspace again" : "bind the workspace";
  const char *failed = own_tree(s, ids, folder, tree, &r->open, a);
  if (!failed && r->open.under)
    failed = stack_up(s, r, *ids, &tree, a);
  int e = errno;
  close_fd(failed ? tree : folder);
  errno = e;
  if (failed)
    return failed;
  r->fds[CSN_JAIL_WORKSPACE] = tree;
  a->user = user_of(s, *ids, &r->open); /* they may be others now */
  return NULL;
}

/* ---- one jail ---- */

static bool
remember(struct csn_jails *s, struct csn_jail j)
{
  if (s->n == s->room) {
    size_t room = s->room ? s->room * 2 : 64;
    struct csn_jail *more = realloc(s->all, room * sizeof *more);
    if (!more)
      return false;
    s->all = more;
    s->room = room;
  }
  s->all[s->n++] = j;
  return true;
}

/* What the jail may use: decides what was left to us, and sets what groups
 * hold.  Memory that none holds is at least limited for each process, where it
 * was asked for. */
static void
set_limits(const struct csn_jails *s, const struct csn_cgroup *group, csn_jail_limits *l,
           csn_jail_held *held)
{
  bool asked = l->memory > 0;
  if (l->memory == 0)
    l->memory = (int64_t)(s->groups.available / 4 * 3);
  csn_cgroup_limit(&s->groups, group, l, held);
  l->data = asked && !held->memory ? l->memory : -1;
  if (held->pids && l->pids >= 0)
    l->pids += 64; /* RLIMIT_NPROC stays behind the group, which counts refusals */
  if (!asked && !held->memory)
    l->memory = -1;
}

int64_t
csn_jails_now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One that is there, or that is being made. */
static bool
take_spare(struct csn_jails *s, struct csn_spare *spare)
{
  if (s->n_spares == 0)
    return csn_spare_end(&s->home, spare);
  *spare = s->spares[--s->n_spares];
  return true;
}

/* Clones the first process; fds are as the harness gets them.  What failed,
 * with errno. */
static const char *
start_first(struct csn_jails *s, const struct csn_template *t, struct csn_jail_plan *plan,
            struct csn_jail *j, int fds[2])
{
  int life[2];
  struct csn_spare spare;
  if (pipe2(life, O_CLOEXEC) < 0)
    return "pipe";
  plan->fds[CSN_JAIL_LIFE] = fds[1] = life[0];
  j->life = life[1];
  /* A spare network is the host's; a jail that changes its own must own it. */
  bool has_spare = !plan->open.networked && take_spare(s, &spare);
  int group = csn_cgroup_target(&s->groups, &j->group);
  j->pid = csn_jail_clone(&s->home, t, j->ids, has_spare ? &spare : NULL, group, plan, &fds[0]);
  int e = errno;
  close_fd(group);
  if (has_spare)
    csn_spare_drop(&spare);
  errno = e;
  return j->pid < 0 ? "make the namespaces of the jail" : NULL;
}

const char *
csn_jails_start(struct csn_jails *s, const struct csn_template *t, struct csn_jail_plan *plan,
                struct csn_jail j, csn_jail_opened *a, int fds[4])
{
  const csn_jail_limits asked = plan->open.limits;
  csn_cgroups_take(&s->groups, &j.group);
  set_limits(s, &j.group, &plan->open.limits, &a->held);
  const char *failed = start_first(s, t, plan, &j, fds);
  csn_cgroup_limit_processes(&s->groups, &j.group, &asked, &a->held);
  if (!failed && !remember(s, j))
    failed = "remember the jail";
  if (!failed) {
    csn_cgroup_events(&s->groups, &j.group, fds + 2);
    return NULL;
  }
  int e = errno;
  if (j.pid > 0) {
    kill(j.pid, SIGKILL);
    waitpid(j.pid, NULL, 0);
  }
  close_fd(j.life);
  csn_cgroup_drop(&s->groups, &j.group);
  errno = e;
  return failed;
}

int
csn_jails_keep(int view)
{
  return view < 0 ? -1 : fcntl(view, F_DUPFD_CLOEXEC, 0);
}

int64_t
csn_jails_deadline_ms(const csn_jail_limits *l)
{
  return l->wall_ms < 0 ? INT64_MAX : csn_jails_now_ms() + l->wall_ms;
}

/* t: NULL where the template depends on the jail's ids, which are taken here. */
static const char *
make_cold(struct csn_jails *s, struct csn_request *r, const struct csn_template *t,
          csn_jail_note *why, csn_jail_opened *a, int fds[4])
{
  const char *failed = NULL;
  const uint32_t inside[] = {r->open.uid, r->open.gid};
  struct csn_ids *ids =
      csn_ids_take(&s->home.ids, false, r->open.is_build ? NULL : inside, &failed);
  if (!failed)
    failed = csn_jails_workspace(s, r, &ids, a);
  struct csn_wanted want = {r->open.root, s->home.is_root ? ids : NULL, r->layers, r->open.layers,
                            r->granted.n ? &r->granted : NULL};
  if (!failed && !t && !(t = csn_template_find(&s->home, &s->templates, &want, why))) {
    failed = why->step;
    errno = why->error;
  }
  if (!failed) {
    struct csn_jail_plan plan = {.open = r->open};
    struct csn_jail j = {.pid = -1,
                         .ids = ids,
                         .lock = r->fds[CSN_JAIL_LOCK],
                         .view = csn_jails_keep(r->view),
                         .life = -1,
                         .deadline_ms = csn_jails_deadline_ms(&r->open.limits)};
    memcpy(plan.fds, r->fds, sizeof r->fds);
    failed = csn_extras_make(s, r, ids, &plan, why);
    if (!failed)
      failed = csn_storage_open(&s->home, ids, &plan);
    if (!failed)
      failed = csn_jails_start(s, t, &plan, j, a, fds);
    int e = errno;
    csn_storage_drop(&plan);
    csn_extras_drop(&plan);
    errno = e;
    if (failed)
      csn_home_let_go(j.view);
  }
  if (failed)
    csn_ids_drop(ids);
  else
    r->fds[CSN_JAIL_LOCK] = -1; /* the table's now */
  return failed;
}

void
csn_jails_make(struct csn_jails *s, struct csn_request *r, csn_jail_opened *a, int fds[4])
{
  csn_jail_note why = {0};
  struct csn_template *t = NULL;
  const char *failed = csn_home_open(&s->home);
  a->ranged = s->home.ranged;
  if (!s->home.ranged || r->open.uid == 0 || r->open.uid >= CSN_JAIL_RANGE)
    r->open.uid = CSN_JAIL_UID;
  if (!s->home.ranged || r->open.gid == 0 || r->open.gid >= CSN_JAIL_RANGE)
    r->open.gid = CSN_JAIL_UID;
  if (s->home.ranged && r->open.is_build)
    r->open.uid = r->open.gid = 0;
  if (!failed)
    failed = csn_granted_read(&r->granted, r->open.grants, r->fds[CSN_JAIL_GRANTS],
                              r->extras + r->open.devices + r->open.libraries);
  r->granted.inside[0] = r->open.uid;
  r->granted.inside[1] = r->open.gid;
  struct csn_wanted want = {.root = r->open.root, .grants = r->granted.n ? &r->granted : NULL};
  bool needs_ids = r->open.layers || (r->granted.n && s->home.is_root);
  if (!failed && !needs_ids && !(t = csn_template_find(&s->home, &s->templates, &want, &why))) {
    failed = why.step;
    errno = why.error;
  }
  struct csn_kind *kind = t ? csn_pool_kind(s, &r->open, t) : NULL;
  if (!failed && r->fds[CSN_JAIL_CONTROL] < 0)
    csn_pool_fill(s, kind);
  else if (!failed && !csn_pool_take(s, kind, r, a, fds))
    failed = make_cold(s, r, t, &why, a, fds);
  if (failed) {
    a->error = errno ? errno : EIO;
    step_name(a->step, sizeof a->step, failed, "");
  }
  csn_granted_fini(&r->granted);
}

/* ---- their end ---- */

/* Says on the life pipe how it was, and gives back what it had. */
static void
bury(struct csn_jails *s, struct csn_jail *j)
{
  csn_pool_forget(j);
  csn_jail_end end = {.is_late = j->is_late};
  csn_cgroup_count(&s->groups, &j->group, &end);
  close_fd(j->lock);
  (void)!write(j->life, &end, sizeof end);
  close_fd(j->life);
  csn_home_let_go(j->view);
  csn_cgroup_drop(&s->groups, &j->group);
  csn_ids_drop(j->ids);
}

void
csn_jails_reap(struct csn_jails *s, int flags)
{
  pid_t pid;
  while ((pid = waitpid(-1, NULL, flags)) > 0) {
    csn_home_reaped(pid);
    for (size_t i = 0; i < s->n; i++)
      if (s->all[i].pid == pid) {
        bury(s, &s->all[i]);
        s->all[i] = s->all[--s->n];
        break;
      }
  }
}

int
csn_jails_end_late(struct csn_jails *s)
{
  int64_t next = INT64_MAX, now = csn_jails_now_ms();
  for (size_t i = 0; i < s->n; i++) {
    struct csn_jail *j = &s->all[i];
    if (j->deadline_ms <= now) {
      j->is_late = true;
      j->deadline_ms = INT64_MAX;
      kill(j->pid, SIGKILL);
    }
    next = j->deadline_ms < next ? j->deadline_ms : next;
  }
  if (s->groups.n_doomed && next > now + RETRY_MS)
    next = now + RETRY_MS;
  return next == INT64_MAX ? -1 : next - now > INT32_MAX ? INT32_MAX : (int)(next - now);
}

void
csn_jails_end(struct csn_jails *s)
{
  for (size_t i = 0; i < s->n; i++)
    kill(s->all[i].pid, SIGKILL);
  csn_jails_reap(s, 0);
}
