/* SPDX-License-Identifier: Apache-2.0
 * engine.c - see engine.h. */
#include "sandbox/engine.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>

#include "core/fd.h"

enum {
  ANSWER_MAX = 16 << 20,
  PATH_LEN = 4096,
  LINE_LEN = 1 << 20,
  FIELDS_MAX = 64 << 10,
  PEM_MAX = 1 << 20,
  TOLD_MAX = 300
};
#define VERSION "/v1.41"
#define USUAL "unix:///var/run/docker.sock"

/* ---- where it is ---- */

static int
read_pem(const char *folder, const char *name, csn_str *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(PEM_MAX), path = CSN_BUF(PATH_LEN);
  csn_buf_addf(&path, "%s/%s", folder, name);
  csn_auto(csn_closep) int fd = open(path.p, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  int rc = fd < 0 ? csn_fail_errno(err, "%s", path.p) : csn_fd_read_all(fd, &text, err);
  if (rc == 0)
    *out = csn_strn(csn_dupz(csn_buf_str(&text)), text.n);
  if (text.p)
    explicit_bzero(text.p, text.n);
  return csn_wrap(err, rc, "DOCKER_TLS_VERIFY is set");
}

/* As docker's own client finds them. */
static int
read_who(csn_engine *e, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf folder = CSN_BUF(PATH_LEN);
  const char *given = getenv("DOCKER_CERT_PATH"), *home = getenv("HOME");
  if (given && *given)
    csn_buf_addz(&folder, given);
  else
    csn_buf_addf(&folder, "%s/.docker", home ? home : "");
  int rc = read_pem(folder.p, "ca.pem", &e->who.roots, err);
  if (rc == 0)
    rc = read_pem(folder.p, "cert.pem", &e->who.cert, err);
  if (rc == 0)
    rc = read_pem(folder.p, "key.pem", &e->who.key, err);
  if (rc < 0)
    csn_engine_fini(e);
  return rc;
}

int
csn_engine_init(csn_engine *e, csn_str host, csn_err *err)
{
  static const csn_str on_unix = CSN_STR_INIT("unix://"), on_tcp = CSN_STR_INIT("tcp://");
  *e = (csn_engine){0};
  if (host.n == 0)
    host = csn_cstr(getenv("DOCKER_HOST"));
  if (host.n == 0)
    host = CSN_STR(USUAL);
  if (csn_str_starts(host, on_unix) && host.n > on_unix.n && host.p[on_unix.n] == '/') {
    e->host = csn_dupz(host);
    e->place.path = e->host + on_unix.n;
    return 0;
  }
  csn_str name = {0};
  if (!csn_str_starts(host, on_tcp) ||
      !csn_http1_authority(csn_strn(host.p + on_tcp.n, host.n - on_tcp.n), &name, &e->place.port) ||
      e->place.port == 0)
    return csn_fail(err, CSN_E_INVALID,
                    "host \"%.*s\": expected unix:///PATH or tcp://HOST:PORT; a daemon's socket on "
                    "another machine is reached by `ssh -L /tmp/docker.sock:/var/run/docker.sock "
                    "HOST`",
                    (int)(host.n < 100 ? host.n : 100), host.p);
  const char *verify = getenv("DOCKER_TLS_VERIFY");
  int rc = verify && *verify ? read_who(e, err) : 0;
  if (rc < 0)
    return rc;
  e->host = csn_dupz(host);
  e->name = csn_dupz(name);
  e->place.host = e->name;
  return 0;
}

void
csn_engine_fini(csn_engine *e)
{
  const csn_str texts[] = {e->who.roots, e->who.cert, e->who.key};
  for (size_t i = 0; i < CSN_COUNT(texts); i++) {
    if (texts[i].p)
      explicit_bzero((char *)(uintptr_t)texts[i].p, texts[i].n);
    free((char *)(uintptr_t)texts[i].p);
  }
  free(e->host);
  free(e->name);
  *e = (csn_engine){0};
}

void
csn_engine_escape(csn_buf *out, csn_str text)
{
  for (size_t i = 0; i < text.n; i++) {
    unsigned char c = (unsigned char)text.p[i];
    if (isascii(c) && (isalnum(c) || strchr("-._~", c)))
      csn_buf_addc(out, (char)c);
    else
      csn_buf_addf(out, "%%%02X", c);
  }
}

/* ---- one exchange ---- */

/* TLS 1.3 tells so late that a server wants somebody else. */
static int
perhaps_unwanted(const csn_engine *e, int rc, csn_err *err)
{
  if (!e->who.key.n || (rc != CSN_E_UNAVAILABLE && rc != CSN_E_IO))
    return rc;
  return csn_wrap(err, rc, "perhaps it does not take the client's certificate");
}

static int
begin(const csn_engine *e, csn_scope *sc, csn_link **l, const csn_link_request *how, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf target = CSN_BUF(PATH_LEN);
  csn_link_request own = *how;
  csn_buf_addf(&target, VERSION "%s", how->target);
  int rc = csn_buf_done(&target, "the path of a request", err);
  own.target = target.p;
  csn_link_place to = e->place;
  to.who = e->who.key.n ? &e->who : NULL; /* here, for an engine may have been moved */
  if (rc == 0)
    rc = csn_link_open(l, sc, &to, err);
  if (rc == 0)
    rc = perhaps_unwanted(e, csn_link_ask(*l, sc, &own, err), err);
  return csn_wrap(err, rc, "%s", e->host);
}

static int
read_body(csn_link *l, csn_scope *sc, csn_buf *out, csn_err *err)
{
  int rc;
  do {
    if (out->cap - out->n < CSN_LINK_PIECE)
      return csn_fail(err, CSN_E_LIMIT, "an answer is longer than %zu bytes", out->cap);
    rc = csn_link_read(l, sc, out, CSN_LINK_PIECE, err);
  } while (rc > 0);
  return rc;
}

/* What the engine says is wrong, as an error of ours. */
static int
refused(int status, csn_str body, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(4u << 20);
  const csn_json *v = NULL;
  csn_str said = csn_json_parse(a, body, &v, NULL) == 0
                     ? csn_json_str(v, "message", CSN_STR("no reason"))
                     : csn_str_trim(body);
  enum csn_code code = status == 404                    ? CSN_E_NOT_FOUND
                       : status == 409                  ? CSN_E_CONFLICT
                       : status == 400                  ? CSN_E_INVALID
                       : status == 401 || status == 403 ? CSN_E_DENIED
                                                        : CSN_E_SANDBOX;
  char text[TOLD_MAX + 1];
  size_t n = said.n < TOLD_MAX ? said.n : TOLD_MAX;
  for (size_t i = 0; i < n; i++)
    text[i] = iscntrl((unsigned char)said.p[i]) ? ' ' : said.p[i];
  int rc = csn_fail(err, code, "the container engine says: %.*s (%d)", (int)n, text, status);
  if (err)
    err->http_status = status;
  return rc;
}

/* The head; what the engine refuses is an error with its words. */
static int
head(const csn_engine *e, csn_link *l, csn_scope *sc, csn_err *err)
{
  const csn_http1_head *h;
  int status = csn_link_head(l, sc, &h, err);
  if (status < 0)
    return csn_wrap(err, perhaps_unwanted(e, status, err), "%s", e->host);
  if (status < 400)
    return status;
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(1 << 20);
  int rc = read_body(l, sc, &body, err);
  return rc < 0 ? rc : refused(status, csn_buf_str(&body), err);
}

#define JSON_FIELD CSN_STR("Content-Type: application/json\r\nConnection: close\r\n")

int
csn_engine_ask(const csn_engine *e, csn_scope *sc, const char *method, const char *path,
               csn_str body, csn_arena *a, const csn_json **answer, csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(ANSWER_MAX);
  if (answer)
    *answer = NULL;
  int rc = begin(
      e, sc, &l,
      &(csn_link_request){.method = method, .target = path, .fields = JSON_FIELD, .body = body},
      err);
  int status = rc < 0 ? rc : head(e, l, sc, err);
  if (status < 0)
    return status;
  rc = read_body(l, sc, &text, err);
  if (rc == 0 && answer && csn_str_trim(csn_buf_str(&text)).n)
    rc = csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&text)), answer, err);
  return rc < 0 ? csn_wrap(err, rc, "the container engine's answer to %s", path) : status;
}

