/* SPDX-License-Identifier: Apache-2.0
 * caisson image - root file systems for sandboxes: import, list, remove. */
#include <fcntl.h>
#include <time.h>

#include "base/yaml.h"
#include "commands.h"
#include "core/fd.h"
#include "importing.h"
#include "sandbox/backends.h"
#include "sandbox/environment_remote.h"
#include "sandbox/images.h"

struct import_opts {
  const char *name;
};

static const cli_opt import_options[] = {
    {"name", 'n', "NAME", "Call it NAME; otherwise what the source calls it, or the file's name",
     CLI_STR(struct import_opts, name)},
    {0},
};

static int
import_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct import_opts *o = opt;
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  csn_auto(csn_image_freep) csn_image *i = NULL;
  csn_image_progress progress = cli_import_progress(c);
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = csn_layer_store_open(&s, err);
  if (rc == 0)
    rc = csn_image_import(s, &c->scope, argv[0], o->name, &progress, &i, err);
  cli_status(c, NULL);
  if (rc < 0 || !i)
    return rc;
  printf("image:%s\n", i->name.p);
  cli_note(c, "%zu layer%s, %llu files, %s", i->config.n, i->config.n == 1 ? "" : "s",
           (unsigned long long)i->files, cli_size(c->arena, i->bytes).p);
  return 0;
}

/* ---- those of a back-end that keeps images itself ---- */

struct elsewhere {
  const char *backend, *host;
};

#define ELSEWHERE(T, at)                                                                           \
  {"backend", 0, "NAME", "Environments that this back-end keeps, such as docker",                  \
   CLI_STR(T, at backend)},                                                                        \
  {                                                                                                \
    "host", 0, "HOST", "Where the container engine is; else DOCKER_HOST, else its usual socket",   \
        CLI_STR(T, at host)                                                                        \
  }

static int
find_maker(cli *c, const struct elsewhere *o, const csn_environment_maker **m,
           const csn_json **options, csn_err *err)
{
  *m = csn_environment_maker_of(o->backend);
  *options = NULL;
  if (!*m)
    return csn_fail(err, CSN_E_INVALID,
                    "back-end %s keeps no images of its own; without --backend it is about those "
                    "of this machine",
                    o->backend);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(10000);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  if (o->host) {
    csn_jw_key(&w, "host");
    csn_jw_strz(&w, o->host);
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0
             ? rc
             : csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_buf_str(&text)), options, err);
}

struct ls_opts {
  struct elsewhere at;
  bool json;
};

static const cli_opt ls_options[] = {
    {"json", 0, NULL, "Print one JSON list", CLI_BOOL(struct ls_opts, json)},
    ELSEWHERE(struct ls_opts, at.),
    {0},
};

struct listing {
  cli *c;
  csn_buf *out;
  csn_jw *w; /* NULL: lines */
};

static void
add_made(void *user, const csn_environment_image *i)
{
  const struct listing *l = user;
  time_t t = (time_t)(i->created_ms / 1000);
  struct tm tm;
  char when[40] = "-";
  const char *size = i->bytes ? cli_size(l->c->arena, (uint64_t)i->bytes).p : "-";
  localtime_r(&t, &tm);
  if (i->created_ms) /* not every provider tells */
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
  if (!l->w) {
    csn_buf_addf(l->out, "%-46.*s %-16s  %10s  %.*s\n", (int)i->name.n, i->name.p, when, size,
                 (int)i->base.n, i->base.p ? i->base.p : "");
    return;
  }
  csn_jw_obj(l->w);
  csn_jw_key(l->w, "name");
  csn_jw_str(l->w, i->name);
  csn_jw_key(l->w, "source");
  csn_jw_str(l->w, i->base);
  csn_jw_key(l->w, "created_ms");
  csn_jw_int(l->w, i->created_ms);
  csn_jw_key(l->w, "bytes");
  csn_jw_int(l->w, i->bytes);
  csn_jw_end(l->w);
}

