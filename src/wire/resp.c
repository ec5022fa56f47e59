/* SPDX-License-Identifier: Apache-2.0
 * resp.c - see resp.h. */
#include "wire/resp.h"

void
csn_resp_add(csn_buf *out, const csn_str *words, size_t n)
{
  csn_buf_addf(out, "*%zu\r\n", n);
  for (size_t i = 0; i < n; i++) {
    csn_buf_addf(out, "$%zu\r\n", words[i].n);
    csn_buf_add(out, words[i]);
    csn_buf_addz(out, "\r\n");
  }
}

struct reader {
  csn_arena *arena;
  csn_str bytes;
  size_t at;
};

enum { MORE = 0, WHOLE = 1 };

static int
malformed(csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "the server does not speak the protocol of Redis");
}

/* The line after the first byte of a reply, without its end. */
static int
take_line(struct reader *r, csn_str *line, csn_err *err)
{
  enum { LINE_MAX_BYTES = 64 << 10 };
  csn_str rest = csn_strn(r->bytes.p + r->at, r->bytes.n - r->at);
  size_t end = csn_str_find(rest, CSN_STR("\r\n"), 0);
  if (end == SIZE_MAX)
    return rest.n > LINE_MAX_BYTES ? malformed(err) : MORE;
  *line = csn_strn(rest.p, end);
  r->at += end + 2;
  return WHOLE;
}

static int
take_bulk(struct reader *r, int64_t n, csn_resp *out, csn_err *err)
{
  if (n < 0 || (size_t)n > CSN_RESP_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the server's reply has %lld bytes, at most %zu",
                    (long long)n, CSN_RESP_MAX);
  if (r->bytes.n - r->at < (size_t)n + 2)
    return MORE;
  if (memcmp(r->bytes.p + r->at + n, "\r\n", 2) != 0)
    return malformed(err);
  *out = (csn_resp){.kind = CSN_RESP_TEXT, .s = csn_strn(r->bytes.p + r->at, (size_t)n)};
  r->at += (size_t)n + 2;
  return WHOLE;
}

static int
take(struct reader *r, int depth, csn_resp *out, csn_err *err) /* NOLINT(misc-no-recursion) */
{
  csn_str line;
  int64_t n = 0;
  if (r->at >= r->bytes.n)
    return MORE;
  char kind = r->bytes.p[r->at];
  if (!memchr("+-:$*", kind, 5) || depth > CSN_RESP_DEPTH)
    return malformed(err);
  r->at++;
  int rc = take_line(r, &line, err);
  if (rc != WHOLE)
    return rc;
  if (kind == '+' || kind == '-') {
    *out = (csn_resp){.kind = kind == '+' ? CSN_RESP_TEXT : CSN_RESP_ERROR, .s = line};
    return WHOLE;
  }
  if (!csn_str_int(line, &n))
    return malformed(err);
  *out = (csn_resp){.kind = CSN_RESP_INT, .i = n};
  if (kind == ':')
    return WHOLE;
  *out = (csn_resp){.kind = CSN_RESP_NULL};
  if (n == -1)
    return WHOLE;
  if (kind == '$')
    return take_bulk(r, n, out, err);
  /* Each member has 4 bytes at least. */
  if (n < 0 || (size_t)n > CSN_RESP_MAX / 64)
    return csn_fail(err, CSN_E_LIMIT, "the server's list has %lld members", (long long)n);
  if ((size_t)n > (r->bytes.n - r->at) / 3)
    return MORE;
  *out = (csn_resp){.kind = CSN_RESP_LIST, .i = n};
  out->v = csn_arena_alloc(r->arena, (size_t)(n + 1) * sizeof *out->v);
  for (int64_t i = 0; i < n; i++) {
    rc = take(r, depth + 1, &out->v[i], err);
    if (rc != WHOLE)
      return rc;
  }
  return WHOLE;
}

int64_t
csn_resp_parse(csn_arena *a, csn_str bytes, csn_resp *out, csn_err *err)
{
  struct reader r = {.arena = a, .bytes = bytes};
  int rc = take(&r, 1, out, err);
  return rc == WHOLE ? (int64_t)r.at : rc;
}
