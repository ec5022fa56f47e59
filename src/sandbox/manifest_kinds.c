/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_kinds.c - what the kinds of entries have beside the common keys.
 *
 * The reference's kinds have its keys; ours that it has not (exclude,
 * submodules, secret) are written only when they say something, so that its
 * software reads what it can.  archive and url are kinds of our own. */
#include <fnmatch.h>

#include "core/hash.h"
#include "sandbox/manifest_read.h"
#include "wire/address.h"
#include "wire/http_wait.h"

enum { EXCLUDE_MAX = 1000, PATTERN_MAX = 200, STRIP_MAX = 16, ALLOW_MAX = 16 };

static const char base64_key[] = "content_base64";

static const struct kind {
  const char *word;
  const char *keys[8];
} kinds[] = {
    [CSN_ENTRY_DIR] = {"dir", {"children"}},
    [CSN_ENTRY_FILE] = {"file", {"content", base64_key}},
    [CSN_ENTRY_LOCAL_FILE] = {"local_file", {"src"}},
    [CSN_ENTRY_LOCAL_DIR] = {"local_dir", {"src", "exclude"}},
    [CSN_ENTRY_GIT_REPO] = {"git_repo", {"host", "repo", "ref", "subpath", "submodules", "secret"}},
    [CSN_ENTRY_ARCHIVE] = {"archive", {"src", "sha256", "strip_components", "archive_limits"}},
    [CSN_ENTRY_URL] = {"url",
                       {"url", "sha256", "extract", "strip_components", "archive_limits",
                        "allow_private"}},
};

bool
csn_entry_kind_find(csn_str word, csn_entry *e, enum csn_mount_kind *mount)
{
  for (size_t i = 0; i < CSN_COUNT(kinds); i++)
    if (csn_str_eq(word, csn_cstr(kinds[i].word))) {
      e->kind = (enum csn_entry_kind)i;
      return true;
    }
  if (!csn_mount_find(word, mount))
    return false;
  e->kind = CSN_ENTRY_MOUNT;
  return true;
}

size_t
csn_entry_kind_keys(const csn_entry *e, enum csn_mount_kind mount, const char **keys)
{
  size_t n = 0;
  if (e->kind == CSN_ENTRY_MOUNT)
    return csn_mount_keys(mount, keys);
  for (size_t i = 0; i < CSN_COUNT(kinds[0].keys) && kinds[e->kind].keys[i]; i++)
    keys[n++] = kinds[e->kind].keys[i];
  return n;
}

const char *
csn_entry_word(const csn_entry *e)
{
  return e->kind == CSN_ENTRY_MOUNT ? csn_mount_word(e->mount) : kinds[e->kind].word;
}

/* ---- file ---- */

static int
read_content(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  bool has = false, has64 = false;
  csn_str coded = {0};
  int rc = csn_mr_get_str(r, obj, "content", &e->content, &has);
  if (rc == 0)
    rc = csn_mr_get_str(r, obj, base64_key, &coded, &has64);
  if (rc < 0)
    return rc;
  if (has == has64)
    return csn_mr_fail(r, CSN_E_INVALID, "needs either \"content\" (text) or \"%s\"", base64_key);
  if (!has64)
    return 0;
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF(coded.n + 4);
  csn_mark k = csn_mr_enter(r, csn_cstr(base64_key), csn_json_get(obj, base64_key));
  if (!csn_base64_decode(&raw, coded))
    return csn_mr_fail(r, CSN_E_INVALID, "not base64 (standard alphabet, with padding)");
  e->content = csn_mr_keep(r, csn_buf_str(&raw));
  csn_mr_leave(r, k);
  return 0;
}

/* ---- local_dir ---- */

static int
read_local_dir(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  int rc = csn_mr_get_str(r, obj, "src", &e->src, &e->has_src);
  if (rc == 0)
    rc = csn_mr_strings(r, obj, "exclude", EXCLUDE_MAX, &e->exclude, &e->n_exclude);
  for (size_t i = 0; rc == 0 && i < e->n_exclude; i++)
    if (e->exclude[i].n > PATTERN_MAX)
      return csn_mr_fail(r, CSN_E_LIMIT, "exclude: a pattern is longer than %d bytes", PATTERN_MAX);
  return rc;
}

bool
csn_entry_excludes(const csn_entry *e, const char *path)
{
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  for (size_t i = 0; i < e->n_exclude; i++) {
    const char *p = e->exclude[i].p;
    const char *inner = strchr(p, '/');
    bool has_slash = inner && inner[1]; /* "build/" is a name */
    char bare[PATTERN_MAX + 1];
    size_t n = e->exclude[i].n;
    memcpy(bare, p, n);
    while (n > 1 && bare[n - 1] == '/')
      n--;
    bare[n] = '\0';
    const char *pattern = bare[0] == '/' ? bare + 1 : bare;
    if (fnmatch(pattern, has_slash ? path : name, FNM_PATHNAME) == 0)
      return true;
  }
  return false;
}