static int
list_made(cli *c, const struct ls_opts *o, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(64u << 20);
  const csn_environment_maker *m;
  const csn_json *options;
  csn_jw w;
  struct listing l = {c, &out, o->json ? &w : NULL};
  csn_jw_init(&w, &out);
  if (o->json)
    csn_jw_arr(&w);
  int rc = find_maker(c, &o->at, &m, &options, err);
  if (rc == 0)
    rc = m->list(&c->scope, options, add_made, &l, err);
  if (rc < 0)
    return rc;
  if (o->json)
    csn_jw_end(&w);
  else if (out.n == 0)
    cli_note(c, "no environments there yet");
  cli_put(stdout, csn_buf_str(&out));
  if (o->json)
    printf("\n");
  return 0;
}

static void
add_json(csn_jw *w, const csn_image *i)
{
  const struct {
    const char *key;
    csn_str text;
  } texts[] = {{"name", i->name}, {"source", i->source}, {"user", i->config.user}};
  csn_jw_obj(w);
  for (size_t n = 0; n < CSN_COUNT(texts); n++) {
    csn_jw_key(w, texts[n].key);
    csn_jw_str(w, texts[n].text);
  }
  csn_jw_key(w, "created_ms");
  csn_jw_int(w, i->created_ms);
  csn_jw_key(w, "bytes");
  csn_jw_int(w, (int64_t)i->bytes);
  csn_jw_key(w, "files");
  csn_jw_int(w, (int64_t)i->files);
  csn_jw_key(w, "layers");
  csn_jw_arr(w);
  for (size_t n = 0; n < i->config.n; n++) {
    char text[80] = "sha256:";
    csn_digest_hex(&i->config.layers[n], text + 7);
    csn_jw_strz(w, text);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

static void
add_line(cli *c, csn_buf *out, const csn_image *i)
{
  time_t t = (time_t)(i->created_ms / 1000);
  struct tm tm;
  localtime_r(&t, &tm);
  csn_buf_addf(out, "%-30s %04d-%02d-%02d %02d:%02d  %3zu layer%s %10s  %s\n",
               i->name.n ? i->name.p : "-", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
               tm.tm_hour, tm.tm_min, i->config.n, i->config.n == 1 ? " " : "s",
               cli_size(c->arena, i->bytes).p, i->source.p);
}

static int
ls_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct ls_opts *o = opt;
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(64u << 20);
  csn_image **list = NULL;
  size_t n = 0;
  csn_jw w;
  if (o->at.backend)
    return list_made(c, o, err);
  int rc = csn_layer_store_open(&s, err);
  if (rc == 0)
    rc = csn_image_list(s, &list, &n, err);
  if (rc < 0)
    return rc;
  csn_jw_init(&w, &out);
  if (o->json)
    csn_jw_arr(&w);
  for (size_t i = 0; i < n; i++) {
    if (o->json)
      add_json(&w, list[i]);
    else
      add_line(c, &out, list[i]);
    csn_image_free(list[i]);
  }
  free(list);
  if (o->json)
    csn_jw_end(&w);
  if (o->json)
    printf("%s\n", out.p);
  else if (n)
    cli_put(stdout, csn_buf_str(&out));
  else
    cli_note(c, "no images yet");
  return 0;
}

static const cli_opt rm_options[] = {
    ELSEWHERE(struct elsewhere, ),
    {0},
};

static int
remove_made(cli *c, const struct elsewhere *o, int argc, char **argv, csn_err *err)
{
  const csn_environment_maker *m;
  const csn_json *options;
  uint64_t freed = 0;
  int rc = find_maker(c, o, &m, &options, err);
  for (int i = 0; rc == 0 && i < argc; i++) {
    int64_t bytes = 0;
    rc = m->remove(&c->scope, options, csn_cstr(argv[i]), &bytes, err);
    freed += (uint64_t)bytes;
  }
  if (rc == 0 && freed)
    cli_note(c, "about %s freed", cli_size(c->arena, freed).p);
  return rc;
}

static int
rm_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  const struct elsewhere *o = opt;
  uint64_t freed = 0, bytes = 0;
  if (o->backend)
    return remove_made(c, o, argc, argv, err);
  int rc = csn_layer_store_open(&s, err);
  for (int i = 0; rc == 0 && i < argc; i++) {
    rc = csn_image_remove(s, argv[i], &bytes, err);
    freed += bytes;
  }
  if (rc == 0)
    cli_note(c, "%s freed", cli_size(c->arena, freed).p);
  return rc;
}

