/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_git.c - git_repo entries, by the git of this host.
 *
 * A repository is not trusted: see git_run.h for how git runs.  It may speak
 * https only (file too when the entry names a local repository) and fetches one
 * commit.  Names are checked so that none can pass for an option.  Submodules
 * are fetched by us, from the repository's own host: what a repository says of
 * others' addresses could lead anywhere, with the secret in hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/git_fetch.h"
#include "sandbox/manifest_int.h"

enum { SECRET_MAX = 16 << 10, MODULES_MAX = 64, MODULES_DEEP = 4 };

static const csn_str file_scheme = CSN_STR_INIT("file://");

static bool
has_only(csn_str s, const char *extra)
{
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    bool is_plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (!is_plain && (!c || !strchr(extra, c)))
      return false;
  }
  return s.n > 0;
}

const char *
csn_git_bad_host(csn_str host)
{
  return has_only(host, ".-:") && host.p[0] != '-' && host.p[0] != ':' && host.n < 256
             ? NULL
             : "expected a host name such as github.com";
}

const char *
csn_git_bad_repo(csn_str repo)
{
  if (csn_str_starts(repo, file_scheme))
    return repo.n > file_scheme.n && repo.p[file_scheme.n] == '/' && repo.n < 4000 &&
                   !memchr(repo.p, '\n', repo.n)
               ? NULL
               : "expected file:///absolute/path";
  if (!has_only(repo, "._-/+~") || repo.p[0] == '-' || repo.p[0] == '/' || repo.n > 1000 ||
      csn_str_find(repo, CSN_STR(".."), 0) != SIZE_MAX)
    return "expected OWNER/NAME, or file:///absolute/path";
  return NULL;
}

const char *
csn_git_bad_ref(csn_str ref)
{
  if (!has_only(ref, "._-/+@") || ref.p[0] == '-' || ref.p[0] == '/' || ref.p[0] == '.' ||
      ref.p[ref.n - 1] == '/' || ref.p[ref.n - 1] == '.' || ref.n > 255 ||
      csn_str_find(ref, CSN_STR(".."), 0) != SIZE_MAX ||
      csn_str_find(ref, CSN_STR("//"), 0) != SIZE_MAX || csn_str_ends(ref, CSN_STR(".lock")))
    return "expected a branch, a tag or a commit";
  return NULL;
}

const char *
csn_git_bad_subpath(csn_str s)
{
  if (s.n && csn_str_trim(s).n == 0)
    return "is blank (empty)";
  if (s.n && s.p[0] == '/')
    return "an absolute path is not allowed (absolute)";
  if (memchr(s.p ? s.p : "", '\\', s.n) || (s.n > 1 && s.p[1] == ':'))
    return "backslashes and drives are not allowed (windows_path)";
  for (size_t i = 0; i <= s.n;) {
    size_t end = i;
    while (end < s.n && s.p[end] != '/')
      end++;
    if (csn_str_eq(csn_strn(s.p + i, end - i), CSN_STR("..")))
      return "\"..\" is not allowed (parent_traversal)";
    i = end + 1;
  }
  return NULL;
}

static int
empty_dir(int at, const char *name, int *dir, csn_err *err)
{
  csn_closep(dir);
  *dir = -1;
  int rc = csn_remove_tree(at, name, err);
  if (rc < 0)
    return rc;
  if (mkdirat(at, name, 0755) < 0)
    return csn_fail_errno(err, "make a folder for git");
  *dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return *dir < 0 ? csn_fail_errno(err, "open the folder for git") : 0;
}

/* The same rule as for local_dir: no path of the host unasked. */
static int
check_local(csn_copy *c, csn_str url, csn_err *err)
{
  csn_str path = csn_strn(url.p + file_scheme.n, url.n - file_scheme.n);
  csn_auto(csn_closep) int fd =
      csn_source_open(c->m, c->to->source_fd, path, O_PATH | O_DIRECTORY, err);
  return fd < 0 ? fd : 0;
}

/* ---- the secret ---- */

