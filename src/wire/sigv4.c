/* SPDX-License-Identifier: Apache-2.0
 *
 * sigv4.c - AWS Signature Version 4.
 *
 * A request is written in one canonical form, whose hash stands in a text with
 * the date and the scope; that text is signed with a key that is derived from
 * the secret for this day, region and service.
 */
#include "wire/sigv4.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

enum { TEXT_MAX = 256 << 10, PARTS_MAX = 64 };

void
csn_aws_date(int64_t unix_s, char out[CSN_AWS_DATE])
{
  time_t t = (time_t)unix_s;
  struct tm tm;
  gmtime_r(&t, &tm);
  strftime(out, CSN_AWS_DATE, "%Y%m%dT%H%M%SZ", &tm);
}

/* ---- the canonical form ---- */

static void
add_path(csn_buf *b, csn_str path)
{
  if (!path.n)
    csn_buf_addc(b, '/');
  for (size_t i = 0; i < path.n; i++) {
    unsigned char c = (unsigned char)path.p[i];
    if (isalnum(c) || (c && strchr("-_.~/", c)))
      csn_buf_addc(b, (char)c);
    else
      csn_buf_addf(b, "%%%02X", c);
  }
}

static int
compare(csn_str a, csn_str b)
{
  size_t n = a.n < b.n ? a.n : b.n;
  int by = n ? memcmp(a.p, b.p, n) : 0;
  return by ? by : (a.n > b.n) - (a.n < b.n);
}

static csn_str
name_of(csn_str part)
{
  size_t n = csn_str_find(part, CSN_STR("="), 0);
  return n == SIZE_MAX ? part : csn_strn(part.p, n);
}

static int
by_parameter(const void *a, const void *b)
{
  csn_str x = *(const csn_str *)a, y = *(const csn_str *)b;
  int by = compare(name_of(x), name_of(y));
  return by ? by : compare(x, y);
}

static int
add_query(csn_buf *b, csn_str query, csn_err *err)
{
  csn_str parts[PARTS_MAX];
  size_t n = 0;
  while (query.n) {
    size_t cut = csn_str_find(query, CSN_STR("&"), 0);
    cut = cut == SIZE_MAX ? query.n : cut;
    if (n == PARTS_MAX)
      return csn_fail(err, CSN_E_LIMIT, "more than %d parameters to sign", PARTS_MAX);
    parts[n++] = csn_strn(query.p, cut);
    query = csn_strn(query.p + cut, query.n - cut);
    if (query.n)
      query = csn_strn(query.p + 1, query.n - 1);
  }
  qsort(parts, n, sizeof *parts, by_parameter);
  for (size_t i = 0; i < n; i++) {
    if (i)
      csn_buf_addc(b, '&');
    csn_buf_add(b, parts[i]);
    if (name_of(parts[i]).n == parts[i].n)
      csn_buf_addc(b, '=');
  }
  return 0;
}

/* A header with its name in lower case; `at` keeps those of one name in order. */
struct field {
  char name[64];
  csn_str value;
  size_t at;
};

static int
by_name(const void *a, const void *b)
{
  const struct field *x = a, *y = b;
  int by = strcmp(x->name, y->name);
  return by ? by : (x->at > y->at) - (x->at < y->at);
}

static void
add_value(csn_buf *b, csn_str value)
{
  value = csn_str_trim(value);
  for (size_t i = 0; i < value.n; i++)
    if (value.p[i] != ' ' || value.p[i - 1] != ' ')
      csn_buf_addc(b, value.p[i]);
}

