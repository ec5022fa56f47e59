/* SPDX-License-Identifier: Apache-2.0
 *
 * start.c - makes processes in namespaces that the spawner is not in.
 *
 * A helper shares the spawner's memory and descriptors, and the spawner waits
 * for it.  It joins what the first process is to have (network, template,
 * user ids) and clones that as the spawner's child.  So joining costs a few
 * microseconds for each jail, and the spawner stays where it is.
 */
#include "jail/start.h"

#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "jail/grants.h"
#include "jail/layers.h"
#include "jail/lent.h"
#include "jail/steps.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

enum { HELPER_STACK = 256 * 1024 };

int
csn_start_beside(int (*go)(void *), void *arg, unsigned long more, char *stack, size_t size)
{
  return clone(go, stack + size, (int)(CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD | more),
               arg) < 0
             ? -1
             : 0;
}

static int
beside(int (*go)(void *), void *arg, unsigned long more, char *stack)
{
  return csn_start_beside(go, arg, more, stack, HELPER_STACK);
}

/* Becomes user 0 of a range.  Without one we have all that is needed, and the
 * warden goes where the commands are at the end. */
static bool
enter_ids(const struct csn_ids *ids, bool keep_groups)
{
  return !ids->ranged ||
         (setns(ids->users, CLONE_NEWUSER) == 0 && (keep_groups || setgroups(0, NULL) == 0) &&
          setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
}

/* ---- home ---- */

/* In a helper, which leaves it behind. */
static const char *
make_blank(const struct csn_home *home, int *mounts)
{
  if (unshare(CLONE_NEWNS) < 0)
    return "make user, process and mount namespaces";
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
            "size=4k,nr_inodes=1,mode=555") < 0 ||
      mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
            NULL) < 0 ||
      chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
    return "make the blank mount namespace";
  *mounts = openat(home->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
  return *mounts < 0 ? "hold the blank mount namespace" : NULL;
}

struct blanking {
  const struct csn_home *home;
  int mounts, error;
  const char *failed;
};

static int
blank_main(void *arg)
{
  struct blanking *b = arg;
  b->failed = make_blank(b->home, &b->mounts);
  b->error = errno;
  _exit(0);
}

/* What is being made on another processor, while we do something else. */
static struct {
  pid_t pid; /* 0: nothing */
  bool is_over;
  struct csn_spare spare;
  struct blanking blank;
} aside = {.spare = {-1, -1}};

void
csn_home_reaped(pid_t pid)
{
  aside.is_over |= pid == aside.pid;
}