int
csn_engine_hijack(const csn_engine *e, csn_scope *sc, const char *path, csn_str body,
                  csn_link **out, csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  int rc = begin(e, sc, &l,
                 &(csn_link_request){.method = "POST",
                                     .target = path,
                                     .fields = CSN_STR("Content-Type: application/json\r\n"
                                                       "Connection: Upgrade\r\nUpgrade: tcp\r\n"),
                                     .body = body},
                 err);
  int status = rc < 0 ? rc : head(e, l, sc, err);
  if (status < 0)
    return status;
  if (status != 101)
    return csn_fail(err, CSN_E_PARSE, "the container engine gives no stream (%d)", status);
  *out = csn_steal(l);
  return 0;
}

int
csn_engine_download(const csn_engine *e, csn_scope *sc, const char *path, int fd, int64_t most,
                    csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(CSN_LINK_PIECE);
  int64_t bytes = 0;
  int rc = begin(e, sc, &l,
                 &(csn_link_request){
                     .method = "GET", .target = path, .fields = CSN_STR("Connection: close\r\n")},
                 err);
  if (rc == 0)
    rc = head(e, l, sc, err);
  while (rc >= 0) {
    csn_buf_clear(&piece);
    rc = csn_link_read(l, sc, &piece, CSN_LINK_PIECE, err);
    bytes += rc;
    if (rc > 0 && bytes > most)
      rc = csn_fail(err, CSN_E_LIMIT, "the files come to more than %lld bytes", (long long)most);
    if (rc <= 0)
      return rc;
    rc = csn_fd_write_all(fd, csn_buf_str(&piece), err);
  }
  return rc;
}

