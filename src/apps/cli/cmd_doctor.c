/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson doctor - what this machine can do for us, and what is missing.
 *
 * Facts are gathered as one JSON object, whose sections people see as a
 * table; so both forms always say the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "caisson/caisson.h"
#include "commands.h"
#include "core/fd.h"
#include "local_models.h"
#include "sandbox/backends.h"
#include "sandbox/devices.h"
#include "sandbox/engine.h"
#include "sandbox/mount_host.h"

struct doctor_opts {
  bool json;
  const char *backend;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print one JSON object", CLI_BOOL(struct doctor_opts, json)},
    {"backend", 0, "exec:PROGRAM", "Start that program, too, and tell what it can",
     CLI_STR(struct doctor_opts, backend)},
    {0},
};

static void
machine(csn_jw *w)
{
  struct utsname u;
  struct sysinfo si;
  cpu_set_t cpus;
  uname(&u);
  csn_jw_key(w, "machine");
  csn_jw_obj(w);
  csn_jw_key(w, "caisson");
  csn_jw_strz(w, csn_version());
  csn_jw_key(w, "kernel");
  csn_jw_strz(w, u.release);
  csn_jw_key(w, "architecture");
  csn_jw_strz(w, u.machine);
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
    csn_jw_key(w, "cpus");
    csn_jw_int(w, CPU_COUNT(&cpus));
  }
  if (sysinfo(&si) == 0) {
    csn_jw_key(w, "memory_mib");
    csn_jw_int(w, (int64_t)(si.totalram * si.mem_unit >> 20));
  }
  csn_jw_key(w, "user");
  csn_jw_int(w, geteuid());
  csn_jw_end(w);
}

/* Opens one and looks, so that what is said is what a run gets. */
static bool
jail(cli *c, csn_jw *w)
{
  csn_jail_feature list[CSN_JAIL_FEATURES];
  int n = csn_jail_probe(&c->scope, list);
  csn_jw_key(w, "jail");
  csn_jw_obj(w);
  for (int i = 0; i < n; i++) {
    csn_jw_key(w, list[i].name);
    csn_jw_obj(w);
    csn_jw_key(w, "state");
    csn_jw_strz(w, list[i].state);
    csn_jw_key(w, "note");
    csn_jw_strz(w, list[i].note);
    csn_jw_end(w);
  }
  csn_jw_end(w);
  return n > 0 && strcmp(list[0].state, "enforced") == 0;
}

static void
devices(csn_jw *w)
{
  csn_jw_key(w, "devices");
  csn_jw_obj(w);
  for (const char *const *word = csn_device_words; *word; word++) {
    csn_device_state s;
    csn_device_look(*word, &s);
    csn_jw_key(w, *word);
    csn_jw_obj(w);
    csn_jw_key(w, "state");
    csn_jw_strz(w, s.state);
    csn_jw_key(w, "note");
    csn_jw_strz(w, s.note);
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

static void
mounts(csn_jw *w)
{
  char missing[400];
  const char *why = csn_mount_host_missing(missing);
  csn_jw_key(w, "mounts");
  csn_jw_obj(w);
  csn_jw_key(w, "rclone");
  csn_jw_obj(w);
  csn_jw_key(w, "state");
  csn_jw_strz(w, why ? "absent" : "present");
  csn_jw_key(w, "note");
  csn_jw_strz(w, why ? why : "storage of others can be mounted in a jail");
  csn_jw_end(w);
  csn_jw_end(w);
}

static void
engine(cli *c, csn_jw *w)
{
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(2000);
  bool is_there = csn_engine_probe(&c->scope, &note);
  csn_jw_key(w, "container engine");
  csn_jw_obj(w);
  csn_jw_key(w, "docker");
  csn_jw_obj(w);
  csn_jw_key(w, "state");
  csn_jw_strz(w, is_there ? "there" : "absent");
  csn_jw_key(w, "note");
  csn_jw_strz(w, note.p ? note.p : "");
  csn_jw_end(w);
  csn_jw_end(w);
}

/* A back-end of its user's. */
static bool
program(cli *c, const char *word, csn_jw *w)
{
  csn_auto(csn_buf_finip) csn_buf note = CSN_BUF(2000);
  csn_err err;
  bool is_there = csn_exec_probe(&c->scope, word, &note, &err) == 0;
  csn_jw_key(w, "program");
  csn_jw_obj(w);
  csn_jw_key(w, word);
  csn_jw_obj(w);
  csn_jw_key(w, "state");
  csn_jw_strz(w, is_there ? "there" : "absent");
  csn_jw_key(w, "note");
  csn_jw_strz(w, is_there ? note.p : err.msg);
  csn_jw_end(w);
  csn_jw_end(w);
  return is_there;
}

static void
state(cli *c, csn_jw *w)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(64 << 10);
  csn_auto(csn_closep) int dir = -1;
  csn_err err;
  csn_jw_key(w, "state");
  csn_jw_obj(w);
  int rc = cli_state_open(c, false, &dir, &path, &err);
  if (rc == CSN_E_NOT_FOUND) {
    csn_jw_key(w, "folder");
    csn_jw_strz(w, "none yet; the first run makes one");
  } else if (rc < 0) {
    csn_jw_key(w, "problem");
    csn_jw_strz(w, err.msg);
  } else {
    struct statvfs fs;
    csn_jw_key(w, "folder");
    csn_jw_strz(w, path.p);
    if (fstatvfs(dir, &fs) == 0) {
      csn_jw_key(w, "free_mib");
      csn_jw_int(w, (int64_t)((uint64_t)fs.f_bavail * fs.f_frsize >> 20));
    }
  }
  csn_jw_end(w);
}

/* Names only: a value never leaves the environment through here. */
static void
keys(csn_jw *w)
{
  static const char *const names[] = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"};
  csn_jw_key(w, "keys");
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    const char *value = getenv(names[i]);
    csn_jw_key(w, names[i]);
    csn_jw_strz(w, value && *value ? "set" : "not set");
  }
  csn_jw_end(w);
}

