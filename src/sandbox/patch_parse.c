/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_parse.c - patch text, or its JSON form, into operations.
 *
 * The envelope is lenient where models are known to slip (blanks around
 * markers, a here-document around the whole, CRLF), and strict about what
 * would be a guess: a line that belongs to nothing is an error that says which
 * line it is and what may stand there.  docs/apply_patch.md has the rules.
 */
#include "sandbox/patch_int.h"

typedef struct reader {
  csn_str rest, line; /* what follows, and the current line without its end */
  uint32_t number;    /* of the current line, from 1 */
  bool has;           /* there is a current line */
} reader;

static void
advance(reader *r)
{
  r->has = csn_str_line(&r->rest, &r->line);
  r->number++;
}

/* "patch line N: " and the offending line in front of what is expected. */
static int
bad_line(const reader *r, const char *what, csn_err *err)
{
  csn_buf shown = CSN_BUF(200);
  csn_patch_show(&shown, r->line, 100);
  int rc = csn_fail(err, CSN_E_PARSE, "patch line %u: \"%s\": %s", r->number,
                    shown.p ? shown.p : "", what);
  csn_buf_fini(&shown);
  return rc;
}

static bool
cut_head(csn_str s, const char *head, csn_str *rest)
{
  csn_str h = csn_cstr(head);
  if (!csn_str_starts(s, h))
    return false;
  *rest = csn_strn(s.p + h.n, s.n - h.n);
  return true;
}

static void *
grow(void *p, size_t n, size_t *room, size_t size)
{
  if (n < *room)
    return p;
  *room = *room ? *room * 2 : 64;
  return csn_realloc(p, *room, size);
}

static csn_patch_op *
add_op(csn_patch *p, enum csn_patch_kind kind, csn_str path, uint32_t line, csn_err *err)
{
  if (p->n_ops == CSN_PATCH_OPS_MAX) {
    csn_fail(err, CSN_E_LIMIT, "patch line %u: more than %d file operations in one patch; split it",
             line, CSN_PATCH_OPS_MAX);
    return NULL;
  }
  p->ops = grow(p->ops, p->n_ops, &p->room_ops, sizeof *p->ops);
  csn_patch_op *op = &p->ops[p->n_ops++];
  *op = (csn_patch_op){.kind = kind, .path = path, .line = line, .first = (uint32_t)p->n_hunks};
  return op;
}

static csn_patch_hunk *
add_hunk(csn_patch *p, uint32_t line)
{
  p->hunks = grow(p->hunks, p->n_hunks, &p->room_hunks, sizeof *p->hunks);
  csn_patch_hunk *h = &p->hunks[p->n_hunks++];
  *h = (csn_patch_hunk){.line = line, .first = (uint32_t)p->n_lines};
  p->ops[p->n_ops - 1].n++;
  return h;
}

static int
add_line(csn_patch *p, char op, csn_str text, const reader *r, csn_err *err)
{
  if (p->n_lines == CSN_PATCH_LINES_MAX)
    return csn_fail(err, CSN_E_LIMIT, "patch line %u: more than %d lines in one patch; split it",
                    r->number, CSN_PATCH_LINES_MAX);
  p->lines = grow(p->lines, p->n_lines, &p->room_lines, sizeof *p->lines);
  p->lines[p->n_lines++] = (csn_patch_line){text, op};
  p->hunks[p->n_hunks - 1].n++;
  return 0;
}

/* The "+" lines of a new file; each ends in a newline. */
static int
parse_added(csn_patch *p, csn_patch_op *op, reader *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_PATCH_TEXT_MAX + 1);
  csn_str line;
  for (; r->has && cut_head(r->line, "+", &line); advance(r)) {
    csn_buf_add(&text, line);
    csn_buf_addc(&text, '\n');
  }
  int rc = csn_buf_done(&text, "new file", err);
  if (rc < 0)
    return rc;
  if (text.n)
    op->content = csn_arena_dup(p->arena, csn_buf_str(&text));
  return 0;
}