/* The headers in the canonical form, and the list of their names. */
static int
add_headers(csn_buf *b, csn_buf *names, const csn_sigv4 *rq, csn_err *err)
{
  struct field fields[PARTS_MAX];
  if (rq->n_headers > PARTS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d headers to sign", PARTS_MAX);
  for (size_t i = 0; i < rq->n_headers; i++) {
    csn_str name = rq->headers[i].name;
    if (!name.n || name.n >= sizeof fields[i].name)
      return csn_fail(err, CSN_E_INVALID, "header %zu cannot be signed", i);
    for (size_t k = 0; k < name.n; k++)
      fields[i].name[k] = (char)tolower((unsigned char)name.p[k]);
    fields[i].name[name.n] = '\0';
    fields[i].value = rq->headers[i].value;
    fields[i].at = i;
  }
  qsort(fields, rq->n_headers, sizeof *fields, by_name);
  for (size_t i = 0; i < rq->n_headers; i++) {
    bool is_same = i && strcmp(fields[i].name, fields[i - 1].name) == 0;
    if (!is_same)
      csn_buf_addf(names, "%s%s", i ? ";" : "", fields[i].name);
    csn_buf_addf(b, "%s%s", is_same ? "," : i ? "\n" : "", is_same ? "" : fields[i].name);
    if (!is_same)
      csn_buf_addc(b, ':');
    add_value(b, fields[i].value);
  }
  csn_buf_addz(b, "\n\n");
  csn_buf_add(b, csn_buf_str(names));
  return 0;
}

static int
canonical(const csn_sigv4 *rq, csn_buf *names, csn_digest *out, csn_err *err)
{
  char hex[65];
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(TEXT_MAX);
  csn_buf_add(&b, rq->method);
  csn_buf_addc(&b, '\n');
  if (csn_str_eq(rq->service, CSN_STR("s3")))
    csn_buf_add(&b, rq->path);
  else
    add_path(&b, rq->path);
  csn_buf_addc(&b, '\n');
  int rc = add_query(&b, rq->query, err);
  csn_buf_addc(&b, '\n');
  if (rc == 0)
    rc = add_headers(&b, names, rq, err);
  csn_digest_hex(&rq->payload, hex);
  csn_buf_addf(&b, "\n%s", hex);
  if (rc == 0)
    rc = csn_buf_done(&b, "a request to sign", err);
  *out = csn_sha256_of(csn_buf_str(&b));
  return rc;
}

/* ---- the signature ---- */

static csn_digest
step(const csn_digest *key, csn_str text)
{
  return csn_hmac_sha256(csn_strn((const char *)key->b, sizeof key->b), text);
}

static csn_digest
derive(const csn_sigv4 *rq, csn_str secret)
{
  csn_buf first = CSN_BUF(TEXT_MAX);
  csn_buf_addz(&first, "AWS4");
  csn_buf_add(&first, secret);
  csn_digest key = csn_hmac_sha256(csn_buf_str(&first), csn_strn(rq->date.p, 8));
  explicit_bzero(first.p, first.n);
  csn_buf_fini(&first);
  key = step(&key, rq->region);
  key = step(&key, rq->service);
  return step(&key, CSN_STR("aws4_request"));
}

int
csn_sigv4_sign(const csn_sigv4 *rq, const csn_aws_keys *keys, csn_buf *out, csn_err *err)
{
  char hex[65];
  csn_digest digest;
  csn_auto(csn_buf_finip) csn_buf names = CSN_BUF(TEXT_MAX), scope = CSN_BUF(TEXT_MAX),
                                  text = CSN_BUF(TEXT_MAX);
  if (rq->date.n != CSN_AWS_DATE - 1)
    return csn_fail(err, CSN_E_INVALID, "a signature needs the time as 20150830T123600Z");
  int rc = canonical(rq, &names, &digest, err);
  if (rc < 0)
    return rc;
  csn_buf_addf(&scope, "%.8s/%.*s/%.*s/aws4_request", rq->date.p, (int)rq->region.n, rq->region.p,
               (int)rq->service.n, rq->service.p);
  csn_digest_hex(&digest, hex);
  csn_buf_addf(&text, "AWS4-HMAC-SHA256\n%.16s\n%s\n%s", rq->date.p, scope.p, hex);
  csn_digest key = derive(rq, keys->secret), signature = step(&key, csn_buf_str(&text));
  explicit_bzero(&key, sizeof key);
  csn_digest_hex(&signature, hex);
  csn_buf_addf(out, "AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=%s, Signature=%s",
               (int)keys->id.n, keys->id.p, scope.p, names.p, hex);
  return csn_buf_done(out, "a signature", err);
}
