/* SPDX-License-Identifier: Apache-2.0
 *
 * mounts.c - the root file system of a jail.
 *
 * A small tmpfs that becomes read-only, with the host's programs (or those of
 * a rootfs folder) bound into it read-only, a generated /etc, a handful of
 * devices, an own /proc and writable tmpfs at /tmp and at home.  Nothing of
 * the host's /home, /root, /srv, /var, /opt, /run or /usr/local is there.
 *
 * It is built under /tmp of the cloned mount namespace, with the new root as
 * the folder at hand, so names without a leading slash are the jail's and
 * those with one the host's, until pivot_root drops the host.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "jail/network.h"
#include "jail/sys.h"
#include "jail/text.h"

enum { SAFE = ATTR_NOSUID | ATTR_NODEV, LOCKED = SAFE | ATTR_RDONLY, ETC_FILE_MAX = 1 << 20 };
enum { SHM_BYTES = 256 << 20, SHM_FILES = 1 << 14 };

/* ---- small steps ---- */

static void
make_folder(const char *path)
{
  if (mkdir(path, 0755) < 0 && errno != EEXIST)
    csn_jail_fail("make folder", path);
}

static void
make_folders(const char *path)
{
  char part[CSN_JAIL_ROOT_MAX];
  size_t n = 0;
  for (; path[n] && n + 1 < sizeof part; n++) {
    part[n] = '\0';
    if (n && path[n] == '/')
      make_folder(part);
    part[n] = path[n];
  }
  part[n] = '\0';
  make_folder(part);
}

static void
make_file(const char *path, const char *text)
{
  size_t n = strlen(text);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, n) != (ssize_t)n)
    csn_jail_fail("write", path);
  close(fd);
}

static void
make_link(const char *target, const char *path)
{
  if (symlink(target, path) < 0)
    csn_jail_fail("link", path);
}

static void
mount_new(const char *type, const char *path, unsigned long flags, const char *options)
{
  if (mount(type, path, type, flags, options) < 0) {
    char what[40];
    step_name(what, sizeof what, "mount", type);
    csn_jail_fail(what, path);
  }
}

/* A writable folder of memory.  All of them together take less than the jail
 * may have, so that a full one is "no space left" and not the end of whoever
 * asks for memory next. */
static void
mount_memory(const char *path, unsigned long flags, const char *more, int64_t bytes, int64_t files)
{
  char options[120];
  size_t n = text_add(options, sizeof options, 0, "size=");
  n = text_number(options, sizeof options, n, (uint64_t)bytes);
  n = text_add(options, sizeof options, n, ",nr_inodes=");
  n = text_number(options, sizeof options, n, (uint64_t)files);
  text_add(options, sizeof options, n, more);
  mount_new("tmpfs", path, MS_NOSUID | MS_NODEV | flags, options);
}

/* Attaches a detached tree and closes it. */
static void
attach(int tree, const char *path, uint64_t flags)
{
  if (sys_tree_protect(tree, flags) < 0)
    csn_jail_fail("protect the mount", path);
  if (sys_move_mount(tree, AT_FDCWD, path) < 0)
    csn_jail_fail("attach the mount", path);
  close(tree);
}

/* Binds what is there, a folder or a file; what is missing or not for us is
 * left out. */
static void
bind(const char *source, const char *path, uint64_t flags)
{
  struct stat st;
  int tree = sys_open_tree(AT_FDCWD, source, TREE_RECURSIVE);
  if (tree < 0 && (errno == ENOENT || errno == EACCES))
    return;
  if (tree < 0 || fstat(tree, &st) < 0)
    csn_jail_fail("bind", source);
  if (S_ISDIR(st.st_mode))
    make_folder(path);
  else
    make_file(path, "");
  attach(tree, path, flags);
}

