/* SPDX-License-Identifier: Apache-2.0
 * stores.c - `stores` of caisson.yaml; see stores.h. */
#include "run/stores.h"

#include <stdio.h>

#include "run/trust.h"

enum { PREFIX_MAX = 500 };

static const char *const types[] = {"s3", "gcs", "azure", "folder", NULL};

/* Keys by the types that have them: bits in the order of types[]. */
enum { S3 = 1, GCS = 2, AZURE = 4, FOLDER = 8, ALL = 15 };

struct key {
  const char *name;
  unsigned of;
  enum csn_json_kind kind;
};

static const struct key keys[] = {
    {"type", ALL, CSN_JSON_STRING},        {"prefix", ALL, CSN_JSON_STRING},
    {"parallel", ALL, CSN_JSON_NUMBER},    {"keys", ALL, CSN_JSON_OBJECT},
    {"bucket", S3 | GCS, CSN_JSON_STRING}, {"endpoint", S3 | GCS | AZURE, CSN_JSON_STRING},
    {"region", S3, CSN_JSON_STRING},       {"addressing", S3, CSN_JSON_STRING},
    {"account", AZURE, CSN_JSON_STRING},   {"container", AZURE, CSN_JSON_STRING},
    {"path", FOLDER, CSN_JSON_STRING},     {"credentials", S3 | GCS | AZURE, CSN_JSON_OBJECT},
};

static const struct key credentials[] = {
    {"id_env", S3, CSN_JSON_STRING},
    {"secret_env", S3, CSN_JSON_STRING},
    {"token_env", S3 | GCS, CSN_JSON_STRING},
    {"file", GCS, CSN_JSON_STRING},
    {"key_env", AZURE, CSN_JSON_STRING},
    {"sas_env", AZURE, CSN_JSON_STRING},
    {"command", S3 | GCS | AZURE, CSN_JSON_ARRAY},
};

struct entry {
  const csn_json *v;
  const char *file;
  unsigned type;
  csn_err *err;
};

static int
complain(const struct entry *e, const csn_json *at, const char *key, const char *expected)
{
  return csn_fail(e->err, CSN_E_INVALID, "%s:%u: stores.%.*s%s%s: expected %s", e->file,
                  at && at->line ? at->line : e->v->line, (int)(e->v->key.n & 0xff), e->v->key.p,
                  *key ? "." : "", key, expected);
}

static int
check_members(const struct entry *e, const csn_json *v, const struct key *known, size_t n)
{
  csn_json_each (m, v) {
    size_t i = 0;
    while (i < n && !csn_str_eq(m->key, csn_cstr(known[i].name)))
      i++;
    if (i == n || !(known[i].of & e->type))
      return csn_fail(e->err, CSN_E_INVALID,
                      "%s:%u: unknown key %.*s of a store of this type; see `caisson schema`",
                      e->file, m->line, (int)(m->key.n & 0xff), m->key.p);
    if (m->kind != known[i].kind || (m->kind == CSN_JSON_STRING && !m->text.n))
      return complain(e, m, known[i].name, csn_json_kind_name(known[i].kind));
  }
  return 0;
}

static unsigned
type_of(const csn_json *v)
{
  csn_str type = csn_json_str(v, "type", CSN_STR(""));
  for (unsigned i = 0; types[i]; i++)
    if (csn_str_eq(type, csn_cstr(types[i])))
      return 1u << i;
  return 0;
}

static bool
is_command(const csn_json *v)
{
  bool good = v->kind == CSN_JSON_ARRAY && v->n;
  csn_json_each (word, v)
    good = good && word->kind == CSN_JSON_STRING;
  return good;
}

int
csn_keys_check(const csn_json *v, const char *file, const char *where, csn_err *err)
{
  const csn_json *path = csn_json_get(v, "file"), *command = csn_json_get(v, "command");
  bool good = csn_json_is(v, CSN_JSON_OBJECT) && v->n == 1 && !path != !command &&
              (!path || (path->kind == CSN_JSON_STRING && path->text.n)) &&
              (!command || is_command(command));
  return good || !v ? 0
                    : csn_fail(err, CSN_E_INVALID,
                               "%s:%u: %s: expected file: PATH or command: [PROGRAM, ...]", file,
                               v->line, where);
}

