/* SPDX-License-Identifier: Apache-2.0
 * connect.c - see connect.h. */
#include "wire/connect.h"

enum { FLAG_LAST = 2 };

void
csn_connect_init(csn_connect *c, size_t max_bytes,
                 int (*on_message)(void *user, csn_str message, bool is_last), void *user)
{
  *c = (csn_connect){.message = CSN_BUF(max_bytes), .on_message = on_message, .user = user};
}

void
csn_connect_fini(csn_connect *c)
{
  csn_buf_fini(&c->message);
}

/* The head is complete. */
static int
begin(csn_connect *c, csn_err *err)
{
  const unsigned char *h = c->head;
  c->left = (uint32_t)h[1] << 24 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 8 | h[4];
  if (h[0] & ~FLAG_LAST)
    return csn_fail(err, CSN_E_PARSE, "a message with flags 0x%02x, which were not agreed on",
                    h[0]);
  if (c->left > c->message.cap)
    return csn_fail(err, CSN_E_LIMIT, "a message of %u bytes; %zu are accepted", c->left,
                    c->message.cap);
  csn_buf_clear(&c->message);
  return 0;
}

static int
end(csn_connect *c)
{
  c->n_head = 0;
  c->is_over = c->head[0] & FLAG_LAST;
  return c->on_message(c->user, csn_buf_str(&c->message), c->is_over);
}

int
csn_connect_feed(csn_connect *c, csn_str bytes, csn_err *err)
{
  int rc = 0;
  while (rc >= 0 && bytes.n) {
    if (c->is_over)
      return csn_fail(err, CSN_E_PARSE, "bytes after the end of the stream");
    if (c->n_head < sizeof c->head) {
      c->head[c->n_head++] = (unsigned char)*bytes.p;
      bytes = csn_strn(bytes.p + 1, bytes.n - 1);
      if (c->n_head == sizeof c->head)
        rc = begin(c, err);
    } else {
      size_t n = bytes.n < c->left ? bytes.n : c->left;
      csn_buf_add(&c->message, csn_strn(bytes.p, n));
      bytes = csn_strn(bytes.p + n, bytes.n - n);
      c->left -= (uint32_t)n;
    }
    if (rc >= 0 && c->n_head == sizeof c->head && c->left == 0)
      rc = end(c);
  }
  return rc < 0 ? rc : 0;
}

void
csn_connect_write(csn_buf *out, csn_str message)
{
  const unsigned char head[5] = {0, (unsigned char)(message.n >> 24),
                                 (unsigned char)(message.n >> 16), (unsigned char)(message.n >> 8),
                                 (unsigned char)message.n};
  csn_buf_add(out, csn_strn((const char *)head, sizeof head));
  csn_buf_add(out, message);
}

/* ---- errors ---- */

static enum csn_code
code_of_status(int status)
{
  static const struct {
    int status;
    enum csn_code code;
  } rows[] = {{400, CSN_E_INVALID},     {401, CSN_E_DENIED},  {403, CSN_E_DENIED},
              {404, CSN_E_NOT_FOUND},   {408, CSN_E_TIMEOUT}, {409, CSN_E_CONFLICT},
              {413, CSN_E_LIMIT},       {422, CSN_E_INVALID}, {429, CSN_E_UNAVAILABLE},
              {501, CSN_E_UNSUPPORTED}, {504, CSN_E_TIMEOUT}, {507, CSN_E_LIMIT}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (rows[i].status == status)
      return rows[i].code;
  return status >= 500 ? CSN_E_UNAVAILABLE : CSN_E_IO;
}

int
csn_connect_fail(csn_err *err, int status, const csn_json *error)
{
  static const struct {
    csn_str word;
    enum csn_code code;
  } rows[] = {
      {CSN_STR_INIT("canceled"), CSN_E_CANCELLED},
      {CSN_STR_INIT("unknown"), CSN_E_IO},
      {CSN_STR_INIT("invalid_argument"), CSN_E_INVALID},
      {CSN_STR_INIT("deadline_exceeded"), CSN_E_TIMEOUT},
      {CSN_STR_INIT("not_found"), CSN_E_NOT_FOUND},
      {CSN_STR_INIT("already_exists"), CSN_E_EXISTS},
      {CSN_STR_INIT("permission_denied"), CSN_E_DENIED},
      {CSN_STR_INIT("resource_exhausted"), CSN_E_UNAVAILABLE},
      {CSN_STR_INIT("failed_precondition"), CSN_E_CONFLICT},
      {CSN_STR_INIT("aborted"), CSN_E_CONFLICT},
      {CSN_STR_INIT("out_of_range"), CSN_E_INVALID},
      {CSN_STR_INIT("unimplemented"), CSN_E_UNSUPPORTED},
      {CSN_STR_INIT("internal"), CSN_E_IO},
      {CSN_STR_INIT("unavailable"), CSN_E_UNAVAILABLE},
      {CSN_STR_INIT("data_loss"), CSN_E_IO},
      {CSN_STR_INIT("unauthenticated"), CSN_E_DENIED},
  };
  csn_str word = csn_json_str(error, "code", CSN_STR(""));
  csn_str text = csn_json_str(error, "message", CSN_STR(""));
  enum csn_code code = code_of_status(status);
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (csn_str_eq(rows[i].word, word))
      code = rows[i].code;
  if (!text.n)
    text = word.n ? word : CSN_STR("no reason given");
  csn_fail(err, code, "%.*s", (int)(text.n < 300 ? text.n : 300), text.p);
  for (char *c = err ? err->msg : NULL; c && *c; c++) /* a terminal would obey what they wrote */
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      *c = ' ';
  if (err)
    err->http_status = status;
  return code;
}