/* Copies a small file that everybody may read, or the link that it is. */
static void
copy_small(const char *source, const char *path)
{
  struct stat st;
  char target[PATH_MAX];
  ssize_t n = readlink(source, target, sizeof target - 1);
  if (n > 0) {
    target[n] = '\0';
    make_link(target, path);
    return;
  }
  int from = open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (from < 0)
    return;
  if (fstat(from, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & S_IROTH &&
      st.st_size <= ETC_FILE_MAX) {
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (to < 0 || sendfile(to, from, NULL, (size_t)st.st_size) != st.st_size)
      csn_jail_fail("copy", source);
    close(to);
  }
  close(from);
}

/* ---- what the harness gave us ---- */

/* A detached tree of the folder behind a descriptor.  The spawner of a root
 * harness has cloned it; ours belongs to the host's mount namespace, so its
 * path is opened again in this one, and must be the same folder. */
static int
tree_of(const struct csn_jail_plan *plan, int fd, const char *what)
{
  char link[40], path[PATH_MAX];
  struct stat a, b;
  if (fd < 0 || plan->ranged)
    return fd;
  step_name(link, sizeof link, "/proc/self/fd/", "");
  size_t n = strlen(link);
  link[n] = (char)('0' + fd);
  link[n + 1] = '\0';
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0)
    csn_jail_fail("find the path of the", what);
  path[len] = '\0';
  int tree = sys_open_tree(AT_FDCWD, path, TREE_RECURSIVE | AT_SYMLINK_NOFOLLOW);
  if (tree < 0)
    csn_jail_fail("bind", path);
  if (fstat(fd, &a) < 0 || fstat(tree, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
    errno = ESTALE;
    csn_jail_fail("find the same folder again at", path);
  }
  return tree;
}

/* ---- the host's programs ---- */

static bool
starts_with_any(const char *name, const char *const *heads)
{
  for (; *heads; heads++)
    if (strncmp(name, *heads, strlen(*heads)) == 0)
      return true;
  return false;
}

/* Settings of language runtimes: /etc/python3.11, /etc/java-17-openjdk. */
static void
bind_runtime_settings(void)
{
  static const char *const heads[] = {"java", "perl", "php", "python", "ruby", NULL};
  DIR *etc = opendir("/etc");
  if (!etc)
    return;
  for (struct dirent *d; (d = readdir(etc));) {
    char from[sizeof d->d_name + 8], to[sizeof d->d_name + 8];
    if (d->d_type != DT_DIR || !starts_with_any(d->d_name, heads))
      continue;
    memcpy(from, "/etc/", 6);
    memcpy(from + 5, d->d_name, strlen(d->d_name) + 1);
    memcpy(to, from + 1, strlen(from));
    bind(from, to, LOCKED);
  }
  closedir(etc);
}

static void
host_etc(void)
{
  static const char *const files[] = {
      "/etc/bash.bashrc", "/etc/debian_version", "/etc/inputrc",    "/etc/ld.so.cache",
      "/etc/ld.so.conf",  "/etc/locale.alias",   "/etc/localtime",  "/etc/magic",
      "/etc/magic.mime",  "/etc/mime.types",     "/etc/os-release", "/etc/protocols",
      "/etc/services",    "/etc/shells",         "/etc/timezone",   "/etc/ssl/openssl.cnf",
  };
  static const char *const folders[] = {
      "/etc/alternatives", "/etc/fonts", "/etc/ld.so.conf.d", "/etc/ssl/certs", "/etc/vim",
  };
  make_folder("etc/ssl");
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    copy_small(files[i], files[i] + 1);
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    bind(folders[i], folders[i] + 1, LOCKED);
  bind_runtime_settings();
}

static void
generated_etc(void)
{
  make_file("etc/passwd", "root:x:0:0:root:/root:/bin/false\n"
                          "user:x:1000:1000:user:" CSN_JAIL_HOME ":/bin/sh\n"
                          "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
  make_file("etc/group", "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n");
  make_file("etc/hosts", "127.0.0.1\tlocalhost caisson\n::1\tlocalhost caisson ip6-localhost\n");
  make_file("etc/hostname", "caisson\n");
  make_file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"
                                 "services: files\nprotocols: files\nnetworks: files\n");
  /* The machine's own would set PATH over the manifest's and cost each login
   * shell a process. */
  make_file("etc/profile", "# The environment is the sandbox's; nothing is added here.\n");
  make_file("etc/resolv.conf", "options timeout:1 attempts:1\n");
}

static void
host_programs(void)
{
  static const char *const links[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
  bind("/usr", "usr", LOCKED);
  mount_new("tmpfs", "usr/local", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=4k,nr_inodes=2,mode=755");
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    char target[PATH_MAX];
    ssize_t n = readlink(links[i], target, sizeof target - 1);
    if (n > 0) {
      target[n] = '\0';
      make_link(target, links[i] + 1);
    } else {
      bind(links[i], links[i] + 1, LOCKED);
    }
  }
  make_folder("etc");
  host_etc();
  make_link("../proc/self/mounts", "etc/mtab");
  generated_etc();
}

/* ---- a rootfs folder ---- */

/* Binds what the folder holds, entry by entry, so that mount points which it
 * lacks can be made beside them. */
static void
folder_programs(int tree)
{
  static const char *const ours[] = {"dev", "home", "proc", "root", "run",
                                     "sys", "tmp",  "..",   NULL};
  make_folder(".rootfs");
  attach(tree, ".rootfs", LOCKED);
  DIR *folder = opendir(".rootfs");
  if (!folder)
    csn_jail_fail("read", "the rootfs folder");
  for (struct dirent *d; (d = readdir(folder));) {
    char from[sizeof d->d_name + 16], target[PATH_MAX];
    bool skip = strcmp(d->d_name, ".") == 0;
    for (const char *const *o = ours; *o; o++)
      skip |= strcmp(*o, d->d_name) == 0;
    if (skip)
      continue;
    memcpy(from, ".rootfs/", 8);
    memcpy(from + 8, d->d_name, strlen(d->d_name) + 1);
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n > 0) {
      target[n] = '\0';
      make_link(target, d->d_name);
    } else {
      bind(from, d->d_name, LOCKED);
    }
  }
  closedir(folder);
  if (umount2(".rootfs", MNT_DETACH) < 0 || rmdir(".rootfs") < 0)
    csn_jail_fail("let go of", "the rootfs folder");
}

/* ---- devices and processes ---- */

static void
devices(const struct csn_jail_plan *plan)
{
  static const char *const nodes[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                      "/dev/random", "/dev/urandom", "/dev/tty"};
  make_folder("dev");
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
    bind(nodes[i], nodes[i] + 1, ATTR_NOSUID | ATTR_NOEXEC);
  make_folder("dev/pts");
  make_folder("dev/shm");
  mount_new("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
  mount_memory("dev/shm", MS_NOEXEC, ",mode=1777", csn_jail_share(&plan->open.limits, SHM_BYTES, 8),
               SHM_FILES);
  make_link("pts/ptmx", "dev/ptmx");
  make_link("/proc/self/fd", "dev/fd");
  make_link("/proc/self/fd/0", "dev/stdin");
  make_link("/proc/self/fd/1", "dev/stdout");
  make_link("/proc/self/fd/2", "dev/stderr");
}

/* Puts a fixed text, or nothing, over a file of /proc that tells about the
 * host; files this kernel lacks are fine. */
static void
mask(const char *path, const char *text)
{
  if (access(path, F_OK) < 0)
    return;
  make_file(".mask", text);
  int tree = sys_open_tree(AT_FDCWD, ".mask", 0);
  if (tree < 0)
    csn_jail_fail("mask", path);
  attach(tree, path, LOCKED | ATTR_NOEXEC);
  if (unlink(".mask") < 0)
    csn_jail_fail("mask", path);
}

static void
processes(void)
{
  static const char *const hidden[] = {"proc/kallsyms",   "proc/kcore",         "proc/keys",
                                       "proc/interrupts", "proc/latency_stats", "proc/sched_debug",
                                       "proc/modules",    "proc/timer_list",    "proc/diskstats",
                                       "proc/partitions"};
  static const char *const hidden_folders[] = {"proc/acpi", "proc/asound", "proc/scsi"};
  make_folder("proc");
  mount_new("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
    mask(hidden[i], "");
  for (size_t i = 0; i < sizeof hidden_folders / sizeof *hidden_folders; i++)
    if (access(hidden_folders[i], F_OK) == 0)
      mount_new("tmpfs", hidden_folders[i], MS_NOSUID | MS_NODEV | MS_RDONLY,
                "size=4k,nr_inodes=2,mode=555");
  mask("proc/cmdline", "caisson\n");
  mask("proc/loadavg", "0.00 0.00 0.00 1/1 1\n");
}

static void
own_folders(const struct csn_jail_plan *plan, int workspace)
{
  const csn_jail_limits *l = &plan->open.limits;
  const char *root = plan->open.root + 1; /* it is absolute */
  /* An asked for workspace of memory may take half of it. */
  int64_t own = csn_jail_share(l, CSN_JAIL_OWN_BYTES, workspace < 0 && l->disk >= 0 ? 8 : 4);
  make_folder("tmp");
  mount_memory("tmp", 0, ",mode=1777", own, CSN_JAIL_OWN_FILES);
  make_folders(CSN_JAIL_HOME + 1);
  mount_memory(CSN_JAIL_HOME + 1, 0, ",mode=755,uid=1000,gid=1000", own, CSN_JAIL_OWN_FILES);
  make_folder("root");
  make_folder("run");
  make_folder("sys");
  make_folder("var");
  if (access("var/tmp", F_OK) < 0)
    make_link("../tmp", "var/tmp");
  make_folders(root);
  if (workspace >= 0)
    attach(workspace, root, SAFE);
  else
    mount_memory(root, 0, ",mode=755,uid=1000,gid=1000", csn_jail_workspace_bytes(l),
                 l->inodes >= 0 ? l->inodes : CSN_JAIL_OWN_FILES);
}

void
csn_jail_mounts(const struct csn_jail_plan *plan)
{
  int workspace = tree_of(plan, plan->fds[CSN_JAIL_WORKSPACE], "workspace");
  int rootfs = tree_of(plan, plan->fds[CSN_JAIL_ROOTFS], "rootfs");
  mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=4096,mode=755");
  if (chdir("/tmp") < 0)
    csn_jail_fail("enter", "the new root");
  if (rootfs >= 0)
    folder_programs(rootfs);
  else
    host_programs();
  devices(plan);
  processes();
  own_folders(plan, workspace);
  if (plan->open.networked)
    csn_jail_trust();
  if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
    csn_jail_fail("make the root read-only", "");
  if (syscall(SYS_pivot_root, ".", ".") < 0)
    csn_jail_fail("pivot_root", "");
  if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    csn_jail_fail("drop the host's root", "");
}