/* One hunk: an "@@" line (optional for the first) and its lines. */
static int
parse_hunk(csn_patch *p, reader *r, bool is_first, csn_err *err)
{
  csn_str mark = csn_patch_trim(r->line, 1), anchor;
  csn_patch_hunk head = {.line = r->number};
  if (csn_str_eq(mark, CSN_STR("@@"))) {
    advance(r);
  } else if (cut_head(mark, "@@ ", &anchor)) {
    head.has_anchor = true;
    head.anchor = anchor;
    advance(r);
  } else if (!is_first) {
    return bad_line(
        r, "every line of a hunk starts with ' ', '+' or '-', and the next hunk with @@", err);
  }
  csn_patch_hunk *h = add_hunk(p, head.line);
  h->has_anchor = head.has_anchor;
  h->anchor = head.anchor;
  for (; r->has; advance(r)) {
    csn_str l = r->line;
    int rc = 0;
    if (l.n == 0)
      rc = add_line(p, ' ', l, r, err);
    else if (l.p[0] == ' ' || l.p[0] == '+' || l.p[0] == '-')
      rc = add_line(p, l.p[0], csn_strn(l.p + 1, l.n - 1), r, err);
    else if (h->n && csn_str_eq(csn_patch_trim(l, 1), CSN_STR("*** End of File")))
      h->at_end = true;
    else
      break;
    if (rc < 0)
      return rc;
    if (h->at_end) {
      advance(r);
      break;
    }
  }
  if (h->n == 0 && r->has)
    return bad_line(r, "a hunk needs at least one line, each starting with ' ', '+' or '-'", err);
  if (h->n == 0)
    return csn_fail(err, CSN_E_PARSE, "patch line %u: the hunk has no lines", h->line);
  return 0;
}

static int
parse_hunks(csn_patch *p, csn_patch_op *op, reader *r, csn_err *err)
{
  while (r->has) {
    if (op->n && csn_patch_trim(r->line, 3).n == 0) { /* below an end of file */
      advance(r);
      continue;
    }
    if (csn_str_starts(r->line, CSN_STR("***")))
      break;
    int rc = parse_hunk(p, r, op->n == 0, err);
    if (rc < 0)
      return rc;
  }
  if (op->n)
    return 0;
  csn_buf shown = CSN_BUF(300);
  csn_patch_show(&shown, op->path, 120);
  int rc = csn_fail(err, CSN_E_PARSE,
                    "patch line %u: the update of %s has no hunk; add one (@@, then lines that "
                    "start with ' ', '+' or '-')",
                    op->line, shown.p);
  csn_buf_fini(&shown);
  return rc;
}

/* One "*** ... File: path" section; the current line is its header. */
static int
parse_section(csn_patch *p, reader *r, csn_err *err)
{
  csn_str head = csn_patch_trim(r->line, 3), path;
  enum csn_patch_kind kind;
  if (cut_head(head, "*** Add File: ", &path))
    kind = CSN_PATCH_ADD;
  else if (cut_head(head, "*** Delete File: ", &path))
    kind = CSN_PATCH_DELETE;
  else if (cut_head(head, "*** Update File: ", &path))
    kind = CSN_PATCH_UPDATE;
  else if (csn_str_starts(head, CSN_STR("*** Move to:")))
    return bad_line(r, "a move stands directly below its \"*** Update File: PATH\" line", err);
  else
    return bad_line(r,
                    "expected \"*** Add File: PATH\", \"*** Update File: PATH\", \"*** Delete "
                    "File: PATH\" or \"*** End Patch\" (lines of a new file start with '+')",
                    err);
  csn_patch_op *op = add_op(p, kind, path, r->number, err);
  if (!op)
    return CSN_E_LIMIT;
  advance(r);
  if (kind == CSN_PATCH_ADD)
    return parse_added(p, op, r, err);
  if (kind == CSN_PATCH_DELETE)
    return 0;
  while (r->has && csn_str_eq(csn_patch_trim(r->line, 1), CSN_STR("*** End of File")))
    advance(r); /* of no hunk: means nothing */
  if (r->has && cut_head(csn_patch_trim(r->line, 1), "*** Move to: ", &path)) {
    op->to = path;
    advance(r);
  }
  return parse_hunks(p, op, r, err);
}

