/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_plan.c - the scripts that mount inside of a sandbox, and what they are
 * told; see mount_plan.h.
 *
 * Each begins with HEAD, which has the words for all of them. */
#include "sandbox/mount_plan.h"

#include "core/hash.h"
#include "sandbox/mount_rclone.h"

enum { ARGS_MAX = 96, INPUT_MAX = 512 << 10, OPTIONS_MAX = 16 << 10, ID_DIGITS = 12 };

/* ---- the scripts ---- */

/* $1 the folder, P; $2 as mountinfo writes it; $3 where the number of a server's
 * process is kept.  begin: what is mounted and answers stays; makes D, with the
 * input in a file there if it gets a name.  run: a tool, whose words are told if
 * it fails.  look: the storage answers. */
#define HEAD                                                                                       \
  "P=$1 Q=$2 S=$3; shift 3; D=\n"                                                                  \
  "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"                      \
  "mounted() {\n"                                                                                  \
  "  while read -r _ _ _ _ at _; do [ \"$at\" = \"$Q\" ] && return 0; done "                       \
  "</proc/self/mountinfo\n"                                                                        \
  "  return 1\n"                                                                                   \
  "}\n"                                                                                            \
  "as_root() {\n"                                                                                  \
  "  if [ \"$(id -u)\" = 0 ] || ! command -v sudo >/dev/null 2>&1; then \"$@\"; "                  \
  "else sudo -n \"$@\"; fi\n"                                                                      \
  "}\n"                                                                                            \
  "undo() {\n"                                                                                     \
  "  { fusermount3 -u \"$P\" || fusermount -u \"$P\" || as_root umount \"$P\" ||\n"                \
  "    fusermount3 -uz \"$P\" || as_root umount -l \"$P\"; } >/dev/null 2>&1\n"                    \
  "  [ ! -f \"$S\" ] || { kill \"$(cat \"$S\")\"; rm -f \"$S\"; } 2>/dev/null\n"                   \
  "  rm -rf \"$S-cache\"\n"                                                                        \
  "}\n"                                                                                            \
  "missing() { printf %s \"$1\"; exit 90; }\n"                                                     \
  "need() { command -v \"$1\" >/dev/null 2>&1 || missing \"$1\"; }\n"                              \
  "fail() { cat \"$D/out\" \"$D/log\" 2>/dev/null | tail -c 1500; exit 92; }\n"                    \
  "begin() {\n"                                                                                    \
  "  if mounted; then ls -d \"$P/.\" >/dev/null 2>&1 && exit 0; undo; fi\n"                        \
  "  mkdir -p \"$P\" 2>/dev/null ||\n"                                                             \
  "    { as_root mkdir -p \"$P\" && as_root chown \"$(id -u):$(id -g)\" \"$P\"; } || exit 91\n"    \
  "  D=$(umask 077; mktemp -d /tmp/.caisson-XXXXXXXX) || exit 91\n"                                \
  "  trap 'rm -rf \"$D\"' EXIT; trap 'exit 92' HUP INT TERM\n"                                     \
  "  [ -z \"$1\" ] || (umask 077; cat >\"$D/$1\") || exit 91\n"                                    \
  "}\n"                                                                                            \
  "run() { \"$@\" </dev/null >\"$D/out\" 2>&1 || fail; }\n"                                        \
  "look() {\n"                                                                                     \
  "  command -v timeout >/dev/null 2>&1 || return 0\n"                                             \
  "  timeout 60 ls \"$P\" >/dev/null 2>>\"$D/out\" && return 0\n"                                  \
  "  [ $? != 124 ] || echo 'no answer in 60 seconds' >>\"$D/out\"\n"                               \
  "  undo; fail\n"                                                                                 \
  "}\n"

static const char rclone_fuse[] = HEAD
    "need rclone\n"
    "command -v fusermount3 >/dev/null 2>&1 || need fusermount\n"
    "begin conf\n"
    "r=$1; shift\n"
    "run rclone mount \"$r\" \"$P\" --config \"$D/conf\" --daemon --log-file \"$D/log\" \"$@\"\n"
    "look\n";
