/* SPDX-License-Identifier: Apache-2.0
 * project.c - see project.h. */
#include "run/project.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/yaml.h"
#include "core/fd.h"
#include "run/models.h"
#include "run/prices.h"
#include "run/provider.h"
#include "run/statedir.h"
#include "run/stores.h"
#include "run/trust.h"
#include "run/window.h"
#include "store/place.h"

struct csn_project {
  csn_arena *arena;
  char *file; /* path of caisson.yaml, or NULL */
  const csn_json *root;
  csn_buf text;
  struct stat st;
  bool is_trusted;      /* to send requests to other machines; see trust.h */
  pthread_mutex_t lock; /* guards what is below */
  csn_vault *vault;     /* of the snapshots, once somebody has wanted them */
};

static int
check_keys(const struct csn_project *p, const csn_json *v, const char *const *keys,
           const char *where, csn_err *err)
{
  if (!csn_json_is(v, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_INVALID, "%s:%u: %s: expected an object", p->file, v ? v->line : 0,
                    where);
  csn_json_each (m, v) {
    bool known = false;
    for (const char *const *k = keys; *k; k++)
      known = known || csn_str_eq(m->key, csn_cstr(*k));
    if (!known)
      return csn_fail(err, CSN_E_INVALID, "%s:%u: unknown key %s%.*s; see `caisson schema`",
                      p->file, m->line, where, (int)m->key.n, m->key.p);
  }
  return 0;
}

static int
check_kind(const struct csn_project *p, const csn_json *v, const char *key, enum csn_json_kind kind,
           csn_err *err)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m || m->kind == kind)
    return 0;
  return csn_fail(err, CSN_E_INVALID, "%s:%u: %s: expected %s, got %s", p->file, m->line, key,
                  csn_json_kind_name(kind), csn_json_kind_name((enum csn_json_kind)m->kind));
}

static int
check_prices(const struct csn_project *p, csn_err *err)
{
  const csn_json *prices = csn_json_get(p->root, "prices");
  csn_price price;
  if (prices && prices->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: prices: expected an object", p->file, prices->line);
  csn_json_each (v, prices) {
    int rc = v->kind == CSN_JSON_OBJECT ? csn_price_from_json(v, &price, err)
                                        : csn_fail(err, CSN_E_INVALID, "expected an object");
    if (rc < 0)
      return csn_wrap(err, rc, "%s:%u: prices.%.*s", p->file, v->line, (int)(v->key.n & 0xff),
                      v->key.p);
  }
  return 0;
}

/* The URL of a database that everybody who reads the file may read. */
static int
check_place(const struct csn_project *p, const csn_json *v, csn_err *err)
{
  int rc = csn_place_check_open(v->text, "the URL", err);
  return csn_wrap(err, rc, "%s:%u: %.*s", p->file, v->line, (int)(v->key.n & 0xff), v->key.p);
}

static int
check_state(const struct csn_project *p, csn_err *err)
{
  const csn_json *v = csn_json_get(p->root, "state");
  int rc = check_kind(p, p->root, "state", CSN_JSON_STRING, err);
  if (rc < 0 || !v)
    return rc;
  if (!csn_str_starts(v->text, CSN_STR("postgres")))
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: state: expected postgres://...; a folder is named with --state",
                    p->file, v->line);
  return check_place(p, v, err);
}

/* The place that `session` names; NULL: none. */
static const csn_json *
session_place(const struct csn_project *p)
{
  const csn_json *v = csn_json_get(p->root, "session");
  return csn_json_is(v, CSN_JSON_STRING) ? v : csn_json_get(v, "store");
}

static int
check_session(const struct csn_project *p, csn_err *err)
{
  static const char *const keys[] = {"store", "keys", NULL};
  const csn_json *v = csn_json_get(p->root, "session"), *place = session_place(p);
  if (v && v->kind != CSN_JSON_OBJECT)
    place = v;
  int rc = v && v != place ? check_keys(p, v, keys, "session.", err) : 0;
  if (rc == 0 && v != place)
    rc = csn_keys_check(csn_json_get(v, "keys"), p->file, "session.keys", err);
  if (rc < 0 || !place)
    return rc;
  bool good = place->kind == CSN_JSON_STRING &&
              (csn_str_eq(place->text, CSN_STR("state")) || csn_place_is_url(place->text) ||
               (csn_str_starts(place->text, CSN_STR("jsonl:")) && place->text.n > 6));
  if (!good)
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: session: expected state, postgres://..., redis://... or jsonl:FOLDER",
                    p->file, place->line);
  return csn_place_is_url(place->text) ? check_place(p, place, err) : 0;
}

/* The object `keys` of the snapshots of this machine, or NULL. */
static const csn_json *
snapshot_keys(const struct csn_project *p)
{
  return csn_json_get(csn_json_get(p->root, "snapshots"), "keys");
}

