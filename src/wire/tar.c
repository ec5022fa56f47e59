/* SPDX-License-Identifier: Apache-2.0
 *
 * tar.c - a strict, incremental reader of tar archives; see wire/tar.h.
 *
 * A block of 512 bytes is gathered, then read as a header.  Content is handed
 * on as it comes.  Extended headers (pax x and g, GNU L and K) are gathered
 * whole, under a cap, and change the next entry. */
#include "wire/tar.h"

enum state { AT_HEADER, IN_EXTENDED, IN_CONTENT, IN_PADDING, AT_END };

/* What an extended header said about the next entry; -1 or NULL: nothing. */
struct extension {
  char *name, *link;
  int64_t uid, gid, size, mtime_s;
  int32_t mtime_ns;
  bool has_mtime;
};

struct csn_tar {
  csn_tar_sink sink;
  enum state state;
  bool any, wanted, zero; /* zero: one block of the end mark was read */
  char extended;          /* type of the extended header being read */
  uint64_t left, padding; /* bytes of content, then of padding, still to come */
  uint64_t offset;
  size_t have;
  unsigned char block[CSN_TAR_BLOCK];
  csn_buf text; /* of the extended header */
  struct extension next;
  char name[CSN_TAR_NAME_MAX + 1];
};

/* ---- fields of a header block ---- */

enum {
  NAME_AT = 0,
  MODE_AT = 100,
  UID_AT = 108,
  GID_AT = 116,
  SIZE_AT = 124,
  MTIME_AT = 136,
  SUM_AT = 148,
  TYPE_AT = 156,
  LINK_AT = 157,
  MAGIC_AT = 257,
  PREFIX_AT = 345,
  NAME_LEN = 100,
  PREFIX_LEN = 155,
  NUMBER_LEN = 12,
  SHORT_LEN = 8,
};

static int
broken(const csn_tar *t, const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_PARSE, "not a sound tar archive: %s, before byte %llu", what,
                  (unsigned long long)t->offset);
}

/* Base 256, GNU's form for what octal digits cannot hold. */
static bool
binary_number(const unsigned char *p, size_t n, int64_t *out)
{
  bool negative = p[0] == 0xff;
  if (p[0] != 0x80 && !negative)
    return false;
  uint64_t value = negative ? UINT64_MAX : 0;
  for (size_t i = 1; i < n; i++) {
    if (value >> 56 != (negative ? 0xffu : 0))
      return false;
    value = value << 8 | p[i];
  }
  *out = (int64_t)value;
  return (*out < 0) == negative;
}

/* Octal digits between blanks, up to a blank or NUL; an empty field is 0. */
static bool
octal_number(const unsigned char *p, size_t n, int64_t *out)
{
  size_t i = 0;
  int64_t value = 0;
  while (i < n && p[i] == ' ')
    i++;
  for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
    value = value * 8 + (p[i] - '0'); /* 12 digits: 36 bits */
  for (; i < n; i++)
    if (p[i] != ' ' && p[i] != '\0')
      return false;
  *out = value;
  return true;
}

static bool
number(const csn_tar *t, size_t at, size_t n, int64_t *out)
{
  const unsigned char *p = t->block + at;
  return p[0] & 0x80 ? binary_number(p, n, out) : octal_number(p, n, out);
}

static bool
sum_is_right(const csn_tar *t)
{
  int64_t want, unsigned_sum = 0, signed_sum = 0;
  for (size_t i = 0; i < CSN_TAR_BLOCK; i++) {
    unsigned char c = i >= SUM_AT && i < SUM_AT + SHORT_LEN ? ' ' : t->block[i];
    unsigned_sum += c;
    signed_sum += (signed char)c; /* of old programs */
  }
  return number(t, SUM_AT, SHORT_LEN, &want) && (want == unsigned_sum || want == signed_sum);
}

/* ---- extended headers ---- */

static void
extension_clear(struct extension *x)
{
  free(x->name);
  free(x->link);
  *x = (struct extension){.uid = -1, .gid = -1, .size = -1};
}

static int
take_name(csn_tar *t, char **to, csn_str s, csn_err *err)
{
  if (s.n > CSN_TAR_NAME_MAX)
    return csn_fail(err, CSN_E_LIMIT, "a name in the archive has %zu bytes, more than %d", s.n,
                    CSN_TAR_NAME_MAX);
  if (s.n == 0 || memchr(s.p, '\0', s.n))
    return broken(t, "an empty name or one with a NUL", err);
  if (*to)
    return broken(t, "an entry with two names", err);
  *to = csn_dupz(s);
  return 0;
}