static const char rclone_nfs[] =
    HEAD "need rclone; need mount.nfs\n"
         "rclone serve nfs --help >/dev/null 2>&1 || missing 'rclone serve nfs'\n"
         "begin conf\n"
         "r=$1 a=$2 h=$3 o=$4; shift 4\n"
         "rclone serve nfs \"$r\" --addr \"$a\" --config \"$D/conf\" \"$@\" "
         "</dev/null >\"$D/log\" 2>&1 &\n"
         "s=$! i=0 t=\n"
         "command -v timeout >/dev/null 2>&1 && t='timeout 10s'\n"
         "until as_root $t mount -v -t nfs -o \"$o\" \"$h:/\" \"$P\" >\"$D/out\" 2>&1; do\n"
         "  i=$((i+1)); [ $i -lt 3 ] || { kill $s; fail; }\n"
         "  sleep 1\n"
         "done\n"
         "printf %s $s >\"$S\"\n";
static const char mountpoint[] = HEAD "need mount-s3\n"
                                      "begin\n"
                                      "eval \"$(cat)\"\n"
                                      "run mount-s3 \"$@\" \"$P\"\n"
                                      "look\n";
static const char blobfuse[] =
    HEAD "need blobfuse2\n"
         "begin conf.yaml\n"
         "(umask 077; mkdir -p \"$1\") || exit 91\n"
         "shift\n"
         "run blobfuse2 mount \"$@\" --config-file \"$D/conf.yaml\" \"$P\"\n"
         "look\n";
static const char s3files[] = HEAD "need mount.s3files\n"
                                   "begin\n"
                                   "run as_root mount -t s3files \"$@\" \"$P\"\n"
                                   "look\n";
static const char undo[] = HEAD "undo\n"
                                "! mounted || exit 92\n";

/* ---- arguments ---- */

struct plan {
  const csn_mount *m;
  csn_str root, base;
  csn_arena *a;
  const char **argv;
  size_t n;
  csn_buf *input;
  csn_err *err;
  int rc;
};

static int
fail(struct plan *p, enum csn_code code, const char *what, const char *why)
{
  return p->rc = csn_fail(p->err, code, "%s: %s", what, why);
}

/* Once it failed, nothing more happens. */
static void
add(struct plan *p, csn_str word)
{
  if (p->rc == 0 && p->n + 1 >= ARGS_MAX)
    fail(p, CSN_E_LIMIT, "mount_strategy", "too many arguments");
  if (p->rc == 0 && word.n && memchr(word.p, '\0', word.n))
    fail(p, CSN_E_INVALID, "mount_strategy", "an argument with a NUL byte");
  if (p->rc == 0)
    p->argv[p->n++] = csn_arena_dup(p->a, word).p;
}

static void
addz(struct plan *p, const char *word)
{
  add(p, csn_cstr(word));
}

/* Two words when there is a value. */
static void
add_option(struct plan *p, const char *option, csn_str value)
{
  if (value.n)
    addz(p, option);
  if (value.n)
    add(p, value);
}

static void
begin(struct plan *p, const char *script)
{
  char hex[65];
  csn_auto(csn_buf_finip) csn_buf told = CSN_BUF(4 * p->m->place.n + 1);
  for (size_t i = 0; i < p->m->place.n; i++) {
    char c = p->m->place.p[i];
    if (strchr(" \t\n\\", c))
      csn_buf_addf(&told, "\\%03o", (unsigned)c);
    else
      csn_buf_addc(&told, c);
  }
  csn_digest d = csn_sha256_of(p->m->place);
  csn_digest_hex(&d, hex);
  addz(p, "sh");
  addz(p, "-c");
  addz(p, script);
  addz(p, "sh");
  add(p, p->m->place);
  add(p, csn_buf_str(&told));
  add(p, csn_arena_printf(p->a, "/tmp/.caisson-%.*s", ID_DIGITS, hex));
}

