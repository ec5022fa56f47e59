/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_field.c - names, values and authorities of HTTP; see wire/http1.h.
 */
#include "wire/http1_impl.h"

/* ---- characters ---- */

static bool
is_tchar(unsigned char c)
{
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
    return true;
  return c && memchr("!#$%&'*+-.^_`|~", c, 15);
}

bool
csn_http1_is_token(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!is_tchar((unsigned char)s.p[i]))
      return false;
  return s.n > 0;
}

bool
csn_http1_is_value(csn_str s)
{
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f)
      return false;
  }
  return true;
}

bool
csn_http1_same(csn_str a, csn_str b)
{
  if (a.n != b.n)
    return false;
  for (size_t i = 0; i < a.n; i++)
    if (lower(a.p[i]) != lower(b.p[i]))
      return false;
  return true;
}

/* ---- fields ---- */

const csn_http1_field *
csn_http1_find(const csn_http1_head *head, const char *name)
{
  for (size_t i = 0; i < head->n_fields; i++)
    if (csn_http1_same(head->fields[i].name, csn_cstr(name)))
      return &head->fields[i];
  return NULL;
}

bool
csn_http1_lists(csn_str list, const char *word)
{
  for (bool more = true; more;)
    if (csn_http1_same(trim_blanks(cut(&list, ',', &more)), csn_cstr(word)))
      return true;
  return false;
}

static bool
connection_names(const csn_http1_head *head, csn_str name)
{
  char word[64];
  if (name.n >= sizeof word)
    return false;
  memcpy(word, name.p, name.n);
  word[name.n] = '\0';
  for (size_t i = 0; i < head->n_fields; i++)
    if (csn_http1_same(head->fields[i].name, CSN_STR("connection")) &&
        csn_http1_lists(head->fields[i].value, word))
      return true;
  return false;
}

bool
csn_http1_is_hop(const csn_http1_head *head, csn_str name)
{
  static const csn_str hop[] = {
      CSN_STR_INIT("connection"),
      CSN_STR_INIT("proxy-connection"),
      CSN_STR_INIT("keep-alive"),
      CSN_STR_INIT("te"),
      CSN_STR_INIT("trailer"),
      CSN_STR_INIT("transfer-encoding"),
      CSN_STR_INIT("upgrade"),
      CSN_STR_INIT("content-length"),
      CSN_STR_INIT("proxy-authorization"),
      CSN_STR_INIT("proxy-authenticate"),
  };
  for (size_t i = 0; i < CSN_COUNT(hop); i++)
    if (csn_http1_same(hop[i], name))
      return true;
  return connection_names(head, name);
}

static bool
is_host_char(unsigned char c, bool v6)
{
  if (c >= '0' && c <= '9')
    return true;
  if (v6)
    return c == ':' || c == '.' || (lower((char)c) >= 'a' && lower((char)c) <= 'f');
  return (lower((char)c) >= 'a' && lower((char)c) <= 'z') || c == '-' || c == '.' || c == '_';
}

bool
csn_http1_authority(csn_str text, csn_str *host, uint16_t *port)
{
  bool v6 = text.n && text.p[0] == '[', has_port, closed;
  csn_str rest = v6 ? csn_strn(text.p + 1, text.n - 1) : text;
  csn_str name = cut(&rest, v6 ? ']' : ':', &closed);
  has_port = closed;
  if (v6) {
    has_port = rest.n > 0;
    if (!closed || (has_port && rest.p[0] != ':'))
      return false;
    if (has_port)
      rest = csn_strn(rest.p + 1, rest.n - 1);
  }
  if (name.n == 0 || name.n > 255)
    return false;
  for (size_t i = 0; i < name.n; i++)
    if (!is_host_char((unsigned char)name.p[i], v6))
      return false;
  int64_t number = 0;
  if (has_port) {
    if (rest.n == 0 || rest.n > 5 || rest.p[0] < '0' || rest.p[0] > '9' ||
        !csn_str_int(rest, &number) || number < 1 || number > 65535)
      return false;
  }
  *host = name;
  *port = (uint16_t)number;
  return true;
}

/* ---- writing ---- */

bool
csn_http1_add_field(csn_buf *out, csn_str name, csn_str value)
{
  if (!csn_http1_is_token(name) || !csn_http1_is_value(value))
    return false;
  csn_buf_add(out, name);
  csn_buf_add(out, CSN_STR(": "));
  csn_buf_add(out, value);
  csn_buf_add(out, CSN_STR("\r\n"));
  return true;
}

void
csn_http1_add_chunk(csn_buf *out, csn_str data)
{
  if (data.n == 0) {
    csn_buf_add(out, CSN_STR("0\r\n\r\n"));
    return;
  }
  csn_buf_addf(out, "%zx\r\n", data.n);
  csn_buf_add(out, data);
  csn_buf_add(out, CSN_STR("\r\n"));
}
