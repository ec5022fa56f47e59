/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_flags.c - see mount_flags.h.
 *
 * All that a sandbox can make rclone use is bounded: buffers are small since it may
 * open many files, what is written waits in a folder of a bounded size, and a
 * server that does not answer is given up. */
#include "sandbox/mount_flags.h"

#include "core/fd.h"
#include "jail/proto.h"
#include "sandbox/mount_rclone.h"

/* ---- what can be served ---- */

static bool
is_at(csn_str path, const char *folder)
{
  size_t n = strlen(folder);
  return path.n > n + 1 && memcmp(path.p, folder, n) == 0 && path.p[n] == '/';
}

static int
check_place(const csn_mount *m, const char *root, csn_err *err)
{
  static const char *const folders[] = {"/mnt", "/tmp", CSN_JAIL_HOME};
  bool is_known = is_at(m->place, root);
  for (size_t i = 0; i < CSN_COUNT(folders); i++)
    is_known = is_known || is_at(m->place, folders[i]);
  if (!is_known)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "mount_path %.200s: a jail has mounts in its workspace (%.100s), in /mnt, /tmp "
                    "and " CSN_JAIL_HOME,
                    m->place.p, root);
  if (m->place.n >= CSN_JAIL_ROOT_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the path of the mount has more than %d bytes",
                    CSN_JAIL_ROOT_MAX - 1);
  return 0;
}

/* Arguments that say how much, and not what to do: others could make rclone, which
 * has the rights of the harness, read and write whatever they name. */
static const char *const may_be_said[] = {"--buffer-size", "--uid", "--gid", NULL};

/* Of an argument "--name" or "--name=value", '-' and '_' alike. */
static csn_str
flag_of(csn_str arg, char room[40], csn_str *value)
{
  size_t n = 0;
  for (; n < arg.n && n < 39 && arg.p[n] != '='; n++)
    room[n] = (char)(n > 1 && arg.p[n] == '_' ? '-' : arg.p[n]);
  *value = n < arg.n && arg.p[n] == '=' ? csn_strn(arg.p + n + 1, arg.n - n - 1) : CSN_STR("");
  return csn_strn(room, n);
}

static bool
is_value(csn_str v)
{
  for (size_t i = 0; i < v.n; i++)
    if (!((v.p[i] >= '0' && v.p[i] <= '9') || (v.p[i] >= 'A' && v.p[i] <= 'Z') ||
          (v.p[i] >= 'a' && v.p[i] <= 'z') || v.p[i] == '.'))
      return false;
  return v.n > 0 && v.n < 20;
}

/* Adds the extra arguments to argv at *n; argv NULL: only looks at them. */
static int
extra_args(const csn_mount *m, csn_arena *a, const char **argv, size_t *n, csn_err *err)
{
  const csn_json *list =
      m->pattern == CSN_MOUNT_RCLONE ? csn_json_get(m->pattern_json, "extra_args") : NULL;
  size_t said = 0;
  for (const csn_json *v = list ? list->child : NULL; v; v = v->next) {
    char room[40];
    csn_str value, flag = flag_of(v->text, room, &value);
    if (csn_str_eq(flag, CSN_STR("--allow-other"))) /* it is so in any case */
      continue;
    if (csn_str_is_one_of(flag, may_be_said) && !value.n && v->next) {
      v = v->next;
      value = v->text;
    }
    if (!csn_str_is_one_of(flag, may_be_said) || !is_value(value) || ++said > 8)
      return csn_fail(
          err, CSN_E_UNSUPPORTED,
          "extra_args: \"%.*s\": rclone runs beside the harness here, so it may be told "
          "--buffer-size, --uid and --gid with a value, each a few times, and "
          "--allow-other",
          (int)flag.n, flag.p);
    if (argv)
      argv[(*n)++] = csn_arena_printf(a, "%.*s=%.*s", (int)flag.n, flag.p, (int)value.n, value.p).p;
  }
  return 0;
}

static int
check_file(const csn_mount *m, const char *key, csn_err *err)
{
  csn_str path = csn_mount_text(m, key);
  if (path.n && path.p[0] != '/')
    return csn_fail(err, CSN_E_INVALID, "%s: expected an absolute path of this machine", key);
  return 0;
}

int
csn_mount_flags_check_one(const csn_mount *m, const char *root, csn_err *err)
{
  if (!csn_str_eq(m->strategy, CSN_STR("in_container")))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "mount_strategy %.60s is for other back-ends; a jail takes in_container, which "
                    "the harness carries out from outside",
                    m->strategy.p);
  if (!csn_mount_rclone_kind(m))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "a %s is mounted by the kernel with the program mount.s3files, which a jail "
                    "cannot have; take an s3_mount of the bucket behind it",
                    csn_mount_word(m));
  if (csn_json_str(m->pattern_json, "config_file_path", CSN_STR("")).n)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "config_file_path names a file of the sandbox, and rclone takes nothing from "
                    "there; write the fields of the entry, with {from_file: PATH} for keys");
  int rc = check_place(m, root, err);
  if (rc == 0)
    rc = extra_args(m, NULL, NULL, NULL, err);
  if (rc == 0)
    rc = check_file(m, "service_account_file", err);
  return rc < 0 ? rc : check_file(m, "box_config_file", err);
}

