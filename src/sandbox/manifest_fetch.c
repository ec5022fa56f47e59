/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_fetch.c - url entries: what an address gives, in a file without a
 * name.
 *
 * The request leaves from the harness, so it goes to public addresses only,
 * whatever the host's name leads to, and to those that the entry lists; each
 * redirect is judged like the first address.  Nothing of it is used before all
 * of it was compared with the checksum. */
#include <errno.h>
#include <stdio.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/manifest_int.h"
#include "sandbox/tarball.h"
#include "wire/http_wait.h"

enum { REDIRECTS_MAX = 5, IDLE_MS = 60000 };

struct download {
  int fd, io_errno;
  int64_t bytes, most;
  const csn_http_reply *reply;
  csn_sha256 sum;
};

/* In the loop's thread, which is ours alone: it may wait for the disk. */
static int
on_body(void *user, csn_str bytes)
{
  struct download *d = user;
  if (d->reply->status != 200)
    return 0;
  if ((int64_t)bytes.n > d->most - d->bytes)
    return CSN_E_LIMIT;
  d->bytes += (int64_t)bytes.n;
  csn_sha256_add(&d->sum, bytes);
  csn_err err;
  int rc = csn_fd_write_all(d->fd, bytes, &err);
  if (rc < 0)
    d->io_errno = err.sys_errno ? err.sys_errno : EIO;
  return rc;
}

static int
need_http(csn_copy *c, csn_err *err)
{
  if (c->http)
    return 0;
  int rc = csn_loop_new(&c->loop, err);
  if (rc == 0)
    c->http = csn_http_new(c->loop);
  return rc;
}

void
csn_fetch_end(csn_copy *c)
{
  if (c->http)
    csn_http_free(csn_steal(c->http));
  if (c->loop)
    csn_loop_free(csn_steal(c->loop));
}

static int
refuse(csn_str url, const char *why, csn_err *err)
{
  return csn_fail(err, CSN_E_DENIED, "a redirect to %.*s is not followed: %s",
                  (int)(url.n < 150 ? url.n : 150), url.p, why);
}

static int
ask(csn_copy *c, const csn_entry *e, csn_http_reply *reply, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(CSN_URL_MAX);
  csn_buf_add(&url, e->url);
  for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
    csn_http_req req = {.method = "GET",
                        .url = csn_buf_str(&url),
                        .idle_ms = IDLE_MS,
                        .is_guarded = true,
                        .allowed = e->allow};
    int rc = csn_http_wait(c->http, &req, c->sc, reply, err);
    if (rc < 0 || !csn_http_reply_leads_on(reply))
      return rc;
    csn_auto(csn_buf_finip) csn_buf next = CSN_BUF(CSN_URL_MAX);
    rc = csn_url_next(csn_buf_str(&url), csn_buf_str(&reply->location), &next, err);
    if (rc < 0)
      return rc;
    const char *why = csn_entry_bad_url(e, csn_buf_str(&next));
    if (why)
      return refuse(csn_buf_str(&next), why, err);
    csn_buf_clear(&url);
    csn_buf_add(&url, csn_buf_str(&next));
  }
  return csn_fail(err, CSN_E_LIMIT, "more than %d redirects", REDIRECTS_MAX);
}

static int
compare(csn_copy *c, const csn_entry *e, const csn_digest *got, csn_err *err)
{
  char hex[65], wanted[65], text[400];
  csn_digest_hex(got, hex);
  if (e->has_digest) {
    csn_digest_hex(&e->digest, wanted);
    if (csn_digest_same(got, &e->digest))
      return 0;
    return csn_fail(err, CSN_E_DENIED,
                    "what came has the sha256 %s, not %s: it is another file than the one that "
                    "was meant",
                    hex, wanted);
  }
  snprintf(text, sizeof text,
           "%.200s: downloaded without a checksum, so whoever serves it decides what it is; what "
           "came has `sha256: %s`",
           e->where.p, hex);
  if (c->to->warn)
    c->to->warn(c->to->user, text);
  return 0;
}

int
csn_fetch_file(csn_copy *c, const csn_entry *e, csn_err *err)
{
  int rc = need_http(c, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int fd = csn_tarball_file(c->to->workspace_fd, err);
  if (fd < 0)
    return fd;
  int64_t left = c->max_bytes - c->bytes;
  csn_http_reply reply;
  struct download d = {.fd = fd,
                       .most = e->limits.input_bytes < left ? e->limits.input_bytes : left,
                       .reply = &reply};
  csn_sha256_init(&d.sum);
  csn_http_reply_init(&reply, on_body, &d);
  csn_err why = {0};
  rc = ask(c, e, &reply, &why);
  int status = reply.status;
  csn_http_reply_fini(&reply);
  csn_str url = csn_strn(e->url.p, e->url.n < 200 ? e->url.n : 200);
  if (d.io_errno) {
    errno = d.io_errno;
    rc = csn_fail_errno(err, "write what comes from %.*s", (int)url.n, url.p);
  } else if (rc == CSN_E_LIMIT && status == 200) {
    rc = csn_fail(err, CSN_E_LIMIT,
                  "%.*s gives more than %lld bytes; raise max_input_bytes of archive_limits if "
                  "that is right",
                  (int)url.n, url.p, (long long)d.most);
  } else if (rc < 0) {
    rc = csn_fail(err, (enum csn_code)rc, "%.*s: %s", (int)url.n, url.p, why.msg);
  } else if (status != 200) {
    rc = csn_fail(err, status == 404 || status == 410 ? CSN_E_NOT_FOUND : CSN_E_UNAVAILABLE,
                  "%.*s: the server answers HTTP %d instead of 200", (int)url.n, url.p, status);
  }
  if (rc == 0) {
    csn_digest got = csn_sha256_end(&d.sum);
    rc = compare(c, e, &got, err);
  }
  if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
    rc = csn_fail_errno(err, "read it again");
  if (rc < 0)
    return rc;
  int own = fd;
  fd = -1;
  return own;
}
