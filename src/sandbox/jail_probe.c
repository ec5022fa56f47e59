/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_probe.c - what this machine lets a jail enforce, and how to get what is
 * missing.  The truth comes from opening a jail; sysctls only explain. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "caisson/sandbox.h"
#include "core/fd.h"
#include "core/poll.h"
#include "sandbox/gvisor.h"
#include "sandbox/jail.h"
#include "sandbox/jail_limits.h"
#include "sandbox/jail_stack.h"
#include "sandbox/limits.h"

enum { NR_landlock_create_ruleset = 444 };

/* The number in a file of /proc/sys; `otherwise` when there is no such file. */
static int64_t
setting(const char *path, int64_t otherwise)
{
  char text[32];
  int64_t value;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
  if (fd >= 0)
    close(fd);
  if (n <= 0 || !csn_str_int(csn_str_trim(csn_strn(text, (size_t)n)), &value))
    return otherwise;
  return value;
}

static bool
in_container(void)
{
  return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0;
}

/* Root that has been left without it, as containers do. */
static bool
is_weak_root(void)
{
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2] = {{0}};
  return geteuid() == 0 && syscall(SYS_capget, &head, caps) == 0 &&
         !(caps[0].effective & 1u << CAP_SYS_ADMIN);
}

/* What to do so that user namespaces work; NULL when nothing forbids them. */
static const char *
remedy(void)
{
  if (setting("/proc/sys/user/max_user_namespaces", 1) == 0)
    return "this machine allows no user namespaces; as root: sysctl -w "
           "user.max_user_namespaces=28633";
  if (setting("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0)
    return "user namespaces are root's here; as root: sysctl -w "
           "kernel.unprivileged_userns_clone=1";
  if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 1)
    return "AppArmor restricts user namespaces; as root: sysctl -w "
           "kernel.apparmor_restrict_unprivileged_userns=0, or install a profile for this "
           "program with the rule \"userns,\"";
  if (access("/proc/self/ns/user", F_OK) < 0)
    return "this kernel has no user namespaces (CONFIG_USER_NS)";
  if (in_container() && is_weak_root())
    return "this container forbids namespaces; start it with --user 1000, or with --cap-add "
           "SYS_ADMIN, and with --security-opt seccomp=unconfined --security-opt "
           "apparmor=unconfined --security-opt systempaths=unconfined";
  if (is_weak_root())
    return "root without CAP_SYS_ADMIN cannot make one; another user can";
  if (in_container())
    return "this container forbids namespaces; start it with --security-opt seccomp=unconfined "
           "--security-opt apparmor=unconfined --security-opt systempaths=unconfined";
  return NULL;
}

static const char *const namespaces[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};

static bool
is_refusal(int e)
{
  return e == EPERM || e == EACCES || e == ENOSPC || e == EUSERS || e == ENOSYS || e == EINVAL;
}

/* Not every refusal is about namespaces. */
static const char *
remedy_for(const char *step, int e)
{
  bool is_path = strncmp(step, "bind ", 5) == 0 || strncmp(step, "find ", 5) == 0;
  if (e == EACCES && is_path)
    return "each folder above it must let this user through (chmod a+x), or keep the workspace "
           "elsewhere with --state";
  const char *what = remedy();
  if (e == ENOSPC || e == EUSERS)
    return setting("/proc/sys/user/max_user_namespaces", 1) == 0
               ? what
               : "all namespaces that the user.max_*_namespaces of this machine allow are in use";
  return what;
}

int
csn_jail_explain(int rc, const char *step, csn_err *err)
{
  csn_err own;
  if (rc >= 0 || !err || !is_refusal(err->sys_errno))
    return rc;
  const char *what = remedy_for(step, err->sys_errno);
  own = *err;
  int e = own.sys_errno;
  rc = csn_fail(err, CSN_E_UNSUPPORTED, "cannot make a jail: %.200s%s%s", own.msg, what ? "; " : "",
                what ? what : "");
  err->sys_errno = e;
  return rc;
}

/* ---- the list ---- */

struct lines {
  csn_jail_feature *list;
  int n;
};

static void __attribute__((format(printf, 4, 5)))
add(struct lines *l, const char *name, const char *state, const char *fmt, ...)
{
  if (l->n == CSN_JAIL_FEATURES)
    return;
  csn_jail_feature *f = &l->list[l->n++];
  *f = (csn_jail_feature){.name = name, .state = state};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(f->note, sizeof f->note, fmt, ap);
  va_end(ap);
}

static const char *
word(bool enforced)
{
  return enforced ? "enforced" : "absent";
}

/* Whether a line of a small file starts with `word`, or has it as a field. */
static bool
file_has(const char *path, const char *what)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || csn_fd_read_all(fd, &text, NULL) < 0)
    return false;
  return csn_str_find(csn_buf_str(&text), csn_cstr(what), 0) != SIZE_MAX;
}

