/* SPDX-License-Identifier: Apache-2.0
 *
 * dns.c - reads queries and writes answers; see dns.h.
 *
 * A cursor that remembers its first step too far takes the message apart, so
 * each reader needs no check of its own; the parse looks once, after each
 * section.  No pointer is ever followed: the question is the first name of a
 * message, so there is nothing it could point to, and the names of additional
 * records are only skipped.
 */
#include "wire/dns.h"

enum { HEADER = 12, LABEL_MAX = 63, NAME_MAX_BYTES = 255, UDP_MIN = 512, UDP_MAX = 1232 };
enum { CLASS_IN = 1, TYPE_OPT = 41, MOST_RECORDS = 8 };

struct cursor {
  const unsigned char *p;
  size_t n;
  bool bad;
};

static const unsigned char *
take(struct cursor *c, size_t n)
{
  static const unsigned char nothing[16];
  if (c->bad || c->n < n) {
    c->bad = true;
    return nothing;
  }
  const unsigned char *at = c->p;
  c->p += n;
  c->n -= n;
  return at;
}

static uint16_t
take16(struct cursor *c)
{
  const unsigned char *b = take(c, 2);
  return (uint16_t)(b[0] << 8 | b[1]);
}

static char
plain(unsigned char b)
{
  if (b >= 'A' && b <= 'Z')
    return (char)(b | 32);
  return (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-' || b == '_' ? (char)b : '?';
}

/* The question's name; bytes that stand for themselves only. */
static void
read_name(struct cursor *c, char out[CSN_DNS_NAME_TEXT])
{
  size_t at = 0, bytes = 1; /* the root's */
  for (unsigned n; (n = *take(c, 1)) != 0;) {
    bytes += n + 1;
    if (n > LABEL_MAX || bytes > NAME_MAX_BYTES || c->n < n) {
      c->bad = true; /* a pointer, longer than a name may be, or cut short */
      break;
    }
    const unsigned char *label = take(c, n);
    if (at)
      out[at++] = '.';
    for (unsigned i = 0; i < n; i++)
      out[at++] = plain(label[i]);
  }
  out[c->bad ? 0 : at] = '\0';
}

static void
skip_name(struct cursor *c)
{
  size_t bytes = 0;
  while (!c->bad) {
    unsigned n = *take(c, 1);
    bytes += n + 1;
    if (n >= 0xc0) {
      take(c, 1);
      return;
    }
    if (n > LABEL_MAX || bytes > NAME_MAX_BYTES)
      c->bad = true;
    if (n == 0)
      return;
    take(c, n);
  }
}

static void
read_question(struct cursor *c, csn_dns_query *q)
{
  const unsigned char *start = c->p;
  read_name(c, q->name);
  q->type = take16(c);
  q->class = take16(c);
  if (c->bad)
    return;
  q->question_n = (size_t)(c->p - start);
  memcpy(q->question, start, q->question_n);
}

/* OPT, whose class is a size and whose time to live holds a version; whatever
 * else is added (signatures) says nothing here. */
static void
read_additional(struct cursor *c, csn_dns_query *q)
{
  const unsigned char *name = c->p;
  skip_name(c);
  uint16_t type = take16(c), class = take16(c);
  const unsigned char *ttl = take(c, 4);
  uint16_t n = take16(c);
  take(c, n);
  if (c->bad || type != TYPE_OPT)
    return;
  if (q->edns || name[0] != 0)
    c->bad = true;
  q->edns = true;
  q->udp_bytes = class < UDP_MIN ? UDP_MIN : class > UDP_MAX ? UDP_MAX : class;
  if (ttl[1] != 0)
    q->code = CSN_DNS_BAD_VERSION;
}

int
csn_dns_parse(csn_dns_query *q, csn_str packet, csn_err *err)
{
  *q = (csn_dns_query){.udp_bytes = UDP_MIN};
  struct cursor c = {.p = (const unsigned char *)packet.p, .n = packet.n};
  if (packet.n < HEADER || packet.n > CSN_DNS_TCP_MAX)
    return csn_fail(err, CSN_E_PARSE, "a DNS message of %zu bytes", packet.n);
  q->id = take16(&c);
  uint16_t flags = take16(&c);
  unsigned questions = take16(&c), answers = take16(&c), names = take16(&c), more = take16(&c);
  if (flags & 0x8000)
    return csn_fail(err, CSN_E_PARSE, "an answer where a DNS query was expected");
  q->opcode = (uint8_t)(flags >> 11 & 15);
  q->recursion = flags & 0x0100;
  q->checking_off = flags & 0x0010;
  q->code = CSN_DNS_FORMAT;
  if (q->opcode != 0) {
    q->code = CSN_DNS_NOT_KNOWN;
    return 0;
  }
  if (questions != 1 || answers != 0 || names != 0 || more > MOST_RECORDS)
    return 0;
  read_question(&c, q);
  if (c.bad)
    return 0;
  q->code = CSN_DNS_OK;
  for (unsigned i = 0; i < more && !c.bad; i++)
    read_additional(&c, q);
  if (c.bad || c.n)
    q->code = CSN_DNS_FORMAT;
  else if (q->code == CSN_DNS_OK && q->class != CLASS_IN)
    q->code = CSN_DNS_REFUSED;
  return 0;
}

/* ---- answers ---- */

static void
put16(csn_buf *out, unsigned value)
{
  csn_buf_addc(out, (char)(value >> 8));
  csn_buf_addc(out, (char)value);
}

static void
put_address(csn_buf *out, const csn_address *a, uint32_t ttl_s)
{
  put16(out, 0xc000 | HEADER); /* the question's name */
  put16(out, a->v6 ? CSN_DNS_AAAA : CSN_DNS_A);
  put16(out, CLASS_IN);
  put16(out, ttl_s >> 16);
  put16(out, ttl_s & 0xffff);
  put16(out, a->v6 ? 16 : 4);
  csn_buf_add(out, csn_strn((const char *)a->b, a->v6 ? 16 : 4));
}

static bool
answers(const csn_dns_query *q, const csn_address *a)
{
  return q->type == (a->v6 ? CSN_DNS_AAAA : CSN_DNS_A);
}

int
csn_dns_answer(csn_buf *out, const csn_dns_query *q, enum csn_dns_code code, uint32_t ttl_s,
               const csn_address *addresses, size_t n, size_t max_bytes, csn_err *err)
{
  enum { OPT_BYTES = 11, ADDRESS_BYTES = 12 };
  size_t bytes = HEADER + q->question_n + (q->edns ? OPT_BYTES : 0), count = 0;
  for (size_t i = 0; i < n && code == CSN_DNS_OK; i++)
    if (answers(q, &addresses[i])) {
      bytes += ADDRESS_BYTES + (addresses[i].v6 ? 16 : 4);
      count++;
    }
  bool cut = bytes > max_bytes;
  put16(out, q->id);
  put16(out, 0x8080u | (unsigned)q->opcode << 11 | (cut ? 0x0200u : 0) |
                 (q->recursion ? 0x0100u : 0) | (q->checking_off ? 0x0010u : 0) |
                 ((unsigned)code & 15));
  put16(out, q->question_n ? 1 : 0);
  put16(out, cut ? 0 : (unsigned)count);
  put16(out, 0);
  put16(out, q->edns ? 1 : 0);
  csn_buf_add(out, csn_strn((const char *)q->question, q->question_n));
  for (size_t i = 0; i < n && count && !cut; i++)
    if (answers(q, &addresses[i]))
      put_address(out, &addresses[i], ttl_s);
  if (q->edns) {
    csn_buf_addc(out, 0);
    put16(out, TYPE_OPT);
    put16(out, UDP_MAX);
    put16(out, (unsigned)code >> 4 << 8);
    put16(out, 0);
    put16(out, 0);
  }
  return csn_buf_done(out, "a DNS answer", err);
}

int
csn_dns_frame(csn_str *in, csn_str *packet)
{
  const unsigned char *b = (const unsigned char *)in->p;
  if (in->n < 2)
    return 0;
  size_t n = (size_t)b[0] << 8 | b[1];
  if (in->n < 2 + n)
    return 0;
  *packet = csn_strn(in->p + 2, n);
  *in = csn_strn(in->p + 2 + n, in->n - 2 - n);
  return 1;
}
