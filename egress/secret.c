/* SPDX-License-Identifier: Apache-2.0
 *
 * secret.c - secrets into requests; see secret.h.  scrub.c takes them out of
 * responses.
 */
#include "egress/secret.h"

#include "core/hash.h"
#include "wire/http1.h"

enum { FIELD_MAX = 64 << 10 };

bool
csn_secret_matters(const csn_config *c, const csn_dest *d)
{
  for (size_t i = 0; i < c->n_secrets; i++)
    if (csn_secret_belongs(&c->secrets[i], d))
      return true;
  return false;
}

bool
csn_secret_sets(const csn_config *c, const csn_dest *d, csn_str field)
{
  for (size_t i = 0; i < c->n_secrets; i++)
    if (c->secrets[i].header.n && csn_http1_same(c->secrets[i].header, field) &&
        csn_secret_belongs(&c->secrets[i], d))
      return true;
  return false;
}

csn_secret_set
csn_secret_add_fields(const csn_config *c, const csn_dest *d, csn_buf *out)
{
  csn_secret_set used = 0;
  for (size_t i = 0; i < c->n_secrets; i++) {
    const csn_secret *s = &c->secrets[i];
    if (s->header.n == 0 || !csn_secret_belongs(s, d))
      continue;
    csn_buf_add(out, s->header);
    csn_buf_addz(out, ": ");
    csn_buf_add(out, s->before);
    csn_buf_add(out, s->value);
    csn_buf_add(out, s->after);
    csn_buf_addz(out, "\r\n");
    used |= UINT64_C(1) << i;
  }
  return used;
}

/* In one pass, so that a value is never searched for another's placeholder. */
static csn_secret_set
replace(const csn_config *c, const csn_dest *d, csn_str text, csn_buf *out)
{
  csn_secret_set used = 0;
  size_t from = 0;
  for (size_t at = 0; at < text.n;) {
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < c->n_secrets && found == SIZE_MAX; i++) {
      const csn_secret *s = &c->secrets[i];
      if (s->header.n == 0 && csn_str_starts(csn_strn(text.p + at, text.n - at), s->placeholder) &&
          csn_secret_belongs(s, d))
        found = i;
    }
    if (found == SIZE_MAX) {
      at++;
      continue;
    }
    csn_buf_add(out, csn_strn(text.p + from, at - from));
    csn_buf_add(out, c->secrets[found].value);
    used |= UINT64_C(1) << found;
    from = at += c->secrets[found].placeholder.n;
  }
  csn_buf_add(out, csn_strn(text.p + from, text.n - from));
  return used;
}

csn_secret_set
csn_secret_fill(const csn_config *c, const csn_dest *d, csn_str field, csn_str value, csn_buf *out)
{
  static const csn_str basic = CSN_STR_INIT("basic ");
  if (csn_http1_same(field, CSN_STR("authorization")) && value.n > basic.n &&
      csn_http1_same(csn_strn(value.p, basic.n), basic)) {
    csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(FIELD_MAX), filled = CSN_BUF(FIELD_MAX);
    csn_str code = csn_str_trim(csn_strn(value.p + basic.n, value.n - basic.n));
    csn_secret_set used =
        csn_base64_decode(&plain, code) ? replace(c, d, csn_buf_str(&plain), &filled) : 0;
    if (used) {
      csn_buf_add(out, csn_strn(value.p, basic.n));
      csn_base64_add(out, csn_buf_str(&filled));
      return used;
    }
  }
  return replace(c, d, value, out);
}