/* What one that is asked for would be, and what a jail has when none is. */
static void
add_limits(struct lines *l, const csn_sandbox *sb)
{
  static const char *const names[CSN_LIMITS] = {
      [CSN_LIMIT_MEMORY] = "limit: memory",
      [CSN_LIMIT_SWAP] = "limit: swap",
      [CSN_LIMIT_PIDS] = "limit: pids",
      [CSN_LIMIT_CPU] = "limit: cpu",
      [CSN_LIMIT_DISK] = "limit: disk",
      [CSN_LIMIT_INODES] = "limit: inodes",
      [CSN_LIMIT_OPEN_FILES] = "limit: open_files",
      [CSN_LIMIT_FILE_SIZE] = "limit: file_size",
      [CSN_LIMIT_COMMAND_WALL] = "limit: command_wall",
      [CSN_LIMIT_WALL] = "limit: wall",
      [CSN_LIMIT_OUTPUT] = "limit: output",
  };
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++) {
    csn_auto(csn_buf_finip) csn_buf value = CSN_BUF(64);
    enum csn_limit_state state = sb ? (enum csn_limit_state)sb->held.state[i] : CSN_LIMIT_ABSENT;
    if (sb)
      csn_limit_tell(i, sb->held.value[i], &value);
    if (i == CSN_LIMIT_DISK || i == CSN_LIMIT_INODES)
      add(l, names[i], csn_limit_state_name(CSN_LIMIT_SOFT),
          "a workspace in memory is limited; a folder is looked at while commands run");
    else if (i == CSN_LIMIT_MEMORY && state == CSN_LIMIT_ABSENT)
      add(l, names[i], csn_limit_state_name(CSN_LIMIT_SOFT), "of each process, not of all; %s",
          csn_limit_remedy(i));
    else
      add(l, names[i], csn_limit_state_name(state), "%s%s",
          state == CSN_LIMIT_ENFORCED ? "unless given: " : "",
          state == CSN_LIMIT_ENFORCED ? value.p : csn_limit_remedy(i));
  }
}

/* Who can be in a jail. */
static void
add_users(struct lines *l, const csn_sandbox *sb)
{
  csn_jail_about about;
  if (csn_jail_user(sb) >= 0)
    add(l, "user ids", "enforced", "as root: each jail has 65536 of its own");
  else if (csn_jail_ask_about(&about, NULL) == 0 && about.ranged)
    add(l, "user ids", "enforced", "65536, lent by newuidmap; the same for each jail");
  else
    add(l, "user ids", "absent", "one: commands and files have a single user; %s", about.why);
}

/* Whose files of a workspace in the folder at hand would be. */
static void
add_owner(struct lines *l, csn_scope *sc)
{
  csn_jail_ask ask;
  csn_jail_got got;
  csn_err err = {0};
  int pair[2];
  csn_auto(csn_closep) int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return;
  csn_jail_ask_init(&ask);
  ask.open.keep_owner = 1;
  memcpy(ask.open.root, "/workspace", sizeof "/workspace");
  ask.fds[CSN_JAIL_CONTROL] = pair[1];
  ask.fds[CSN_JAIL_WORKSPACE] = folder;
  csn_jail_limits_ask(NULL, &ask.open.limits);
  int rc = csn_jail_request(&ask, &got, &err);
  close(pair[1]);
  close(pair[0]); /* ends the jail, when there is one */
  if (rc < 0) {
    add(l, "workspace's owner", "soft", "%s",
        err.sys_errno == EINVAL || err.sys_errno == EOPNOTSUPP || err.sys_errno == EPERM
            ? "the file system here has no id-mapped mounts: a workspace's files become user "
              "1000001000's"
            : err.msg);
    return;
  }
  struct pollfd end = {.fd = got.life};
  (void)!csn_poll(sc, &end, 1, NULL);
  for (int i = 0; i < 2; i++)
    csn_closep(&got.events[i]);
  close(got.life);
  close(got.pidfd);
  add(l, "workspace's owner", "enforced", "%s",
      got.owner == CSN_JAIL_MAPPED ? "files made in a workspace here belong to its owner"
                                   : "files made in a workspace are yours");
}