static int
check_snapshots(const struct csn_project *p, csn_err *err)
{
  static const char *const keys[] = {"keys", NULL};
  const csn_json *v = csn_json_get(p->root, "snapshots");
  int rc = v ? check_keys(p, v, keys, "snapshots.", err) : 0;
  return rc < 0 ? rc : csn_keys_check(snapshot_keys(p), p->file, "snapshots.keys", err);
}

static int
check_models(const struct csn_project *p, csn_err *err)
{
  const csn_json *models = csn_json_get(p->root, "models"), *at;
  if (models && models->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: models: expected an object", p->file, models->line);
  csn_json_each (v, models) {
    int rc = csn_models_check(v, &at, err);
    if (rc < 0)
      return csn_wrap(err, rc, "%s:%u: models.%.*s", p->file, at->line, (int)(v->key.n & 0xff),
                      v->key.p);
    if (!csn_models_is_list(v->key))
      return csn_fail(err, CSN_E_INVALID,
                      "%s:%u: models: the name of a list has no / and no :", p->file, v->line);
  }
  return 0;
}

/* How much models take, in tokens, by name or pattern. */
static int
check_windows(const struct csn_project *p, csn_err *err)
{
  const csn_json *windows = csn_json_get(p->root, "windows");
  int64_t n;
  if (windows && windows->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: windows: expected an object", p->file,
                    windows->line);
  csn_json_each (v, windows)
    if (!csn_json_to_int(v, &n) || n < CSN_WINDOW_MIN)
      return csn_fail(err, CSN_E_INVALID, "%s:%u: windows.%.*s: expected at least %d tokens",
                      p->file, v->line, (int)(v->key.n & 0xff), v->key.p, CSN_WINDOW_MIN);
  return 0;
}

static int
check_stores(const struct csn_project *p, csn_err *err)
{
  const csn_json *stores = csn_json_get(p->root, "stores");
  if (stores && stores->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: stores: expected an object", p->file, stores->line);
  csn_json_each (v, stores) {
    int rc = csn_stores_check(v, p->file, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
check(const struct csn_project *p, csn_err *err)
{
  static const char *const keys[] = {"model", "models",    "providers", "prices",  "session",
                                     "state", "snapshots", "stores",    "windows", NULL};
  int rc = check_keys(p, p->root, keys, "", err);
  if (rc == 0)
    rc = check_kind(p, p->root, "model", CSN_JSON_STRING, err);
  if (rc == 0)
    rc = check_state(p, err);
  if (rc == 0)
    rc = check_session(p, err);
  if (rc == 0)
    rc = check_snapshots(p, err);
  if (rc < 0)
    return rc;
  const csn_json *providers = csn_json_get(p->root, "providers");
  if (providers && providers->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: providers: expected an object", p->file,
                    providers->line);
  csn_json_each (v, providers) {
    rc = csn_provider_check(v, p->file, err);
    if (rc < 0)
      return rc;
  }
  rc = check_models(p, err);
  if (rc == 0)
    rc = check_stores(p, err);
  if (rc == 0)
    rc = check_windows(p, err);
  return rc < 0 ? rc : check_prices(p, err);
}

/* It says which server gets which key, and anybody can make a
 * /tmp/caisson.yaml. */
static int
check_owner(struct csn_project *p, int fd, csn_err *err)
{
  if (fstat(fd, &p->st) < 0)
    return csn_fail_errno(err, "cannot look at %s", p->file);
  if (p->st.st_uid == geteuid() || p->st.st_uid == 0)
    return 0;
  return csn_fail(err, CSN_E_DENIED,
                  "%s belongs to user %u and is not used, because it says where keys go; make it "
                  "yours with chown, or start elsewhere",
                  p->file, (unsigned)p->st.st_uid);
}

static bool
is_local(const csn_json *provider)
{
  csn_str url = csn_json_str(provider, "base_url", CSN_STR(""));
  bool has_place = url.n || csn_json_get(provider, "aws"); /* else the environment says where */
  return !has_place || csn_url_is_local(url);
}

/* True for NULL. */
static bool
is_local_place(const csn_json *v)
{
  csn_place place;
  return !v || !csn_place_is_url(v->text) ||
         (csn_place_parse(v->text, &place, NULL) == 0 && csn_place_is_local(&place));
}

/* The command that gives the keys of sessions, or NULL. */
static const csn_json *
key_command(const struct csn_project *p)
{
  return csn_json_get(csn_json_get(csn_json_get(p->root, "session"), "keys"), "command");
}

static void
look_up_trust(struct csn_project *p)
{
  bool is_needed = !is_local_place(csn_json_get(p->root, "state")) ||
                   !is_local_place(session_place(p)) || key_command(p) ||
                   csn_json_get(snapshot_keys(p), "command");
  csn_json_each (v, csn_json_get(p->root, "providers"))
    is_needed = is_needed || !is_local(v);
  csn_json_each (v, csn_json_get(p->root, "stores"))
    is_needed = is_needed || !csn_stores_is_local(v);
  p->is_trusted = is_needed && csn_trust_has(p->file, &p->st, csn_buf_str(&p->text));
}

const char *
csn_project_file(const struct csn_project *p)
{
  return p->file;
}

void
csn_project_list(const struct csn_project *p, csn_buf *out)
{
  const csn_json *state = csn_json_get(p->root, "state");
  if (state)
    csn_buf_addf(out, "state: %.*s%s\n", (int)state->text.n, state->text.p,
                 is_local_place(state) ? " (this machine)" : "");
  const csn_json *place = session_place(p), *command = key_command(p);
  if (place)
    csn_buf_addf(out, "session: %.*s%s\n", (int)place->text.n, place->text.p,
                 is_local_place(place) ? " (this machine)" : "");
  if (command)
    csn_buf_addf(out, "session keys: the command %.*s\n", (int)command->child->text.n,
                 command->child->text.p);
  command = csn_json_get(snapshot_keys(p), "command");
  if (command)
    csn_buf_addf(out, "snapshot keys: the command %.*s\n", (int)command->child->text.n,
                 command->child->text.p);
  csn_json_each (v, csn_json_get(p->root, "stores"))
    csn_stores_describe(v, out);
  csn_json_each (v, csn_json_get(p->root, "providers")) {
    const csn_json *aws = csn_json_get(v, "aws");
    if (!csn_json_get(v, "base_url") && !aws)
      continue;
    csn_str url = csn_url_host(csn_json_str(v, "base_url", CSN_STR("http://amazonaws.com")));
    csn_str key = csn_json_str(v, "key_env", csn_json_str(aws, "id_env", CSN_STR("")));
    csn_buf_addf(out, "%.*s: %.*s%s%.*s%s\n", (int)v->key.n, v->key.p, (int)url.n, url.p,
                 key.n ? ", with the key in " : ", without a key", (int)key.n, key.p,
                 is_local(v) ? " (this machine)" : "");
  }
}

int
csn_project_state(const struct csn_project *p, const char **url, csn_err *err)
{
  const csn_json *v = csn_json_get(p->root, "state");
  if (v && !p->is_trusted && !is_local_place(v))
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: runs would be kept on another machine, and nobody has said that this "
                    "file may do that; if it may: caisson trust",
                    p->file, v->line);
  *url = v ? csn_arena_dup(p->arena, v->text).p : NULL;
  return 0;
}

const char *
csn_project_path(const struct csn_project *p, csn_arena *a, csn_str path)
{
  const char *home = getenv("HOME"), *slash = strrchr(p->file, '/');
  if (csn_str_starts(path, CSN_STR("~/")) && home)
    return csn_arena_printf(a, "%s%.*s", home, (int)path.n - 1, path.p + 1).p;
  if (csn_str_starts(path, CSN_STR("/")))
    return csn_arena_dup(a, path).p;
  return csn_arena_printf(a, "%.*s/%.*s", (int)(slash - p->file), p->file, (int)path.n, path.p).p;
}

int
csn_project_sessions(const struct csn_project *p, struct csn_project_sessions *out, csn_err *err)
{
  const csn_json *place = session_place(p), *command = key_command(p);
  const csn_json *keys = csn_json_get(csn_json_get(p->root, "session"), "keys");
  *out = (struct csn_project_sessions){0};
  if (!p->is_trusted && (command || !is_local_place(place)))
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: session: it leads to another machine or starts a command, and nobody "
                    "has said that this file may do that; if it may: caisson trust",
                    p->file, command ? command->line : place->line);
  if (place && csn_str_starts(place->text, CSN_STR("jsonl:")))
    out->store = csn_arena_printf(
                     p->arena, "jsonl:%s",
                     csn_project_path(p, p->arena, csn_strn(place->text.p + 6, place->text.n - 6)))
                     .p;
  else if (place)
    out->store = csn_arena_dup(p->arena, place->text).p;
  csn_str file = csn_json_str(keys, "file", CSN_STR(""));
  if (file.n)
    out->keys_file = csn_project_path(p, p->arena, file);
  if (command) {
    const char **argv = csn_arena_alloc(p->arena, (command->n + 1) * sizeof *argv);
    size_t n = 0;
    csn_json_each (word, command)
      argv[n++] = csn_arena_dup(p->arena, word->text).p;
    out->keys_command = argv;
  }
  return 0;
}

int
csn_project_vault(struct csn_project *p, csn_vault **out, csn_err *err)
{
  const csn_json *keys = snapshot_keys(p), *command = csn_json_get(keys, "command");
  if (command && !p->is_trusted)
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: snapshots: it starts a command, and nobody has said that this file may "
                    "do that; if it may: caisson trust",
                    p->file, command->line);
  pthread_mutex_lock(&p->lock);
  int rc = keys && !p->vault ? csn_keys_open(p, keys, &p->vault, err) : 0;
  *out = p->vault;
  pthread_mutex_unlock(&p->lock);
  return rc;
}

int
csn_project_trust(const struct csn_project *p, csn_err *err)
{
  return csn_trust_add(p->file, csn_buf_str(&p->text), err);
}

int
csn_project_load(struct csn_project **out, csn_err *err)
{
  struct csn_project *p = csn_alloc(sizeof *p);
  pthread_mutex_init(&p->lock, NULL);
  p->arena = csn_arena_new(0);
  p->text = CSN_BUF(CSN_YAML_MAX);
  p->file = csn_find_upward("caisson.yaml");
  csn_auto(csn_closep) int fd = p->file ? open(p->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  int rc = p->file && fd < 0 ? csn_fail_errno(err, "cannot open %s", p->file) : 0;
  if (fd >= 0) {
    rc = check_owner(p, fd, err);
    if (rc == 0)
      rc = csn_fd_read_all(fd, &p->text, err);
    if (rc == 0)
      rc = csn_yaml_parse(p->arena, csn_buf_str(&p->text), p->file, &p->root, err);
    if (rc == 0)
      rc = check(p, err);
    if (rc == 0)
      look_up_trust(p);
  }
  if (rc < 0)
    csn_project_free(p);
  else
    *out = p;
  return rc;
}

void
csn_project_file_id(const struct csn_project *p, dev_t *dev, ino_t *ino)
{
  *dev = p->st.st_dev;
  *ino = p->st.st_ino;
}

void
csn_project_free(struct csn_project *p)
{
  if (!p)
    return;
  csn_vault_free(p->vault);
  pthread_mutex_destroy(&p->lock);
  csn_arena_free(p->arena);
  csn_buf_fini(&p->text);
  free(p->file);
  free(p);
}

const csn_json *
csn_project_models(const struct csn_project *p, csn_str name)
{
  csn_json_each (v, csn_json_get(p->root, "models"))
    if (csn_str_eq(v->key, name))
      return v;
  return NULL;
}

const csn_json *
csn_project_providers(const struct csn_project *p)
{
  return csn_json_get(p->root, "providers");
}

const csn_json *
csn_project_stores(const struct csn_project *p)
{
  return csn_json_get(p->root, "stores");
}

bool
csn_project_may_store(const struct csn_project *p, const csn_json *store)
{
  return p->is_trusted || csn_stores_is_local(store);
}

bool
csn_project_may_use(const struct csn_project *p, const csn_json *provider)
{
  return p->is_trusted || is_local(provider);
}

const char *
csn_project_folder(const struct csn_project *p, csn_arena *a)
{
  const char *slash = p->file ? strrchr(p->file, '/') : NULL;
  return slash ? csn_arena_dup(a, csn_strn(p->file, (size_t)(slash - p->file))).p : ".";
}

const csn_json *
csn_project_prices(const struct csn_project *p)
{
  return csn_json_get(p->root, "prices");
}

const csn_json *
csn_project_windows(const struct csn_project *p)
{
  return csn_json_get(p->root, "windows");
}

const char *
csn_model_beside(csn_arena *a, const char *model, const char *folder)
{
  static const char *const kinds[] = {"script", "replay"};
  csn_str m = csn_cstr(model);
  for (size_t i = 0; i < CSN_COUNT(kinds); i++) {
    size_t n = strlen(kinds[i]);
    if (csn_str_starts(m, csn_cstr(kinds[i])) && m.n > n + 1 && (m.p[n] == ':' || m.p[n] == '/') &&
        m.p[n + 1] != '/')
      return csn_arena_printf(a, "%s:%s/%s", kinds[i], folder, model + n + 1).p;
  }
  return model;
}

const char *
csn_project_model(const struct csn_project *p)
{
  csn_str m = csn_json_str(p->root, "model", CSN_STR(""));
  const char *by_env = getenv("CAISSON_MODEL");
  if (m.n)
    return csn_model_beside(p->arena, csn_arena_dup(p->arena, m).p,
                            csn_project_folder(p, p->arena));
  by_env = by_env && *by_env ? by_env : NULL;
  csn_auto(csn_freep) char *cwd = by_env ? getcwd(NULL, 0) : NULL;
  return cwd ? csn_model_beside(p->arena, by_env, cwd) : by_env;
}
