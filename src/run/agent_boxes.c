/* SPDX-License-Identifier: Apache-2.0
 * agent_boxes.c - the section `sandboxes` of agent.yaml: several sandboxes by
 * name, in the place of `sandbox`.
 *
 *   sandboxes:
 *     build: {backend: docker, image: "gcc:14"}
 *     data: {network: {allow: [pypi.org]}, manifest: {...}, outputs: [...]}
 *
 * The first is the agent's own, the one that is meant where none is named; what
 * the file says of manifest, environment and outputs by themselves is about it.
 * Each other is kept as an agent that has the sections of a sandbox and nothing
 * else, so that whatever reads, checks and opens one does not differ. */
#include "run/agent_read.h"

static bool
is_name(csn_str s)
{
  bool good = s.n > 0 && s.n <= CSN_BOX_NAME_MAX && s.p[0] >= 'a' && s.p[0] <= 'z';
  for (size_t i = 0; good && i < s.n; i++)
    good = (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '_' ||
           s.p[i] == '-';
  return good;
}

/* All that may stand in an entry; into the reader's agent. */
static int
read_box(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const more[] = {"description", "manifest", "outputs", NULL};
  csn_str text = CSN_STR("");
  int rc = csn_agent_read_one_sandbox(r, m, more);
  if (rc == 0)
    rc = csn_agent_text(r, m, "description", &text);
  if (rc == 0 && text.n)
    r->a->sandbox.description = text.p;
  if (rc == 0 && csn_json_get(m, "manifest") && r->a->manifest)
    rc = csn_agent_complain(r, m,
                            "sandboxes: %.*s has a manifest, and the agent has one that is "
                            "about the first sandbox; leave one out",
                            (int)m->key.n, m->key.p);
  if (rc == 0)
    rc = csn_agent_read_manifest(r, m);
  return rc < 0 ? rc : csn_agent_read_outputs(r, m);
}

static int
read_other(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_agent *first = r->a;
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("");
  a->name = csn_arena_dup(a->arena, m->key).p;
  a->folder = first->folder;
  a->parent = first;
  a->has_sandbox = true;
  a->sandbox.backend = "jail";
  struct csn_agent_reader other = *r;
  other.a = a;
  int rc = read_box(&other, m);
  if (rc < 0)
    return rc;
  first->boxes = csn_realloc(first->boxes, first->n_boxes + 1, sizeof *first->boxes);
  first->boxes[first->n_boxes++] = csn_steal(a);
  return 0;
}

int
csn_agent_read_boxes(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_agent *a = r->a;
  int rc = csn_agent_want(r, m, "sandboxes", CSN_JSON_OBJECT);
  if (rc == 0 && (m->n < 1 || m->n > CSN_BOXES_MAX))
    rc = csn_agent_complain(r, m, "sandboxes: expected from 1 to %d, each with a name",
                            CSN_BOXES_MAX);
  csn_json_each (one, m) {
    if (rc == 0 && !is_name(one->key))
      rc = csn_agent_complain(r, one,
                              "sandboxes: '%.*s' is no name for one: expected a letter, then "
                              "letters, digits, _ and -, all small and at most %d",
                              one->key.n < 40 ? (int)one->key.n : 40, one->key.p, CSN_BOX_NAME_MAX);
    if (rc < 0)
      return rc;
    if (one == m->child) {
      a->box_name = csn_arena_dup(a->arena, one->key).p;
      rc = read_box(r, one);
    } else {
      rc = read_other(r, one);
    }
  }
  return rc;
}

/* The first one's manifest and outputs are the agent's, which writes them. */
void
csn_agent_write_boxes(const csn_agent *a, csn_jw *w)
{
  csn_jw_key(w, "sandboxes");
  csn_jw_obj(w);
  for (size_t i = 0; i <= a->n_boxes; i++) {
    const csn_agent *box = csn_agent_box(a, i);
    csn_jw_key(w, csn_agent_box_name(a, i));
    csn_jw_obj(w);
    if (box->sandbox.description) {
      csn_jw_key(w, "description");
      csn_jw_strz(w, box->sandbox.description);
    }
    csn_agent_write_one_sandbox(box, w);
    if (i && box->manifest) {
      csn_jw_key(w, "manifest");
      csn_manifest_to_json(box->manifest, w);
    }
    if (i)
      csn_agent_write_outputs(box, w);
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

const csn_agent *
csn_agent_box(const csn_agent *a, size_t i)
{
  return i == 0 ? a : i <= a->n_boxes ? a->boxes[i - 1] : NULL;
}

const char *
csn_agent_box_name(const csn_agent *a, size_t i)
{
  return i == 0 ? a->box_name : a->boxes[i - 1]->name;
}

bool
csn_agent_box_find(const csn_agent *a, csn_str name, size_t *i)
{
  const csn_agent *root = a->parent ? a->parent : a;
  for (size_t k = 0; root->box_name && k <= root->n_boxes; k++)
    if (csn_str_eq(name, csn_cstr(csn_agent_box_name(root, k)))) {
      *i = k;
      return true;
    }
  return false;
}

csn_str
csn_agent_box_names(const csn_agent *a, csn_arena *to)
{
  const csn_agent *root = a->parent ? a->parent : a;
  csn_str list = CSN_STR("");
  for (size_t i = 0; root->box_name && i <= root->n_boxes; i++)
    list = csn_arena_printf(to, "%.*s%s%s", (int)list.n, list.p, i ? ", " : "",
                            csn_agent_box_name(root, i));
  return list;
}

/* ---- what the model is told ---- */

bool
csn_agent_copies_files(const csn_agent *a)
{
  return a->has_files && !a->has_scopes && (a->parent ? a->parent : a)->n_boxes > 0;
}

void
csn_agent_tell_boxes(const csn_agent *a, csn_buf *out)
{
  const csn_agent *root = a->parent ? a->parent : a;
  if (!root->n_boxes)
    return;
  csn_buf_addf(out,
               "You have %zu sandboxes, apart from each other: each has a workspace and processes "
               "of its own, and a file of one is not in another. Tools take the name as `sandbox`; "
               "without it they work in `%s`.%s\n",
               root->n_boxes + 1, root->box_name,
               csn_agent_copies_files(a) ? " `copy_files` carries files from one to another." : "");
  for (size_t i = 0; i <= root->n_boxes; i++) {
    const char *text = csn_agent_box(root, i)->sandbox.description;
    csn_buf_addf(out, "\n- `%s`%s%s", csn_agent_box_name(root, i), text ? ": " : "",
                 text ? text : "");
  }
}

void
csn_agent_write_box_enum(const csn_agent *root, csn_jw *w)
{
  csn_jw_key(w, "enum");
  csn_jw_arr(w);
  for (size_t i = 0; i <= root->n_boxes; i++)
    csn_jw_strz(w, csn_agent_box_name(root, i));
  csn_jw_end(w);
}

/* The member `sandbox` of a tool's arguments. */
static void
write_argument(const csn_agent *root, csn_jw *w)
{
  csn_jw_key(w, "sandbox");
  csn_jw_obj(w);
  csn_jw_key(w, "default");
  csn_jw_strz(w, root->box_name);
  csn_jw_key(w, "description");
  csn_jw_strz(w, "The sandbox in which it is done.");
  csn_agent_write_box_enum(root, w);
  csn_jw_key(w, "title");
  csn_jw_strz(w, "Sandbox");
  csn_jw_key(w, "type");
  csn_jw_strz(w, "string");
  csn_jw_end(w);
}

/* The schema with one more property. */
static int
add_argument(csn_agent *a, const csn_agent *root, const char **schema, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  const csn_json *v;
  csn_jw w;
  int rc = csn_json_parse(a->arena, csn_cstr(*schema), &v, err);
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_json_each (m, rc == 0 ? v : NULL) {
    csn_jw_keyn(&w, m->key);
    if (!csn_str_eq(m->key, CSN_STR("properties"))) {
      csn_jw_value(&w, m);
      continue;
    }
    csn_jw_obj(&w);
    csn_json_each (p, m) {
      csn_jw_keyn(&w, p->key);
      csn_jw_value(&w, p);
    }
    write_argument(root, &w);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  *schema = csn_arena_dup(a->arena, csn_buf_str(&text)).p;
  return rc;
}

int
csn_agent_add_box_tool(csn_agent *a, const csn_tool *tool, csn_err *err)
{
  const csn_agent *root = a->parent ? a->parent : a;
  csn_tool t = *tool;
  if (!root->box_name)
    return csn_agent_add_tool(a, tool, err);
  int rc = add_argument(a, root, &t.schema, err);
  if (rc == 0)
    rc = csn_agent_add_tool(a, &t, err);
  if (rc == 0)
    a->tools[a->n_tools - 1].takes_box = true;
  return rc;
}
