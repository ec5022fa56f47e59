/* SPDX-License-Identifier: Apache-2.0
 * e2b_call.c - the service inside of an E2B sandbox: its headers, calls without
 * a stream, what to do when it does not answer, and files on their way in. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/backend/e2b.h"

enum {
  RPC_MAX = 8 << 20,
  HERE_MAX = 64 << 10, /* an archive that travels in the command that unpacks it */
  CHUNK = 64 << 10,
  SAID_MAX = 1000
};

/* ---- requests ---- */

static void
add_header(csn_http_req *req, const char *name, csn_str value)
{
  req->headers[req->n_headers++] = (csn_header){csn_cstr(name), value};
}

void
csn_e2b_headers(struct csn_e2b *e, csn_arena *a, csn_http_req *req, const char *user)
{
  pthread_mutex_lock(&e->lock);
  csn_str token = e->token;
  pthread_mutex_unlock(&e->lock);
  if (token.n)
    add_header(req, "X-Access-Token", token);
  add_header(req, "E2b-Sandbox-Id", e->id);
  add_header(req, "E2b-Sandbox-Port", CSN_STR("49983"));
  add_header(req, "User-Agent", CSN_STR("caisson/" CSN_VERSION));
  if (!user)
    return;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_str pair = csn_arena_printf(a, "%.300s:", user);
  csn_buf_addz(&text, "Basic ");
  csn_base64_add(&text, pair);
  add_header(req, "Authorization", csn_arena_dup(a, csn_buf_str(&text)));
}

csn_str
csn_e2b_url(struct csn_e2b *e, csn_arena *a, const char *path)
{
  pthread_mutex_lock(&e->lock);
  csn_str at = e->envd_url;
  pthread_mutex_unlock(&e->lock);
  return csn_arena_printf(a, "%.*s%s", (int)at.n, at.p, path);
}

int
csn_e2b_refusal(csn_str body, int status, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(8u << 20);
  const csn_json *v = NULL;
  if (csn_json_parse(a, body, &v, NULL) < 0)
    v = NULL;
  return csn_connect_fail(err, status, v);
}

/* One request; a reply of 300 and more is its reason. */
static int
call_once(struct csn_e2b *e, csn_scope *sc, csn_exchange *x, const csn_http_req *req, csn_err *err)
{
  x->http = e->account.http;
  int rc = csn_exchange_perform(x, req, sc, err);
  return rc == 0 && x->status >= 300 ? csn_e2b_refusal(csn_buf_str(&x->body), x->status, err) : rc;
}

int
csn_e2b_revive(struct csn_e2b *e, csn_scope *sc, const csn_err *why, csn_err *err)
{
  bool is_away =
      why->http_status == 502 || (why->code == CSN_E_UNAVAILABLE && why->http_status == 0);
  if (!is_away || csn_scope_check(sc, NULL) < 0)
    return CSN_E_CONFLICT;
  csn_err own;
  int rc = csn_e2b_connect(e, sc, &own);
  if (rc == CSN_E_NOT_FOUND) {
    pthread_mutex_lock(&e->lock);
    e->is_gone = true;
    pthread_mutex_unlock(&e->lock);
    return csn_fail(err, CSN_E_SANDBOX,
                    "the sandbox %.*s is gone: its time was over or somebody ended it; what was in "
                    "it is lost but for snapshots",
                    (int)e->id.n, e->id.p);
  }
  return rc < 0 ? CSN_E_CONFLICT : 0;
}

/* Repeats what may be repeated, and what cannot have reached a sandbox that was
 * paused. */
static int
call(struct csn_e2b *e, csn_scope *sc, csn_exchange *x, csn_http_req *req, bool is_safe,
     csn_err *err)
{
  csn_err why = {0};
  int rc, tries = 0, revived = 0;
  csn_e2b_renew(e, sc);
  for (;;) {
    rc = call_once(e, sc, x, req, &why);
    if (rc >= 0 || csn_scope_check(sc, NULL) < 0)
      break;
    int found = revived ? CSN_E_CONFLICT : csn_e2b_revive(e, sc, &why, err);
    if (found == CSN_E_SANDBOX)
      return found;
    revived += found == 0;
    if (!(found == 0 && (is_safe || why.http_status == 502)) &&
        !csn_e2b_again(sc, ++tries, is_safe, rc, &why))
      break;
  }
  if (rc < 0 && err)
    *err = why;
  return rc;
}

int
csn_e2b_rpc(struct csn_e2b *e, csn_scope *sc, const char *method, csn_str body, bool is_safe,
            csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  csn_http_req req = {.method = "POST",
                      .url = csn_e2b_url(e, a, method),
                      .body = body,
                      .timeout_ms = CSN_E2B_CALL_MS};
  csn_e2b_headers(e, a, &req, e->user);
  add_header(&req, "connect-protocol-version", CSN_STR("1"));
  add_header(&req, "Content-Type", CSN_STR("application/json"));
  int rc = call(e, sc, &x, &req, is_safe, err);
  return rc < 0 ? csn_wrap(err, rc, "%s", method + 1) : 0;
}

