/* SPDX-License-Identifier: Apache-2.0
 * caisson audit - prove that a journal is whole, hand it to others, and tell
 * which step wrote a file. */
#include <errno.h>
#include <fcntl.h>

#include "audit.h"
#include "commands.h"
#include "core/fd.h"
#include "provenance.h"

struct audit_opts {
  bool json;
  const char *file;
};

static int
open_run(cli_stored *s, const char *id, csn_journal **j, csn_err *err)
{
  return csn_journal_open(s->store, csn_cstr(id), false, j, err);
}

/* ---- export ---- */

static int
export_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  unsigned char key[CSN_KEY_BYTES];
  csn_journal *j = NULL;
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = csn_key_need(s.fd, key, err);
  if (rc == 0)
    rc = open_run(&s, argv[0], &j, err);
  if (rc == 0)
    rc = cli_audit_export(j, key, err);
  if (j)
    csn_journal_close(j);
  cli_stored_close(&s);
  return rc;
}

/* ---- verify ---- */

static void
print_found(const cli_audit *f, const csn_err *err, bool json)
{
  char hex[65];
  csn_digest_hex(&f->head, hex);
  if (json) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8192);
    csn_jw w;
    csn_jw_init(&w, &b);
    csn_jw_obj(&w);
    csn_jw_key(&w, "run");
    csn_jw_str(&w, f->run);
    csn_jw_key(&w, "whole");
    csn_jw_bool(&w, !err);
    csn_jw_key(&w, "records");
    csn_jw_int(&w, f->records);
    csn_jw_key(&w, "erased");
    csn_jw_int(&w, f->erased);
    csn_jw_key(&w, "decisions");
    csn_jw_int(&w, f->decisions);
    csn_jw_key(&w, err ? "error" : "head");
    csn_jw_strz(&w, err ? err->msg : hex);
    csn_jw_end(&w);
    if (csn_jw_done(&w, NULL) == 0)
      puts(b.p);
    return;
  }
  printf("%-20.*s ", (int)f->run.n, f->run.n ? f->run.p : "");
  if (err) {
    fputs("BROKEN  ", stdout);
    cli_put(stdout, csn_cstr(err->msg));
    putchar('\n');
    return;
  }
  printf("whole   %lld records, %lld decisions, head %.16s", (long long)f->records,
         (long long)f->decisions, hex);
  if (f->erased)
    printf(", %lld erased", (long long)f->erased);
  putchar('\n');
}

static int
verify_file(cli *c, const struct audit_opts *o, csn_err *err)
{
  unsigned char key[CSN_KEY_BYTES];
  csn_auto(csn_closep) int dir = -1;
  csn_auto(csn_closep) int fd = open(o->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return csn_fail_errno(err, "%s", o->file);
  /* Only a key that is there: a new one has signed nothing. */
  bool has_key = cli_state_open(c, false, &dir, NULL, NULL) == 0 &&
                 faccessat(dir, "key", R_OK, 0) == 0 && csn_key_need(dir, key, NULL) == 0;
  cli_audit found;
  csn_err why;
  int rc = cli_audit_file(c->arena, fd, has_key ? key : NULL, &found, &why);
  print_found(&found, rc < 0 ? &why : NULL, o->json);
  if (rc == 0 && !has_key)
    cli_note(c, "no state folder with a key here: the chain is whole, who signed its end was not "
                "checked");
  return rc < 0 ? CLI_FAILED : CLI_DONE;
}

struct verifying {
  cli *c;
  cli_stored s;
  unsigned char key[CSN_KEY_BYTES];
  bool json;
  char (*ids)[32];
  size_t n;
  int broken;
};

static int
take_id(void *user, const csn_run_row *r)
{
  struct verifying *v = user;
  if ((v->n & (v->n - 1)) == 0)
    v->ids = csn_realloc(v->ids, v->n ? v->n * 2 : 1, sizeof *v->ids);
  memcpy(v->ids[v->n++], r->id, sizeof r->id);
  return 0;
}

static int
verify_one(struct verifying *v, const char *id, csn_err *err)
{
  csn_journal *j;
  cli_audit found;
  csn_err why;
  int rc = open_run(&v->s, id, &j, err);
  if (rc < 0)
    return rc;
  rc = cli_audit_run(j, v->key, &found, &why);
  print_found(&found, rc < 0 ? &why : NULL, v->json);
  v->broken += rc < 0;
  csn_journal_close(j);
  return csn_scope_check(&v->c->scope, err);
}

static int
verify_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct audit_opts *o = opt;
  if (o->file && argc)
    return csn_fail(err, CSN_E_INVALID, "verify: either runs or --file, not both");
  if (o->file)
    return verify_file(c, o, err);
  struct verifying v = {.c = c, .json = o->json};
  int rc = cli_stored_open(c, &v.s, err);
  if (rc == 0)
    rc = csn_key_need(v.s.fd, v.key, err);
  if (rc == 0 && argc == 0)
    rc = csn_store_runs(v.s.store, take_id, &v, err);
  for (size_t i = 0; rc == 0 && i < v.n; i++)
    rc = verify_one(&v, v.ids[i], err);
  for (int i = 0; rc == 0 && i < argc; i++)
    rc = verify_one(&v, argv[i], err);
  free(v.ids);
  cli_stored_close(&v.s);
  return rc < 0 ? rc : v.broken ? CLI_FAILED : CLI_DONE;
}

