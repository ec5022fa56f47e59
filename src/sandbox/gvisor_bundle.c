/* SPDX-License-Identifier: Apache-2.0
 *
 * gvisor_bundle.c - the OCI bundle of a sandbox; see gvisor_bundle.h.
 *
 * The host's root file system is the jail's (jail/skeleton.c): programs,
 * harmless settings, nothing of /home, /root, /var, /run, /opt or
 * /usr/local.  Of an image each entry is bound.  The root itself is a folder of
 * ours in both cases, since runsc makes the places of mounts on the disk. */
#include "sandbox/gvisor_bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "jail/proto.h"
#include "sandbox/jail_limits.h"

enum { CONFIG_MAX = 1 << 20 };

/* ---- the root of the host's programs ---- */

static int
write_etc(const csn_gvisor_bundle *b, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf passwd = CSN_BUF(4096), group = CSN_BUF(4096);
  csn_buf_addf(&passwd,
               "user:x:%u:%u:user:" CSN_GVISOR_HOME ":/bin/sh\n"
               "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
               b->uid, b->gid);
  csn_buf_addf(&group, "user:x:%u:\ntty:x:5:\nnogroup:x:65534:\n", b->gid);
  const struct {
    const char *path, *text;
  } files[] = {{"root/etc/passwd", passwd.p},
               {"root/etc/group", group.p},
               {"root/etc/hosts", "127.0.0.1\tlocalhost caisson\n::1\tlocalhost caisson\n"},
               {"root/etc/hostname", "caisson\n"},
               {"root/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
               {"root/etc/profile", "# The environment is the sandbox's.\n"},
               {"root/etc/resolv.conf", "options timeout:1 attempts:1\n"}};
  for (size_t i = 0; i < CSN_COUNT(files); i++) {
    int rc = csn_file_write(b->folder, files[i].path, csn_cstr(files[i].text), 0644, false, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
make_host_root(const csn_gvisor_bundle *b, csn_err *err)
{
  static const char *const folders[] = {"root/etc", "root/usr", "root/proc",
                                        "root/dev", "root/sys", "root/tmp",
                                        "root/var", "root/run", "root" CSN_GVISOR_HOME};
  static const char *const links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
  for (size_t i = 0; i < CSN_COUNT(folders); i++) {
    int rc = csn_mkdirs(b->folder, folders[i], 0755, err);
    if (rc < 0)
      return rc;
  }
  for (size_t i = 0; i < CSN_COUNT(links); i++) {
    char from[16], to[32], target[PATH_MAX];
    snprintf(from, sizeof from, "/%s", links[i]);
    snprintf(to, sizeof to, "root/%s", links[i]);
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n <= 0)
      continue;
    target[n] = '\0';
    if (symlinkat(target, b->folder, to) < 0)
      return csn_fail_errno(err, "%s", to);
  }
  return write_etc(b, err);
}

/* ---- the root of an image ---- */

/* What the sandbox has of its own. */
static bool
is_ours(const char *name)
{
  static const char *const ours[] = {".",    "..",  "dev", "home", "proc",
                                     "root", "run", "sys", "tmp",  ".caisson"};
  for (size_t i = 0; i < CSN_COUNT(ours); i++)
    if (strcmp(name, ours[i]) == 0)
      return true;
  return false;
}

/* A workspace below an entry of the image needs a place that the image has. */
static int
check_place(const csn_gvisor_bundle *b, csn_err *err)
{
  struct stat st;
  csn_auto(csn_freep) char *first = csn_dupz(csn_strn(b->root + 1, strcspn(b->root + 1, "/")));
  if (is_ours(first) || fstatat(b->rootfs->layers[0], first, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return 0;
  csn_auto(csn_closep) int at =
      csn_open_beneath(b->rootfs->layers[0], b->root + 1, O_PATH | O_DIRECTORY, 0, NULL);
  if (at >= 0)
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "level gvisor: the image has /%s and no folder %s in it for the workspace", first,
                  b->root);
}

/* Calls fn for each entry that is the image's. */
static int
each_entry(const csn_gvisor_bundle *b,
           int (*fn)(void *user, int folder, const char *name, csn_err *err), void *user,
           csn_err *err)
{
  int fd = openat(b->rootfs->layers[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
  DIR *folder = fd < 0 ? NULL : fdopendir(fd);
  if (!folder) {
    csn_closep(&fd);
    return csn_fail_errno(err, "the folder of the image");
  }
  for (struct dirent *d; rc == 0 && (d = readdir(folder));)
    if (!is_ours(d->d_name))
      rc = fn(user, fd, d->d_name, err);
  closedir(folder);
  return rc;
}

/* Links are copied; the place of what is bound is made by runsc. */
static int
copy_link(void *user, int folder, const char *name, csn_err *err)
{
  const csn_gvisor_bundle *b = user;
  char target[PATH_MAX], to[NAME_MAX + 8];
  ssize_t n = readlinkat(folder, name, target, sizeof target - 1);
  if (n <= 0)
    return 0;
  target[n] = '\0';
  snprintf(to, sizeof to, "root/%s", name);
  return symlinkat(target, b->folder, to) < 0 ? csn_fail_errno(err, "%s", to) : 0;
}

static int
make_image_root(const csn_gvisor_bundle *b, csn_err *err)
{
  int rc = check_place(b, err);
  if (rc == 0)
    rc = csn_mkdirs(b->folder, "root", 0755, err);
  return rc < 0 ? rc : each_entry(b, copy_link, (void *)(uintptr_t)b, err);
}

/* ---- config.json ---- */

static void
member(csn_jw *w, const char *key, const char *value)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, value);
}

/* options: words separated by commas, or NULL. */
static void
add_mount(csn_jw *w, const char *type, const char *source, const char *to, const char *options)
{
  csn_jw_obj(w);
  member(w, "destination", to);
  member(w, "type", type);
  member(w, "source", source);
  csn_jw_key(w, "options");
  csn_jw_arr(w);
  for (const char *p = options; p && *p;) {
    size_t n = strcspn(p, ",");
    csn_jw_str(w, csn_strn(p, n));
    p += n + (p[n] == ',');
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

static void
bind_if_there(csn_jw *w, const char *path)
{
  struct stat st;
  if (stat(path, &st) == 0)
    add_mount(w, "bind", path, path, "rbind,ro,nosuid,nodev");
}

static void
add_memory(csn_jw *w, const csn_gvisor_bundle *b, const char *to, bool is_shared)
{
  char options[120];
  if (is_shared)
    snprintf(options, sizeof options, "nosuid,nodev,mode=1777,size=%d", CSN_JAIL_OWN_BYTES);
  else
    snprintf(options, sizeof options, "nosuid,nodev,mode=755,uid=%u,gid=%u,size=%d", b->uid, b->gid,
             CSN_JAIL_OWN_BYTES);
  add_mount(w, "tmpfs", "tmpfs", to, options);
}

static int
path_of(int fd, char path[PATH_MAX], csn_err *err)
{
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  if (n < 0)
    return csn_fail_errno(err, "the path of a folder");
  path[n] = '\0';
  return 0;
}

struct binding {
  csn_jw *w;
  const char *folder; /* of the image */
};

static int
bind_entry(void *user, int folder, const char *name, csn_err *err)
{
  const struct binding *x = user;
  char from[PATH_MAX + NAME_MAX + 2], to[NAME_MAX + 2];
  struct stat st;
  if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%s", name);
  if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return 0;
  snprintf(from, sizeof from, "%s/%s", x->folder, name);
  snprintf(to, sizeof to, "/%s", name);
  add_mount(x->w, "bind", from, to, "rbind,ro,nosuid,nodev");
  return 0;
}

static int
add_programs(csn_jw *w, const csn_gvisor_bundle *b, csn_err *err)
{
  static const char *const host[] = {
      "/usr",           "/etc/alternatives",   "/etc/bash.bashrc", "/etc/fonts",
      "/etc/inputrc",   "/etc/ld.so.cache",    "/etc/ld.so.conf",  "/etc/ld.so.conf.d",
      "/etc/localtime", "/etc/mime.types",     "/etc/protocols",   "/etc/services",
      "/etc/ssl/certs", "/etc/ssl/openssl.cnf"};
  char path[PATH_MAX];
  struct stat st;
  if (b->rootfs->n > 0) {
    int rc = path_of(b->rootfs->layers[0], path, err);
    return rc < 0 ? rc : each_entry(b, bind_entry, &(struct binding){w, path}, err);
  }
  for (size_t i = 0; i < CSN_COUNT(host); i++)
    bind_if_there(w, host[i]);
  if (stat("/usr/local", &st) == 0)
    add_mount(w, "tmpfs", "tmpfs", "/usr/local", "ro,nosuid,nodev,mode=755,size=4096");
  return 0;
}

static int
add_mounts(csn_jw *w, const csn_gvisor_bundle *b, csn_err *err)
{
  char path[PATH_MAX];
  csn_jw_arr(w);
  add_mount(w, "proc", "proc", "/proc", "nosuid,noexec,nodev");
  int rc = add_programs(w, b, err);
  snprintf(path, sizeof path, "%s/agent", b->path);
  add_mount(w, "bind", path, "/.caisson", "rbind,ro,nosuid,nodev");
  add_memory(w, b, "/tmp", true);
  add_memory(w, b, CSN_GVISOR_HOME, false);
  if (b->workspace_fd < 0) {
    add_memory(w, b, b->root, false);
  } else if (rc == 0 && (rc = path_of(b->workspace_fd, path, err)) == 0) {
    add_mount(w, "bind", path, b->root, "rbind,rw,nosuid,nodev");
  }
  csn_jw_end(w);
  return rc;
}

static void
add_limit(csn_jw *w, const char *name, int64_t value)
{
  if (value <= 0)
    return;
  csn_jw_obj(w);
  member(w, "type", name);
  csn_jw_key(w, "soft");
  csn_jw_int(w, value);
  csn_jw_key(w, "hard");
  csn_jw_int(w, value);
  csn_jw_end(w);
}

/* The first process: the keeper, without a capability. */
static void
add_process(csn_jw *w, const csn_gvisor_bundle *b)
{
  csn_jail_limits limits;
  csn_jail_limits_ask(b->spec->limits, &limits);
  csn_jw_obj(w);
  csn_jw_key(w, "user");
  csn_jw_obj(w);
  csn_jw_key(w, "uid");
  csn_jw_int(w, b->uid);
  csn_jw_key(w, "gid");
  csn_jw_int(w, b->gid);
  csn_jw_end(w);
  csn_jw_key(w, "args");
  csn_jw_arr(w);
  csn_jw_strz(w, "/.caisson/keeper");
  csn_jw_strz(w, "inside");
  csn_jw_end(w);
  csn_jw_key(w, "env");
  csn_jw_arr(w);
  csn_jw_end(w);
  member(w, "cwd", "/");
  csn_jw_key(w, "noNewPrivileges");
  csn_jw_bool(w, true);
  csn_jw_key(w, "rlimits");
  csn_jw_arr(w);
  add_limit(w, "RLIMIT_NOFILE", limits.most_open_files);
  add_limit(w, "RLIMIT_FSIZE", limits.file_size);
  csn_jw_end(w);
  csn_jw_end(w);
}

static int
write_config(const csn_gvisor_bundle *b, csn_err *err)
{
  static const char *const spaces[] = {"pid", "mount", "network", "ipc", "uts"};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CONFIG_MAX);
  char path[100];
  int rc = 0;
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  member(&w, "ociVersion", "1.0.2");
  csn_jw_key(&w, "process");
  add_process(&w, b);
  csn_jw_key(&w, "root");
  csn_jw_obj(&w);
  snprintf(path, sizeof path, "%s/root", b->path);
  member(&w, "path", path);
  csn_jw_key(&w, "readonly");
  csn_jw_bool(&w, true);
  csn_jw_end(&w);
  member(&w, "hostname", "caisson");
  csn_jw_key(&w, "mounts");
  if (rc == 0)
    rc = add_mounts(&w, b, err);
  csn_jw_key(&w, "linux");
  csn_jw_obj(&w);
  csn_jw_key(&w, "namespaces");
  csn_jw_arr(&w);
  for (size_t i = 0; i < CSN_COUNT(spaces); i++) {
    csn_jw_obj(&w);
    member(&w, "type", spaces[i]);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_file_write(b->folder, "config.json", csn_buf_str(&text), 0600, false, err);
  return rc;
}

int
csn_gvisor_bundle_make(const csn_gvisor_bundle *b, csn_err *err)
{
  int rc = csn_mkdirs(b->folder, "agent", 0755, err);
  if (rc == 0)
    rc = csn_file_write(b->folder, "agent/keeper", b->keeper, 0755, false, err);
  if (rc == 0)
    rc = b->rootfs->n ? make_image_root(b, err) : make_host_root(b, err);
  if (rc == 0)
    rc = write_config(b, err);
  return csn_wrap(err, rc, "the bundle for runsc");
}
