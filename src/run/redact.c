/* SPDX-License-Identifier: Apache-2.0
 *
 * redact.c - see redact.h.
 *
 * All forms are made once, as they stand inside a JSON text of ours and as they
 * are.  In a JSON text they are looked for one by one: secrets are few and
 * outputs are capped.  A stream may be a flood: bytes with which no form begins
 * are passed over, and what may be the beginning of a form waits for what
 * follows it.
 */
#include "run/redact.h"

#include "caisson/json.h"
#include "core/hash.h"

enum { MIN_BYTES = 8, FORM_MAX = 64 << 10 };

struct form {
  char *text, *instead; /* text: inside JSON */
  char *bytes;          /* as it is */
  size_t n_bytes;
};

struct csn_redact {
  struct form *forms;
  size_t n, room;
  bool begins[256]; /* whether some form's bytes begin so */
};

struct stream {
  const csn_redact *r;
  csn_buf held; /* the end of what came, as far as it may be the beginning of a form */
};

csn_redact *
csn_redact_new(void)
{
  return csn_alloc(sizeof(csn_redact));
}

void
csn_redact_free(csn_redact *r)
{
  if (!r)
    return;
  for (size_t i = 0; i < r->n; i++) {
    explicit_bzero(r->forms[i].text, strlen(r->forms[i].text));
    explicit_bzero(r->forms[i].bytes, r->forms[i].n_bytes);
    free(r->forms[i].text);
    free(r->forms[i].bytes);
    free(r->forms[i].instead);
  }
  free(r->forms);
  free(r);
}

static void
add_form(csn_redact *r, csn_str name, csn_str text)
{
  csn_auto(csn_buf_finip) csn_buf quoted = CSN_BUF(FORM_MAX), instead = CSN_BUF(400);
  csn_json_quote(&quoted, text);
  if (quoted.over || quoted.n < MIN_BYTES + 2)
    return;
  csn_str inner = csn_strn(quoted.p + 1, quoted.n - 2);
  for (size_t i = 0; i < r->n; i++)
    if (csn_str_eq(csn_cstr(r->forms[i].text), inner))
      return;
  if (r->n == r->room) {
    r->room = r->room ? r->room * 2 : 8;
    r->forms = csn_realloc(r->forms, r->room, sizeof *r->forms);
  }
  csn_buf_addf(&instead, "[secret:%.*s]", (int)(name.n & 0xff), name.p);
  r->forms[r->n++] = (struct form){.text = csn_dupz(inner),
                                   .instead = csn_dupz(csn_buf_str(&instead)),
                                   .bytes = csn_dupz(text),
                                   .n_bytes = text.n};
  r->begins[(unsigned char)*text.p] = true;
  explicit_bzero(quoted.p, quoted.n);
}

/* What is certain of the value's base64 when `before` unknown bytes, modulo
 * three, stand in front of it. */
static void
add_base64(csn_redact *r, csn_str name, csn_str value, size_t before)
{
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(FORM_MAX), text = CSN_BUF(FORM_MAX);
  csn_buf_add(&bytes, csn_strn("\0\0", before));
  csn_buf_add(&bytes, value);
  csn_base64_add(&text, csn_buf_str(&bytes));
  if (text.over || bytes.over)
    return;
  size_t from = (before * 8 + 5) / 6, to = (before + value.n) * 8 / 6;
  csn_str sure = csn_strn(text.p + from, to - from);
  add_form(r, name, sure);
  for (size_t i = 0; i < sure.n; i++)
    text.p[from + i] = sure.p[i] == '+' ? '-' : sure.p[i] == '/' ? '_' : sure.p[i];
  add_form(r, name, sure);
  explicit_bzero(text.p, text.n);
  explicit_bzero(bytes.p, bytes.n);
}

static void
add_url(csn_redact *r, csn_str name, csn_str value, const char *digits)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(FORM_MAX);
  for (size_t i = 0; i < value.n; i++) {
    unsigned char c = (unsigned char)value.p[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
        (c && strchr("-._~", c)))
      csn_buf_addc(&text, (char)c);
    else
      csn_buf_addf(&text, "%%%c%c", digits[c >> 4], digits[c & 15]);
  }
  add_form(r, name, csn_buf_str(&text));
  if (text.p)
    explicit_bzero(text.p, text.n);
}