/* Of the pattern's options. */
static csn_str
option(const csn_mount *m, const char *key)
{
  return csn_json_str(csn_json_get(m->pattern_json, "options"), key, CSN_STR(""));
}

/* The mount's own, else of the pattern's options. */
static csn_str
either(const csn_mount *m, const char *key)
{
  csn_str own = csn_mount_text(m, key);
  return own.n ? own : option(m, key);
}

/* ---- rclone ---- */

/* Our lines at the end of the section of a file which has that name. */
static void
merge(struct plan *p, csn_str header, csn_str lines)
{
  csn_str rest = p->base, line;
  bool is_in = false, was_there = false;
  while (csn_str_line(&rest, &line)) {
    csn_str word = csn_str_trim(line);
    if (is_in && word.n && word.p[0] == '[')
      csn_buf_add(p->input, lines);
    if (word.n && word.p[0] == '[')
      is_in = csn_str_eq(word, header);
    was_there = was_there || is_in;
    csn_buf_add(p->input, line);
    csn_buf_addc(p->input, '\n');
  }
  if (is_in)
    csn_buf_add(p->input, lines);
  if (!was_there)
    fail(p, CSN_E_INVALID, "config_file_path", "the file has no section of that remote_name");
}

static void
plan_rclone(struct plan *p)
{
  char hex[65];
  bool is_nfs = csn_str_eq(csn_json_str(p->m->pattern_json, "mode", CSN_STR("")), CSN_STR("nfs"));
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(CSN_MOUNT_REMOTE_MAX + 64),
                                  path = CSN_BUF(CSN_MOUNT_CONFIG_MAX),
                                  config = CSN_BUF(CSN_MOUNT_CONFIG_MAX);
  csn_digest d = csn_sha256_of(p->m->place);
  csn_digest_hex(&d, hex);
  begin(p, is_nfs ? rclone_nfs : rclone_fuse);
  if (p->rc == 0)
    p->rc = csn_mount_rclone_remote(p->m, csn_strn(hex, ID_DIGITS), &name, p->err);
  if (p->rc == 0)
    p->rc = csn_mount_rclone_config(p->m, csn_buf_str(&name), &config, p->err);
  if (p->rc == 0)
    p->rc = csn_mount_rclone_path(p->m, &path, p->err);
  if (p->rc < 0)
    return;
  csn_str lines = csn_buf_str(&config), header = {0};
  if (csn_json_str(p->m->pattern_json, "config_file_path", CSN_STR("")).n) {
    (void)csn_str_line(&lines, &header);
    merge(p, header, lines);
  } else {
    csn_buf_add(p->input, lines);
  }
  explicit_bzero(config.p, config.n);
  add(p, csn_arena_printf(p->a, "%s:%s", name.p, path.p ? path.p : ""));
  if (is_nfs) {
    csn_str at = csn_json_str(p->m->pattern_json, "nfs_addr", CSN_STR("127.0.0.1:2049"));
    const csn_json *given = csn_json_get(p->m->pattern_json, "nfs_mount_options");
    size_t colon = at.n;
    while (colon > 0 && at.p[colon - 1] != ':')
      colon--;
    csn_str host = csn_strn(at.p, colon ? colon - 1 : 0),
            port = csn_strn(at.p + colon, at.n - colon);
    if (!host.n || csn_str_eq(host, CSN_STR("0.0.0.0")) || csn_str_eq(host, CSN_STR("::")) ||
        csn_str_eq(host, CSN_STR("[::]")))
      host = CSN_STR("127.0.0.1");
    csn_auto(csn_buf_finip) csn_buf o = CSN_BUF(OPTIONS_MAX);
    csn_json_each (v, given)
      csn_buf_addf(&o, "%s%.*s", o.n ? "," : "", (int)v->text.n, v->text.p);
    if (!o.n)
      csn_buf_addf(&o, "vers=4.1,tcp,port=%.*s,soft,timeo=50,retrans=1", (int)port.n, port.p);
    add(p, at);
    add(p, host);
    add(p, csn_buf_str(&o));
  }
  if (p->m->is_read_only)
    addz(p, "--read-only");
  csn_json_each (v, csn_json_get(p->m->pattern_json, "extra_args"))
    add(p, v->text);
}