/* "1234.5678": seconds and their fraction, of which nine digits count. */
static bool
parse_time(csn_str s, struct extension *x)
{
  size_t dot = csn_str_find(s, CSN_STR("."), 0);
  csn_str whole = csn_strn(s.p, dot == SIZE_MAX ? s.n : dot);
  int64_t ns = 0, unit = 100000000;
  if (!csn_str_int(whole, &x->mtime_s))
    return false;
  for (size_t i = dot == SIZE_MAX ? s.n : dot + 1; i < s.n; i++, unit /= 10) {
    if (s.p[i] < '0' || s.p[i] > '9')
      return false;
    ns += (s.p[i] - '0') * unit;
  }
  x->mtime_ns = whole.p[0] == '-' ? 0 : (int32_t)ns;
  return x->has_mtime = true;
}

static int
take_record(csn_tar *t, csn_str key, csn_str value, csn_err *err)
{
  struct extension *x = &t->next;
  struct {
    csn_str key;
    int64_t *to;
  } numbers[] = {{CSN_STR("size"), &x->size}, {CSN_STR("uid"), &x->uid}, {CSN_STR("gid"), &x->gid}};
  bool is_path = csn_str_eq(key, CSN_STR("path")), is_link = csn_str_eq(key, CSN_STR("linkpath"));
  if (csn_str_starts(key, CSN_STR("GNU.sparse.")))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the archive has a sparse file; make it again without tar's --sparse");
  if (t->extended == 'g') {
    if (is_path || is_link || csn_str_eq(key, CSN_STR("size")))
      return broken(t, "a global header that names files", err);
    return 0; /* comments, and defaults that every entry has of its own */
  }
  if (is_path || is_link)
    return take_name(t, is_path ? &x->name : &x->link, value, err);
  if (csn_str_eq(key, CSN_STR("mtime")))
    return parse_time(value, x) ? 0 : broken(t, "a time that is no number", err);
  for (size_t i = 0; i < CSN_COUNT(numbers); i++)
    if (csn_str_eq(key, numbers[i].key) &&
        (!csn_str_int(value, numbers[i].to) || *numbers[i].to < 0))
      return broken(t, "a size or owner that is no number", err);
  return 0; /* attributes and the like */
}

/* "LENGTH KEY=VALUE\n", over and over. */
static int
parse_pax(csn_tar *t, csn_err *err)
{
  csn_str rest = csn_buf_str(&t->text);
  while (rest.n) {
    int64_t length;
    size_t blank = csn_str_find(csn_strn(rest.p, rest.n < 12 ? rest.n : 12), CSN_STR(" "), 0);
    if (blank == SIZE_MAX || !csn_str_int(csn_strn(rest.p, blank), &length) ||
        length < (int64_t)blank + 3 || (uint64_t)length > rest.n || rest.p[length - 1] != '\n')
      return broken(t, "a malformed extended header", err);
    csn_str record = csn_strn(rest.p + blank + 1, (size_t)length - blank - 2);
    size_t equals = csn_str_find(record, CSN_STR("="), 0);
    if (equals == SIZE_MAX || equals == 0)
      return broken(t, "a malformed extended header", err);
    csn_str value = csn_strn(record.p + equals + 1, record.n - equals - 1);
    int rc = take_record(t, csn_strn(record.p, equals), value, err);
    if (rc < 0)
      return rc;
    rest = csn_strn(rest.p + length, rest.n - (size_t)length);
  }
  return 0;
}

static int
end_extended(csn_tar *t, csn_err *err)
{
  csn_str text = csn_buf_str(&t->text);
  if (t->extended == 'x' || t->extended == 'g')
    return parse_pax(t, err);
  while (text.n && text.p[text.n - 1] == '\0')
    text.n--;
  return take_name(t, t->extended == 'L' ? &t->next.name : &t->next.link, text, err);
}

/* ---- entries ---- */

static csn_str
field(const csn_tar *t, size_t at, size_t n)
{
  const char *p = (const char *)t->block + at;
  return csn_strn(p, strnlen(p, n));
}

static int
entry_name(csn_tar *t, csn_tar_entry *e, char link[NAME_LEN + 1], csn_err *err)
{
  csn_str name = field(t, NAME_AT, NAME_LEN), prefix = {NULL, 0}, target = {NULL, 0};
  if (memcmp(t->block + MAGIC_AT, "ustar\0", 6) == 0) /* GNU has times where the prefix is */
    prefix = field(t, PREFIX_AT, PREFIX_LEN);
  target = field(t, LINK_AT, NAME_LEN);
  if (t->next.name) {
    e->name = t->next.name;
  } else {
    size_t n = prefix.n;
    memcpy(t->name, prefix.n ? prefix.p : "", prefix.n);
    if (n)
      t->name[n++] = '/';
    memcpy(t->name + n, name.p, name.n);
    t->name[n + name.n] = '\0';
    e->name = t->name;
  }
  memcpy(link, target.p, target.n);
  link[target.n] = '\0';
  e->link = t->next.link ? t->next.link : link;
  return *e->name ? 0 : broken(t, "an entry without a name", err);
}

