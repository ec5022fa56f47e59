/* SPDX-License-Identifier: Apache-2.0
 * aws_events.c - see aws_events.h. */
#include "wire/aws_events.h"

enum { PRELUDE = 12, TRAILER = 4, LEAST = PRELUDE + TRAILER, HEADERS_MAX = 128 << 10 };

uint32_t
csn_crc32(uint32_t crc, csn_str bytes)
{
  /* Four bits at a time: what is checked is small. */
  static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                     0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                     0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                     0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
  crc = ~crc;
  for (size_t i = 0; i < bytes.n; i++) {
    crc ^= (unsigned char)bytes.p[i];
    crc = (crc >> 4) ^ table[crc & 15];
    crc = (crc >> 4) ^ table[crc & 15];
  }
  return ~crc;
}

static uint32_t
number(const char *p, size_t bytes)
{
  uint32_t n = 0;
  for (size_t i = 0; i < bytes; i++)
    n = n << 8 | (unsigned char)p[i];
  return n;
}

void
csn_aws_events_init(csn_aws_events *s, size_t max_bytes,
                    int (*on_message)(void *user, const csn_aws_message *m), void *user)
{
  *s = (csn_aws_events){
      .held = CSN_BUF(max_bytes), .max_bytes = max_bytes, .on_message = on_message, .user = user};
}

void
csn_aws_events_fini(csn_aws_events *s)
{
  csn_buf_fini(&s->held);
}

bool
csn_aws_events_is_whole(const csn_aws_events *s)
{
  return s->held.n == 0;
}

static int
malformed(csn_err *err, const char *what)
{
  return csn_fail(err, CSN_E_PARSE, "the event stream is malformed: %s", what);
}

/* Bytes of a value of that type; SIZE_MAX: as many as two bytes before it say,
 * 99: no such type. */
static size_t
value_size(unsigned char type)
{
  static const size_t sizes[] = {0, 0, 1, 2, 4, 8, SIZE_MAX, SIZE_MAX, 8, 16};
  return type < CSN_COUNT(sizes) ? sizes[type] : 99;
}

static void
take_header(csn_aws_message *m, csn_str name, csn_str value)
{
  if (csn_str_eq(name, CSN_STR(":message-type")))
    m->type = value;
  else if (csn_str_eq(name, CSN_STR(":event-type")) ||
           csn_str_eq(name, CSN_STR(":exception-type")) || csn_str_eq(name, CSN_STR(":error-code")))
    m->name = value;
  else if (csn_str_eq(name, CSN_STR(":error-message")))
    m->error = value;
}

static int
read_headers(csn_aws_message *m, csn_str in, csn_err *err)
{
  enum { TEXT = 7 };
  while (in.n) {
    size_t n = (unsigned char)in.p[0];
    if (in.n < 1 + n + 1)
      return malformed(err, "a header's name is cut");
    csn_str name = csn_strn(in.p + 1, n);
    unsigned char type = (unsigned char)in.p[1 + n];
    in = csn_strn(in.p + n + 2, in.n - n - 2);
    size_t size = value_size(type);
    if (size == SIZE_MAX) {
      if (in.n < 2)
        return malformed(err, "a header's length is cut");
      size = number(in.p, 2);
      in = csn_strn(in.p + 2, in.n - 2);
    } else if (size == 99) {
      return malformed(err, "a header of an unknown type");
    }
    if (in.n < size)
      return malformed(err, "a header's value is cut");
    if (type == TEXT)
      take_header(m, name, csn_strn(in.p, size));
    in = csn_strn(in.p + size, in.n - size);
  }
  return 0;
}

/* The length of the message that p begins, of which there are 12 bytes. */
static int
check_prelude(const csn_aws_events *s, const char *p, size_t *total, csn_err *err)
{
  *total = number(p, 4);
  size_t headers = number(p + 4, 4);
  if (csn_crc32(0, csn_strn(p, 8)) != number(p + 8, 4))
    return malformed(err, "the checksum of a message's head");
  if (headers > HEADERS_MAX || *total < LEAST + headers)
    return malformed(err, "the lengths of a message");
  if (*total > s->max_bytes)
    return csn_fail(err, CSN_E_LIMIT, "a message of the event stream has %zu bytes, more than %zu",
                    *total, s->max_bytes);
  return 0;
}

static int
give(csn_aws_events *s, csn_str message, csn_err *err)
{
  csn_aws_message m = {.type = CSN_STR("event")};
  size_t headers = number(message.p + 4, 4), body = message.n - TRAILER;
  if (csn_crc32(0, csn_strn(message.p, body)) != number(message.p + body, 4))
    return malformed(err, "the checksum of a message");
  int rc = read_headers(&m, csn_strn(message.p + PRELUDE, headers), err);
  m.payload = csn_strn(message.p + PRELUDE + headers, body - PRELUDE - headers);
  return rc < 0 ? rc : s->on_message(s->user, &m);
}

/* Adds what the message that is held still lacks, up to `want` bytes of it. */
static void
fill(csn_aws_events *s, csn_str *in, size_t want)
{
  size_t n = want - s->held.n < in->n ? want - s->held.n : in->n;
  csn_buf_add(&s->held, csn_strn(in->p, n));
  *in = csn_strn(in->p + n, in->n - n);
}

int
csn_aws_events_feed(csn_aws_events *s, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    size_t total;
    int rc = 0;
    if (s->held.n < PRELUDE)
      fill(s, &bytes, PRELUDE);
    if (s->held.n < PRELUDE)
      return 0;
    rc = check_prelude(s, s->held.p, &total, err);
    if (rc < 0)
      return rc;
    fill(s, &bytes, total);
    if (s->held.n < total)
      return 0;
    rc = give(s, csn_buf_str(&s->held), err);
    if (rc < 0)
      return rc;
    csn_buf_clear(&s->held);
  }
  return 0;
}
