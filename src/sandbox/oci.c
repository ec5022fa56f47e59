/* SPDX-License-Identifier: Apache-2.0
 *
 * oci.c - the JSON of container images; see sandbox/oci.h. */
#include "sandbox/oci.h"

#define NAME_KEY "org.opencontainers.image.ref.name"
#define FULL_NAME_KEY "io.containerd.image.name"

int
csn_oci_digest(csn_str text, csn_digest *out, csn_err *err)
{
  csn_str head = CSN_STR("sha256:");
  if (csn_str_starts(text, head) &&
      csn_digest_from_hex(csn_strn(text.p + head.n, text.n - head.n), out))
    return 0;
  return csn_fail(err, CSN_E_PARSE, "\"%.*s\" is not a digest of the form sha256:HEX",
                  (int)(text.n < 90 ? text.n : 90), text.p ? text.p : "");
}

const char *
csn_oci_architecture(void)
{
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#elif defined(__i386__)
  return "386";
#elif defined(__arm__)
  return "arm";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  return "ppc64le";
#elif defined(__s390x__)
  return "s390x";
#elif defined(__riscv)
  return "riscv64";
#else
  return "unknown";
#endif
}

static int
parse(csn_arena *a, csn_str json, enum csn_json_kind kind, const csn_json **out, csn_err *err)
{
  if (json.n > CSN_OCI_JSON_MAX)
    return csn_fail(err, CSN_E_LIMIT, "%zu bytes of JSON, more than %d", json.n, CSN_OCI_JSON_MAX);
  int rc = csn_json_parse(a, json, out, err);
  if (rc == 0 && !csn_json_is(*out, kind))
    rc = csn_fail(err, CSN_E_PARSE, "expected %s", csn_json_kind_name(kind));
  return rc;
}

static int
blob_from_json(const csn_json *v, csn_oci_blob *out, csn_err *err)
{
  csn_str digest;
  int rc = csn_json_need_str(v, "digest", &digest, err);
  if (rc == 0)
    rc = csn_oci_digest(digest, &out->digest, err);
  out->size = csn_json_int(v, "size", -1);
  return rc;
}

static int
too_many(size_t n, size_t max, const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_LIMIT, "%zu %s, more than %zu", n, what, max);
}

/* ---- index ---- */

static csn_str
name_of(const csn_json *v)
{
  const csn_json *notes = csn_json_get(v, "annotations");
  csn_str name = csn_json_str(notes, FULL_NAME_KEY, CSN_STR(""));
  return name.n ? name : csn_json_str(notes, NAME_KEY, CSN_STR(""));
}

static bool
has_name(const csn_json *v, csn_str tag)
{
  const csn_json *notes = csn_json_get(v, "annotations");
  return tag.n == 0 || csn_str_eq(csn_json_str(notes, FULL_NAME_KEY, CSN_STR("")), tag) ||
         csn_str_eq(csn_json_str(notes, NAME_KEY, CSN_STR("")), tag);
}

static bool
is_for(const csn_json *v, const char *architecture)
{
  const csn_json *p = csn_json_get(v, "platform");
  return !p || (csn_str_eq(csn_json_str(p, "os", CSN_STR("linux")), CSN_STR("linux")) &&
                csn_str_eq(csn_json_str(p, "architecture", csn_cstr(architecture)),
                           csn_cstr(architecture)));
}

/* What there is instead, for the message. */
static int
none_chosen(const csn_json *list, csn_str tag, const char *architecture, size_t fit, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf names = CSN_BUF(240);
  csn_json_each (v, list) {
    csn_str name = name_of(v);
    const csn_json *p = csn_json_get(v, "platform");
    csn_str arch = csn_json_str(p, "architecture", CSN_STR("any architecture"));
    csn_buf_addf(&names, "%s%.*s (%.*s)", names.n ? ", " : "", name.n ? (int)(name.n & 0xff) : 7,
                 name.n ? name.p : "unnamed", (int)(arch.n & 0x3f), arch.p);
  }
  const char *there = names.p ? names.p : "none";
  if (fit > 1)
    return csn_fail(err, CSN_E_INVALID,
                    "there are several images; say which by @NAME behind the path: %.240s", there);
  return csn_fail(err, CSN_E_NOT_FOUND, "no image%s%.*s for linux on %s; there are: %.240s",
                  tag.n ? " named " : "", (int)(tag.n & 0xff), tag.n ? tag.p : "", architecture,
                  there);
}

