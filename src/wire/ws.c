/* SPDX-License-Identifier: Apache-2.0
 * ws.c - see ws.h. */
#include "wire/ws.h"

#include "core/hash.h"

enum { CONTROL_MAX = 125, FIN = 0x80, MASKED = 0x80, LENGTH = 0x7f, TWO_BYTES = 126, EIGHT = 127 };

void
csn_ws_init(csn_ws *w, size_t max_bytes,
            int (*on_message)(void *user, enum csn_ws_op op, csn_str data), void *user)
{
  *w = (csn_ws){.on_message = on_message,
                .user = user,
                .message = CSN_BUF(max_bytes),
                .control = CSN_BUF(CONTROL_MAX)};
}

void
csn_ws_fini(csn_ws *w)
{
  csn_buf_fini(&w->message);
  csn_buf_fini(&w->control);
}

static int
malformed(csn_err *err, const char *what)
{
  return csn_fail(err, CSN_E_PARSE, "the WebSocket's other side broke its rules: %s", what);
}

static bool
is_control(int op)
{
  return op >= CSN_WS_CLOSE;
}

/* Bytes of a frame's head, as far as they tell. */
static size_t
head_size(const csn_ws *w)
{
  if (w->n_head < 2)
    return 2;
  unsigned length = w->head[1] & LENGTH;
  return length == TWO_BYTES ? 4 : length == EIGHT ? 10 : 2;
}

static int
check_op(csn_ws *w, csn_err *err)
{
  bool is_data = w->op == CSN_WS_TEXT || w->op == CSN_WS_BINARY;
  if (w->op != 0 && !is_data && (w->op < CSN_WS_CLOSE || w->op > CSN_WS_PONG))
    return malformed(err, "an unknown kind of frame");
  if (w->op == 0 && !w->fragment)
    return malformed(err, "a fragment of no message");
  if (is_data && w->fragment)
    return malformed(err, "a message inside of another");
  if (is_control(w->op) && (!w->is_last || w->left > CONTROL_MAX))
    return malformed(err, "a control frame that is too long");
  return 0;
}

static int
read_head(csn_ws *w, csn_err *err)
{
  const unsigned char *h = w->head;
  if (h[0] & 0x70)
    return malformed(err, "an extension that nobody asked for");
  if (h[1] & MASKED)
    return malformed(err, "a masked frame");
  w->is_last = h[0] & FIN;
  w->op = h[0] & 15;
  w->left = h[1] & LENGTH;
  if (w->left >= TWO_BYTES) {
    uint64_t n = 0;
    for (size_t i = 2; i < w->n_head; i++)
      n = n << 8 | h[i];
    if (n < (w->left == TWO_BYTES ? TWO_BYTES : 65536) || n >> 63)
      return malformed(err, "a length that is not in its shortest form");
    w->left = n;
  }
  int rc = check_op(w, err);
  if (rc == 0 && !is_control(w->op) && w->left > w->message.cap - w->message.n)
    rc = csn_fail(err, CSN_E_LIMIT, "a message of the WebSocket is larger than %zu bytes",
                  w->message.cap);
  return rc;
}

static int
give(csn_ws *w, enum csn_ws_op op, csn_buf *data, csn_err *err)
{
  csn_str s = csn_buf_str(data);
  if (op == CSN_WS_TEXT && csn_utf8_valid(s) != s.n)
    return malformed(err, "a text that is no UTF-8");
  if (op == CSN_WS_CLOSE && s.n == 1)
    return malformed(err, "half a code in a close frame");
  w->is_closed = op == CSN_WS_CLOSE;
  int rc = w->on_message(w->user, op, s);
  csn_buf_clear(data);
  return rc;
}

static int
end_frame(csn_ws *w, csn_err *err)
{
  w->in_frame = false;
  w->n_head = 0;
  if (is_control(w->op))
    return give(w, (enum csn_ws_op)w->op, &w->control, err);
  if (w->op)
    w->fragment = w->op;
  if (!w->is_last)
    return 0;
  enum csn_ws_op op = (enum csn_ws_op)w->fragment;
  w->fragment = 0;
  return give(w, op, &w->message, err);
}