/* ---- Mountpoint for S3 ---- */

static void
put_export(struct plan *p, const char *name, csn_str value)
{
  if (!value.n)
    return;
  csn_buf_addf(p->input, "export %s='", name);
  for (size_t i = 0; i < value.n; i++)
    if (value.p[i] == '\'')
      csn_buf_addz(p->input, "'\\''");
    else
      csn_buf_addc(p->input, value.p[i]);
  csn_buf_addz(p->input, "'\n");
}

static void
plan_mountpoint(struct plan *p)
{
  const csn_mount *m = p->m;
  bool is_gcs = m->kind == CSN_MOUNT_GCS;
  csn_str id = csn_mount_text(m, is_gcs ? "access_id" : "access_key_id"),
          key = csn_mount_text(m, "secret_access_key"), url = either(m, "endpoint_url"),
          bucket = csn_mount_text(m, "bucket");
  if (is_gcs && !url.n)
    url = CSN_STR("https://storage.googleapis.com");
  if (csn_str_find(url, CSN_STR("@"), 0) != SIZE_MAX ||
      csn_str_find(url, CSN_STR("?"), 0) != SIZE_MAX)
    fail(p, CSN_E_INVALID, "endpoint_url",
         "mount-s3 takes it as an argument, which everybody can read: no user and no query in it");
  if (bucket.n && bucket.p[0] == '-')
    fail(p, CSN_E_INVALID, "bucket", "a name cannot begin with '-'");
  begin(p, mountpoint);
  put_export(p, "AWS_ACCESS_KEY_ID", key.n ? id : CSN_STR(""));
  put_export(p, "AWS_SECRET_ACCESS_KEY", id.n ? key : CSN_STR(""));
  put_export(p, "AWS_SESSION_TOKEN", csn_mount_text(m, "session_token"));
  if (!id.n || !key.n)
    addz(p, "--no-sign-request");
  if (m->is_read_only) {
    addz(p, "--read-only");
  } else {
    addz(p, "--allow-overwrite");
    addz(p, "--allow-delete");
  }
  add_option(p, "--region", either(m, "region"));
  add_option(p, "--endpoint-url", url);
  add_option(p, "--upload-checksums", is_gcs ? CSN_STR("off") : CSN_STR(""));
  add_option(p, "--prefix", either(m, "prefix"));
  add(p, bucket);
}

/* ---- blobfuse2 ---- */

static void
put_line(csn_buf *b, const char *key, csn_str value)
{
  if (!value.n)
    return;
  csn_buf_addf(b, "  %s: ", key);
  csn_json_quote(b, value); /* JSON's strings are YAML's, too */
  csn_buf_addc(b, '\n');
}

/* A number of the pattern, or the other one. */
static void
put_number(struct plan *p, const char *key, const char *field, int64_t otherwise)
{
  int64_t n = csn_json_int(p->m->pattern_json, field, otherwise);
  if (n >= 0)
    csn_buf_addf(p->input, "  %s: %lld\n", key, (long long)n);
}

/* Beside the workspace, unless the manifest says where in it. */
static csn_str
cache_of(struct plan *p)
{
  csn_str said = csn_json_str(p->m->pattern_json, "cache_path", CSN_STR("")), place = p->m->place;
  if (!said.n)
    return csn_arena_printf(p->a, "%s-cache", p->argv[6]);
  csn_str at = csn_arena_printf(p->a, "%.*s/%.*s", (int)p->root.n, p->root.p, (int)said.n, said.p);
  if (csn_str_starts(at, place) && (at.n == place.n || at.p[place.n] == '/'))
    fail(p, CSN_E_INVALID, "cache_path", "it cannot be in the mount itself");
  return at;
}

