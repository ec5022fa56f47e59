/* SPDX-License-Identifier: Apache-2.0
 *
 * sse.c - the event-stream interpreter of sse.h.
 *
 * Lines are found with memchr in the caller's bytes; only a line that was cut
 * by a feed is gathered in `line`.  A CR ends its line at once and the LF that
 * may follow, even in the next feed, is skipped, so an event is never held
 * back.  A byte order mark is looked for when the first line is complete.
 */
#include "wire/sse.h"

/* A line holds its field name, colon and blank beside the value. */
enum { FIELD_ROOM = 16 };

void
csn_sse_init(csn_sse *s, size_t max_bytes, int (*on_event)(void *user, csn_str event, csn_str data),
             void *user)
{
  *s = (csn_sse){.line = CSN_BUF(max_bytes + FIELD_ROOM),
                 .data = CSN_BUF(max_bytes + 1), /* the line end that dispatch takes off */
                 .event = CSN_BUF(max_bytes),
                 .on_event = on_event,
                 .user = user};
}

void
csn_sse_fini(csn_sse *s)
{
  csn_buf_fini(&s->line);
  csn_buf_fini(&s->data);
  csn_buf_fini(&s->event);
}

static int
dispatch(csn_sse *s)
{
  int rc = 0;
  if (s->data.n)
    rc = s->on_event(s->user, csn_buf_str(&s->event), csn_strn(s->data.p, s->data.n - 1));
  csn_buf_clear(&s->data);
  csn_buf_clear(&s->event);
  return rc;
}

static int
on_line(csn_sse *s, csn_str line, csn_err *err)
{
  if (!s->bom_done) {
    s->bom_done = true;
    if (csn_str_starts(line, CSN_STR("\xef\xbb\xbf")))
      line = csn_strn(line.p + 3, line.n - 3);
  }
  if (line.n == 0)
    return dispatch(s);
  const char *colon = memchr(line.p, ':', line.n);
  csn_str name = csn_strn(line.p, colon ? (size_t)(colon - line.p) : line.n);
  csn_str value = csn_strn(line.p + line.n, 0);
  if (colon) {
    value = csn_strn(colon + 1, line.n - name.n - 1);
    if (value.n && value.p[0] == ' ')
      value = csn_strn(value.p + 1, value.n - 1);
  }
  if (csn_str_eq(name, CSN_STR("data"))) {
    csn_buf_add(&s->data, value);
    csn_buf_addc(&s->data, '\n');
    return csn_buf_done(&s->data, "a server-sent event", err);
  }
  if (csn_str_eq(name, CSN_STR("event"))) {
    csn_buf_clear(&s->event);
    csn_buf_add(&s->event, value);
    return csn_buf_done(&s->event, "the name of a server-sent event", err);
  }
  return 0; /* a comment (empty name), id, retry and unknown fields */
}

/* The end of the first line in b, or NULL.  LF is by far the usual end, so CR
 * is looked for only in front of it. */
static const char *
line_end(csn_str b)
{
  const char *lf = memchr(b.p, '\n', b.n);
  const char *cr = memchr(b.p, '\r', lf ? (size_t)(lf - b.p) : b.n);
  return cr ? cr : lf;
}

static int
keep_part(csn_sse *s, csn_str part, csn_err *err)
{
  csn_buf_add(&s->line, part);
  return csn_buf_done(&s->line, "a line of a server-sent event", err);
}

int
csn_sse_feed(csn_sse *s, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    if (s->skip_lf) {
      s->skip_lf = false;
      if (bytes.p[0] == '\n') {
        bytes.p++, bytes.n--;
        continue;
      }
    }
    const char *end = line_end(bytes);
    if (!end)
      return keep_part(s, bytes, err);
    csn_str line = csn_strn(bytes.p, (size_t)(end - bytes.p));
    if (s->line.n || line.n > s->line.cap) {
      int rc = keep_part(s, line, err);
      if (rc < 0)
        return rc;
      line = csn_buf_str(&s->line);
    }
    int rc = on_line(s, line, err);
    if (rc < 0)
      return rc;
    csn_buf_clear(&s->line);
    s->skip_lf = *end == '\r';
    bytes.n -= (size_t)(end + 1 - bytes.p);
    bytes.p = end + 1;
  }
  return 0;
}
