/* SPDX-License-Identifier: Apache-2.0
 *
 * skeleton.c - what all jails of a kind share: the template of their root file
 * system.
 *
 * A small tmpfs that becomes read-only, with the host's programs (or those of
 * a rootfs folder) bound into it read-only, a generated /etc, a handful of
 * devices, and places for what each jail mounts as its own.  Nothing of the
 * host's /home, /root, /srv, /var, /opt, /run or /usr/local is there.
 *
 * It is built under /tmp of a copy of the host's mount namespace, with the new
 * root as the folder at hand, so names without a leading slash are the
 * jail's and those with one the host's.  Then it is taken out of there as a
 * detached tree and laid over the root of an empty namespace (jail/start.c).
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>

#include "jail/build.h"
#include "jail/grants.h"
#include "jail/steps.h"

enum { ETC_FILE_MAX = 1 << 20, STAT_MAX = 1 << 16 };

/* Copies a small file that everybody may read, or the link that it is. */
static void
copy_small(const char *source, const char *path)
{
  struct stat st;
  char target[PATH_MAX];
  int from = open(source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (from < 0 && errno == ELOOP) {
    ssize_t n = readlink(source, target, sizeof target - 1);
    if (n > 0) {
      target[n] = '\0';
      csn_make_link(target, path);
    }
    return;
  }
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
    csn_bind(from, to, CSN_LOCKED);
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
  csn_make_folder("etc/ssl");
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    copy_small(files[i], files[i] + 1);
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    csn_bind(folders[i], folders[i] + 1, CSN_LOCKED);
  bind_runtime_settings();
}

static void
generated_etc(void)
{
  csn_make_file("etc/passwd", "root:x:0:0:root:/root:/bin/false\n"
                              "user:x:1000:1000:user:" CSN_JAIL_HOME ":/bin/sh\n"
                              "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n");
  csn_make_file("etc/group", "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n");
  csn_make_file("etc/hosts",
                "127.0.0.1\tlocalhost caisson\n::1\tlocalhost caisson ip6-localhost\n");
  csn_make_file("etc/hostname", "caisson\n");
  csn_make_file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"
                                     "services: files\nprotocols: files\nnetworks: files\n");
  /* The machine's own would set PATH over the manifest's and cost each login
   * shell a process. */
  csn_make_file("etc/profile", "# The environment is the sandbox's; nothing is added here.\n");
  csn_make_file("etc/resolv.conf", "options timeout:1 attempts:1\n");
}

static void
host_programs(void)
{
  static const char *const links[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
  csn_bind("/usr", "usr", CSN_LOCKED);
  csn_mount_new("tmpfs", "usr/local", MS_NOSUID | MS_NODEV | MS_RDONLY,
                "size=4k,nr_inodes=2,mode=755");
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    char target[PATH_MAX];
    ssize_t n = readlink(links[i], target, sizeof target - 1);
    if (n > 0) {
      target[n] = '\0';
      csn_make_link(target, links[i] + 1);
    } else {
      csn_bind(links[i], links[i] + 1, CSN_LOCKED);
    }
  }
  csn_make_folder("etc");
  host_etc();
  csn_make_link("../proc/self/mounts", "etc/mtab");
  generated_etc();
}

/* ---- a rootfs folder ---- */

bool
csn_jail_is_ours(const char *name)
{
  static const char *const ours[] = {".", "..", "dev", "home", "proc", "root", "run", "sys", "tmp"};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (strcmp(ours[i], name) == 0)
      return true;
  return false;
}

/* Binds what the folder holds, entry by entry, so that mount points which it
 * lacks can be made beside them. */
static void
folder_programs(int tree)
{
  csn_make_folder(".rootfs");
  if (sys_tree_protect(tree, CSN_LOCKED, -1) < 0)
    csn_jail_fail("protect", "the rootfs folder");
  csn_attach(tree, ".rootfs");
  DIR *folder = opendir(".rootfs");
  if (!folder)
    csn_jail_fail("read", "the rootfs folder");
  for (struct dirent *d; (d = readdir(folder));) {
    char from[sizeof d->d_name + 16], target[PATH_MAX];
    if (csn_jail_is_ours(d->d_name))
      continue;
    memcpy(from, ".rootfs/", 8);
    memcpy(from + 8, d->d_name, strlen(d->d_name) + 1);
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n > 0) {
      target[n] = '\0';
      csn_make_link(target, d->d_name);
    } else {
      csn_bind(from, d->d_name, CSN_LOCKED);
    }
  }
  closedir(folder);
  if (umount2(".rootfs", MNT_DETACH) < 0 || rmdir(".rootfs") < 0)
    csn_jail_fail("let go of", "the rootfs folder");
}

/* ---- devices and processes ---- */

