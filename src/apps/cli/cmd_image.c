/* SPDX-License-Identifier: Apache-2.0
 * caisson image - root file systems for sandboxes: import, list, remove. */
#include <time.h>

#include "commands.h"
#include "importing.h"
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

struct ls_opts {
  bool json;
};

static const cli_opt ls_options[] = {
    {"json", 0, NULL, "Print one JSON list", CLI_BOOL(struct ls_opts, json)},
    {0},
};

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

static int
rm_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_layer_store_freep) csn_layer_store *s = NULL;
  uint64_t freed = 0, bytes = 0;
  int rc = csn_layer_store_open(&s, err);
  for (int i = 0; rc == 0 && i < argc; i++) {
    rc = csn_image_remove(s, argv[i], &bytes, err);
    freed += bytes;
  }
  if (rc == 0)
    cli_note(c, "%s freed", cli_size(c->arena, freed).p);
  return rc;
}

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
    .main = rm_main,
};

static const cli_cmd *const subs[] = {&image_import, &image_ls, &image_rm, NULL};

const cli_cmd cmd_image = {
    .name = "image",
    .brief = "Import, list and remove root file systems for sandboxes",
    .sub = subs,
};