/* ---- file ---- */

static int
file_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct audit_opts *o = opt;
  csn_journal *j = NULL;
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = open_run(&s, argv[0], &j, err);
  if (rc == 0)
    rc = cli_provenance(c, &s, j, csn_cstr(argv[1]), o->json, err);
  if (j)
    csn_journal_close(j);
  cli_stored_close(&s);
  return rc;
}

static const cli_opt json_opts[] = {
    {"json", 0, NULL, "Print JSON", CLI_BOOL(struct audit_opts, json)},
    {0},
};
static const cli_opt verify_opts[] = {
    {"json", 0, NULL, "Print a line of JSON for each run", CLI_BOOL(struct audit_opts, json)},
    {"file", 'f', "FILE", "Verify an exported file instead", CLI_STR(struct audit_opts, file)},
    {0},
};

static const cli_cmd cmd_export = {
    .name = "export",
    .args = "RUN",
    .brief = "Print a run's journal as a file that proves itself",
    .help = "Lines of JSON: a head with the end of the chain, signed with the key of the state "
            "folder, then each record exactly as it is stored, with its hash.",
    .main = export_main,
};

static const cli_cmd cmd_verify = {
    .name = "verify",
    .args = "[RUN...]",
    .brief = "Check that journals were not altered",
    .help = "Every record's hash, the end of each chain, the content kept beside it, and the "
            "signature of each decision; of all runs when none is named. With --file the same of "
            "an exported file, whose head must be signed with this state folder's key when there "
            "is one. The status is 1 when something was altered, and the line says what.",
    .size = sizeof(struct audit_opts),
    .opts = verify_opts,
    .main = verify_main,
};

static const cli_cmd cmd_file = {
    .name = "file",
    .args = "RUN PATH",
    .brief = "Tell which steps wrote a file of the workspace",
    .help =
        "What the manifest brought, each patch with the hashes before and after, the call "
        "during which the file was last changed (by the kernel's change time, which nothing "
        "in the sandbox can set), and whether it was collected. Of a run with several sandboxes: "
        "NAME:PATH, or a path in the first.",
    .size = sizeof(struct audit_opts),
    .opts = json_opts,
    .main = file_main,
};

static const cli_cmd *const subs[] = {&cmd_export, &cmd_verify, &cmd_file, NULL};

const cli_cmd cmd_audit = {
    .name = "audit",
    .brief = "Prove that a run's record is whole; who wrote which file",
    .sub = subs,
};