int
csn_oci_index_choose(csn_arena *a, csn_str json, csn_str tag, const char *architecture,
                     csn_oci_choice *out, csn_err *err)
{
  const csn_json *root, *list, *found = NULL;
  size_t fit = 0;
  int rc = parse(a, json, CSN_JSON_OBJECT, &root, err);
  if (rc == 0)
    rc = csn_json_need(root, "manifests", CSN_JSON_ARRAY, &list, err);
  if (rc != 0)
    return rc;
  if (list->n > CSN_OCI_STRINGS_MAX)
    return too_many(list->n, CSN_OCI_STRINGS_MAX, "images", err);
  csn_json_each (v, list) {
    if (!has_name(v, tag) || !is_for(v, architecture))
      continue;
    found = v;
    fit++;
  }
  if (fit != 1)
    return none_chosen(list, tag, architecture, fit, err);
  csn_str type = csn_json_str(found, "mediaType", CSN_STR(""));
  out->is_index = csn_str_find(type, CSN_STR("index"), 0) != SIZE_MAX ||
                  csn_str_find(type, CSN_STR("manifest.list"), 0) != SIZE_MAX;
  out->name = name_of(found);
  return blob_from_json(found, &out->blob, err);
}

/* ---- manifest ---- */

int
csn_oci_manifest_parse(csn_arena *a, csn_str json, csn_oci_manifest *out, csn_err *err)
{
  const csn_json *root, *config, *layers;
  int rc = parse(a, json, CSN_JSON_OBJECT, &root, err);
  if (rc == 0)
    rc = csn_json_need(root, "config", CSN_JSON_OBJECT, &config, err);
  if (rc == 0)
    rc = csn_json_need(root, "layers", CSN_JSON_ARRAY, &layers, err);
  if (rc == 0)
    rc = csn_wrap(err, blob_from_json(config, &out->config, err), "config");
  if (rc != 0)
    return rc;
  if (layers->n > CSN_OCI_LAYERS_MAX)
    return too_many(layers->n, CSN_OCI_LAYERS_MAX, "layers", err);
  out->n = 0;
  out->layers = csn_arena_alloc(a, (layers->n + 1) * sizeof *out->layers);
  csn_json_each (v, layers) {
    rc = blob_from_json(v, &out->layers[out->n++], err);
    if (rc < 0)
      return csn_wrap(err, rc, "layer %zu", out->n);
  }
  return 0;
}

/* ---- config ---- */

/* Strings without NULs, as C strings. */
static int
take_strings(csn_arena *a, const csn_json *v, const char *key, const char ***out, csn_err *err)
{
  const csn_json *list = csn_json_get(v, key);
  size_t n = 0;
  if (csn_json_is(list, CSN_JSON_NULL))
    list = NULL;
  if (list && list->kind != CSN_JSON_ARRAY)
    return csn_fail(err, CSN_E_PARSE, "config.%s is not a list", key);
  if (list && list->n > CSN_OCI_STRINGS_MAX)
    return too_many(list->n, CSN_OCI_STRINGS_MAX, key, err);
  *out = csn_arena_alloc(a, ((list ? list->n : 0) + 1) * sizeof **out);
  csn_json_each (s, list) {
    if (s->kind != CSN_JSON_STRING || memchr(s->text.p ? s->text.p : "", '\0', s->text.n))
      return csn_fail(err, CSN_E_PARSE, "config.%s holds something else than text", key);
    (*out)[n++] = csn_arena_dup(a, s->text).p;
  }
  return 0;
}

/* Variables without a name or a value are no use to anybody. */
static void
drop_malformed(const char **list)
{
  size_t n = 0;
  for (const char **s = list; *s; s++)
    if ((*s)[0] != '=' && strchr(*s, '='))
      list[n++] = *s;
  list[n] = NULL;
}

