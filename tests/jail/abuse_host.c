/* SPDX-License-Identifier: Apache-2.0
 *
 * abuse_host.c - the cases of abuse whose victim is the harness: its reading
 * of files that somebody changes, of output, of results; its waiting. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "abuse.h"
#include "core/fd.h"
#include "sandbox/outputs.h"

/* A command in the jail that goes on while the harness does something. */
static csn_proc *
start(struct abuse *a, const char *script)
{
  csn_proc *p;
  const char *argv[] = {"sh", "-c", script, NULL};
  csn_exec x = {.argv = argv, .claim_fd = -1};
  OK(csn_sandbox_spawn(a->sb, NULL, &x, &p, &a->err), &a->err);
  return p;
}

static bool
await_file(struct abuse *a, const char *name)
{
  for (int i = 0; i < 1000; i++) {
    if (faccessat(a->work_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      return true;
    poll(NULL, 0, 5);
  }
  return false;
}

/* ---- 34: links swapped while the harness reads and writes ---- */

static bool
holds_secret(const csn_buf *b)
{
  return b->n && memmem(b->p, b->n, "a secret", 8);
}

/* As somebody would who does not know better; the race is real when it works. */
static bool
naive_read(struct abuse *a)
{
  char text[64] = "";
  csn_auto(csn_closep) int fd = openat(a->work_fd, "race/secret", O_RDONLY | O_CLOEXEC);
  return fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, "a secret");
}

static bool
careful_read(struct abuse *a)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_err err;
  return csn_file_read(a->work_fd, "race/secret", &out, &err) == 0 && holds_secret(&out);
}

static bool
careful_open(struct abuse *a)
{
  char text[64] = "";
  csn_err err;
  csn_auto(csn_closep) int fd = csn_open_beneath(a->work_fd, "race/secret", O_RDONLY, 0, &err);
  return fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, "a secret");
}

/* True when something of ours landed beside the secret. */
static bool
careful_write(struct abuse *a)
{
  csn_err err;
  (void)!csn_file_write(a->work_fd, "race/written", CSN_STR("x"), 0644, false, &err);
  (void)!csn_mkdirs(a->work_fd, "race/folder/deeper", 0755, &err);
  return faccessat(a->base_fd, "written", F_OK, 0) == 0 ||
         faccessat(a->base_fd, "folder", F_OK, 0) == 0;
}

static bool
careful_remove(struct abuse *a)
{
  csn_err err;
  (void)!csn_remove_tree(a->work_fd, "race/doomed", &err);
  return faccessat(a->base_fd, "doomed", F_OK, 0) < 0;
}

static bool
careful_collect(struct abuse *a)
{
  csn_outputs o;
  csn_err err;
  csn_auto(csn_closep) int target =
      openat(a->base_fd, "beside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const csn_output want = {.path = CSN_STR("race/secret"), .to = CSN_STR("collected")};
  if (csn_outputs_collect(&o, NULL, a->work_fd, target, &want, 1, NULL, &err) < 0)
    return false;
  csn_outputs_fini(&o);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  bool got = csn_file_read(target, "collected", &out, &err) == 0 && holds_secret(&out);
  unlinkat(target, "collected", 0);
  return got;
}

static int
repeat(struct abuse *a, bool (*step)(struct abuse *a), int64_t ms)
{
  for (int64_t end = csn_now_ns() + ms * 1000000; csn_now_ns() < end;)
    if (step(a))
      return WORKED;
  return REFUSED;
}

void
abuse_case_34(struct abuse *a)
{
  static const struct {
    const char *what;
    bool (*step)(struct abuse *a);
  } steps[] = {{"reading a file", careful_read},
               {"opening a file", careful_open},
               {"writing a file", careful_write},
               {"removing a tree", careful_remove},
               {"collecting", careful_collect}};
  char script[600];
  OK(csn_mkdirs(a->base_fd, "doomed", 0777, &a->err), &a->err);
  snprintf(script, sizeof script,
           "mkdir real; echo nothing >real/secret; ln -s %s out; : >started\n"
           "while :; do mv -T real race; mv -T race real; mv -T out race; mv -T race out; done",
           a->base);
  csn_proc *p = start(a, script);
  if (!await_file(a, "started"))
    fail_msg("the race did not start");
  bool is_real = repeat(a, naive_read, 5000) == WORKED;
  for (size_t i = 0; is_real && i < CSN_COUNT(steps); i++)
    abuse_tell(a, steps[i].what, repeat(a, steps[i].step, 150), "-");
  csn_proc_close(p);
  if (!is_real)
    fail_msg("a careless reader was not led astray either, so the race proves nothing");
}

/* ---- 38: a flood of output ---- */

static long
resident_kib(void)
{
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1)
    pages = 0;
  if (f)
    fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

void
abuse_case_38(struct abuse *a)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
  csn_exit end;
  const char *argv[] = {"yes", "0123456789abcdef0123456789abcdef", NULL};
  long before = resident_kib();
  int rc = abuse_run(a, argv, &out, 700, &end);
  long grew = resident_kib() - before;
  abuse_tell(a, "memory of the harness", grew > 8192 ? WORKED : REFUSED, "%ld KiB more", grew);
  abuse_tell(a, "going on after its time", rc == CSN_E_TIMEOUT ? REFUSED : WORKED, "%d", rc);
  abuse_tell(a, "more than the cap", out.n > 1 << 20 ? WORKED : REFUSED, "%zu bytes", out.n);
}