void
csn_make_devices(void)
{
  static const char *const nodes[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                      "/dev/random", "/dev/urandom", "/dev/tty"};
  csn_make_folder("dev");
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
    csn_bind(nodes[i], nodes[i] + 1, ATTR_NOSUID | ATTR_NOEXEC);
  csn_make_folder("dev/pts");
  csn_make_folder("dev/shm");
  csn_make_link("pts/ptmx", "dev/ptmx");
  csn_make_link("/proc/self/fd", "dev/fd");
  csn_make_link("/proc/self/fd/0", "dev/stdin");
  csn_make_link("/proc/self/fd/1", "dev/stdout");
  csn_make_link("/proc/self/fd/2", "dev/stderr");
}

/* The number after a word of /proc/meminfo, in KiB; 0 when it is not told. */
static unsigned long long
memory_kib(const char *text, const char *word)
{
  const char *at = strstr(text, word);
  return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

/* What this machine has, or 8 GiB where it has more: programs size their
 * caches by it. */
static void
mask_memory(char *text)
{
  enum { MOST_KIB = 8 << 20 };
  unsigned long long kib = memory_kib(text, "MemTotal:");
  if (kib == 0 || kib > MOST_KIB)
    kib = MOST_KIB;
  snprintf(text, STAT_MAX,
           "MemTotal:       %8llu kB\nMemFree:        %8llu kB\nMemAvailable:   %8llu kB\n"
           "Buffers:               0 kB\nCached:                0 kB\nSwapCached:            0 kB\n"
           "SwapTotal:             0 kB\nSwapFree:              0 kB\nShmem:                 0 kB\n"
           "SReclaimable:          0 kB\n",
           kib, kib, kib);
  csn_make_file("tmp/meminfo", text);
}

/* As many processors, and nothing of what they do. */
static void
mask_activity(char *text)
{
  char out[STAT_MAX / 4], *to = out, *const end = out + sizeof out - 256;
  for (char *line = text, *next; *line && to < end; line = next) {
    next = strchr(line, '\n');
    next = next ? next + 1 : line + strlen(line);
    if (strncmp(line, "cpu", 3) != 0)
      continue;
    while (*line && *line != ' ' && to < end)
      *to++ = *line++;
    to = stpcpy(to, " 0 0 0 0 0 0 0 0 0 0\n");
  }
  snprintf(to, 200,
           "intr 0\nctxt 0\nbtime %lld\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n",
           (long long)time(NULL));
  csn_make_file("tmp/stat", out);
}

static char *
read_host(const char *path, char text[STAT_MAX])
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, STAT_MAX - 1);
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  return text;
}

/* The first get a text of ours, the others are empty. */
enum { TEXTS = 4 };
const char *const csn_jail_covered[] = {
    "cmdline",  "loadavg",   "meminfo",    "stat",       "acpi", "asound",
    "bus",      "diskstats", "fs",         "interrupts", "irq",  "kallsyms",
    "keys",     "modules",   "partitions", "pressure",   "scsi", "sched_debug",
    "softirqs", "vmstat",    "zoneinfo",   NULL,
};

/* An own /proc must be there for the kernel to let the jails mount theirs over
 * it: this one is of a process namespace that ends with us. */
static void
processes(void)
{
  static char text[STAT_MAX];
  struct stat st;
  csn_make_folder("proc");
  csn_mount_new("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  csn_make_folder("tmp");
  csn_make_file("tmp/empty", "");
  for (const char *const *name = csn_jail_covered + TEXTS; *name; name++) {
    char path[40], cover[40];
    snprintf(path, sizeof path, "proc/%s", *name);
    snprintf(cover, sizeof cover, "tmp/%s", *name);
    if (stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
      continue;
    if (S_ISDIR(st.st_mode))
      csn_make_folder(cover);
    else if (link("tmp/empty", cover) < 0)
      csn_jail_fail("link", cover);
  }
  csn_make_file("tmp/cmdline", "caisson\n");
  csn_make_file("tmp/loadavg", "0.00 0.00 0.00 1/1 1\n");
  mask_memory(read_host("/proc/meminfo", text));
  mask_activity(read_host("/proc/stat", text));
}

void
csn_jail_skeleton(const char *root, int rootfs, const struct csn_granted *grants, int *trees)
{
  csn_mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=4096,mode=755");
  if (chdir("/tmp") < 0)
    csn_jail_fail("enter", "the new root");
  if (rootfs >= 0)
    folder_programs(rootfs);
  else
    host_programs();
  csn_make_devices();
  processes();
  csn_make_folders(CSN_JAIL_HOME + 1);
  csn_make_folder("mnt");
  csn_make_folder("root");
  csn_make_folder("run");
  csn_make_folder("sys");
  csn_make_folder("var");
  if (access("var/tmp", F_OK) < 0)
    csn_make_link("../tmp", "var/tmp");
  csn_make_folders(root + 1); /* it is absolute */
  if (grants)
    csn_granted_attach(grants, trees);
  if (mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
    csn_jail_fail("make the root read-only", "");
}