/* Waits for it. */
static void
collect(struct csn_home *home)
{
  if (aside.pid <= 0)
    return;
  while (!aside.is_over && waitpid(aside.pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  aside.pid = 0;
  if (home->blank <= 0 && aside.blank.mounts > 0)
    home->blank = aside.blank.mounts;
}

/* The blank mount namespace, from which others are copied. */
static const char *
need_blank(struct csn_home *home)
{
  static _Alignas(16) char stack[HELPER_STACK];
  collect(home);
  if (home->blank > 0)
    return NULL;
  struct blanking b = {.home = home, .mounts = -1};
  if (beside(blank_main, &b, 0, stack) < 0)
    return "start a process";
  home->blank = b.mounts;
  errno = b.error;
  return b.failed;
}

const char *
csn_home_open(struct csn_home *home)
{
  const char *failed;
  if (home->is_open)
    return NULL;
  if (home->proc <= 0) {
    home->is_root = home->ranged = geteuid() == 0 && csn_ids_exist();
    home->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (home->proc < 0)
      return "open /proc";
  }
  if (!home->is_root && geteuid() != 0)
    home->ranged = csn_lent_enter(home->why, sizeof home->why);
  failed = home->ranged ? NULL : csn_ids_single();
  if (failed)
    return failed;
  home->is_open = true;
  home->ids.kind = home->is_root ? CSN_IDS_OWN : home->ranged ? CSN_IDS_LENT : CSN_IDS_ONE;
  return NULL;
}

void
csn_home_rest(struct csn_home *home)
{
  if (home->around > 0)
    close(home->around);
  home->around = -1;
}

/* Where we see the host's mounts as a copy, as
 * an ordinary user's spawner does, its path is opened again in that, and must
 * be the same folder. */
int
csn_home_tree(const struct csn_home *home, int fd)
{
  char link[40] = "/proc/self/fd/", path[PATH_MAX], digits[12];
  struct stat a, b;
  if (home->is_root)
    return sys_open_tree(fd, "", AT_EMPTY_PATH | TREE_RECURSIVE);
  size_t n = 0, at = strlen(link);
  for (int left = fd; left || n == 0; left /= 10)
    digits[n++] = (char)('0' + left % 10);
  while (n)
    link[at++] = digits[--n];
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0)
    return -1;
  path[len] = '\0';
  int tree = sys_open_tree(AT_FDCWD, path, TREE_RECURSIVE | AT_SYMLINK_NOFOLLOW);
  if (tree >= 0 &&
      (fstat(fd, &a) < 0 || fstat(tree, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino)) {
    close(tree);
    errno = ESTALE;
    return -1;
  }
  return tree;
}

/* ---- workspaces of layers ---- */

struct stacking {
  int trees[CSN_JAIL_UNDER_MAX], top, whole;
  size_t n;
};

/* Where we are root of this machine, the overlay must be its own: what it makes
 * for the harness belongs to a user whom no jail's namespace knows. */
static int
make_stack(void *arg)
{
  struct stacking *s = arg;
  s->whole = csn_layers_stack(s->trees, s->n, &s->top);
  _exit(0);
}

const char *
csn_home_stack(const struct csn_home *home, int ids, const int *layers, size_t n, int *top)
{
  static _Alignas(16) char stack[HELPER_STACK];
  struct stacking s = {.top = *top, .whole = -1, .n = n};
  csn_jail_note why = {.error = 0};
  memset(s.trees, -1, sizeof s.trees);
  *top = -1;
  for (size_t i = 0; i < n && !why.error; i++) {
    s.trees[i] = csn_home_tree(home, layers[i]);
    if (s.trees[i] < 0 || sys_tree_protect(s.trees[i], CSN_LOCKED, ids) < 0)
      why.error = errno;
  }
  if (!why.error) {
    csn_jail_tell(&why);
    if (beside(make_stack, &s, CLONE_NEWNS, stack) < 0)
      why.error = errno;
    csn_jail_tell(NULL);
  }
  for (size_t i = 0; i < n; i++)
    if (s.trees[i] >= 0)
      close(s.trees[i]);
  if (s.top >= 0)
    close(s.top);
  *top = s.whole;
  errno = why.error ? why.error : s.whole < 0 ? EIO : 0;
  return s.whole < 0 ? CSN_JAIL_NO_STACK : NULL;
}

void
csn_home_let_go(int whole)
{
  if (whole < 0)
    return;
  if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) == 0) {
    setpriority(PRIO_PROCESS, 0, 19);
    dup2(whole, 0);
    sys_close_range(1, 0); /* nobody may wait for us */
    _exit(0);
  }
  close(whole);
}

/* ---- templates ---- */

struct making {
  const char *root;
  struct csn_ids *ids;
  int *trees;
  size_t n;
  const struct csn_granted *grants;
  int granted[CSN_JAIL_GRANTS_MAX];
  int tree;   /* what comes of it, detached */
  int around; /* the mount namespace that it was built in */
};

static int
make_skeleton(void *arg)
{
  struct making *m = arg;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(022);
  csn_jail_skeleton(m->root, m->n ? csn_layers_join(m->trees, m->n) : -1, m->grants, m->granted);
  m->tree = sys_open_tree(AT_FDCWD, "", AT_EMPTY_PATH | TREE_RECURSIVE);
  m->around = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (m->tree < 0)
    csn_jail_fail("hold the template", "");
  _exit(0);
}

/* Not as root of the host: a rootfs may be anybody's work. */
static int
make_template(void *arg)
{
  static _Alignas(16) char stack[HELPER_STACK];
  struct making *m = arg;
  if (!enter_ids(m->ids, false))
    csn_jail_fail("become user 0 of the jail", "");
  if (beside(make_skeleton, m, CLONE_NEWNS | CLONE_NEWPID | CLONE_PARENT, stack) < 0)
    csn_jail_fail("make user, process and mount namespaces", "");
  _exit(0);
}