static int
entry_kind(const csn_tar *t, csn_tar_entry *e, csn_err *err)
{
  char type = (char)t->block[TYPE_AT];
  size_t n = strlen(e->name);
  bool is_folder = e->name[n - 1] == '/'; /* v7 had no type for it */
  switch (type) {
  case '\0':
  case '0':
  case '7':
    e->kind = is_folder ? CSN_TAR_DIR : CSN_TAR_FILE;
    break;
  case '1':
    e->kind = CSN_TAR_HARDLINK;
    break;
  case '2':
    e->kind = CSN_TAR_SYMLINK;
    break;
  case '3':
  case '4':
    e->kind = CSN_TAR_DEVICE;
    break;
  case '5':
    e->kind = CSN_TAR_DIR;
    break;
  case '6':
    e->kind = CSN_TAR_FIFO;
    break;
  case 'S':
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "%.200s is a sparse file; make the archive again without tar's --sparse",
                    e->name);
  default:
    return csn_fail(err, CSN_E_UNSUPPORTED, "%.200s is an entry of the unknown type 0x%02x",
                    e->name, (unsigned char)type);
  }
  if ((e->kind == CSN_TAR_HARDLINK || e->kind == CSN_TAR_SYMLINK) && (e->size || !*e->link))
    return broken(t, "a link with content or without a target", err);
  /* Some programs write a folder's own size; none writes content after it. */
  if (e->kind != CSN_TAR_FILE)
    e->size = 0;
  return 0;
}

static int
begin_entry(csn_tar *t, csn_err *err)
{
  char link[NAME_LEN + 1];
  struct extension *x = &t->next;
  csn_tar_entry e = {0};
  int64_t mode;
  if (!number(t, MODE_AT, SHORT_LEN, &mode) || !number(t, UID_AT, SHORT_LEN, &e.uid) ||
      !number(t, GID_AT, SHORT_LEN, &e.gid) || !number(t, SIZE_AT, NUMBER_LEN, &e.size) ||
      !number(t, MTIME_AT, NUMBER_LEN, &e.mtime_s))
    return broken(t, "a field that is no number", err);
  e.mode = (uint32_t)mode & 07777;
  e.uid = x->uid >= 0 ? x->uid : e.uid;
  e.gid = x->gid >= 0 ? x->gid : e.gid;
  e.size = x->size >= 0 ? x->size : e.size;
  if (x->has_mtime) {
    e.mtime_s = x->mtime_s;
    e.mtime_ns = x->mtime_ns;
  }
  if (e.size < 0 || e.size > INT64_MAX - CSN_TAR_BLOCK || e.uid < 0 || e.gid < 0)
    return broken(t, "a negative or absurd size or owner", err);
  int rc = entry_name(t, &e, link, err);
  if (rc == 0)
    rc = entry_kind(t, &e, err);
  if (rc == 0)
    rc = t->sink.entry(t->sink.user, &e, err);
  if (rc < 0)
    return rc;
  t->wanted = rc > 0 && e.kind == CSN_TAR_FILE;
  t->left = (uint64_t)e.size;
  t->padding = (CSN_TAR_BLOCK - t->left % CSN_TAR_BLOCK) % CSN_TAR_BLOCK;
  t->state = IN_CONTENT;
  extension_clear(x);
  return 0;
}

static int
begin_extended(csn_tar *t, csn_err *err)
{
  int64_t size;
  if (!number(t, SIZE_AT, NUMBER_LEN, &size) || size < 0)
    return broken(t, "a field that is no number", err);
  if (size > CSN_TAR_HEADER_MAX)
    return csn_fail(err, CSN_E_LIMIT, "an extended header has %lld bytes, more than %d",
                    (long long)size, CSN_TAR_HEADER_MAX);
  t->extended = (char)t->block[TYPE_AT];
  t->left = (uint64_t)size;
  t->padding = (CSN_TAR_BLOCK - t->left % CSN_TAR_BLOCK) % CSN_TAR_BLOCK;
  csn_buf_clear(&t->text);
  t->state = IN_EXTENDED;
  return 0;
}

static bool
is_zero(const csn_tar *t)
{
  return t->block[0] == 0 && memcmp(t->block, t->block + 1, CSN_TAR_BLOCK - 1) == 0;
}