static void
plan_blobfuse(struct plan *p)
{
  const csn_json *o = p->m->pattern_json;
  csn_str type = csn_json_str(o, "cache_type", CSN_STR("block_cache")),
          account = csn_mount_text(p->m, "account"), endpoint = csn_mount_text(p->m, "endpoint"),
          key = csn_mount_text(p->m, "account_key");
  bool is_block = csn_str_eq(type, CSN_STR("block_cache"));
  csn_buf *b = p->input;
  begin(p, blobfuse);
  csn_str cache = cache_of(p);
  if (csn_json_bool(o, "allow_other", true))
    csn_buf_addz(b, "allow-other: true\n");
  csn_buf_addz(b, "logging:\n");
  put_line(b, "type", csn_json_str(o, "log_type", CSN_STR("syslog")));
  put_line(b, "level", csn_json_str(o, "log_level", CSN_STR("log_debug")));
  csn_buf_addf(b, "components: [libfuse, %.*s, attr_cache, azstorage]\n", (int)type.n, type.p);
  if (csn_json_int(o, "entry_cache_timeout_sec", -1) >= 0 ||
      csn_json_int(o, "negative_entry_cache_timeout_sec", -1) >= 0)
    csn_buf_addz(b, "libfuse:\n");
  put_number(p, "entry-expiration-sec", "entry_cache_timeout_sec", -1);
  put_number(p, "negative-entry-expiration-sec", "negative_entry_cache_timeout_sec", -1);
  int64_t size = csn_json_int(o, "cache_size_mb", 0);
  size = size > 0 ? size : is_block ? 50000 : 4096;
  csn_buf_addf(b, "%.*s:\n", (int)type.n, type.p);
  if (is_block) {
    put_number(p, "block-size-mb", "block_cache_block_size_mb", 16);
    put_number(p, "mem-size-mb", "cache_size_mb", -1); /* else its own, which fits the machine */
    put_line(b, "path", cache);
    csn_buf_addf(b, "  disk-size-mb: %lld\n", (long long)size);
    put_number(p, "disk-timeout-sec", "block_cache_disk_timeout_sec", 3600);
  } else {
    put_line(b, "path", cache);
    put_number(p, "timeout-sec", "file_cache_timeout_sec", 120);
    put_number(p, "max-size-mb", "file_cache_max_size_mb", size);
  }
  csn_buf_addz(b, "attr_cache:\n");
  put_number(p, "timeout-sec", "attr_cache_timeout_sec", 7200);
  csn_buf_addz(b, "azstorage:\n  type: block\n");
  put_line(b, "account-name", account);
  put_line(b, "container", csn_mount_text(p->m, "container"));
  put_line(b, "endpoint",
           endpoint.n ? endpoint
                      : csn_arena_printf(p->a, "https://%.*s.blob.core.windows.net", (int)account.n,
                                         account.p));
  if (key.n)
    csn_buf_addz(b, "  auth-type: key\n");
  put_line(b, "account-key", key);
  put_line(b, "mode", key.n ? CSN_STR("") : CSN_STR("msi"));
  put_line(b, "identity-client-id", csn_mount_text(p->m, "identity_client_id"));
  add(p, cache);
  if (p->m->is_read_only)
    addz(p, "--read-only");
}

/* ---- S3 Files ---- */

static void
put_flag(struct plan *p, csn_buf *o, csn_str key, const csn_str *value)
{
  if (csn_str_find(key, CSN_STR(","), 0) != SIZE_MAX ||
      (value && csn_str_find(*value, CSN_STR(","), 0) != SIZE_MAX))
    fail(p, CSN_E_INVALID, "extra_options", "no option can have a comma in it");
  csn_buf_addf(o, "%s%.*s", o->n ? "," : "", (int)key.n, key.p);
  if (value)
    csn_buf_addf(o, "=%.*s", (int)value->n, value->p);
}