struct placing {
  const struct csn_home *home;
  struct csn_ids *ids;
  int tree;   /* -1: only the ids' blank namespace is wanted */
  int mounts; /* the namespace with the tree as its root */
  int error;
};

/* A mount namespace of the ids' that is empty, and a copy of it in which the
 * tree lies over the root: nothing must be unmounted for that, which would wait
 * for all processors. */
static int
place_main(void *arg)
{
  struct placing *p = arg;
  bool done = setns(p->home->blank, CLONE_NEWNS) == 0 && enter_ids(p->ids, false);
  if (done && p->ids->blank <= 0) {
    done = !p->ids->ranged || unshare(CLONE_NEWNS) == 0;
    p->ids->blank = done ? openat(p->home->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC) : -1;
    done = p->ids->blank > 0;
  }
  if (done && p->tree >= 0 && unshare(CLONE_NEWNS) == 0 &&
      sys_move_mount(p->tree, AT_FDCWD, "/") == 0)
    p->mounts = openat(p->home->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
  p->error = errno;
  _exit(0);
}

/* The namespace, or with no tree whether the ids have theirs; -1 with *failed
 * and errno. */
static int
place(struct csn_home *home, struct csn_ids *ids, int tree, const char **failed)
{
  static _Alignas(16) char stack[HELPER_STACK];
  struct placing p = {.home = home, .ids = ids, .tree = tree, .mounts = -1, .error = EAGAIN};
  if ((*failed = need_blank(home)))
    return -1;
  bool started = beside(place_main, &p, 0, stack) >= 0;
  if (!started || ids->blank <= 0 || (tree >= 0 && p.mounts < 0)) {
    *failed = "place the mount namespace";
    errno = started ? p.error : errno;
    return -1;
  }
  return tree >= 0 ? p.mounts : 0;
}

/* Detached trees of the layers, read-only; as root, what belongs to root there
 * belongs to the jail's root, unless their file system cannot do that. */
static bool
take_layers(const struct csn_home *home, const struct csn_wanted *want, int *trees,
            csn_jail_note *why)
{
  for (size_t i = 0; i < want->n; i++) {
    int ids = home->is_root && want->ids ? want->ids->users : -1;
    trees[i] = csn_home_tree(home, want->layers[i]);
    if (trees[i] >= 0 && (ids < 0 || sys_tree_protect(trees[i], CSN_LOCKED, ids) == 0 ||
                          sys_tree_protect(trees[i], CSN_LOCKED, -1) == 0))
      continue;
    why->error = errno;
    step_name(why->step, sizeof why->step, trees[i] < 0 ? "bind the rootfs" : "protect the rootfs",
              "");
    return false;
  }
  return true;
}

static int
build(struct csn_home *home, const struct csn_wanted *want, csn_jail_note *why)
{
  static _Alignas(16) char stack[HELPER_STACK];
  const char *failed = NULL;
  int trees[CSN_JAIL_LAYERS_MAX];
  struct csn_ids *own = want->ids ? NULL : csn_ids_take(&home->ids, false, NULL, &failed);
  struct making m = {.root = want->root,
                     .ids = want->ids ? want->ids : own,
                     .trees = trees,
                     .n = want->n,
                     .grants = want->grants,
                     .tree = -1,
                     .around = -1};
  int mounts = -1;
  memset(trees, -1, sizeof trees);
  memset(m.granted, -1, sizeof m.granted);
  if (!failed && want->grants)
    failed = csn_granted_trees(home, want->ids, want->grants, m.granted);
  if (failed) {
    why->error = errno;
    step_name(why->step, sizeof why->step, failed, "");
  } else if (take_layers(home, want, trees, why)) {
    csn_jail_tell(why);
    if (beside(make_template, &m, 0, stack) < 0)
      step_name(why->step, sizeof why->step, "start a process", "");
    csn_jail_tell(NULL);
    if (m.tree >= 0 && (mounts = place(home, m.ids, m.tree, &failed)) < 0)
      step_name(why->step, sizeof why->step, failed, "");
    if (mounts < 0 && !why->error)
      why->error = errno ? errno : EIO;
  }
  if (m.tree >= 0)
    close(m.tree);
  csn_home_rest(home);
  home->around = m.around;
  for (size_t i = 0; i < want->n; i++)
    if (trees[i] >= 0)
      close(trees[i]);
  for (size_t i = 0; i < CSN_JAIL_GRANTS_MAX; i++)
    if (m.granted[i] >= 0)
      close(m.granted[i]);
  csn_ids_drop(own);
  return mounts;
}

static void
forget(struct csn_template **at)
{
  struct csn_template *t = *at;
  *at = t->next;
  if (t->mounts >= 0)
    close(t->mounts);
  free(t->origins);
  free(t->granted);
  free(t);
}

static struct csn_origin
origin_of(int fd)
{
  struct stat st;
  if ((fd >= 0 ? fstat(fd, &st) : stat("/etc", &st)) < 0)
    memset(&st, 0, sizeof st);
  return (struct csn_origin){st.st_dev, st.st_ino, st.st_mtim};
}

static bool
has_same_grants(const struct csn_template *t, const struct csn_granted *grants)
{
  size_t n = 0;
  char *key = grants ? csn_granted_key(grants, &n) : NULL;
  bool same = key ? t->granted_n == n && memcmp(t->granted, key, n) == 0 : !t->granted && !grants;
  free(key);
  return same;
}

/* 0: another kind; 1: this one, but its folders have changed; 2: this one. */
static int
compare(const struct csn_template *t, const struct csn_wanted *want)
{
  bool is_new = true;
  bool has_ids = want->n || want->grants;
  if (t->layers != want->n || strcmp(t->root, want->root) != 0 || (has_ids && t->ids != want->ids))
    return 0;
  if (!has_same_grants(t, want->grants))
    return 0;
  for (size_t i = 0; i < (t->layers ? t->layers : 1); i++) {
    const struct csn_origin now = origin_of(want->n ? want->layers[i] : -1), *then = &t->origins[i];
    if (now.device != then->device || now.number != then->number)
      return 0;
    is_new &=
        now.changed.tv_sec == then->changed.tv_sec && now.changed.tv_nsec == then->changed.tv_nsec;
  }
  return 1 + is_new;
}

static struct csn_template *
add(struct csn_template **list, const struct csn_wanted *want)
{
  size_t n = want->n ? want->n : 1;
  struct csn_template *t = calloc(1, sizeof *t);
  struct csn_origin *origins = calloc(n, sizeof *origins);
  size_t granted_n = 0;
  char *granted = want->grants ? csn_granted_key(want->grants, &granted_n) : NULL;
  if (!t || !origins || (want->grants && !granted)) {
    free(t);
    free(origins);
    free(granted);
    return NULL;
  }
  *t = (struct csn_template){.ids = want->n || granted ? want->ids : NULL,
                             .layers = want->n,
                             .origins = origins,
                             .granted = granted,
                             .granted_n = granted_n,
                             .mounts = -1};
  memcpy(t->root, want->root, strlen(want->root) + 1);
  for (size_t i = 0; i < n; i++)
    origins[i] = origin_of(want->n ? want->layers[i] : -1);
  t->next = *list;
  return *list = t;
}

struct csn_template *
csn_template_find(struct csn_home *home, struct csn_template **list, const struct csn_wanted *want,
                  csn_jail_note *why)
{
  enum { MOST = 16 };
  size_t n = 0;
  for (struct csn_template **at = list, *t; (t = *at); n++) {
    int same = compare(t, want);
    if (same == 2) {
      *at = t->next;
      t->next = *list;
      return *list = t;
    }
    if (same == 1 || n == MOST)
      forget(at);
    else
      at = &t->next;
  }
  struct csn_template *t = add(list, want);
  if (!t) {
    why->error = ENOMEM;
    return NULL;
  }
  t->mounts = build(home, want, why);
  t->serial = ++home->serial;
  if (t->mounts >= 0)
    return t;
  forget(list);
  return NULL;
}

/* ---- spare namespaces ---- */

/* Our memory is changed meanwhile, and nothing is told: a jail that finds no
 * spare makes its own namespaces, and says what fails. */
static int
make_aside(void *arg)
{
  struct csn_spare *spare = &aside.spare;
  if (unshare(CLONE_NEWNET | CLONE_NEWIPC) == 0 && csn_jail_loopback()) {
    spare->net = openat(aside.blank.home->proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
    spare->ipc = openat(aside.blank.home->proc, "self/ns/ipc", O_RDONLY | O_CLOEXEC);
  }
  if (aside.blank.home->blank <= 0)
    (void)!make_blank(aside.blank.home, &aside.blank.mounts);
  _exit(0);
}

void
csn_spare_begin(struct csn_home *home)
{
  static _Alignas(16) char stack[HELPER_STACK];
  if (aside.pid > 0 || aside.spare.net >= 0)
    return;
  aside.blank = (struct blanking){.home = home, .mounts = -1};
  aside.is_over = false;
  aside.pid = clone(make_aside, stack + HELPER_STACK, CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
}

bool
csn_spare_end(struct csn_home *home, struct csn_spare *spare)
{
  collect(home);
  *spare = aside.spare;
  aside.spare = (struct csn_spare){-1, -1};
  if (spare->net >= 0 && spare->ipc >= 0)
    return true;
  csn_spare_drop(spare);
  return false;
}

bool
csn_spare_make(struct csn_home *home, struct csn_spare *spare)
{
  csn_spare_begin(home);
  return csn_spare_end(home, spare);
}

void
csn_spare_drop(struct csn_spare *spare)
{
  if (spare->net >= 0)
    close(spare->net);
  if (spare->ipc >= 0)
    close(spare->ipc);
  *spare = (struct csn_spare){-1, -1};
}

/* ---- jails ---- */

struct cloning {
  const struct csn_template *t;
  const struct csn_ids *ids;
  const struct csn_spare *spare;
  struct csn_jail_plan *plan;
  pid_t pid;
  int pidfd, error;
};

/* What the first process is to inherit is done here; then come its own
 * namespaces. */
static int
clone_first(void *arg)
{
  struct cloning *c = arg;
  unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PARENT |
                        CLONE_PIDFD | SIGCHLD;
  bool joined = true;
  if (c->spare)
    joined = setns(c->spare->net, CLONE_NEWNET) == 0 && setns(c->spare->ipc, CLONE_NEWIPC) == 0;
  else
    flags |= CLONE_NEWNET | CLONE_NEWIPC;
  if (joined && setns(c->t->mounts, CLONE_NEWNS) == 0 &&
      enter_ids(c->ids, c->plan->open.keep_groups))
    c->pid = (pid_t)syscall(SYS_clone, flags, NULL, &c->pidfd, NULL, 0);
  if (c->pid == 0)
    csn_jail_build(c->plan);
  c->error = errno;
  _exit(0);
}

/* Only clone3(2) puts a process into a control group, and only we may.  The
 * helper has a copy of our memory then, as it cannot be given a stack from
 * here; what it found out it writes to a shared page. */
static int
beside_in_group(int group, const struct cloning *c, struct cloning *out)
{
  struct clone_request q = {.flags = CLONE_VFORK | CLONE_FILES | INTO_CGROUP,
                            .exit_signal = SIGCHLD,
                            .cgroup = (uint64_t)group};
  struct cloning *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return -1;
  *shared = *c;
  pid_t pid = (pid_t)syscall(NR_clone3, &q, sizeof q);
  if (pid == 0)
    clone_first(shared);
  int e = errno;
  *out = *shared;
  munmap(shared, sizeof *shared);
  errno = e;
  return pid < 0 ? -1 : 0;
}

pid_t
csn_jail_clone(struct csn_home *home, const struct csn_template *t, struct csn_ids *ids,
               const struct csn_spare *spare, int group, struct csn_jail_plan *plan, int *pidfd)
{
  static _Alignas(16) char stack[HELPER_STACK];
  const char *failed;
  if (ids->blank <= 0 && place(home, ids, -1, &failed) < 0)
    return -1;
  struct cloning c = {.t = t, .ids = ids, .spare = spare, .plan = plan, .pid = -1, .pidfd = -1};
  plan->ranged = home->ranged;
  plan->spare = spare;
  plan->fds[CSN_JAIL_BLANK] = ids->blank;
  plan->fds[CSN_JAIL_USERS] = ids->users;
  if ((group >= 0 ? beside_in_group(group, &c, &c) : beside(clone_first, &c, 0, stack)) < 0)
    return -1;
  *pidfd = c.pidfd;
  errno = c.error;
  return c.pid;
}
