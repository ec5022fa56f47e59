/* SPDX-License-Identifier: Apache-2.0
 *
 * hello.c - gathers the client's first message from its records, then takes it
 * apart; see hello.h.
 *
 * Strict where a lenient reader and the real server could disagree about the
 * name: one name of one type, no extension twice, lengths that fit exactly.
 */
#include "wire/hello.h"

enum { HANDSHAKE = 22, CLIENT_HELLO = 1, RECORD_MAX = 16384, MESSAGE_HEAD = 4 };
enum { EXT_NAME = 0, EXT_ALPN = 16, EXT_ESNI = 0xffce, EXT_ECH = 0xfe0d };

void
csn_hello_init(csn_hello *h)
{
  *h = (csn_hello){.message = CSN_BUF(MESSAGE_HEAD + CSN_HELLO_MAX)};
}

void
csn_hello_fini(csn_hello *h)
{
  csn_buf_fini(&h->message);
}

/* ---- the message ---- */

struct part {
  const unsigned char *p;
  size_t n;
  bool bad;
};

static size_t
number(struct part *from, size_t bytes)
{
  size_t value = 0;
  if (from->bad || from->n < bytes) {
    from->bad = true;
    return 0;
  }
  for (size_t i = 0; i < bytes; i++)
    value = value << 8 | from->p[i];
  from->p += bytes;
  from->n -= bytes;
  return value;
}

/* What a length of so many bytes announces. */
static struct part
counted(struct part *from, size_t bytes)
{
  size_t n = number(from, bytes);
  if (from->bad || from->n < n) {
    from->bad = true;
    return (struct part){.p = from->p, .bad = true};
  }
  struct part it = {.p = from->p, .n = n};
  from->p += n;
  from->n -= n;
  return it;
}

static int
broken(const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "TLS client hello: %s", what);
}

/* Letters, digits, '-' and '_' between single dots. */
static bool
read_host(csn_hello *h, struct part it)
{
  char last = '.';
  if (it.n == 0 || it.n >= sizeof h->name)
    return false;
  for (size_t i = 0; i < it.n; i++) {
    unsigned char c = it.p[i];
    if (c >= 'A' && c <= 'Z')
      c |= 32;
    bool dot = c == '.';
    if (dot ? last == '.'
            : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
      return false;
    last = h->name[i] = (char)c;
  }
  return last != '.';
}

static int
read_names(csn_hello *h, struct part ext, csn_err *err)
{
  struct part list = counted(&ext, 2);
  size_t type = number(&list, 1);
  struct part name = counted(&list, 2);
  if (list.bad || ext.n || list.n || type != 0)
    return broken("the server's name is not one name", err);
  if (!read_host(h, name)) {
    memset(h->name, 0, sizeof h->name);
    return broken("the server's name is no host name", err);
  }
  return 0;
}

static int
read_alpn(csn_hello *h, struct part ext, csn_err *err)
{
  struct part list = counted(&ext, 2), walk = list;
  bool good = !list.bad && ext.n == 0 && list.n > 0;
  while (good && walk.n) {
    struct part one = counted(&walk, 1);
    good = !one.bad && one.n > 0;
  }
  if (!good)
    return broken("its list of protocols is malformed", err);
  h->alpn = csn_strn((const char *)list.p, list.n);
  return 0;
}

static int
read_extensions(csn_hello *h, struct part all, csn_err *err)
{
  bool named = false, listed = false;
  int rc = 0;
  while (rc == 0 && all.n) {
    size_t type = number(&all, 2);
    struct part ext = counted(&all, 2);
    if (all.bad)
      return broken("an extension is cut short", err);
    bool twice =
        (type == EXT_NAME && named) || (type == EXT_ALPN && listed) || (type == EXT_ECH && h->ech);
    if (twice)
      return broken("an extension occurs twice", err);
    if (type == EXT_NAME) {
      named = true;
      rc = read_names(h, ext, err);
    } else if (type == EXT_ALPN) {
      listed = true;
      rc = read_alpn(h, ext, err);
    } else if (type == EXT_ECH || type == EXT_ESNI) {
      h->ech = true;
    }
  }
  return rc;
}

static int
read_message(csn_hello *h, csn_err *err)
{
  struct part m = {(const unsigned char *)h->message.p + MESSAGE_HEAD, h->message.n - MESSAGE_HEAD,
                   false};
  bool tls = number(&m, 1) == 3;
  number(&m, 1); /* the minor version says nothing since TLS 1.3 */
  for (int i = 0; i < 4; i++)
    number(&m, 8); /* random */
  struct part session = counted(&m, 1), ciphers = counted(&m, 2), methods = counted(&m, 1);
  if (m.bad || !tls || session.n > 32 || ciphers.n < 2 || ciphers.n % 2 || methods.n < 1)
    return broken("malformed", err);
  if (m.n == 0)
    return 0; /* as old clients may: without extensions */
  struct part extensions = counted(&m, 2);
  if (m.bad || m.n)
    return broken("its length and that of its extensions differ", err);
  return read_extensions(h, extensions, err);
}

/* ---- the records ---- */

static size_t
announced(const csn_hello *h)
{
  const unsigned char *b = (const unsigned char *)h->message.p;
  return MESSAGE_HEAD + ((size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3]);
}

static int
check_head(csn_hello *h, csn_err *err)
{
  static const unsigned char want[] = {HANDSHAKE, 3};
  for (size_t i = 0; i < h->head_n && i < sizeof want; i++)
    if (h->head[i] != want[i])
      return broken("this is not TLS", err);
  if (h->head_n < sizeof h->head)
    return 0;
  h->left = (size_t)h->head[3] << 8 | h->head[4];
  return h->left == 0 || h->left > RECORD_MAX ? broken("a record of a wrong length", err) : 0;
}

static int
add(csn_hello *h, csn_str bytes, csn_err *err)
{
  /* With the rest of the record: nothing may stand behind the message. */
  size_t total = h->message.n + bytes.n + h->left;
  csn_buf_add(&h->message, bytes);
  if (h->message.p[0] != CLIENT_HELLO)
    return broken("another message comes first", err);
  if (h->message.n < MESSAGE_HEAD)
    return 0;
  size_t n = announced(h);
  if (n > h->message.cap)
    return csn_fail(err, CSN_E_LIMIT, "a TLS client hello of %zu bytes; %d are the most", n,
                    CSN_HELLO_MAX);
  if (total > n)
    return broken("more follows in the same record", err);
  if (h->message.n < n)
    return 0;
  int rc = read_message(h, err);
  return rc < 0 ? rc : 1;
}

int
csn_hello_feed(csn_hello *h, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    if (h->left == 0) {
      h->head[h->head_n++] = (unsigned char)*bytes.p++;
      bytes.n--;
      int rc = check_head(h, err);
      if (rc < 0)
        return rc;
      continue;
    }
    size_t n = bytes.n < h->left ? bytes.n : h->left;
    h->left -= n;
    if (h->left == 0)
      h->head_n = 0;
    int rc = add(h, csn_strn(bytes.p, n), err);
    if (rc != 0)
      return rc;
    bytes = csn_strn(bytes.p + n, bytes.n - n);
  }
  return 0;
}

bool
csn_hello_offers(const csn_hello *h, csn_str protocol)
{
  struct part list = {(const unsigned char *)h->alpn.p, h->alpn.n, false};
  while (list.n) {
    struct part one = counted(&list, 1);
    if (csn_str_eq(csn_strn((const char *)one.p, one.n), protocol))
      return true;
  }
  return false;
}