static int
take_header(csn_tar *t, csn_err *err)
{
  if (is_zero(t)) {
    if (t->next.name || t->next.link)
      return broken(t, "an extended header with no entry behind it", err);
    t->state = t->zero ? AT_END : AT_HEADER;
    t->zero = true;
    return 0;
  }
  if (t->zero)
    return broken(t, "half an end mark", err);
  if (!sum_is_right(t))
    return broken(t, t->any ? "a wrong check sum" : "the first block is no header", err);
  t->any = true;
  switch (t->block[TYPE_AT]) {
  case 'x':
  case 'g':
  case 'L':
  case 'K':
    return begin_extended(t, err);
  case 'V': /* the name of a volume */
    t->state = AT_HEADER;
    return 0;
  default:
    return begin_entry(t, err);
  }
}

/* ---- the machine ---- */

/* Moves on when nothing is left of content or padding. */
static int
settle(csn_tar *t, csn_err *err)
{
  int rc = 0;
  if (t->state == IN_EXTENDED && t->left == 0) {
    rc = end_extended(t, err);
    t->state = IN_PADDING;
  } else if (t->state == IN_CONTENT && t->left == 0) {
    if (t->wanted)
      rc = t->sink.end(t->sink.user, err);
    t->wanted = false;
    t->state = IN_PADDING;
  }
  if (t->state == IN_PADDING && t->padding == 0)
    t->state = AT_HEADER;
  return rc;
}

static size_t
most(uint64_t left, size_t have)
{
  return left < have ? (size_t)left : have;
}

/* Takes some of the bytes, at least one. */
static int
take(csn_tar *t, csn_str bytes, size_t *taken, csn_err *err)
{
  int rc = 0;
  switch (t->state) {
  case AT_HEADER:
    *taken = most(CSN_TAR_BLOCK - t->have, bytes.n);
    memcpy(t->block + t->have, bytes.p, *taken);
    t->have += *taken;
    t->offset += *taken;
    if (t->have < CSN_TAR_BLOCK)
      return 0;
    t->have = 0;
    rc = take_header(t, err);
    return rc < 0 ? rc : settle(t, err);
  case IN_EXTENDED:
  case IN_CONTENT:
    *taken = most(t->left, bytes.n);
    if (t->state == IN_EXTENDED)
      csn_buf_add(&t->text, csn_strn(bytes.p, *taken));
    else if (t->wanted)
      rc = t->sink.data(t->sink.user, csn_strn(bytes.p, *taken), err);
    t->left -= *taken;
    break;
  case IN_PADDING:
    *taken = most(t->padding, bytes.n);
    t->padding -= *taken;
    break;
  case AT_END:
    *taken = bytes.n;
    break;
  }
  t->offset += *taken;
  return rc < 0 ? rc : settle(t, err);
}

int
csn_tar_feed(csn_tar *t, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    size_t taken = 0;
    int rc = take(t, bytes, &taken, err);
    if (rc < 0)
      return rc;
    bytes = csn_strn(bytes.p + taken, bytes.n - taken);
  }
  return 0;
}

int
csn_tar_done(const csn_tar *t, csn_err *err)
{
  /* One zero block is what some programs end with. */
  if (t->state == AT_END || (t->state == AT_HEADER && t->have == 0 && (t->zero || t->offset == 0)))
    return 0;
  return csn_fail(err, CSN_E_PARSE, "the tar archive ends too early, after %llu bytes",
                  (unsigned long long)t->offset);
}

uint64_t
csn_tar_skippable(const csn_tar *t)
{
  if (t->state == IN_CONTENT && !t->wanted)
    return t->left + t->padding;
  return t->state == IN_PADDING ? t->padding : 0;
}

void
csn_tar_skip(csn_tar *t, uint64_t n)
{
  uint64_t content = t->state != IN_CONTENT ? 0 : n < t->left ? n : t->left;
  t->offset += n;
  t->left -= content;
  t->padding -= n - content;
  (void)!settle(t, NULL); /* content that nobody wants cannot fail */
}

bool
csn_tar_ended(const csn_tar *t)
{
  return t->state == AT_END;
}

uint64_t
csn_tar_offset(const csn_tar *t)
{
  return t->offset;
}

csn_tar *
csn_tar_new(const csn_tar_sink *sink)
{
  csn_tar *t = csn_alloc(sizeof *t);
  t->sink = *sink;
  t->text = CSN_BUF(CSN_TAR_HEADER_MAX);
  extension_clear(&t->next);
  return t;
}

void
csn_tar_free(csn_tar *t)
{
  if (!t)
    return;
  extension_clear(&t->next);
  csn_buf_fini(&t->text);
  free(t);
}
