/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_json.c - a manifest as JSON: every key, in the order of the common
 * form, so that other software of the kind reads it.  Contents that are not
 * text go out as content_base64. */
#include "core/hash.h"
#include "sandbox/accounts.h"
#include "sandbox/manifest_read.h"

static void
put_opt(csn_jw *w, const char *key, bool has, csn_str s)
{
  csn_jw_key(w, key);
  if (has)
    csn_jw_str(w, s);
  else
    csn_jw_null(w);
}

static void
put_named(csn_jw *w, const csn_group *g)
{
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_str(w, g->name);
  if (g->is_group) {
    csn_jw_key(w, "users");
    csn_jw_arr(w);
    for (size_t i = 0; i < g->n_users; i++) {
      csn_jw_obj(w);
      csn_jw_key(w, "name");
      csn_jw_str(w, g->users[i]);
      csn_jw_end(w);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

static void
put_permissions(csn_jw *w, const csn_entry *e)
{
  csn_jw_key(w, "permissions");
  csn_jw_obj(w);
  csn_jw_key(w, "owner");
  csn_jw_int(w, e->owner);
  csn_jw_key(w, "group");
  csn_jw_int(w, e->group_bits);
  csn_jw_key(w, "other");
  csn_jw_int(w, e->other);
  csn_jw_key(w, "directory");
  csn_jw_bool(w, csn_entry_is_dir(e));
  csn_jw_end(w);
}

static void
put_content(csn_jw *w, csn_str content)
{
  if (csn_utf8_valid(content) == content.n) {
    csn_jw_key(w, "content");
    csn_jw_str(w, content);
    return;
  }
  csn_auto(csn_buf_finip) csn_buf coded = CSN_BUF(content.n * 2 + 8);
  csn_base64_add(&coded, content);
  csn_jw_key(w, "content_base64");
  csn_jw_str(w, csn_buf_str(&coded));
}

static void put_entries(csn_jw *w, const csn_entry *first, bool with_secrets);

/* Ours go behind those of the common form. */
static void
put_git(csn_jw *w, const csn_entry *e)
{
  put_opt(w, "host", true, e->host);
  put_opt(w, "repo", true, e->repo);
  put_opt(w, "ref", true, e->ref);
  put_opt(w, "subpath", e->has_subpath, e->subpath);
  if (e->has_submodules) {
    csn_jw_key(w, "submodules");
    csn_jw_bool(w, true);
  }
  if (e->secret && e->secret->name.n) {
    put_opt(w, "secret", true, e->secret->name);
  } else if (e->secret) {
    bool is_env = e->secret->from_env.n;
    csn_jw_key(w, "secret");
    csn_jw_obj(w);
    put_opt(w, is_env ? "from_env" : "from_file", true,
            is_env ? e->secret->from_env : e->secret->from_file);
    csn_jw_end(w);
  }
}

static void
put_archive(csn_jw *w, const csn_entry *e)
{
  char hex[65] = "";
  if (e->has_digest)
    csn_digest_hex(&e->digest, hex);
  put_opt(w, e->kind == CSN_ENTRY_URL ? "url" : "src", true,
          e->kind == CSN_ENTRY_URL ? e->url : e->src);
  put_opt(w, "sha256", e->has_digest, csn_cstr(hex));
  if (e->kind == CSN_ENTRY_URL) {
    csn_jw_key(w, "extract");
    csn_jw_bool(w, e->extracts);
  }
  csn_jw_key(w, "strip_components");
  csn_jw_int(w, e->strip);
  csn_jw_key(w, "archive_limits");
  if (e->has_limits) {
    csn_jw_obj(w);
    csn_jw_key(w, "max_input_bytes");
    csn_jw_int(w, e->limits.input_bytes);
    csn_jw_key(w, "max_extracted_bytes");
    csn_jw_int(w, e->limits.extracted_bytes);
    csn_jw_key(w, "max_members");
    csn_jw_int(w, e->limits.members);
    csn_jw_end(w);
  } else {
    csn_jw_null(w);
  }
  if (e->kind != CSN_ENTRY_URL)
    return;
  csn_jw_key(w, "allow_private");
  csn_jw_arr(w);
  for (size_t i = 0; e->allow[i]; i++)
    csn_jw_strz(w, e->allow[i]);
  csn_jw_end(w);
}

static void
put_kind(csn_jw *w, const csn_entry *e, bool with_secrets)
{
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    put_content(w, e->content);
    break;
  case CSN_ENTRY_LOCAL_FILE:
  case CSN_ENTRY_LOCAL_DIR:
    put_opt(w, "src", e->has_src, e->src);
    if (!e->n_exclude)
      break;
    csn_jw_key(w, "exclude");
    csn_jw_arr(w);
    for (size_t i = 0; i < e->n_exclude; i++)
      csn_jw_str(w, e->exclude[i]);
    csn_jw_end(w);
    break;
  case CSN_ENTRY_GIT_REPO:
    put_git(w, e);
    break;
  case CSN_ENTRY_ARCHIVE:
  case CSN_ENTRY_URL:
    put_archive(w, e);
    break;
  case CSN_ENTRY_MOUNT:
    csn_mount_write(e->mount, w, with_secrets);
    break;
  case CSN_ENTRY_DIR:
  default:
    csn_jw_key(w, "children");
    put_entries(w, e->child, with_secrets);
  }
}

static void
put_entry(csn_jw *w, const csn_entry *e, bool with_secrets)
{
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, csn_entry_word(e));
  put_opt(w, "description", e->has_description, e->description);
  csn_jw_key(w, "ephemeral");
  csn_jw_bool(w, e->is_ephemeral);
  csn_jw_key(w, "group");
  if (e->has_group)
    put_named(w, &e->group);
  else
    csn_jw_null(w);
  csn_jw_key(w, "is_dir");
  csn_jw_bool(w, csn_entry_is_dir(e));
  put_permissions(w, e);
  put_kind(w, e, with_secrets);
  csn_jw_end(w);
}

static void
put_entries(csn_jw *w, const csn_entry *first, bool with_secrets)
{
  csn_jw_obj(w);
  for (const csn_entry *e = first; e; e = e->next) {
    csn_jw_keyn(w, e->key);
    put_entry(w, e, with_secrets);
  }
  csn_jw_end(w);
}

static void
put_env(csn_jw *w, const csn_env *e)
{
  if (e->is_wrapped) {
    csn_jw_obj(w);
    put_opt(w, "description", e->has_description, e->description);
    csn_jw_key(w, "ephemeral");
    csn_jw_bool(w, e->is_ephemeral);
    csn_jw_key(w, "value");
  }
  if (e->shape == CSN_ENV_PLAIN) {
    csn_jw_str(w, e->value);
  } else if (e->shape == CSN_ENV_RESOLVED) {
    csn_jw_value(w, e->spec);
  } else {
    csn_jw_obj(w);
    if (e->shape == CSN_ENV_TYPED) {
      csn_jw_key(w, "type");
      csn_jw_strz(w, "str");
    }
    csn_jw_key(w, "value");
    csn_jw_str(w, e->value);
    csn_jw_end(w);
  }
  if (e->is_wrapped)
    csn_jw_end(w);
}

static void
put_grant(csn_jw *w, const csn_grant *g)
{
  csn_jw_obj(w);
  put_opt(w, "path", true, g->path);
  csn_jw_key(w, "read_only");
  csn_jw_bool(w, g->is_read_only);
  put_opt(w, "description", g->has_description, g->description);
  if (g->has_host_path)
    put_opt(w, "host_path", true, g->host_path);
  csn_jw_end(w);
}

static void
put_groups(csn_jw *w, const char *key, const csn_group *list, size_t n)
{
  csn_jw_key(w, key);
  csn_jw_arr(w);
  for (size_t i = 0; i < n; i++)
    put_named(w, &list[i]);
  csn_jw_end(w);
}

static void
put_manifest(csn_jw *w, const csn_manifest *m, bool with_secrets)
{
  csn_jw_obj(w);
  csn_jw_key(w, "version");
  csn_jw_int(w, 1);
  csn_jw_key(w, "root");
  csn_jw_str(w, m->root);
  csn_jw_key(w, "entries");
  put_entries(w, m->entries, with_secrets);
  csn_jw_key(w, "environment");
  csn_jw_obj(w);
  csn_jw_key(w, "value");
  csn_jw_obj(w);
  for (size_t i = 0; i < m->n_env; i++) {
    csn_jw_keyn(w, m->env[i].name);
    put_env(w, &m->env[i]);
  }
  csn_jw_end(w);
  csn_jw_end(w);
  put_groups(w, "users", m->users, m->n_users);
  put_groups(w, "groups", m->groups, m->n_groups);
  csn_jw_key(w, "extra_path_grants");
  csn_jw_arr(w);
  for (size_t i = 0; i < m->n_grants; i++)
    put_grant(w, &m->grants[i]);
  csn_jw_end(w);
  csn_jw_key(w, "remote_mount_command_allowlist");
  csn_jw_arr(w);
  for (size_t i = 0; i < m->n_allowlist; i++)
    csn_jw_str(w, m->allowlist[i]);
  csn_jw_end(w);
  csn_jw_end(w);
}

void
csn_manifest_to_json(const csn_manifest *m, csn_jw *w)
{
  put_manifest(w, m, true);
}

void
csn_manifest_to_journal(const csn_manifest *m, csn_jw *w)
{
  put_manifest(w, m, false);
}

const char *
csn_manifest_root(const csn_manifest *m)
{
  return m->root.p;
}

const char *const *
csn_manifest_environment(const csn_manifest *m)
{
  return m->environment;
}

void
csn_manifest_accounts(const csn_manifest *m, csn_arena *a, csn_sandbox_spec *out)
{
  const char **users = csn_arena_alloc(a, (m->n_users + 1) * sizeof *users);
  csn_sandbox_group *groups = csn_arena_alloc(a, (m->n_groups + 1) * sizeof *groups);
  for (size_t i = 0; i < m->n_users; i++)
    users[i] = csn_arena_dup(a, m->users[i].name).p;
  for (size_t i = 0; i < m->n_groups; i++) {
    const csn_group *g = &m->groups[i];
    const char **members = csn_arena_alloc(a, (g->n_users + 1) * sizeof *members);
    for (size_t k = 0; k < g->n_users; k++)
      members[k] = csn_arena_dup(a, g->users[k]).p;
    groups[i] = (csn_sandbox_group){csn_arena_dup(a, g->name).p, members};
  }
  out->users = m->n_users ? users : NULL;
  out->groups = groups;
  out->n_groups = m->n_groups;
}

bool
csn_manifest_local_dir(const csn_manifest *m, size_t i, const char **path, const char **src)
{
  for (size_t k = 0; k < m->n_sorted; k++) {
    const csn_entry *e = m->sorted[k];
    if (e->kind != CSN_ENTRY_LOCAL_DIR || !e->has_src || i--)
      continue;
    *path = e->path.p;
    *src = e->src.p;
    return true;
  }
  return false;
}