int
csn_mount_flags_check(const csn_mount *const *mounts, const char *root, csn_err *err)
{
  for (size_t i = 0; mounts[i]; i++) {
    const csn_mount *m = mounts[i];
    int rc = csn_mount_flags_check_one(m, root, err);
    for (size_t k = 0; rc == 0 && mounts[k]; k++)
      if (k != i && csn_str_starts(m->place, mounts[k]->place) &&
          (m->place.n == mounts[k]->place.n || m->place.p[mounts[k]->place.n] == '/'))
        rc = csn_fail(err, CSN_E_INVALID, "it lies in the mount at %.200s", mounts[k]->place.p);
    if (rc == 0 && !m->is_read_only && m->cache_fd <= 0)
      rc = csn_fail(err, CSN_E_INVALID, "no folder for what is written");
    if (rc < 0)
      return csn_wrap(err, rc, "%s at %.200s", csn_mount_word(m), m->place.p);
  }
  return 0;
}

/* ---- fields ---- */

int
csn_mount_flags_fields(csn_mount *out, const csn_mount *m, csn_arena *a, csn_err *err)
{
  static const char *const keys[] = {"prefix", "region", "endpoint_url", NULL};
  const csn_json *options = csn_json_get(m->pattern_json, "options");
  *out = *m;
  for (size_t i = 0; i < CSN_MOUNT_FIELDS_MAX && csn_mount_field(m, i); i++) {
    const char *key = csn_mount_field(m, i);
    csn_str option = csn_json_str(options, key, CSN_STR(""));
    if (!csn_str_is_one_of(csn_cstr(key), keys) || !option.n || csn_mount_text(m, key).n)
      continue;
    csn_json *v = csn_arena_alloc(a, sizeof *v);
    if (!v)
      return csn_fail(err, CSN_E_LIMIT, "too many options");
    *v = (csn_json){.kind = CSN_JSON_STRING, .text = option};
    out->fields[i] = v;
  }
  return 0;
}

/* ---- arguments ---- */

/* Who does not answer is given up. */
#define PATIENCE "--contimeout=10s", "--timeout=10s", "--low-level-retries=0"

int
csn_mount_flags_look(const csn_mount *m, csn_str remote, csn_arena *a,
                     const char *argv[CSN_MOUNT_FLAGS_MAX], csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
  csn_buf_addf(&path, "%.*s:", (int)remote.n, remote.p);
  int rc = csn_mount_rclone_path(m, &path, err);
  /* A folder that is not there costs one short answer, and there is one only
   * where there is a bucket. */
  csn_buf_addz(&path, m->kind == CSN_MOUNT_BOX ? "" : "/.caisson-is-not-there");
  const char *const words[] = {
      "rclone", "lsf", csn_arena_dup(a, csn_buf_str(&path)).p, "--config=/dev/stdin", "--retries=1",
      PATIENCE, NULL};
  memcpy(argv, words, sizeof words);
  return rc;
}

int
csn_mount_flags(const csn_mount *m, csn_str remote, unsigned uid, unsigned gid, csn_arena *a,
                const char *argv[CSN_MOUNT_FLAGS_MAX], csn_err *err)
{
  /* mount2 takes a descriptor for its mount point, and knows of no path then. */
  static const char *const always[] = {
      "/dev/fd/3",          "--config=/dev/fd/4",   "--allow-non-empty",     "--umask=022",
      "--buffer-size=256k", "--dir-cache-time=30s", "--poll-interval=0",     "--use-server-modtime",
      "--contimeout=10s",   "--timeout=30s",        "--low-level-retries=2", "--stats=0"};
  static const char *const writes[] = {"--cache-dir=/dev/fd/6", "--vfs-cache-mode=writes",
                                       "--vfs-write-back=1s", "--vfs-cache-max-size=1G",
                                       "--vfs-cache-poll-interval=10s"};
  static const char *const reads[] = {"--cache-dir=/nonexistent", "--vfs-cache-mode=off",
                                      "--read-only"};
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
  size_t n = 0;
  csn_buf_addf(&path, "%.*s:", (int)remote.n, remote.p);
  int rc = csn_mount_rclone_path(m, &path, err);
  if (rc < 0)
    return rc;
  argv[n++] = "rclone";
  argv[n++] = "mount2";
  argv[n++] = csn_arena_dup(a, csn_buf_str(&path)).p;
  for (size_t i = 0; i < CSN_COUNT(always); i++)
    argv[n++] = always[i];
  for (size_t i = 0; i < CSN_COUNT(writes) && !m->is_read_only; i++)
    argv[n++] = writes[i];
  for (size_t i = 0; i < CSN_COUNT(reads) && m->is_read_only; i++)
    argv[n++] = reads[i];
  argv[n++] = csn_arena_printf(a, "--uid=%u", uid).p;
  argv[n++] = csn_arena_printf(a, "--gid=%u", gid).p;
  if (strstr(csn_mount_rclone_kind(m), "s3") || m->kind == CSN_MOUNT_R2)
    argv[n++] = "--s3-no-check-bucket"; /* or it makes a bucket that is not there */
  rc = extra_args(m, a, argv, &n, err);
  argv[n] = NULL;
  return rc;
}