/* ---- git_repo ---- */

static int
check_git(csn_reader *r, const char *key, const char *why)
{
  if (!why)
    return 0;
  csn_mr_enter(r, csn_cstr(key), NULL);
  return csn_mr_fail(r, CSN_E_INVALID, "%s", why);
}

int
csn_mr_secret(csn_reader *r, const csn_json *v, const char *otherwise, csn_str *from_env,
              csn_str *from_file)
{
  static const char *const keys[] = {"from_env", "from_file"};
  int rc = CSN_MR_CHECK_KEYS(r, v, keys);
  if (rc == 0)
    rc = csn_mr_get_str(r, v, "from_env", from_env, NULL);
  if (rc == 0)
    rc = csn_mr_get_str(r, v, "from_file", from_file, NULL);
  if (rc == 0 && (from_env->n > 0) == (from_file->n > 0))
    return csn_mr_fail(r, CSN_E_INVALID, "expected %s, or one of from_env and from_file",
                       otherwise);
  return rc;
}

/* NAME of a secret of the sandbox, or {from_env} or {from_file}. */
static int
read_secret(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  const csn_json *v = csn_json_get(obj, "secret");
  if (csn_mr_is_null(v))
    return 0;
  csn_git_secret *s = e->secret = csn_mr_room(r, 0, sizeof *s);
  if (r->is_full)
    return 0;
  if (v->kind != CSN_JSON_OBJECT)
    return csn_mr_get_str(r, obj, "secret", &s->name, NULL);
  csn_mark k = csn_mr_enter(r, CSN_STR("secret"), v);
  int rc = csn_mr_secret(r, v, "the name of a secret of the sandbox", &s->from_env, &s->from_file);
  if (rc == 0)
    csn_mr_leave(r, k);
  return rc;
}

static int
read_git(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  e->host = CSN_STR("github.com");
  int rc = csn_mr_get_str(r, obj, "host", &e->host, NULL);
  if (rc == 0)
    rc = csn_mr_need_str(r, obj, "repo", &e->repo);
  if (rc == 0)
    rc = csn_mr_need_str(r, obj, "ref", &e->ref);
  if (rc == 0)
    rc = csn_mr_get_str(r, obj, "subpath", &e->subpath, &e->has_subpath);
  if (rc == 0)
    rc = check_git(r, "host", csn_git_bad_host(e->host));
  if (rc == 0)
    rc = check_git(r, "repo", csn_git_bad_repo(e->repo));
  if (rc == 0)
    rc = check_git(r, "ref", csn_git_bad_ref(e->ref));
  if (rc == 0 && e->has_subpath)
    rc = check_git(r, "subpath", csn_git_bad_subpath(e->subpath));
  if (rc == 0)
    rc = csn_mr_get_bool(r, obj, "submodules", &e->has_submodules);
  if (rc == 0)
    rc = read_secret(r, obj, e);
  if (rc == 0 && e->secret && csn_str_starts(e->repo, CSN_STR("file://")))
    rc = check_git(r, "secret", "a repository of this machine takes none");
  return rc;
}

/* ---- archive and url ---- */

static int
read_whole(csn_reader *r, const csn_json *obj, const char *key, int64_t least, int64_t most,
           int64_t *out)
{
  const csn_json *v = csn_json_get(obj, key);
  if (csn_mr_is_null(v) || (csn_json_to_int(v, out) && *out >= least && *out <= most))
    return 0;
  csn_mr_enter(r, csn_cstr(key), v);
  return csn_mr_fail(r, CSN_E_INVALID, "expected a whole number from %lld to %lld",
                     (long long)least, (long long)most);
}

static int
read_archive_keys(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  static const char *const keys[] = {"max_input_bytes", "max_extracted_bytes", "max_members"};
  int64_t *const to[] = {&e->limits.input_bytes, &e->limits.extracted_bytes, &e->limits.members};
  const int64_t most[] = {CSN_MANIFEST_BYTES_MAX, CSN_MANIFEST_BYTES_MAX, CSN_MANIFEST_FILES_MAX};
  csn_str hex = {0};
  e->limits = (csn_archive_limits){(int64_t)1 << 30, (int64_t)4 << 30, 100000};
  int rc = csn_mr_get_str(r, obj, "sha256", &hex, &e->has_digest);
  if (rc == 0 && e->has_digest && !csn_digest_from_hex(hex, &e->digest)) {
    csn_mr_enter(r, CSN_STR("sha256"), csn_json_get(obj, "sha256"));
    return csn_mr_fail(r, CSN_E_INVALID, "expected the 64 hexadecimal digits of a SHA-256");
  }
  if (rc == 0)
    rc = read_whole(r, obj, "strip_components", 0, STRIP_MAX, &e->strip);
  const csn_json *v = csn_json_get(obj, "archive_limits");
  if (rc < 0 || csn_mr_is_null(v))
    return rc;
  csn_mark k = csn_mr_enter(r, CSN_STR("archive_limits"), v);
  rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = CSN_MR_CHECK_KEYS(r, v, keys);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(keys); i++)
    rc = read_whole(r, v, keys[i], 1, most[i], to[i]);
  e->has_limits = true;
  if (rc == 0)
    csn_mr_leave(r, k);
  return rc;
}