/* Where `name` is on the PATH, or "". */
static void
find_program(const char *name, csn_buf *out)
{
  const char *path = getenv("PATH");
  csn_str rest = csn_cstr(path ? path : "/usr/bin:/bin"), folder;
  while (cli_word(&rest, ':', &folder)) {
    csn_buf_clear(out);
    csn_buf_addf(out, "%.*s/%s", (int)folder.n, folder.p, name);
    if (folder.n > 0 && access(out->p, X_OK) == 0)
      return;
  }
  csn_buf_clear(out);
}

static void
tools(csn_jw *w)
{
  static const char *const names[] = {"git"};
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(64 << 10);
  csn_jw_key(w, "programs");
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    find_program(names[i], &at);
    csn_jw_key(w, names[i]);
    csn_jw_strz(w, at.n ? at.p : "not found");
  }
  csn_jw_end(w);
}

static void
print_value(const csn_json *v)
{
  csn_str command = csn_json_str(v, "try", CSN_STR(""));
  if (command.n) {
    cli_put(stdout, command);
    return;
  }
  if (v->kind == CSN_JSON_OBJECT) {
    csn_str state = csn_json_str(v, "state", CSN_STR("")), note = csn_json_str(v, "note", state);
    cli_put(stdout, state);
    printf("%*s", note.n ? 10 - (int)state.n : 0, "");
    cli_put(stdout, note);
    return;
  }
  if (v->kind == CSN_JSON_BOOL)
    fputs(v->truth ? "yes" : "no", stdout);
  else
    cli_put(stdout, v->kind == CSN_JSON_STRING || v->kind == CSN_JSON_NUMBER ? v->text : v->raw);
}

static void
print_table(const csn_json *facts)
{
  csn_json_each (section, facts) {
    if (!section->child)
      continue;
    printf("%.*s\n", (int)section->key.n, section->key.p);
    csn_json_each (fact, section) {
      int width = (int)fact->key.n;
      bool is_label = fact->key.p[0] >= 'a'; /* and not a variable's name */
      printf("  ");
      for (int i = 0; i < width; i++)
        putchar(is_label && fact->key.p[i] == '_' ? ' ' : fact->key.p[i]);
      printf("%*s", width < 20 ? 20 - width : 1, "");
      print_value(fact);
      putchar('\n');
    }
  }
}

static int
doctor_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct doctor_opts *o = opt;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  bool is_fine = true;
  if (o->backend && !csn_exec_is_word(csn_cstr(o->backend)))
    return csn_fail(err, CSN_E_INVALID,
                    "option --backend: expected exec:PROGRAM; of the others all is told anyway");
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  machine(&w);
  bool has_jail = jail(c, &w);
  devices(&w);
  mounts(&w);
  engine(c, &w);
  if (o->backend)
    is_fine = program(c, o->backend, &w);
  state(c, &w);
  keys(&w);
  tools(&w);
  csn_jw_key(&w, "local models");
  cli_local_models(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  if (o->json) {
    puts(text.p);
    return has_jail && is_fine ? CLI_DONE : CLI_SANDBOX;
  }
  const csn_json *facts;
  rc = csn_json_parse(c->arena, csn_buf_str(&text), &facts, err);
  if (rc < 0)
    return rc;
  print_table(facts);
  return has_jail && is_fine ? CLI_DONE : CLI_SANDBOX;
}

const cli_cmd cmd_doctor = {
    .name = "doctor",
    .brief = "Tell what this machine can do",
    .help = "Kernel and machine; what the jail enforces here, found out by opening one; devices "
            "that it may be given; whether a container engine is there; the state "
            "folder; whether model keys are set (never their values); programs that are used when "
            "present; model servers that answer on this machine (Ollama, llama.cpp, vLLM on their "
            "usual "
            "ports), with a line to paste. The status is 6 when no jail can be made, or a program "
            "that was asked for does not answer.",
    .size = sizeof(struct doctor_opts),
    .opts = opts,
    .main = doctor_main,
};