/* Cuts a here-document's first and last line off. */
static csn_str
unwrap(csn_str t, uint32_t *line)
{
  static const csn_str heads[] = {CSN_STR_INIT("<<EOF"), CSN_STR_INIT("<<'EOF'"),
                                  CSN_STR_INIT("<<\"EOF\"")};
  csn_str rest = t, first;
  if (!csn_str_line(&rest, &first) || !csn_str_ends(t, CSN_STR("EOF")))
    return t;
  for (size_t i = 0; i < CSN_COUNT(heads); i++) {
    if (!csn_str_eq(first, heads[i]))
      continue;
    size_t n = rest.n;
    while (n && rest.p[n - 1] != '\n')
      n--;
    *line += 1;
    return csn_strn(rest.p, n);
  }
  return t;
}

static int
parse_text(csn_patch *p, csn_str text, csn_err *err)
{
  csn_str t = csn_patch_trim(text, 3);
  uint32_t number = 0;
  for (const char *c = text.p; c < t.p; c++)
    number += *c == '\n';
  t = unwrap(t, &number);
  reader r = {.rest = t, .number = number};
  advance(&r);
  if (!r.has || !csn_str_eq(csn_patch_trim(r.line, 3), CSN_STR("*** Begin Patch"))) {
    if (!r.has)
      return csn_fail(err, CSN_E_PARSE,
                      "the patch is empty; its first line is \"*** Begin Patch\"");
    return bad_line(&r, "the first line of a patch must be \"*** Begin Patch\"", err);
  }
  size_t last = t.n;
  while (last && t.p[last - 1] == '\n')
    last--;
  size_t end = last;
  while (last && t.p[last - 1] != '\n')
    last--;
  if (!csn_str_eq(csn_patch_trim(csn_strn(t.p + last, end - last), 3), CSN_STR("*** End Patch")))
    return csn_fail(err, CSN_E_PARSE,
                    "the last line of a patch must be \"*** End Patch\", with nothing after it");
  r.rest.n = (size_t)(t.p + last - r.rest.p);
  advance(&r);
  csn_str id;
  if (r.has && cut_head(csn_patch_trim(r.line, 3), "*** Environment ID: ", &id))
    advance(&r);
  while (r.has && !csn_str_eq(csn_patch_trim(r.line, 3), CSN_STR("*** End Patch"))) {
    int rc = parse_section(p, &r, err);
    if (rc < 0)
      return rc;
  }
  for (; r.has; advance(&r)) {
    csn_str head = csn_patch_trim(r.line, 3);
    if (head.n && !csn_str_eq(head, CSN_STR("*** End Patch")))
      return bad_line(&r, "nothing may follow \"*** End Patch\"; put all files into one patch",
                      err);
  }
  return 0;
}

/* The `diff` of a JSON operation, by the same rules as the lines of the text
 * form. */
static int
parse_diff(csn_patch *p, csn_patch_op *op, csn_str diff, csn_err *err)
{
  reader r = {.rest = diff};
  advance(&r);
  int rc = op->kind == CSN_PATCH_ADD ? parse_added(p, op, &r, err) : parse_hunks(p, op, &r, err);
  if (rc < 0)
    return rc;
  if (!r.has)
    return 0;
  return bad_line(&r,
                  op->kind == CSN_PATCH_ADD ? "every line of a new file starts with '+'"
                                            : "unexpected line in a diff",
                  err);
}