void
csn_redact_add(csn_redact *r, csn_str name, csn_str value)
{
  if (value.n < MIN_BYTES)
    return;
  add_form(r, name, value);
  add_url(r, name, value, "0123456789ABCDEF");
  add_url(r, name, value, "0123456789abcdef");
  for (size_t before = 0; before < 3; before++)
    add_base64(r, name, value, before);
}

static bool
replace(csn_buf *text, const struct form *f)
{
  csn_str form = csn_cstr(f->text);
  size_t at = csn_str_find(csn_buf_str(text), form, 0), from = 0;
  if (at == SIZE_MAX)
    return false;
  csn_buf out = CSN_BUF(text->cap);
  for (; at != SIZE_MAX; at = csn_str_find(csn_buf_str(text), form, from)) {
    csn_buf_add(&out, csn_strn(text->p + from, at - from));
    csn_buf_addz(&out, f->instead);
    from = at + form.n;
  }
  csn_buf_add(&out, csn_strn(text->p + from, text->n - from));
  csn_buf_fini(text);
  *text = out;
  return true;
}

bool
csn_redact_json(const csn_redact *r, csn_buf *text)
{
  bool found = false;
  for (size_t i = 0; r && i < r->n; i++)
    found |= replace(text, &r->forms[i]);
  return found;
}

/* ---- streams ---- */

/* The longest form that stands at the begin of the text; waits: a longer one may. */
static const struct form *
form_at(const csn_redact *r, csn_str text, bool *waits)
{
  const struct form *found = NULL;
  *waits = false;
  for (size_t i = 0; i < r->n; i++) {
    const struct form *f = &r->forms[i];
    size_t n = f->n_bytes < text.n ? f->n_bytes : text.n;
    if (memcmp(f->bytes, text.p, n) != 0)
      continue;
    if (n < f->n_bytes)
      *waits = true;
    else if (!found || f->n_bytes > found->n_bytes)
      found = f;
  }
  return found;
}

/* What can be passed on is added to out; how many bytes of the text were used. */
static size_t
pass_on(const csn_redact *r, csn_str text, bool is_last, csn_buf *out)
{
  size_t from = 0, at = 0;
  while (at < text.n) {
    if (!r->begins[(unsigned char)text.p[at]]) {
      at++;
      continue;
    }
    bool waits;
    const struct form *f = form_at(r, csn_strn(text.p + at, text.n - at), &waits);
    if (waits && !is_last)
      break;
    if (f) {
      csn_buf_add(out, csn_strn(text.p + from, at - from));
      csn_buf_addz(out, f->instead);
      from = at + f->n_bytes;
    }
    at = f ? from : at + 1;
  }
  csn_buf_add(out, csn_strn(text.p + from, at - from));
  return at;
}

static void *
stream_begin(const void *user)
{
  struct stream *s = csn_alloc(sizeof *s);
  *s = (struct stream){.r = user, .held = CSN_BUF(SIZE_MAX / 4)};
  return s;
}

static void
stream_feed(void *stream, csn_str bytes, bool is_last, csn_buf *out)
{
  struct stream *s = stream;
  if (!s->held.n) {
    size_t used = pass_on(s->r, bytes, is_last, out);
    csn_buf_add(&s->held, csn_strn(bytes.p + used, bytes.n - used));
    return;
  }
  csn_buf_add(&s->held, bytes);
  csn_buf_drop(&s->held, pass_on(s->r, csn_buf_str(&s->held), is_last, out));
}

static void
stream_end(void *stream)
{
  struct stream *s = stream;
  if (s->held.p)
    explicit_bzero(s->held.p, s->held.room);
  csn_buf_fini(&s->held);
  free(s);
}

csn_output_filter
csn_redact_filter(const csn_redact *r)
{
  return (csn_output_filter){stream_begin, stream_feed, stream_end, r};
}