int
csn_ws_feed(csn_ws *w, csn_str bytes, csn_err *err)
{
  int rc = 0;
  while (rc >= 0 && !w->is_closed && (bytes.n || (w->in_frame && !w->left))) {
    if (!w->in_frame) {
      w->head[w->n_head++] = (unsigned char)bytes.p[0];
      bytes = csn_strn(bytes.p + 1, bytes.n - 1);
      if (w->n_head < head_size(w))
        continue;
      rc = read_head(w, err);
      w->in_frame = true;
      continue;
    }
    size_t n = w->left < bytes.n ? (size_t)w->left : bytes.n;
    csn_buf_add(is_control(w->op) ? &w->control : &w->message, csn_strn(bytes.p, n));
    bytes = csn_strn(bytes.p + n, bytes.n - n);
    w->left -= n;
    if (!w->left)
      rc = end_frame(w, err);
  }
  return rc < 0 ? rc : 0;
}

void
csn_ws_write(csn_buf *out, enum csn_ws_op op, csn_str data, const unsigned char mask[4])
{
  csn_buf_addc(out, (char)(FIN | op));
  if (data.n < TWO_BYTES) {
    csn_buf_addc(out, (char)(MASKED | data.n));
  } else {
    int bytes = data.n < 65536 ? 2 : 8;
    csn_buf_addc(out, (char)(MASKED | (bytes == 2 ? TWO_BYTES : EIGHT)));
    for (int i = bytes - 1; i >= 0; i--)
      csn_buf_addc(out, (char)((uint64_t)data.n >> (8 * i)));
  }
  csn_buf_add(out, csn_strn((const char *)mask, 4));
  char *to = csn_buf_room(out, data.n);
  if (!to)
    return;
  for (size_t i = 0; i < data.n; i++)
    to[i] = (char)(data.p[i] ^ mask[i & 3]);
  out->n += data.n;
}

/* ---- the handshake ---- */

void
csn_ws_key(const unsigned char random[16], char out[CSN_WS_KEY])
{
  csn_buf b = CSN_BUF(CSN_WS_KEY);
  csn_base64_add(&b, csn_strn((const char *)random, 16));
  memcpy(out, b.p, CSN_WS_KEY);
  csn_buf_fini(&b);
}

static uint32_t
rotate(uint32_t x, int n)
{
  return x << n | x >> (32 - n);
}

static void
sha1_block(uint32_t h[5], const unsigned char *p)
{
  uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
           p[4 * i + 3];
  for (int i = 16; i < 80; i++)
    w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (int i = 0; i < 80; i++) {
    uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                 : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                 : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                          : (b ^ c ^ d) + 0xca62c1d6;
    uint32_t t = rotate(a, 5) + f + e + w[i];
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = t;
  }
  h[0] += a;
  h[1] += b;
  h[2] += c;
  h[3] += d;
  h[4] += e;
}

/* SHA-1 is what the protocol names; nothing secret depends on it. */
void
csn_ws_accept(const char *key, char out[CSN_WS_ACCEPT])
{
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  unsigned char text[128] = {0}, digest[20];
  size_t n = strlen(key), all = n + sizeof guid - 1;
  if (n > 48)
    n = 48, all = n + sizeof guid - 1;
  memcpy(text, key, n);
  memcpy(text + n, guid, sizeof guid - 1);
  text[all] = 0x80;
  size_t end = all + 9 <= 64 ? 64 : 128;
  text[end - 2] = (unsigned char)(all * 8 >> 8);
  text[end - 1] = (unsigned char)(all * 8);
  for (size_t at = 0; at < end; at += 64)
    sha1_block(h, text + at);
  for (int i = 0; i < 20; i++)
    digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i & 3)));
  csn_buf b = CSN_BUF(CSN_WS_ACCEPT);
  csn_base64_add(&b, csn_strn((const char *)digest, sizeof digest));
  memcpy(out, b.p, CSN_WS_ACCEPT);
  csn_buf_fini(&b);
}