static const csn_network_secret *
find_secret(const csn_copy *c, csn_str name)
{
  for (size_t i = 0; i < c->to->n_secrets; i++)
    if (csn_str_eq(name, csn_cstr(c->to->secrets[i].name)))
      return &c->to->secrets[i];
  return NULL;
}

static bool
is_for(const csn_network_secret *s, csn_str host)
{
  size_t port = csn_str_find(host, CSN_STR(":"), 0);
  csn_str bare = csn_strn(host.p, port == SIZE_MAX ? host.n : port);
  for (const char *const *h = s->hosts; h && *h; h++)
    if (csn_str_eq(bare, csn_cstr(*h)))
      return true;
  return false;
}

/* A header that has the value in it, or the one that git hosts take a token in. */
static void
add_header(csn_buf *out, const char *form, csn_str value)
{
  const char *mark = form ? strstr(form, "{}") : NULL;
  if (mark) {
    csn_buf_add(out, csn_strn(form, (size_t)(mark - form)));
    csn_buf_add(out, value);
    csn_buf_addz(out, mark + 2);
    return;
  }
  csn_auto(csn_buf_finip) csn_buf pair = CSN_BUF(SECRET_MAX + 32);
  csn_buf_addz(&pair, "x-access-token:");
  csn_buf_add(&pair, value);
  csn_buf_addz(out, "Authorization: Basic ");
  csn_base64_add(out, csn_buf_str(&pair));
  explicit_bzero(pair.p, pair.n);
}

static int
read_secret(csn_copy *c, const csn_entry *e, csn_buf *header, csn_err *err)
{
  const csn_git_secret *s = e->secret;
  csn_auto(csn_buf_finip) csn_buf file = CSN_BUF(SECRET_MAX);
  if (!s)
    return 0;
  if (s->name.n) {
    const csn_network_secret *known = find_secret(c, s->name);
    if (!known)
      return csn_fail(
          err, CSN_E_INVALID,
          "secret %.60s: the sandbox has none of that name; declare it in `secrets`, or "
          "write {from_env: VARIABLE}",
          s->name.p);
    if (!is_for(known, e->host))
      return csn_fail(err, CSN_E_DENIED, "secret %.60s is not for %.100s: list it in its hosts",
                      s->name.p, e->host.p);
    add_header(header, known->header, csn_cstr(known->value));
    return 0;
  }
  csn_secret_place place = {s->from_env, s->from_file};
  int rc = csn_secret_find(c->m, c->to->source_fd, &place, &file, err);
  if (rc < 0)
    return csn_wrap(err, rc, "secret");
  add_header(header, NULL, csn_buf_str(&file));
  explicit_bzero(file.p, file.n);
  return 0;
}

/* ---- submodules ---- */

struct modules {
  csn_copy *c;
  const csn_entry *e;
  csn_str header, origin;
  int count;
};

/* "../lib.git" of "https://host/o/r.git" is "https://host/o/lib.git". */
static int
module_url(const struct modules *m, csn_str of, csn_str given, csn_buf *out, csn_err *err)
{
  bool is_relative = csn_str_starts(given, CSN_STR("./")) || csn_str_starts(given, CSN_STR("../"));
  if (!is_relative) {
    csn_buf_add(out, given);
  } else {
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
    csn_str rest = csn_strn(of.p + m->origin.n, of.n - m->origin.n);
    if (!csn_path_add(&path, rest) || !csn_path_add(&path, given))
      return csn_fail(err, CSN_E_DENIED, "the address %.*s leads above its host",
                      (int)(given.n < 150 ? given.n : 150), given.p);
    csn_buf_add(out, m->origin);
    csn_buf_addc(out, '/');
    csn_buf_add(out, csn_buf_str(&path));
  }
  csn_str url = csn_buf_str(out);
  bool is_same = csn_str_starts(url, m->origin) && url.n > m->origin.n && url.p[m->origin.n] == '/';
  if (!is_same)
    return csn_fail(err, CSN_E_DENIED,
                    "the address %.*s is not on %.*s: a repository does not choose other hosts; "
                    "bring it as an entry of its own",
                    (int)(url.n < 150 ? url.n : 150), url.p, (int)m->origin.n, m->origin.p);
  return csn_buf_done(out, "an address", err);
}

