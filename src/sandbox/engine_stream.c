/* SPDX-License-Identifier: Apache-2.0
 * engine_stream.c - see engine_stream.h. */
#include "sandbox/engine_stream.h"

#include "core/hash.h"

enum { RS = '\036', STDIN = 0, STDERR = 2 };

void
csn_engine_stream_init(csn_engine_stream *s, bool is_framed, bool is_split)
{
  *s = (csn_engine_stream){.is_framed = is_framed, .is_split = is_split};
  csn_random_name(s->word, CSN_ENGINE_WORD);
}

/* ---- what is said ---- */

/* Whether held bytes can still become something said. */
static bool
may_become(const csn_engine_stream *s, const csn_engine_ear *ear)
{
  size_t n = ear->n - 1 < CSN_ENGINE_WORD ? ear->n - 1 : CSN_ENGINE_WORD;
  return memcmp(ear->held + 1, s->word, n) == 0 &&
         (ear->n <= CSN_ENGINE_WORD + 1 || ear->held[CSN_ENGINE_WORD + 1] == ' ') &&
         ear->n < sizeof ear->held;
}

/* `text` is what stands after the word. */
static void
hear(csn_engine_stream *s, csn_engine_ear *ear, csn_str text)
{
  static const csn_str end = CSN_STR_INIT("end ");
  bool is_end = csn_str_starts(text, end);
  char *to = is_end ? s->ended : s->begun;
  if (is_end)
    text = csn_strn(text.p + end.n, text.n - end.n);
  ear->is_over |= is_end;
  if (*to) /* the other stream said so, or somebody says it again */
    return;
  memcpy(to, text.p, text.n);
  to[text.n] = '\0';
}

static void
listen(csn_engine_stream *s, csn_engine_ear *ear, csn_str bytes, csn_buf *out)
{
  while (bytes.n && !ear->is_over) {
    if (ear->n == 0) {
      const char *rs = memchr(bytes.p, RS, bytes.n);
      size_t plain = rs ? (size_t)(rs - bytes.p) : bytes.n;
      csn_buf_add(out, csn_strn(bytes.p, plain));
      bytes = csn_strn(bytes.p + plain, bytes.n - plain);
      if (!rs)
        return;
    }
    char c = *bytes.p;
    if (c == RS && ear->n > CSN_ENGINE_WORD + 1) {
      size_t from = CSN_ENGINE_WORD + 2;
      hear(s, ear, csn_strn(ear->held + from, ear->n - from));
      ear->n = 0;
    } else {
      ear->held[ear->n++] = c;
      if (!may_become(s, ear)) { /* output after all; this byte may begin another */
        bool again = c == RS && ear->n > 1;
        csn_buf_add(out, csn_strn(ear->held, ear->n - again));
        ear->n = 0;
        if (again)
          continue;
      }
    }
    bytes = csn_strn(bytes.p + 1, bytes.n - 1);
  }
}

/* ---- frames ---- */

int
csn_engine_stream_feed(csn_engine_stream *s, csn_str bytes, csn_buf *out, csn_err *err)
{
  if (!s->is_framed) {
    listen(s, &s->ears[0], bytes, &out[0]);
    return 0;
  }
  while (bytes.n) {
    if (s->left == 0) {
      s->head[s->n_head++] = (unsigned char)*bytes.p;
      bytes = csn_strn(bytes.p + 1, bytes.n - 1);
      if (s->n_head < sizeof s->head)
        continue;
      const unsigned char *h = s->head;
      if (h[0] > STDERR || h[1] || h[2] || h[3])
        return csn_fail(err, CSN_E_PARSE, "the container engine sent what is no frame");
      s->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
      if (s->left == 0)
        s->n_head = 0;
      continue;
    }
    size_t n = bytes.n < s->left ? bytes.n : s->left;
    int which = s->head[0] == STDERR && s->is_split;
    listen(s, &s->ears[which], csn_strn(bytes.p, n), &out[which]);
    bytes = csn_strn(bytes.p + n, bytes.n - n);
    s->left -= (uint32_t)n;
    if (s->left == 0)
      s->n_head = 0;
  }
  return 0;
}

bool
csn_engine_stream_is_over(const csn_engine_stream *s)
{
  return s->ears[0].is_over && (!s->is_split || s->ears[1].is_over);
}

void
csn_engine_stream_flush(csn_engine_stream *s, csn_buf *out)
{
  for (int i = 0; i < 2; i++) {
    if (!s->ears[i].is_over)
      csn_buf_add(&out[i], csn_strn(s->ears[i].held, s->ears[i].n));
    s->ears[i].n = 0;
  }
}