static int
take_text(csn_arena *a, const csn_json *v, const char *key, csn_str *out, csn_err *err)
{
  csn_str text = csn_json_str(v, key, CSN_STR(""));
  if (text.n > 4095 || memchr(text.p, '\0', text.n))
    return csn_fail(err, CSN_E_PARSE, "%s is too long or holds a NUL", key);
  *out = csn_arena_dup(a, text);
  return 0;
}

int
csn_image_config_parse(csn_arena *a, csn_str json, csn_image_config *out, csn_err *err)
{
  const csn_json *root, *rootfs, *layers;
  int rc = parse(a, json, CSN_JSON_OBJECT, &root, err);
  if (rc == 0)
    rc = csn_json_need(root, "rootfs", CSN_JSON_OBJECT, &rootfs, err);
  if (rc == 0)
    rc = csn_json_need(rootfs, "diff_ids", CSN_JSON_ARRAY, &layers, err);
  if (rc != 0)
    return rc;
  if (layers->n > CSN_OCI_LAYERS_MAX)
    return too_many(layers->n, CSN_OCI_LAYERS_MAX, "layers", err);
  const csn_json *config = csn_json_get(root, "config");
  rc = take_strings(a, config, "Env", &out->environment, err);
  if (rc == 0)
    rc = take_strings(a, config, "Entrypoint", &out->entrypoint, err);
  if (rc == 0)
    rc = take_strings(a, config, "Cmd", &out->command, err);
  if (rc == 0)
    rc = take_text(a, config, "User", &out->user, err);
  if (rc == 0)
    rc = take_text(a, config, "WorkingDir", &out->folder, err);
  if (rc == 0)
    rc = take_text(a, root, "architecture", &out->architecture, err);
  if (rc == 0)
    rc = take_text(a, root, "os", &out->os, err);
  if (rc < 0)
    return rc;
  drop_malformed(out->environment);
  out->n = 0;
  out->layers = csn_arena_alloc(a, (layers->n + 1) * sizeof *out->layers);
  csn_json_each (v, layers) {
    csn_str digest = csn_json_is(v, CSN_JSON_STRING) ? v->text : csn_strn(NULL, 0);
    rc = csn_oci_digest(digest, &out->layers[out->n++], err);
    if (rc < 0)
      return csn_wrap(err, rc, "rootfs.diff_ids");
  }
  return 0;
}

/* ---- docker save ---- */

static bool
docker_has_tag(const csn_json *v, csn_str tag)
{
  csn_json_each (t, csn_json_get(v, "RepoTags"))
    if (csn_json_is(t, CSN_JSON_STRING) && csn_str_eq(t->text, tag))
      return true;
  return tag.n == 0;
}

int
csn_docker_manifest_choose(csn_arena *a, csn_str json, csn_str tag, csn_docker_image *out,
                           csn_err *err)
{
  const csn_json *list, *layers, *found = NULL;
  size_t fit = 0;
  int rc = parse(a, json, CSN_JSON_ARRAY, &list, err);
  if (rc < 0)
    return rc;
  csn_json_each (v, list) {
    if (!docker_has_tag(v, tag))
      continue;
    found = v;
    fit++;
  }
  if (fit == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "it holds no image named %.*s", (int)(tag.n & 0xff),
                    tag.n ? tag.p : "");
  if (fit > 1)
    return csn_fail(err, CSN_E_INVALID,
                    "it holds %zu images; say which by @NAME:TAG behind the path", fit);
  rc = csn_json_need_str(found, "Config", &out->config, err);
  if (rc == 0)
    rc = csn_json_need(found, "Layers", CSN_JSON_ARRAY, &layers, err);
  if (rc != 0)
    return rc;
  if (layers->n > CSN_OCI_LAYERS_MAX)
    return too_many(layers->n, CSN_OCI_LAYERS_MAX, "layers", err);
  const csn_json *first = csn_json_at(csn_json_get(found, "RepoTags"), 0);
  out->name = csn_json_is(first, CSN_JSON_STRING) ? first->text : CSN_STR("");
  out->n = 0;
  out->layers = csn_arena_alloc(a, (layers->n + 1) * sizeof *out->layers);
  csn_json_each (v, layers) {
    if (!csn_json_is(v, CSN_JSON_STRING))
      return csn_fail(err, CSN_E_PARSE, "Layers holds something else than text");
    out->layers[out->n++] = v->text;
  }
  return 0;
}