static bool
has(const csn_json *object, csn_str key)
{
  csn_json_each (v, object)
    if (csn_str_eq(v->key, key))
      return true;
  return false;
}

static void
plan_s3files(struct plan *p)
{
  static const char *const named[][2] = {
      {"mounttargetip", "mount_target_ip"}, {"accesspoint", "access_point"}, {"region", "region"}};
  csn_auto(csn_buf_finip) csn_buf o = CSN_BUF(OPTIONS_MAX), what = CSN_BUF(OPTIONS_MAX);
  const csn_json *own = csn_mount_value(p->m, "extra_options"),
                 *theirs =
                     csn_json_get(csn_json_get(p->m->pattern_json, "options"), "extra_options");
  csn_str id = csn_mount_text(p->m, "file_system_id"), sub = csn_mount_text(p->m, "subpath");
  begin(p, s3files);
  csn_json_each (v, theirs)
    if (!has(own, v->key))
      put_flag(p, &o, v->key, v->kind == CSN_JSON_STRING ? &v->text : NULL);
  csn_json_each (v, own)
    put_flag(p, &o, v->key, v->kind == CSN_JSON_STRING ? &v->text : NULL);
  if (p->m->is_read_only)
    put_flag(p, &o, CSN_STR("ro"), NULL);
  for (size_t i = 0; i < CSN_COUNT(named); i++) {
    csn_str value = either(p->m, named[i][1]);
    if (value.n)
      put_flag(p, &o, csn_cstr(named[i][0]), &value);
  }
  if (id.n && id.p[0] == '-')
    fail(p, CSN_E_INVALID, "file_system_id", "it cannot begin with '-'");
  add_option(p, "-o", csn_buf_str(&o));
  csn_buf_addf(&what, "%.*s%s%.*s", (int)id.n, id.p, sub.n ? ":" : "", (int)sub.n,
               sub.p ? sub.p : "");
  add(p, csn_buf_str(&what));
}

/* ---- plans ---- */

static struct plan
plan_new(const csn_mount *m, csn_arena *a)
{
  struct plan p = {.m = m, .a = a, .argv = csn_arena_alloc(a, ARGS_MAX * sizeof(char *))};
  memset(p.argv, 0, ARGS_MAX * sizeof(char *));
  return p;
}

int
csn_mount_plan_make(const csn_mount *m, csn_str root, csn_str base, csn_arena *a,
                    csn_mount_plan *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf input = CSN_BUF(INPUT_MAX);
  struct plan p = plan_new(m, a);
  p.root = root;
  p.base = base;
  p.err = err;
  p.input = &input;
  switch (m->pattern) {
  case CSN_MOUNT_RCLONE:
    plan_rclone(&p);
    break;
  case CSN_MOUNT_MOUNTPOINT:
    plan_mountpoint(&p);
    break;
  case CSN_MOUNT_FUSE:
    plan_blobfuse(&p);
    break;
  case CSN_MOUNT_S3FILES:
    plan_s3files(&p);
    break;
  case CSN_MOUNT_NO_PATTERN:
    fail(&p, CSN_E_UNSUPPORTED, "mount_strategy", "only in_container mounts inside");
    break;
  }
  if (p.rc == 0)
    p.rc = csn_buf_done(&input, "the configuration of a mount", err);
  *out = (csn_mount_plan){p.argv, p.rc == 0 ? csn_arena_dup(a, csn_buf_str(&input)) : CSN_STR("")};
  if (input.p)
    explicit_bzero(input.p, input.n);
  return p.rc;
}

void
csn_mount_plan_undo(const csn_mount *m, csn_arena *a, csn_mount_plan *out)
{
  struct plan p = plan_new(m, a);
  begin(&p, undo);
  *out = (csn_mount_plan){p.argv, CSN_STR("")};
}
