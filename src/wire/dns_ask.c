/* SPDX-License-Identifier: Apache-2.0
 *
 * dns_ask.c - writes questions and reads answers; see dns_ask.h.
 *
 * Names in an answer may be pointers into what came before.  They are followed
 * backwards only, so that reading always ends.
 */
#include "wire/dns_ask.h"

enum { HEADER = 12, LABEL_MAX = 63, CLASS_IN = 1, TYPE_CNAME = 5, TYPE_OPT = 41, UDP_BYTES = 1232 };
enum { MOST_RECORDS = 64 };

static void
put16(csn_buf *out, unsigned value)
{
  csn_buf_addc(out, (char)(value >> 8));
  csn_buf_addc(out, (char)value);
}

static bool
put_name(csn_buf *out, csn_str name)
{
  if (name.n == 0 || name.n > CSN_DNS_NAME_TEXT - 1)
    return false;
  while (name.n > 0) {
    const char *dot = memchr(name.p, '.', name.n);
    size_t n = dot ? (size_t)(dot - name.p) : name.n;
    if (n == 0 || n > LABEL_MAX)
      return false;
    csn_buf_addc(out, (char)n);
    csn_buf_add(out, csn_strn(name.p, n));
    name = csn_strn(name.p + n + (dot != NULL), name.n - n - (dot != NULL));
  }
  csn_buf_addc(out, 0);
  return true;
}

int
csn_dns_ask(csn_buf *out, uint16_t id, csn_str name, enum csn_dns_type type, csn_err *err)
{
  put16(out, id);
  put16(out, 0x0100); /* recursion, please */
  put16(out, 1);
  put16(out, 0);
  put16(out, 0);
  put16(out, 1);
  if (!put_name(out, name))
    return csn_fail(err, CSN_E_INVALID, "'%.*s' is no host name", (int)name.n, name.p);
  put16(out, type);
  put16(out, CLASS_IN);
  csn_buf_addc(out, 0); /* EDNS: this much is taken in one datagram */
  put16(out, TYPE_OPT);
  put16(out, UDP_BYTES);
  put16(out, 0);
  put16(out, 0);
  put16(out, 0);
  return csn_buf_done(out, "a DNS query", err);
}

struct reader {
  const unsigned char *p;
  size_t n, at;
  bool bad;
};

static unsigned
take16(struct reader *r)
{
  if (r->bad || r->n - r->at < 2) {
    r->bad = true;
    return 0;
  }
  r->at += 2;
  return (unsigned)(r->p[r->at - 2] << 8 | r->p[r->at - 1]);
}

static uint32_t
take32(struct reader *r)
{
  unsigned high = take16(r);
  return (uint32_t)high << 16 | take16(r);
}

static char
lower(unsigned char c)
{
  return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* A name as text; r->at goes behind it. */
static void
take_name(struct reader *r, char out[CSN_DNS_NAME_TEXT])
{
  size_t at = r->at, limit = r->at, n = 0;
  bool jumped = false;
  while (!r->bad) {
    unsigned length = at < r->n ? r->p[at] : 64;
    if (length >= 0xc0 && at + 1 < r->n) {
      size_t to = (size_t)(length & 0x3f) << 8 | r->p[at + 1];
      if (!jumped)
        r->at = at + 2;
      jumped = true;
      r->bad = to >= limit; /* only ever further back */
      limit = at = to;
      continue;
    }
    if (length > LABEL_MAX || r->n - at < length + 1 || n + length + 1 >= CSN_DNS_NAME_TEXT) {
      r->bad = true;
      break;
    }
    at++;
    if (length == 0)
      break;
    if (n)
      out[n++] = '.';
    for (unsigned i = 0; i < length; i++)
      out[n++] = lower(r->p[at + i]);
    at += length;
  }
  if (!jumped)
    r->at = at;
  out[r->bad ? 0 : n] = '\0';
}

static bool
is_name(const char *a, csn_str b)
{
  if (strlen(a) != b.n)
    return false;
  for (size_t i = 0; i < b.n; i++)
    if (a[i] != lower((unsigned char)b.p[i]))
      return false;
  return true;
}

/* One record of the answer; `wanted` is the name at which the chain is. */
static void
take_record(struct reader *r, char wanted[CSN_DNS_NAME_TEXT], enum csn_dns_type type,
            csn_dns_reply *out)
{
  char owner[CSN_DNS_NAME_TEXT];
  take_name(r, owner);
  unsigned kind = take16(r), class = take16(r);
  uint32_t ttl_s = take32(r);
  size_t n = take16(r), size = type == CSN_DNS_A ? 4 : 16;
  if (r->bad || r->n - r->at < n) {
    r->bad = true;
    return;
  }
  size_t behind = r->at + n;
  bool ours = class == CLASS_IN && strcmp(owner, wanted) == 0;
  if (ours && (kind == TYPE_CNAME || kind == (unsigned)type)) {
    if (ttl_s < out->ttl_s)
      out->ttl_s = ttl_s;
    if (kind == TYPE_CNAME) {
      take_name(r, wanted);
      r->bad = r->bad || r->at != behind;
    } else if (n != size) {
      r->bad = true;
    } else if (out->n < CSN_DNS_ADDRESSES) {
      csn_address *a = &out->addresses[out->n++];
      *a = (csn_address){.v6 = type == CSN_DNS_AAAA};
      memcpy(a->b, r->p + r->at, size);
    }
  }
  r->at = behind;
}

int
csn_dns_reply_parse(csn_dns_reply *r, csn_str packet, uint16_t id, csn_str name,
                    enum csn_dns_type type, csn_err *err)
{
  struct reader in = {.p = (const unsigned char *)packet.p, .n = packet.n};
  char wanted[CSN_DNS_NAME_TEXT] = {0};
  unsigned got = take16(&in), flags = take16(&in), questions = take16(&in), answers = take16(&in);
  take32(&in); /* the other counts: those sections are not read */
  *r = (csn_dns_reply){
      .code = (enum csn_dns_code)(flags & 15), .cut = flags & 0x0200, .ttl_s = UINT32_MAX};
  bool answer = !in.bad && got == id && (flags & 0xf800) == 0x8000 && questions == 1;
  if (answer) {
    take_name(&in, wanted);
    answer = is_name(wanted, name) && take16(&in) == (unsigned)type && take16(&in) == CLASS_IN;
  }
  if (!answer || in.bad)
    return csn_fail(err, CSN_E_PARSE, "not the answer to this DNS query");
  if (answers > MOST_RECORDS)
    answers = MOST_RECORDS;
  for (unsigned i = 0; i < answers && !in.bad && r->code == CSN_DNS_OK && !r->cut; i++)
    take_record(&in, wanted, type, r);
  if (in.bad)
    return csn_fail(err, CSN_E_PARSE, "a DNS answer that breaks its own form");
  if (r->n == 0)
    r->ttl_s = 0;
  return 0;
}