static int
parse_json_op(csn_patch *p, const csn_json *v, csn_err *err)
{
  static const struct {
    const char *type;
    enum csn_patch_kind kind;
  } kinds[] = {{"create_file", CSN_PATCH_ADD},
               {"update_file", CSN_PATCH_UPDATE},
               {"delete_file", CSN_PATCH_DELETE}};
  csn_str type, path, diff = {0};
  int rc = csn_json_need_str(v, "type", &type, err);
  if (rc < 0)
    return rc;
  size_t k = 0;
  while (k < CSN_COUNT(kinds) && !csn_str_eq(type, csn_cstr(kinds[k].type)))
    k++;
  if (k == CSN_COUNT(kinds))
    return csn_fail(err, CSN_E_PARSE, "type: expected create_file, update_file or delete_file");
  rc = csn_json_need_str(v, "path", &path, err);
  if (rc < 0)
    return rc;
  if (kinds[k].kind != CSN_PATCH_DELETE && (rc = csn_json_need_str(v, "diff", &diff, err)) < 0)
    return rc;
  csn_patch_op *op = add_op(p, kinds[k].kind, path, 0, err);
  if (!op)
    return CSN_E_LIMIT;
  const csn_json *to = csn_json_get(v, "move_to");
  if (to && to->kind != CSN_JSON_NULL) {
    if (to->kind != CSN_JSON_STRING || to->text.n == 0 || op->kind != CSN_PATCH_UPDATE)
      return csn_fail(err, CSN_E_PARSE, "move_to: expected a path, in an update_file operation");
    op->to = to->text;
  }
  return op->kind == CSN_PATCH_DELETE ? 0 : parse_diff(p, op, diff, err);
}

/* {operations:[...]}, {operation:{...}}, one operation, or a list of them. */
static int
parse_json(csn_patch *p, csn_str text, csn_err *err)
{
  const csn_json *v;
  int rc = csn_json_parse(p->arena, text, &v, err);
  if (rc < 0)
    return rc;
  const csn_json *list = csn_json_get(v, "operations"), *one = csn_json_get(v, "operation");
  if (list && list->kind != CSN_JSON_ARRAY)
    return csn_fail(err, CSN_E_PARSE, "operations: expected a list of operations");
  if (!list && v->kind == CSN_JSON_ARRAY)
    list = v;
  if (!list) {
    rc = parse_json_op(p, one ? one : v, err);
    return csn_wrap(err, rc, "operation");
  }
  size_t i = 0;
  csn_json_each (it, list) {
    rc = parse_json_op(p, it, err);
    if (rc < 0)
      return csn_wrap(err, rc, "operations[%zu]", i);
    i++;
  }
  return 0;
}

csn_patch *
csn_patch_new(void)
{
  csn_patch *p = csn_alloc(sizeof *p);
  p->dir = p->from_dir = -1;
  p->uid = p->gid = -1;
  p->work = CSN_PATCH_WORK_MAX;
  p->arena = csn_arena_new(0);
  csn_random_bytes(&p->seed, sizeof p->seed);
  return p;
}

int
csn_patch_parse(csn_patch **out, csn_str text, csn_err *err)
{
  if (text.n > CSN_PATCH_TEXT_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the patch has %zu bytes; at most %zu are accepted: split it",
                    text.n, CSN_PATCH_TEXT_MAX);
  csn_auto(csn_patch_freep) csn_patch *p = csn_patch_new();
  csn_str own = csn_arena_dup(p->arena, text), t = csn_patch_trim(own, 3);
  int rc;
  if (t.n && (t.p[0] == '{' || t.p[0] == '['))
    rc = parse_json(p, t, err);
  else
    rc = parse_text(p, own, err);
  if (rc < 0)
    return rc;
  if (p->n_ops == 0)
    return csn_fail(err, CSN_E_PARSE,
                    "the patch names no file; add \"*** Add File: PATH\", \"*** Update File: "
                    "PATH\" or \"*** Delete File: PATH\"");
  *out = csn_steal(p);
  return 0;
}

void
csn_patch_free(csn_patch *p)
{
  if (!p)
    return;
  csn_patch_unstage(p);
  for (size_t i = 0; i < p->n_slots; i++)
    csn_buf_fini(&p->slots[i].now);
  csn_arena_free(p->arena);
  free(p->lines);
  free(p->hunks);
  free(p->ops);
  free(p->slots);
  free(p->table);
  free(p->made_dirs);
  csn_closep(&p->dir);
  free(p);
}