/* ---- environments ---- */

struct build_opts {
  bool json;
};

static const cli_opt build_options[] = {
    {"json", 0, NULL, "Print one JSON object", CLI_BOOL(struct build_opts, json)},
    {0},
};

static void
show_step(void *user, const char *step, const csn_str *text)
{
  cli *c = user;
  csn_str rest = text ? *text : CSN_STR(""), line, last = CSN_STR("");
  if (!text) {
    cli_note(c, "%s", step);
    return;
  }
  while (csn_str_line(&rest, &line))
    if (line.n)
      last = line;
  if (c->err_tty && last.n)
    cli_status(c, "%.*s", (int)last.n, last.p);
}

/* What an agent file says of an environment, and where it is built. */
struct wanted {
  csn_environment *e;
  const char *backend;
  const csn_json *options; /* of the back-end */
};

static void
wanted_fini(struct wanted *w)
{
  csn_environment_free(w->e);
}

/* The keys that are the back-end's own. */
static int
read_options(cli *c, const csn_json *section, struct wanted *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_str word = csn_json_str(section, "backend", CSN_STR("jail"));
  csn_jw w;
  out->backend = csn_arena_dup(c->arena, word).p;
  const csn_sandbox_ops *ops = csn_sandbox_find(out->backend);
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  for (const csn_sandbox_option *o = ops ? ops->options : NULL; o && o->name; o++)
    if (csn_json_get(section, o->name)) {
      csn_jw_key(&w, o->name);
      csn_jw_value(&w, csn_json_get(section, o->name));
    }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc
                : csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_buf_str(&text)),
                                 &out->options, err);
}

/* Of the agent file; its own lock holds unless it is to be made anew. */
static int
read_environment(cli *c, const char *path, bool with_lock, struct wanted *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 << 20);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const csn_json *file = NULL, *section;
  const char *slash = strrchr(path, '/');
  const char *folder =
      slash ? csn_arena_dup(c->arena, csn_strn(path, slash > path ? (size_t)(slash - path) : 1)).p
            : ".";
  int rc = fd < 0 ? csn_fail_errno(err, "cannot open the agent file %s", path)
                  : csn_fd_read_all(fd, &text, err);
  if (rc == 0)
    rc = csn_yaml_parse(c->arena, csn_buf_str(&text), path, &file, err);
  if (rc < 0)
    return rc;
  section = csn_json_get(file, "environment");
  if (!section)
    return csn_fail(err, CSN_E_NOT_FOUND, "%s has no section `environment`: nothing to build",
                    path);
  rc = csn_environment_read(&out->e, section, folder, with_lock, err);
  if (rc == 0)
    out->e->wants_versions = true;
  if (rc == 0)
    rc = read_options(c, csn_json_get(file, "sandbox"), out, err);
  return csn_wrap(err, rc, "%s", path);
}

/* In one go, with what is shown meanwhile. */
static int
build(cli *c, const char *path, bool with_lock, struct wanted *w, csn_environment_built *built,
      csn_err *err)
{
  const csn_environment_progress progress = {show_step, c};
  int rc = cli_catch_signals(c, err);
  if (rc == 0)
    rc = read_environment(c, path, with_lock, w, err);
  if (rc == 0 && !with_lock && !w->e->lock.n)
    rc = csn_fail(err, CSN_E_INVALID,
                  "%s: environment: no lock is named; add `lock: environment.lock`", path);
  if (rc == 0)
    rc = csn_environment_make(w->e, &c->scope, w->backend, w->options, &progress, built, err);
  cli_status(c, NULL);
  return rc;
}