/* A request whose body are `first`, then what fd has; an error of sending may
 * mean that it has said why it reads no more. */
static int
send_file(const csn_engine *e, csn_scope *sc, const char *method, const char *path, csn_str first,
          int fd, csn_link **l, csn_err *err)
{
  csn_auto(csn_freep) char *chunk = csn_alloc(CSN_LINK_PIECE);
  int rc = begin(e, sc, l,
                 &(csn_link_request){.method = method,
                                     .target = path,
                                     .fields = CSN_STR("Content-Type: application/x-tar\r\n"
                                                       "Connection: close\r\n"),
                                     .is_chunked = true},
                 err);
  if (rc == 0 && first.n)
    rc = csn_link_send(*l, sc, first, err);
  for (ssize_t n = fd < 0 ? 0 : 1; rc == 0 && n > 0;) {
    n = read(fd, chunk, CSN_LINK_PIECE);
    if (n < 0 && errno == EINTR)
      n = 1;
    else if (n < 0)
      return csn_fail_errno(err, "read the archive");
    else if (n > 0)
      rc = csn_link_send(*l, sc, csn_strn(chunk, (size_t)n), err);
  }
  if (rc == 0)
    rc = csn_link_send(*l, sc, csn_strn("", 0), err);
  return rc == CSN_E_IO ? 0 : rc;
}

int
csn_engine_upload(const csn_engine *e, csn_scope *sc, const char *path, csn_str first, int fd,
                  csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  int rc = send_file(e, sc, "PUT", path, first, fd, &l, err);
  if (rc == 0)
    rc = head(e, l, sc, err);
  return rc < 0 ? rc : 0;
}

/* ---- what it tells while it works ---- */

static int
tell_lines(csn_buf *text, bool is_end, csn_engine_line *fn, void *user, csn_err *err)
{
  csn_str rest = csn_buf_str(text), line;
  size_t done = 0;
  int rc = 0;
  while (rc >= 0 && (memchr(rest.p ? rest.p : "", '\n', rest.n) || (is_end && rest.n)) &&
         csn_str_line(&rest, &line)) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(8u << 20);
    const csn_json *v = NULL;
    done = text->n - rest.n;
    if (csn_str_trim(line).n == 0)
      continue;
    rc = csn_json_parse(a, line, &v, err);
    if (rc == 0)
      rc = fn(user, v, err);
  }
  csn_buf_drop(text, done);
  return rc;
}

/* The answer, line by line. */
static int
watch(const csn_engine *e, csn_link *l, csn_scope *sc, csn_engine_line *fn, void *user,
      csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(LINE_LEN);
  int rc = head(e, l, sc, err);
  while (rc >= 0) {
    if (text.cap - text.n < CSN_LINK_PIECE)
      return csn_fail(err, CSN_E_LIMIT, "the container engine's line has no end");
    rc = csn_link_read(l, sc, &text, CSN_LINK_PIECE, err);
    int told = rc < 0 ? rc : tell_lines(&text, rc == 0, fn, user, err);
    if (rc <= 0 || told < 0)
      return told;
  }
  return rc;
}

int
csn_engine_watch(const csn_engine *e, csn_scope *sc, const char *path, csn_str fields,
                 csn_engine_line *fn, void *user, csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(FIELDS_MAX);
  csn_buf_add(&all, JSON_FIELD);
  csn_buf_add(&all, fields);
  int rc = csn_buf_done(&all, "the fields of a request", err);
  if (rc == 0)
    rc = begin(e, sc, &l,
               &(csn_link_request){.method = "POST", .target = path, .fields = csn_buf_str(&all)},
               err);
  rc = rc < 0 ? rc : watch(e, l, sc, fn, user, err);
  if (all.p)
    explicit_bzero(all.p, all.n);
  return rc;
}

int
csn_engine_import(const csn_engine *e, csn_scope *sc, const char *path, int fd, csn_engine_line *fn,
                  void *user, csn_err *err)
{
  csn_auto(csn_link_closep) csn_link *l = NULL;
  int rc = send_file(e, sc, "POST", path, (csn_str){0}, fd, &l, err);
  return rc < 0 ? rc : watch(e, l, sc, fn, user, err);
}