/* A name that other programs know to be one: no '/' and no blank. */
static bool
is_bucket(csn_str s)
{
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
          c == '-' || c == '_'))
      return false;
  }
  return s.n >= 3 && s.n <= 63;
}

static bool
is_prefix(csn_str s)
{
  bool good = s.n <= PREFIX_MAX && (!s.n || (s.p[0] != '/' && s.p[s.n - 1] != '/')) &&
              csn_str_find(s, CSN_STR(".."), 0) == SIZE_MAX;
  for (size_t i = 0; i < s.n; i++)
    good = good && (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
  return good;
}

static int
check_values(const struct entry *e)
{
  const csn_json *v = e->v;
  csn_str endpoint = csn_json_str(v, "endpoint", CSN_STR(""));
  csn_str way = csn_json_str(v, "addressing", CSN_STR("path"));
  int64_t parallel = csn_json_int(v, "parallel", 1);
  if (e->type & (S3 | GCS) && !is_bucket(csn_json_str(v, "bucket", CSN_STR(""))))
    return complain(e, csn_json_get(v, "bucket"), "bucket", "the name of one");
  if (e->type == AZURE && (!is_bucket(csn_json_str(v, "container", CSN_STR(""))) ||
                           !is_bucket(csn_json_str(v, "account", CSN_STR("")))))
    return complain(e, v, "", "an account and a container");
  if (e->type == FOLDER && !csn_json_get(v, "path"))
    return complain(e, v, "path", "a folder that is there");
  if (endpoint.n &&
      (!csn_url_host(endpoint).n || csn_str_find(endpoint, CSN_STR("@"), 0) != SIZE_MAX ||
       csn_str_find(endpoint, CSN_STR("?"), 0) != SIZE_MAX ||
       csn_str_find(endpoint, CSN_STR("#"), 0) != SIZE_MAX ||
       !(csn_str_starts(endpoint, CSN_STR("http://")) ||
         csn_str_starts(endpoint, CSN_STR("https://")))))
    return complain(e, csn_json_get(v, "endpoint"), "endpoint",
                    "http:// or https:// and a host, without a user, a password or a query");
  if (!csn_str_eq(way, CSN_STR("path")) && !csn_str_eq(way, CSN_STR("virtual")))
    return complain(e, csn_json_get(v, "addressing"), "addressing", "path or virtual");
  if (!is_prefix(csn_json_str(v, "prefix", CSN_STR(""))))
    return complain(e, csn_json_get(v, "prefix"), "prefix", "A/B, without '/' at its ends and ..");
  if (parallel < 1 || parallel > CSN_TRANSFER_PARALLEL_MAX)
    return complain(e, csn_json_get(v, "parallel"), "parallel", "a number from 1 to 16");
  const csn_json *command = csn_json_get(csn_json_get(v, "credentials"), "command");
  return command && !is_command(command)
             ? complain(e, command, "credentials.command", "[PROGRAM, ...]")
             : 0;
}

int
csn_stores_check(const csn_json *v, const char *file, csn_err *err)
{
  struct entry e = {v, file, type_of(v), err};
  if (v->kind != CSN_JSON_OBJECT || !e.type)
    return complain(&e, v, "type", "s3, gcs, azure or folder");
  for (size_t i = 0; i < v->key.n; i++)
    if (v->key.p[i] == '/' || v->key.p[i] == ':' || (unsigned char)v->key.p[i] <= ' ')
      return complain(&e, v, "", "a name without '/', ':' and blanks");
  int rc = check_members(&e, v, keys, CSN_COUNT(keys));
  if (rc == 0)
    rc = check_members(&e, csn_json_get(v, "credentials"), credentials, CSN_COUNT(credentials));
  if (rc == 0)
    rc = check_values(&e);
  return rc < 0 ? rc : csn_keys_check(csn_json_get(v, "keys"), file, "stores.NAME.keys", err);
}

bool
csn_stores_is_local(const csn_json *v)
{
  if (csn_json_get(csn_json_get(v, "credentials"), "command") ||
      csn_json_get(csn_json_get(v, "keys"), "command"))
    return false;
  return type_of(v) == FOLDER || csn_url_is_local(csn_json_str(v, "endpoint", CSN_STR("")));
}

void
csn_stores_describe(const csn_json *v, csn_buf *out)
{
  csn_str type = csn_json_str(v, "type", CSN_STR(""));
  csn_str end = csn_url_host(csn_json_str(v, "endpoint", CSN_STR("")));
  csn_str place =
      csn_json_str(v, "bucket", csn_json_str(v, "container", csn_json_str(v, "path", CSN_STR(""))));
  const csn_json *commands[] = {csn_json_get(csn_json_get(v, "credentials"), "command"),
                                csn_json_get(csn_json_get(v, "keys"), "command")};
  csn_buf_addf(out, "store %.*s: %.*s %.*s", (int)v->key.n, v->key.p, (int)type.n, type.p,
               (int)place.n, place.p);
  if (end.n)
    csn_buf_addf(out, " at %.*s", (int)end.n, end.p);
  for (size_t i = 0; i < CSN_COUNT(commands); i++)
    if (commands[i])
      csn_buf_addf(out, ", %s from the command %.*s", i ? "encryption keys" : "keys",
                   (int)commands[i]->child->text.n, commands[i]->child->text.p);
  csn_buf_addz(out, csn_stores_is_local(v) ? " (this machine)\n" : "\n");
}

/* ---- opening ---- */

static const char *const *
argv_of(csn_arena *a, const csn_json *command)
{
  if (!command)
    return NULL;
  const char **argv = csn_arena_alloc(a, (command->n + 1) * sizeof *argv);
  size_t n = 0;
  csn_json_each (word, command)
    argv[n++] = csn_arena_dup(a, word->text).p;
  return argv;
}

int
csn_keys_open(const struct csn_project *p, const csn_json *v, csn_vault **out, csn_err *err)
{
  static const char what[] = "keys of snapshots";
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_keyring *ring = NULL;
  csn_str path = csn_json_str(v, "file", CSN_STR(""));
  int rc = 0;
  *out = NULL;
  if (!v)
    return 0;
  if (path.n)
    rc = csn_keyring_from_file(csn_project_path(p, a, path), what, &ring, err);
  else
    rc = csn_keyring_from_command(argv_of(a, csn_json_get(v, "command")), what, &ring, err);
  return rc < 0 ? rc : csn_vault_new(out, ring, err);
}

int
csn_snapshots_here(struct csn_project *p, int state_fd, csn_snapshots **out, csn_err *err)
{
  csn_vault *vault = NULL;
  int rc = csn_project_vault(p, &vault, err);
  return rc < 0 ? rc : csn_snapshots_open(out, state_fd, vault, err);
}

/* The value of the variable that the entry names, or of the usual one. */
static csn_str
variable(csn_arena *a, const csn_json *v, const char *key, const char *usual)
{
  csn_str name = csn_json_str(v, key, csn_cstr(usual));
  return csn_cstr(getenv(csn_arena_dup(a, name).p));
}

static void
read_keys(const struct csn_project *p, csn_arena *a, const csn_json *v, csn_objects_keys *out)
{
  const csn_json *said = csn_json_get(v, "credentials");
  csn_str file = csn_json_str(said, "file", CSN_STR(""));
  *out = (csn_objects_keys){.command = argv_of(a, csn_json_get(said, "command"))};
  if (out->command)
    return;
  switch (type_of(v)) {
  case S3:
    out->id = variable(a, said, "id_env", "AWS_ACCESS_KEY_ID");
    out->secret = variable(a, said, "secret_env", "AWS_SECRET_ACCESS_KEY");
    out->token =
        variable(a, said, "token_env", csn_json_get(said, "id_env") ? "" : "AWS_SESSION_TOKEN");
    break;
  case GCS:
    if (!file.n && !csn_json_get(said, "token_env"))
      file = csn_cstr(getenv("GOOGLE_APPLICATION_CREDENTIALS"));
    out->token = variable(a, said, "token_env", "GOOGLE_OAUTH_ACCESS_TOKEN");
    out->file = file.n ? csn_project_path(p, a, file) : NULL;
    break;
  case AZURE:
    out->account_key = variable(a, said, "key_env", "AZURE_STORAGE_KEY");
    out->sas = variable(a, said, "sas_env", "AZURE_STORAGE_SAS_TOKEN");
    break;
  default:
    break;
  }
}

static csn_str
region_of(const csn_json *v)
{
  csn_str said = csn_json_str(v, "region", csn_cstr(getenv("AWS_REGION")));
  return said.n ? said : csn_cstr(getenv("AWS_DEFAULT_REGION"));
}

static int
find_store(const struct csn_project *p, const char *name, const csn_json **out, csn_err *err)
{
  const csn_json *all = csn_project_stores(p);
  if (!all || !all->n)
    return csn_fail(err, CSN_E_INVALID,
                    "caisson.yaml names no stores: say there stores: {NAME: {type: s3, bucket: "
                    "BUCKET}}, or see docs/stores.md");
  *out = !name && all->n == 1 ? all->child : NULL;
  csn_json_each (v, all)
    if (name && csn_str_eq(v->key, csn_cstr(name)))
      *out = v;
  if (!*out && !name)
    return csn_fail(err, CSN_E_INVALID, "caisson.yaml names %u stores; say which: --store NAME",
                    all->n);
  if (!*out)
    return csn_fail(err, CSN_E_NOT_FOUND, "%s names no store %.60s", csn_project_file(p), name);
  return csn_project_may_store(p, *out)
             ? 0
             : csn_fail(err, CSN_E_INVALID,
                        "%s:%u: stores.%.*s: it leads to another machine or starts a command, and "
                        "nobody has said that this file may do that; if it may: caisson trust",
                        csn_project_file(p), (*out)->line, (int)((*out)->key.n & 0xff),
                        (*out)->key.p);
}

int
csn_stores_open(const struct csn_project *p, csn_http *http, const char *name, csn_snapshots *s,
                csn_depot **out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_vault_freep) csn_vault *vault = NULL;
  const csn_json *v = NULL;
  csn_objects *objects = NULL;
  int rc = find_store(p, name, &v, err);
  if (rc < 0)
    return rc;
  csn_str bucket = csn_json_str(v, "bucket", csn_json_str(v, "container", CSN_STR("")));
  csn_str path = csn_json_str(v, "path", CSN_STR(""));
  csn_objects_spec spec = {.type = csn_arena_dup(a, csn_json_str(v, "type", CSN_STR(""))).p,
                           .bucket = bucket,
                           .prefix = csn_json_str(v, "prefix", CSN_STR("")),
                           .endpoint = csn_json_str(v, "endpoint", CSN_STR("")),
                           .region = region_of(v),
                           .account = csn_json_str(v, "account", CSN_STR("")),
                           .folder = path.n ? csn_project_path(p, a, path) : NULL};
  csn_str way = csn_json_str(v, "addressing", CSN_STR(""));
  spec.is_virtual = way.n ? csn_str_eq(way, CSN_STR("virtual"))
                          : !spec.endpoint.n && !(bucket.n && memchr(bucket.p, '.', bucket.n));
  read_keys(p, a, v, &spec.keys);
  rc = csn_keys_open(p, csn_json_get(v, "keys"), &vault, err);
  if (rc == 0)
    rc = csn_objects_open(&objects, http, &spec, err);
  if (rc == 0)
    rc =
        csn_depot_open(out, objects, csn_steal(vault), s, (int)csn_json_int(v, "parallel", 0), err);
  return csn_wrap(err, rc, "store %.*s", (int)(v->key.n & 0xff), v->key.p);
}

/* ---- for who begins with one ---- */

bool
csn_snapshot_is_elsewhere(const char *name)
{
  return strchr(name, '/') != NULL;
}

int
csn_stores_pull(const struct csn_project *p, csn_http *http, csn_scope *sc, csn_snapshots *s,
                const char *name, csn_snapshot *out, csn_err *err)
{
  csn_auto(csn_depot_freep) csn_depot *d = NULL;
  csn_depot_moved moved;
  const char *slash = strchr(name, '/');
  if (!slash)
    return csn_fail(err, CSN_E_INVALID, "%.100s: expected STORE/NAME", name);
  csn_auto(csn_freep) char *store = csn_dupz(csn_strn(name, (size_t)(slash - name)));
  int rc = csn_stores_open(p, http, store, s, &d, err);
  return rc < 0 ? rc : csn_depot_pull(d, sc, slash + 1, NULL, out, &moved, err);
}