/* What a commit has at that path: the commit of a submodule. */
static int
module_commit(csn_git *g, int dir, csn_str path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_freep) char *name = csn_dupz(path);
  const char *args[] = {"--literal-pathspecs", "ls-tree", "-z", "HEAD", "--", name, NULL};
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(16384);
  static const csn_str head = CSN_STR_INIT("160000 commit ");
  int rc = csn_git_run(g, dir, args, &said, err);
  if (rc < 0)
    return rc;
  csn_str line = csn_buf_str(&said);
  if (!csn_str_starts(line, head) || line.n < head.n + 40)
    return csn_fail(err, CSN_E_NOT_FOUND, "the commit has no submodule there");
  csn_buf_add(out, csn_strn(line.p + head.n, 40));
  return 0;
}

static int fill_modules(struct modules *m, csn_str url, int dir, int depth, csn_err *err);

static int
fill_module(struct modules *m, csn_git *g, csn_str of, int dir, csn_str path, csn_str given,
            int depth, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(4096), commit = CSN_BUF(64);
  const char *why = csn_git_bad_subpath(path);
  if (why)
    return csn_fail(err, CSN_E_DENIED, "the path: %s", why);
  int rc = module_url(m, of, given, &url, err);
  if (rc == 0)
    rc = module_commit(g, dir, path, &commit, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_freep) char *name = csn_dupz(path);
  csn_auto(csn_freep) char *last = NULL;
  csn_auto(csn_closep) int at = csn_open_parent(dir, name, &last, err);
  csn_auto(csn_closep) int sub = -1;
  if (at < 0)
    return at;
  rc = empty_dir(at, last, &sub, err);
  const csn_git_repo repo = {.url = csn_buf_str(&url),
                             .ref = csn_buf_str(&commit),
                             .is_local = csn_str_starts(m->e->repo, file_scheme),
                             .origin = m->origin,
                             .header = m->header};
  if (rc == 0 && repo.is_local)
    rc = check_local(m->c, repo.url, err);
  if (rc == 0)
    rc = csn_git_fetch(m->c->sc, &repo, m->c->to->cache_fd, sub, err);
  return rc < 0 ? rc : fill_modules(m, repo.url, sub, depth + 1, err);
}

/* One of "KEY\nVALUE\0", whose key ends in ".path" or ".url". */
static bool
next_setting(csn_str *rest, csn_str *key, csn_str *value)
{
  const char *end = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
  if (!end)
    return false;
  csn_str one = csn_strn(rest->p, (size_t)(end - rest->p));
  size_t cut = csn_str_find(one, CSN_STR("\n"), 0);
  *key = csn_strn(one.p, cut == SIZE_MAX ? one.n : cut);
  *value = cut == SIZE_MAX ? CSN_STR("") : csn_strn(one.p + cut + 1, one.n - cut - 1);
  *rest = csn_strn(end + 1, rest->n - one.n - 1);
  return true;
}

static csn_str
url_of(csn_str settings, csn_str path_key)
{
  csn_str key, value, name = csn_strn(path_key.p, path_key.n - strlen(".path"));
  while (next_setting(&settings, &key, &value))
    if (csn_str_starts(key, name) &&
        csn_str_eq(csn_strn(key.p + name.n, key.n - name.n), CSN_STR(".url")))
      return value;
  return CSN_STR("");
}

/* Those that the commit in the folder declares.  Its .gitmodules is read as a
 * part of the commit and not as a file, which could be a link. */