/* ---- 39: escapes to the operator's terminal ---- */

static bool
is_tame(const char *bytes, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)bytes[i], next = i + 1 < n ? (unsigned char)bytes[i + 1] : 0;
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f)
      return false;
    if (c == 0xc2 && next >= 0x80 && next < 0xa0) /* C1 as UTF-8 */
      return false;
  }
  return true;
}

/* What the program writes when its stdout is a terminal and its input is not. */
static void
on_terminal(struct abuse *a, const char *what, const char *const *argv)
{
  int master;
  char bytes[4096];
  size_t n = 0;
  pid_t pid = forkpty(&master, NULL, NULL, NULL);
  if (pid == 0) {
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    execv(argv[0], (char **)(uintptr_t)argv);
    _exit(99);
  }
  for (ssize_t got; n < sizeof bytes && (got = read(master, bytes + n, sizeof bytes - n)) > 0;)
    n += (size_t)got;
  close(master);
  int status = -1;
  waitpid(pid, &status, 0);
  bool came = memmem(bytes, n, "before", 6) && memmem(bytes, n, "after", 5);
  abuse_tell(a, what,
             !came               ? 3
             : is_tame(bytes, n) ? REFUSED
                                 : WORKED,
             "%.*s", is_tame(bytes, n) ? (int)(n < 100 ? n : 100) : 0, bytes);
}

void
abuse_case_39(struct abuse *a)
{
  static const char text[] =
      "before \\033]52;c;aGVsbG8=\\007 \\033[2J \\033]0;title\\007 \\033P+q\\033\\\\ "
      "\\302\\233 \\233 \\b\\b \\177 after\\n";
  const char *caisson = getenv("CSN_CAISSON");
  if (!caisson)
    fail_msg("CSN_CAISSON is missing");
  on_terminal(a, "output of a command",
              (const char *[]){caisson, "sandbox", "run", "--", "printf", text, NULL});
  on_terminal(a, "errors of a command",
              (const char *[]){caisson, "sandbox", "run", "--", "sh", "-c", "printf \"$0\" >&2",
                               text, NULL});
}

/* ---- 40: who stays longer than he may ---- */

/* Those of this machine with the two words as their arguments. */
static int
count_processes(const char *program, const char *argument)
{
  char want[64], path[300], text[64];
  int found = 0, n = snprintf(want, sizeof want, "%s%c%s", program, 0, argument);
  DIR *proc = opendir("/proc");
  for (struct dirent *d; proc && (d = readdir(proc));) {
    snprintf(path, sizeof path, "/proc/%s/cmdline", d->d_name);
    csn_auto(csn_closep) int fd = d->d_name[0] > '9' ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    found += fd >= 0 && read(fd, text, sizeof text) == n + 1 && !memcmp(text, want, (size_t)n);
  }
  if (proc)
    closedir(proc);
  return proc ? found : -1;
}

