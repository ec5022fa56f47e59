/* SPDX-License-Identifier: Apache-2.0
 * boxing.c - see boxing.h. */
#include "boxing.h"

#include <unistd.h>

#include "importing.h"
#include "sandbox/limits.h"
#include "sandbox/rootfs_word.h"

/* Unpacks an image here and not while the sandbox opens, for its progress to
 * be seen.  The word with an absolute path, or NULL. */
static const char *
prepare_rootfs(cli *c, const char *text, csn_rootfs **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf word = CSN_BUF(1 << 16);
  csn_auto(csn_freep) char *here = getcwd(NULL, 0);
  csn_image_progress progress = cli_import_progress(c);
  csn_rootfs_word_resolve(&word, csn_cstr(text), here ? here : "");
  int rc = csn_buf_done(&word, "option --rootfs", err);
  if (rc == 0)
    rc = csn_rootfs_open(out, &c->scope, word.p, &progress, err);
  if (c->err_tty)
    cli_status(c, NULL);
  return rc < 0 ? NULL : csn_arena_dup(c->arena, csn_buf_str(&word)).p;
}

static int
read_limits(const cli_box_opts *o, csn_sandbox_limits *l, csn_err *err)
{
  int rc = 0;
  *l = (csn_sandbox_limits){.strict = o->strict};
  for (enum csn_limit i = 0; i < CSN_LIMITS && rc == 0; i++) {
    int64_t value = 0;
    if (!o->limits[i])
      continue;
    rc = csn_limit_parse(i, csn_cstr(o->limits[i]), &value, err);
    csn_limit_ask(l, i, value);
  }
  return rc;
}

int
cli_box_options(cli *c, const cli_list *list, const csn_json **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  if (!list->n)
    return 0;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  for (size_t i = 0; i < list->n; i++) {
    const char *word = list->v[i], *sign = strchr(word, '=');
    const csn_json *v;
    if (!sign || sign == word)
      return csn_fail(err, CSN_E_INVALID, "option --option: '%s' should be NAME=VALUE", word);
    csn_str name = csn_strn(word, (size_t)(sign - word));
    for (size_t k = 0; k < i; k++)
      if (csn_str_starts(csn_cstr(list->v[k]), name) && list->v[k][name.n] == '=')
        return csn_fail(err, CSN_E_INVALID, "option --option: %.*s is given twice", (int)name.n,
                        name.p);
    csn_jw_keyn(&w, name);
    if (csn_json_parse(c->arena, csn_cstr(sign + 1), &v, NULL) == 0)
      csn_jw_value(&w, v);
    else
      csn_jw_strz(&w, sign + 1);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc
                : csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_buf_str(&text)), out, err);
}

static void
show(void *user, const char *what)
{
  cli *c = user;
  if (c->err_tty)
    cli_status(c, "%s", what);
}

int
cli_box_read(cli *c, const cli_box_opts *o, cli_box *b, csn_err *err)
{
  const char *word = NULL;
  csn_network *network = NULL;
  const csn_json *options = NULL;
  *b = (cli_box){.spec = {.workspace_fd = -1, .lock_fd = -1}};
  for (size_t i = 0; i < o->env.n; i++)
    if (!strchr(o->env.v[i], '=') || o->env.v[i][0] == '=')
      return csn_fail(err, CSN_E_INVALID, "option --env: '%s' should be NAME=VALUE", o->env.v[i]);
  int rc = read_limits(o, &b->limits, err);
  if (rc == 0)
    rc = cli_box_options(c, &o->options, &options, err);
  if (rc == 0 && o->rootfs && (word = prepare_rootfs(c, o->rootfs, &b->rootfs, err)) == NULL)
    rc = err->code;
  if (rc == 0)
    rc = cli_network_policy(c, &o->network, &network, err);
  if (rc == 0)
    rc = cli_ports_read(&b->ports, &o->expose, err);
  b->own = (struct csn_sandbox_own){.told = {show, c}};
  b->spec = (csn_sandbox_spec){.own = &b->own,
                               .network = network,
                               .expose = b->ports.ports,
                               .n_expose = b->ports.n,
                               .backend = o->backend,
                               .level = o->level,
                               .workspace_fd = -1,
                               .lock_fd = -1,
                               .rootfs = word,
                               .user = o->user,
                               .devices = o->devices.v,
                               .environment = o->env.v,
                               .options = options,
                               .limits = &b->limits};
  return rc;
}

void
cli_box_fini(cli_box *b)
{
  csn_rootfs_free(b->rootfs);
}

/* ---- kept ---- */

struct whole {
  cli_box_opts box;
};
static const cli_opt rows[] = {CLI_BOX_OPTS(struct whole, box), {0}};

void
cli_box_to_json(const cli_box_opts *o, csn_jw *w)
{
  csn_jw_obj(w);
  for (const cli_opt *r = rows; r->name; r++) {
    const char *at = (const char *)o + r->at;
    const cli_list *list = (const void *)at;
    if (r->kind == CLI_KIND_BOOL && *(const bool *)at) {
      csn_jw_key(w, r->name);
      csn_jw_bool(w, true);
    } else if (r->kind == CLI_KIND_STR && *(const char *const *)at) {
      csn_jw_key(w, r->name);
      csn_jw_strz(w, *(const char *const *)at);
    } else if (r->kind == CLI_KIND_LIST && list->n) {
      csn_jw_key(w, r->name);
      csn_jw_arr(w);
      for (size_t i = 0; i < list->n; i++)
        csn_jw_strz(w, list->v[i]);
      csn_jw_end(w);
    }
  }
  csn_jw_end(w);
}

static int
take(cli *c, const cli_opt *r, const csn_json *v, cli_box_opts *o)
{
  char *at = (char *)o + r->at;
  if (r->kind == CLI_KIND_BOOL && v->kind == CSN_JSON_BOOL) {
    *(bool *)at = true;
    return 0;
  }
  if (r->kind == CLI_KIND_STR && v->kind == CSN_JSON_STRING) {
    *(const char **)at = csn_arena_dup(c->arena, v->text).p;
    return 0;
  }
  if (r->kind != CLI_KIND_LIST || v->kind != CSN_JSON_ARRAY)
    return -1;
  cli_list *list = (void *)at;
  list->v = csn_arena_alloc(c->arena, (v->n + 1) * sizeof *list->v);
  csn_json_each (word, v)
    if (word->kind == CSN_JSON_STRING)
      list->v[list->n++] = csn_arena_dup(c->arena, word->text).p;
  return list->n == v->n ? 0 : -1;
}

int
cli_box_from_json(cli *c, const csn_json *v, cli_box_opts *o, csn_err *err)
{
  *o = (cli_box_opts){0};
  csn_json_each (m, v) {
    const cli_opt *r = rows;
    while (r->name && !csn_str_eq(m->key, csn_cstr(r->name)))
      r++;
    if (!r->name || take(c, r, m, o) < 0)
      return csn_fail(err, CSN_E_INVALID, "its option %.*s was written by another version",
                      m->key.n < 60 ? (int)m->key.n : 60, m->key.p);
  }
  return 0;
}