/* ---- files on their way in ---- */

/* What an archive holds: mapped, so that no size of it costs memory. */
struct archive {
  int fd; /* of a copy of what came through a pipe; -1 */
  void *map;
  size_t map_n;
  csn_str bytes;
};

static void
archive_fini(struct archive *v)
{
  if (v->map)
    munmap(v->map, v->map_n);
  csn_closep(&v->fd);
}

static int
spool(int from, int to, csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CHUNK);
  for (;;) {
    ssize_t n = read(from, chunk, CHUNK);
    if (n == 0)
      return 0;
    int rc = n < 0 ? csn_fail_errno(err, "read the archive")
                   : csn_fd_write_all(to, csn_strn(chunk, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
}

static int
archive_open(struct archive *v, int tar_fd, csn_err *err)
{
  struct stat st;
  *v = (struct archive){.fd = -1};
  off_t at = lseek(tar_fd, 0, SEEK_CUR);
  if (fstat(tar_fd, &st) < 0)
    return csn_fail_errno(err, "the archive");
  if (!S_ISREG(st.st_mode)) {
    const char *tmp = getenv("TMPDIR");
    v->fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (v->fd < 0)
      return csn_fail_errno(err, "a temporary file for the archive");
    int rc = spool(tar_fd, v->fd, err);
    if (rc < 0)
      return rc;
    tar_fd = v->fd;
    at = 0;
    if (fstat(tar_fd, &st) < 0)
      return csn_fail_errno(err, "the archive");
  }
  if (at < 0 || at >= st.st_size)
    return csn_fail(err, CSN_E_INVALID, "the archive is empty");
  v->map_n = (size_t)st.st_size;
  v->map = mmap(NULL, v->map_n, PROT_READ, MAP_PRIVATE, tar_fd, 0);
  if (v->map == MAP_FAILED) {
    v->map = NULL;
    return csn_fail_errno(err, "the archive");
  }
  v->bytes = csn_strn((const char *)v->map + at, v->map_n - (size_t)at);
  return 0;
}

/* Runs the script in the workspace; what it said when it failed. */
static int
run_script(struct csn_e2b *e, csn_scope *sc, const char *const *argv, csn_err *err)
{
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  csn_auto(csn_buf_finip) csn_buf said = CSN_BUF(SAID_MAX), more = CSN_BUF(CHUNK);
  const csn_exec x = {.argv = argv, .claim_fd = -1};
  enum csn_stream which;
  csn_exit end = {0};
  int rc = csn_e2b_spawn(&e->base, sc, &x, &p, err);
  while (rc >= 0) {
    csn_buf_clear(&more);
    rc = p->ops->read(p, sc, &more, CHUNK, &which, err);
    if (rc <= 0)
      break;
    size_t room = said.cap - said.n;
    csn_buf_add(&said, csn_strn(more.p, more.n < room ? more.n : room));
  }
  if (rc == 0)
    rc = p->ops->wait(p, sc, &end, err);
  if (rc < 0 || end.code == 0)
    return rc;
  csn_str text = csn_str_trim(csn_buf_str(&said));
  return csn_fail(err, CSN_E_SANDBOX, "tar ended with %d: %.*s", end.code, (int)text.n,
                  text.n ? text.p : "");
}

static int
upload(struct csn_e2b *e, csn_scope *sc, csn_str path, csn_str bytes, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(4000);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  csn_buf_addz(&query, "/files?path=");
  csn_url_add(&query, path);
  if (e->user) {
    csn_buf_addz(&query, "&username=");
    csn_url_add(&query, csn_cstr(e->user));
  }
  csn_http_req req = {.method = "POST", .url = csn_e2b_url(e, a, query.p), .body = bytes};
  csn_e2b_headers(e, a, &req, NULL);
  add_header(&req, "Content-Type", CSN_STR("application/octet-stream"));
  return csn_wrap(err, call(e, sc, &x, &req, true, err), "upload to %.*s", (int)path.n, path.p);
}

int
csn_e2b_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  csn_auto(archive_fini) struct archive v;
  int rc = archive_open(&v, tar_fd, err);
  if (rc < 0)
    return rc;
  if (v.bytes.n <= HERE_MAX) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2u * HERE_MAX);
    csn_base64_add(&text, v.bytes);
    const char *argv[] = {"bash", "-c",   "printf %s \"$1\" | base64 -d | tar -xopf - 2>&1",
                          "sh",   text.p, NULL};
    return run_script(e, sc, argv, err);
  }
  char nonce[CSN_E2B_NONCE + 1], path[80];
  csn_random_name(nonce, CSN_E2B_NONCE);
  snprintf(path, sizeof path, "/tmp/.caisson-%s.tar", nonce);
  const char *argv[] = {"bash", "-c", "tar -xopf \"$1\" 2>&1; s=$?; rm -f -- \"$1\"; exit $s",
                        "sh",   path, NULL};
  rc = upload(e, sc, csn_cstr(path), v.bytes, err);
  return rc < 0 ? rc : run_script(e, sc, argv, err);
}