/* Whether a workspace is frozen by a rename here, in a folder that is gone
 * after. */
static void
add_layers(struct lines *l, csn_scope *sc)
{
  char path[] = "/tmp/caisson-doctor-XXXXXX";
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int dir = mkdtemp(path) ? openat(tmp, path + 5, O_RDONLY | O_CLOEXEC) : -1;
  csn_layers layers = {.store_fd = dir};
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = dir, .lock_fd = -1, .layers = &layers};
  csn_err err = {.msg = "no folder for a trial in /tmp"};
  csn_sandbox *sb = NULL;
  bool opens = dir >= 0 && csn_sandbox_open(&sb, sc, &spec, &err) == 0;
  bool is_overlay = opens && strcmp(csn_jail_workspace(sb), "overlay") == 0;
  csn_sandbox_close(sb);
  if (dir >= 0)
    (void)!csn_remove_tree(tmp, path + 5, NULL);
  add(l, "workspace layers",
      is_overlay ? "enforced"
      : opens    ? "soft"
                 : "absent",
      "%s",
      is_overlay ? "a workspace is frozen and forked without copying"
      : opens    ? "there is no overlay for workspaces here: a fork copies all files"
                 : err.msg);
}

/* With a policy that lets nobody through, to see the way there. */
static void
add_network(struct lines *l, csn_scope *sc)
{
  static const csn_network_host nobody = {.host = "nobody.invalid"};
  static const csn_network policy = {.hosts = &nobody, .n_hosts = 1};
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = -1, .lock_fd = -1, .network = &policy};
  csn_err err = {0};
  csn_sandbox *sb = NULL;
  bool works = csn_sandbox_open(&sb, sc, &spec, &err) == 0;
  csn_sandbox_close(sb);
  add(l, "network policy", word(works), "%s",
      works ? "every address leads to the egress process" : err.msg);
}

static void
add_gvisor(struct lines *l, csn_scope *sc)
{
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(2000);
  bool works = csn_gvisor_probe(sc, &note);
  add(l, "level: gvisor", word(works), "%.390s", note.p ? note.p : "");
}

int
csn_jail_probe(csn_scope *sc, csn_jail_feature list[CSN_JAIL_FEATURES])
{
  struct lines l = {list, 0};
  static const char *const names[] = {"namespace: user",  "namespace: pid", "namespace: mount",
                                      "namespace: net",   "namespace: ipc", "namespace: uts",
                                      "namespace: cgroup"};
  csn_err err = {0};
  csn_sandbox *sb = NULL;
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  bool works = csn_sandbox_open(&sb, sc, &spec, &err) == 0;
  add(&l, "jail", word(works), "%s", works ? "" : err.msg);
  if (works)
    add_users(&l, sb);
  for (size_t i = 0; i < CSN_COUNT(namespaces); i++) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/ns/%s", namespaces[i]);
    bool there = access(path, F_OK) == 0;
    add(&l, names[i], word(works && there), "%s", there ? "" : "this kernel lacks it");
  }
  if (works)
    add_owner(&l, sc);
  if (works)
    add_layers(&l, sc);
  if (works)
    add_network(&l, sc);
  add(&l, "seccomp", word(works), "an allow-list; foreign system call tables kill");
  long abi = syscall(NR_landlock_create_ruleset, NULL, 0, 1);
  if (abi > 0)
    add(&l, "landlock", word(works), "ABI %ld", abi);
  else
    add(&l, "landlock", "absent", "not in this kernel, or not in its lsm= list");
  add(&l, "capabilities", word(works), "none, and no_new_privs");
  add_limits(&l, sb);
  csn_sandbox_close(sb);
  int64_t noexec = setting("/proc/sys/vm/memfd_noexec", 0);
  add(&l, "memfd", noexec < 2 ? "enforced" : "absent", "%s",
      noexec < 2 ? "programs of the jail run from sealed memory"
                 : "vm.memfd_noexec=2: they run from libexecdir");
  int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  add(&l, "pidfd", word(fd >= 0), "%s", fd >= 0 ? "" : "needs Linux 5.3");
  if (fd >= 0)
    close(fd);
  add(&l, "overlay", file_has("/proc/filesystems", "\toverlay\n") ? "enforced" : "absent",
      "for images of several layers; without it they are merged once");
  add_gvisor(&l, sc);
  return l.n;
}