static int
read_allow(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  csn_str *list = NULL;
  size_t n = 0;
  int rc = csn_mr_strings(r, obj, "allow_private", ALLOW_MAX, &list, &n);
  e->allow = csn_mr_room(r, n, sizeof *e->allow);
  for (size_t i = 0; rc == 0 && !r->is_full && i < n; i++) {
    csn_address a;
    uint16_t port;
    if (!csn_endpoint_parse(list[i], &a, &port)) {
      csn_mr_enter(r, CSN_STR("allow_private"), NULL);
      return csn_mr_fail(r, CSN_E_INVALID, "expected ADDRESS:PORT, such as 127.0.0.1:8080");
    }
    e->allow[i] = list[i].p;
  }
  return rc;
}

const char *
csn_entry_bad_url(const csn_entry *e, csn_str url)
{
  csn_str origin = csn_url_origin(url);
  size_t at = csn_str_find(origin, CSN_STR("://"), 0);
  csn_str host = at == SIZE_MAX ? CSN_STR("") : csn_strn(origin.p + at + 3, origin.n - at - 3);
  for (size_t i = 0; i < url.n; i++)
    if ((unsigned char)url.p[i] <= ' ' || url.p[i] == 0x7f)
      return "holds a blank or a control character; write it as %20";
  if (host.n == 0 || url.n >= CSN_URL_MAX)
    return "expected https://HOST/PATH";
  if (memchr(host.p, '@', host.n))
    return "a name and a password do not belong into an address, which is written down";
  if (csn_str_starts(url, CSN_STR("https://")))
    return NULL;
  bool is_loopback =
      csn_str_starts(host, CSN_STR("127.")) || csn_str_starts(host, CSN_STR("[::1]"));
  for (size_t i = 0; is_loopback && e->allow[i]; i++)
    if (csn_str_starts(url, CSN_STR("http://")) && csn_str_eq(host, csn_cstr(e->allow[i])))
      return NULL;
  return "expected https://; http is for a server on this machine's loopback address that "
         "allow_private lists, such as 127.0.0.1:8080";
}

static int
read_url(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  int rc = csn_mr_need_str(r, obj, "url", &e->url);
  if (rc == 0)
    rc = csn_mr_get_bool(r, obj, "extract", &e->extracts);
  if (rc == 0)
    rc = read_archive_keys(r, obj, e);
  if (rc == 0)
    rc = read_allow(r, obj, e);
  if (rc == 0 && !r->is_full && csn_entry_bad_url(e, e->url)) {
    csn_mr_enter(r, CSN_STR("url"), csn_json_get(obj, "url"));
    return csn_mr_fail(r, CSN_E_INVALID, "%s", csn_entry_bad_url(e, e->url));
  }
  if (rc == 0 && e->strip && !e->extracts)
    return csn_mr_fail(r, CSN_E_INVALID, "strip_components: only with `extract: true`");
  return rc;
}

int
csn_entry_kind_read(csn_reader *r, const csn_json *v, csn_entry *e, enum csn_mount_kind mount)
{
  int rc = 0;
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    return read_content(r, v, e);
  case CSN_ENTRY_LOCAL_FILE:
    e->has_src = true;
    return csn_mr_need_str(r, v, "src", &e->src);
  case CSN_ENTRY_LOCAL_DIR:
    return read_local_dir(r, v, e);
  case CSN_ENTRY_GIT_REPO:
    return read_git(r, v, e);
  case CSN_ENTRY_ARCHIVE:
    e->has_src = e->extracts = true;
    rc = csn_mr_need_str(r, v, "src", &e->src);
    return rc < 0 ? rc : read_archive_keys(r, v, e);
  case CSN_ENTRY_URL:
    return read_url(r, v, e);
  case CSN_ENTRY_MOUNT:
    return csn_mount_read(r, v, e, mount);
  case CSN_ENTRY_DIR:
  default:
    return 0; /* its children are manifest.c's */
  }
}