void
abuse_case_40(struct abuse *a)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  char time[16]; /* that no other run of this test counts */
  snprintf(time, sizeof time, "47%d", getpid());
  const char *argv[] = {"sh", "-c",
                        "trap '' TERM INT HUP; (setsid sleep $0 &); (setsid sh -c 'sleep $0 "
                        "& sleep $0' $0 >/dev/null 2>&1 &); nohup sleep $0",
                        time, NULL};
  int64_t began = csn_now_ns();
  int rc = abuse_run(a, argv, &out, 300, &end);
  bool late = csn_now_ns() - began > 5000000000;
  abuse_tell(a, "holding the harness", rc != CSN_E_TIMEOUT || late ? WORKED : REFUSED, "%d", rc);
  csn_sandbox *again;
  csn_sandbox_close(a->sb);
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = a->work_fd, .lock_fd = -1};
  int left = count_processes("sleep", time);
  abuse_tell(a, "living on after the sandbox", left < 0 ? 3 : left ? WORKED : REFUSED, "%d", left);
  OK(csn_sandbox_open(&again, NULL, &spec, &a->err), &a->err);
  a->sb = again;
}

/* ---- 44: results that are none ---- */

void
abuse_case_44(struct abuse *a)
{
  static const struct {
    const char *name, *make;
  } results[] = {
      {"FIFO", "mkfifo result"},
      {"link to a secret", "ln -s \"$2\" result"},
      {"link through proc", "ln -s \"/proc/self/root$2\" result"},
      {"socket", "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>q(result),Listen=>1)'"},
      {"sparse file", "truncate -s 10G result"},
      {"link to a device", "ln -s /dev/zero result"},
      {"folder of links", "mkdir result; ln -s \"$2\" result/a; ln -s / result/b; mkfifo result/c"},
      {"file of 2 MiB", "head -c 2097152 /dev/zero >result"},
      {"1000 files", "mkdir result; cd result; i=0; while [ $i -lt 1000 ]; do : >f$i; "
                     "i=$((i+1)); done"},
  };
  const csn_output_limits limits = {.max_files = 100, .max_bytes = 1 << 20};
  const csn_output want = {.path = CSN_STR("result"), .to = CSN_STR("result")};
  for (size_t i = 0; i < CSN_COUNT(results); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4000);
    csn_exit end;
    csn_outputs o;
    const char *argv[] = {"sh",      "-c", "rm -rf result; eval \"$1\"", "sh", results[i].make,
                          a->secret, NULL};
    OK(abuse_run(a, argv, &out, 20000, &end), &a->err);
    if (faccessat(a->work_fd, "result", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
      abuse_tell(a, results[i].name, 3, "%.100s", out.p ? out.p : "it was not made");
      continue;
    }
    OK(csn_mkdirs(a->base_fd, "beside/taken", 0755, &a->err), &a->err);
    csn_auto(csn_closep) int to =
        openat(a->base_fd, "beside/taken", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int64_t began = csn_now_ns();
    OK(csn_outputs_collect(&o, NULL, a->work_fd, to, &want, 1, &limits, &a->err), &a->err);
    size_t taken = 0;
    for (size_t k = 0; k < o.n; k++)
      taken += o.items[k].status == CSN_OUTPUT_OK;
    bool is_fine = taken <= (strncmp(results[i].name, "1000", 4) == 0 ? 100 : 0) &&
                   csn_now_ns() - began < 3000000000;
    abuse_tell(a, results[i].name, is_fine ? REFUSED : WORKED, "%zu of it taken", taken);
    csn_outputs_fini(&o);
    OK(csn_remove_tree(a->base_fd, "beside/taken", &a->err), &a->err);
  }
}

/* ---- 48 ---- */

void
abuse_move_folder(struct abuse *a)
{
  if (!await_file(a, "ready"))
    return; /* the script says so */
  (void)!renameat(a->work_fd, "moving/a", a->base_fd, "beside/a");
  unlinkat(a->work_fd, "ready", 0);
}