static int
fill_modules(struct modules *m, csn_str url, int dir, int depth, csn_err *err)
{
  static const char *const list[] = {"ls-tree", "--name-only", "HEAD", "--", ".gitmodules", NULL};
  static const char *const read[] = {
      "config", "-z", "--blob=HEAD:.gitmodules", "--get-regexp", "^submodule\\..*\\.(path|url)$",
      NULL};
  csn_auto(csn_buf_finip) csn_buf there = CSN_BUF(4096), all = CSN_BUF(1 << 20);
  csn_git g;
  int rc = csn_git_open(&g, m->c->sc, true, CSN_STR(""), CSN_STR(""), err);
  if (rc == 0)
    rc = csn_git_run(&g, dir, list, &there, err);
  if (rc == 0 && there.n)
    rc = csn_git_run(&g, dir, read, &all, err);
  csn_str rest = csn_buf_str(&all), key, path;
  while (rc == 0 && next_setting(&rest, &key, &path)) {
    if (!csn_str_ends(key, CSN_STR(".path")))
      continue;
    if (depth >= MODULES_DEEP || ++m->count > MODULES_MAX)
      rc = csn_fail(err, CSN_E_LIMIT, "more than %d submodules, or %d in each other", MODULES_MAX,
                    MODULES_DEEP);
    else
      rc = fill_module(m, &g, url, dir, path, url_of(csn_buf_str(&all), key), depth, err);
    csn_wrap(err, rc, "submodule %.*s", (int)(path.n < 100 ? path.n : 100), path.p);
  }
  csn_git_close(&g);
  return rc;
}

/* ---- an entry ---- */

/* Everything of the repository into the new folder `name`. */
static int
fill(csn_copy *c, const csn_entry *e, int at, const char *name, int *dir, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(5000), origin = CSN_BUF(300),
                                  header = CSN_BUF(2 * SECRET_MAX);
  csn_git_repo r = {.ref = e->ref, .is_local = csn_str_starts(e->repo, file_scheme)};
  int rc = 0;
  if (r.is_local) {
    rc = check_local(c, e->repo, err);
    csn_buf_add(&url, e->repo);
    csn_buf_addz(&origin, "file://");
  } else {
    csn_buf_addf(&url, "https://%s/%s.git", e->host.p, e->repo.p);
    csn_buf_addf(&origin, "https://%s", e->host.p);
    rc = read_secret(c, e, &header, err);
  }
  if (rc == 0)
    rc = csn_buf_done(&header, "the secret", err);
  if (rc == 0)
    rc = empty_dir(at, name, dir, err);
  r.url = csn_buf_str(&url);
  r.origin = csn_buf_str(&origin);
  r.header = csn_buf_str(&header);
  if (rc == 0)
    rc = csn_git_fetch(c->sc, &r, c->to->cache_fd, *dir, err);
  struct modules m = {.c = c, .e = e, .header = r.header, .origin = r.origin};
  if (rc == 0 && e->has_submodules)
    rc = fill_modules(&m, r.url, *dir, 0, err);
  if (header.p)
    explicit_bzero(header.p, header.n);
  return rc;
}

int
csn_git_fill(csn_copy *c, const csn_entry *e, int at, const char *name, csn_err *err)
{
  csn_auto(csn_closep) int dir = -1;
  csn_str sub = e->subpath;
  if (sub.n == 0 || csn_str_eq(sub, CSN_STR("."))) {
    int rc = fill(c, e, at, name, &dir, err);
    return rc < 0 ? rc : csn_copy_own(c, dir, err);
  }
  /* Only a part: beside its place, then the wanted folder is moved there. */
  char temp[40] = ".caisson-git-";
  csn_random_name(temp + strlen(temp), 12);
  int rc = fill(c, e, at, temp, &dir, err);
  csn_auto(csn_closep) int part = -1;
  if (rc == 0) {
    part = csn_open_beneath(dir, sub.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
    if (part < 0)
      rc = csn_wrap(err, part, "subpath");
  }
  if (rc == 0 && renameat(dir, sub.p, at, name) < 0)
    rc = csn_fail_errno(err, "subpath %s", sub.p);
  if (rc == 0)
    rc = csn_copy_own(c, part, err);
  csn_err ignored;
  (void)!csn_remove_tree(at, temp, &ignored);
  return rc;
}