static int
build_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct build_opts *o = opt;
  csn_auto(wanted_fini) struct wanted w = {0};
  csn_environment_built built = {0};
  int rc = build(c, argv[0], true, &w, &built, err);
  if (rc < 0 || !w.e)
    return rc;
  if (o->json)
    printf("{\"image\":\"%s\",\"was_there\":%s,\"locked\":%s,\"resolved\":%s}\n", built.image,
           built.was_there ? "true" : "false", w.e->is_locked ? "true" : "false", built.resolved.p);
  else
    printf("%s\n", built.image);
  csn_environment_built_fini(&built);
  return 0;
}

/* An absolute path. */
static int
write_lock(const char *path, csn_str text, csn_err *err)
{
  const char *name = strrchr(path, '/') + 1;
  csn_auto(csn_freep) char *folder = csn_dupz(csn_strn(path, (size_t)(name - path)));
  csn_auto(csn_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "the folder %s of the lock", folder);
  return csn_file_write(fd, name, text, 0644, true, err);
}

static int
lock_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(wanted_fini) struct wanted w = {0};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(8 << 20);
  csn_environment_built built = {0};
  int rc = build(c, argv[0], false, &w, &built, err);
  if (rc < 0 || !w.e)
    return rc;
  rc = csn_environment_lock(w.e, &built, &text, err);
  if (rc == 0)
    rc = write_lock(w.e->lock.p, csn_buf_str(&text), err);
  if (rc == 0)
    printf("%s\n", w.e->lock.p);
  csn_environment_built_fini(&built);
  return rc;
}

static const cli_cmd image_build = {
    .name = "build",
    .args = "AGENT.yaml",
    .brief = "Build the environment of an agent file, unless it was built before",
    .help = "The image has the packages and the setup of the section `environment` on top of its "
            "base, in a jail or where the file's back-end keeps images itself (docker). Prints the "
            "word that names it. A run builds what it needs by itself; this is for doing it ahead.",
    .size = sizeof(struct build_opts),
    .opts = build_options,
    .main = build_main,
};

static const cli_cmd image_lock = {
    .name = "lock",
    .args = "AGENT.yaml",
    .brief = "Write down the version of each package of an environment",
    .help = "Builds the environment from its names and writes what they were resolved to into the "
            "file that its key `lock` names. From then on these versions are installed, on every "
            "machine, until the section is changed.",
    .main = lock_main,
};

static const cli_cmd image_import = {
    .name = "import",
    .args = "SOURCE",
    .brief = "Unpack an image into the store and give it a name",
    .help = "SOURCE is oci:PATH[@TAG], an OCI image layout folder or an archive that `docker save` "
            "wrote; tar:FILE, an archive of a root file system; or the path alone. Archives may be "
            "packed by gzip, xz, bzip2 or zstd. Prints the word that names the image as a root "
            "file system: image:NAME. Layers that the store has already are not read again.",
    .size = sizeof(struct import_opts),
    .opts = import_options,
    .main = import_main,
};

static const cli_cmd image_ls = {
    .name = "ls",
    .brief = "List images, and sources that sandboxes used",
    .size = sizeof(struct ls_opts),
    .opts = ls_options,
    .main = ls_main,
};

static const cli_cmd image_rm = {
    .name = "rm",
    .args = "NAME...",
    .brief = "Remove images, and layers that no other one needs",
    .help = "A source without a name of its own is removed by its word, such as oci:/srv/python. "
            "Layers that a sandbox uses stay until the next removal.",
    .size = sizeof(struct elsewhere),
    .opts = rm_options,
    .main = rm_main,
};

static const cli_cmd *const subs[] = {&image_import, &image_build, &image_lock,
                                      &image_ls,     &image_rm,    NULL};

const cli_cmd cmd_image = {
    .name = "image",
    .brief = "Import, build, list and remove root file systems for sandboxes",
    .sub = subs,
};
