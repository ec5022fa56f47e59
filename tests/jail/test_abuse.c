/* SPDX-License-Identifier: Apache-2.0
 *
 * test_abuse.c - the cases of abuse that SECURITY.md lists, tried.
 *
 * Each row of the table there is a test.  Its attempts (tests/jail/abuse/, and
 * abuse_host.c for what needs the harness's side) run in a fresh jail, and
 * outside of it, where they have to work.  A row says "denied", or "denied
 * but:" with the attempts that are not; anything else than what it says fails,
 * also when it got better, so that the table stays true.  An attempt that
 * could not be made fails. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include "abuse.h"
#include "core/fd.h"

enum { MEMORY_MIB = 128, PIDS = 256, CPU_PERCENT = 50 };
enum { ROWS = 64, VARIABLES = 40, SHARED_KEY = 0x0ca15500 };

struct row {
  int number;
  char name[100];    /* "12 other socket families" */
  char outcome[400]; /* of the table */
  char needs[100];
};

static struct {
  struct row rows[ROWS];
  size_t n;
  char source[PATH_MAX]; /* the folder of the table */
  csn_buf denied, open;  /* the two lists */
  char *variables[VARIABLES];
  size_t count;
  char base[64], secret[128];
  pid_t victim;
  int shared;
} suite = {.denied = {.cap = 1 << 20}, .open = {.cap = 1 << 20}};

static char marked[] = "marked";

/* ---- the table ---- */

static csn_str
take_cell(csn_str *rest)
{
  size_t end = csn_str_find(*rest, CSN_STR("|"), 0);
  csn_str cell = csn_strn(rest->p, end == SIZE_MAX ? rest->n : end);
  size_t used = cell.n + (end != SIZE_MAX);
  *rest = csn_strn(rest->p + used, rest->n - used);
  return csn_str_trim(cell);
}

static bool
read_table(const char *path)
{
  csn_auto(csn_closep) int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_err err;
  if (csn_file_read(folder, path + (path[0] == '/'), &text, &err) < 0)
    return false;
  snprintf(suite.source, sizeof suite.source, "%s", path);
  char *slash = strrchr(suite.source, '/');
  if (!slash)
    return false;
  *slash = '\0';
  csn_str rest = csn_buf_str(&text);
  while (rest.n && suite.n < ROWS) {
    size_t end = csn_str_find(rest, CSN_STR("\n"), 0);
    csn_str line = csn_strn(rest.p, end == SIZE_MAX ? rest.n : end);
    rest = csn_strn(rest.p + line.n + (end != SIZE_MAX), rest.n - line.n - (end != SIZE_MAX));
    if (line.n == 0 || line.p[0] != '|')
      continue;
    line = csn_strn(line.p + 1, line.n - 1);
    struct row *r = &suite.rows[suite.n];
    int64_t number;
    csn_str cells[4];
    for (size_t i = 0; i < CSN_COUNT(cells); i++)
      cells[i] = take_cell(&line);
    if (!csn_str_int(cells[0], &number))
      continue;
    r->number = (int)number;
    snprintf(r->name, sizeof r->name, "%d %.*s", r->number, (int)cells[1].n, cells[1].p);
    snprintf(r->outcome, sizeof r->outcome, "%.*s", (int)cells[2].n, cells[2].p);
    snprintf(r->needs, sizeof r->needs, "%.*s", (int)cells[3].n, cells[3].p);
    suite.n++;
  }
  return suite.n > 0;
}

/* ---- attempts ---- */

static struct attempt *
attempt_of(struct abuse *a, csn_str what)
{
  for (size_t i = 0; i < a->n; i++)
    if (csn_str_eq(what, csn_cstr(a->list[i].what)))
      return &a->list[i];
  if (a->n == ATTEMPTS)
    fail_msg("too many attempts in one case");
  struct attempt *t = &a->list[a->n++];
  *t = (struct attempt){.inside = UNTRIED, .outside = UNTRIED};
  snprintf(t->what, sizeof t->what, "%.*s", (int)what.n, what.p);
  return t;
}

void
abuse_tell(struct abuse *a, const char *what, int status, const char *format, ...)
{
  struct attempt *t = attempt_of(a, csn_cstr(what));
  va_list ap;
  va_start(ap, format);
  vsnprintf(t->said, sizeof t->said, format, ap);
  va_end(ap);
  snprintf(t->how, sizeof t->how, "bound");
  t->inside = status;
}

/* Lines of lib.sh; the number of the last attempt that began. */
static int
read_report(struct abuse *a, csn_str text, bool inside)
{
  int64_t last = 0;
  while (text.n) {
    size_t end = csn_str_find(text, CSN_STR("\n"), 0);
    csn_str line = csn_strn(text.p, end == SIZE_MAX ? text.n : end), cells[6];
    text = csn_strn(text.p + line.n + (end != SIZE_MAX), text.n - line.n - (end != SIZE_MAX));
    for (size_t i = 0; i < CSN_COUNT(cells); i++) {
      size_t tab = csn_str_find(line, CSN_STR("\t"), 0);
      cells[i] = csn_strn(line.p, tab == SIZE_MAX ? line.n : tab);
      size_t used = cells[i].n + (tab != SIZE_MAX);
      line = csn_strn(line.p + used, line.n - used);
    }
    int64_t number, status = BEGAN;
    if (!csn_str_int(cells[0], &number) || cells[4].n == 0)
      continue; /* what a shell says of a killed child */
    csn_str_int(cells[2], &status);
    last = number;
    struct attempt *t = attempt_of(a, cells[4]);
    snprintf(t->how, sizeof t->how, "%.*s", (int)cells[1].n, cells[1].p);
    snprintf(t->errnos, sizeof t->errnos, "%.*s", (int)cells[3].n, cells[3].p);
    *(inside ? &t->inside : &t->outside) = (int)status;
    snprintf(inside ? t->said : t->told, sizeof t->said, "%.*s", (int)cells[5].n, cells[5].p);
  }
  return (int)last;
}

/* ---- a case's jail ---- */

/* Small, so that the cases of hoarding need not take much. */
static const csn_sandbox_limits limits = {
    .memory_bytes = MEMORY_MIB << 20, .pids = PIDS, .cpu_milli = CPU_PERCENT * 10};

/* Those of them that are not enforced here; "" when all are. */
static void
missing_limits(const csn_sandbox *sb, char *to, size_t room)
{
  static const struct {
    enum csn_limit which;
    const char *name;
  } wanted[] = {{CSN_LIMIT_MEMORY, "memory"}, {CSN_LIMIT_PIDS, "pids"}, {CSN_LIMIT_CPU, "cpu"}};
  static const char *const words[] = {"absent", "soft", "enforced"};
  *to = '\0';
  for (size_t i = 0, n = 0; i < CSN_COUNT(wanted); i++, n = strlen(to))
    if (sb->held.state[wanted[i].which] != CSN_LIMIT_ENFORCED)
      snprintf(to + n, room - n, "%s%s %s", n ? ", " : "", wanted[i].name,
               words[sb->held.state[wanted[i].which]]);
}

static void
jail_open(struct abuse *a)
{
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = a->work_fd, .lock_fd = -1, .limits = &limits};
  int rc = csn_sandbox_open(&a->sb, NULL, &spec, &a->err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", a->err.msg);
  OK(rc, &a->err);
}

static void
case_open(struct abuse *a)
{
  snprintf(a->base, sizeof a->base, "%s", suite.base);
  snprintf(a->secret, sizeof a->secret, "%s", suite.secret);
  a->base_fd = open(a->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  a->work_fd = openat(a->base_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  jail_open(a);
  missing_limits(a->sb, a->missing, sizeof a->missing);
}

/* ---- running a case's script ---- */

static const char script[] = "for part in lib processes kernel files network limits; do\n"
                             "  . \"$WORKSPACE/$part.sh\"\ndone\ncase_$1";

static void
variable(const char *format, ...)
{
  va_list ap;
  if (suite.count + 1 == VARIABLES)
    abort();
  va_start(ap, format);
  if (vasprintf(&suite.variables[suite.count++], format, ap) < 0)
    abort();
  va_end(ap);
}

/* The same environment inside and outside, but for where it is. */
static void
variables(const char **to, const char *const *more)
{
  size_t n = 0;
  for (; *more; more++)
    to[n++] = *more;
  for (size_t i = 0; i < suite.count; i++)
    to[n++] = suite.variables[i];
  to[n] = NULL;
}

int
abuse_run(struct abuse *a, const char *const *argv, csn_buf *out, int ms, csn_exit *end)
{
  csn_scope sc;
  csn_scope_init(&sc, NULL, ms);
  int rc = csn_sandbox_exec(a->sb, &sc, &(csn_exec){.argv = argv, .claim_fd = -1}, out, NULL, end,
                            &a->err);
  csn_scope_fini(&sc);
  return rc;
}

/* Once, from an attempt on; the output is added. */
static csn_exit
run_inside(struct abuse *a, int number, int from, abuse_hook hook, csn_buf *out)
{
  char skip[32], text[16];
  const char *environment[VARIABLES + 8];
  csn_proc *p;
  csn_exit end = {-1, -1};
  csn_scope sc;
  enum csn_stream which;
  int rc;
  snprintf(skip, sizeof skip, "FROM=%d", from);
  snprintf(text, sizeof text, "%d", number);
  variables(environment,
            (const char *[]){skip, "WHERE=inside", "VICTIM=1", "WORKSPACE=/workspace", NULL});
  const char *argv[] = {"sh", "-c", script, "sh", text, NULL};
  csn_exec x = {.argv = argv, .environment = environment, .claim_fd = -1};
  OK(csn_sandbox_spawn(a->sb, NULL, &x, &p, &a->err), &a->err);
  if (hook)
    hook(a);
  csn_scope_init(&sc, NULL, 60000);
  while ((rc = csn_proc_read(p, &sc, out, 65536, &which, &a->err)) > 0)
    continue;
  if (rc == 0)
    rc = csn_proc_wait(p, &sc, &end, &a->err);
  csn_scope_fini(&sc);
  csn_proc_close(p);
  OK(rc, &a->err);
  return end;
}

static void
try_inside(struct abuse *a, int number, abuse_hook hook)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
  for (int from = 0, tries = 0; tries < 10; tries++) {
    csn_buf_clear(&out);
    csn_exit end = run_inside(a, number, from, hook, &out);
    int last = read_report(a, csn_buf_str(&out), true);
    if (end.signal == 0 && end.code == 0)
      return;
    if (end.signal != SIGKILL || last <= from)
      fail_msg("the script of case %d ended with %d: %s", number, end.code, out.p ? out.p : "");
    /* The memory limit ends all of a command: that was the refusal. */
    for (size_t i = 0; i < a->n; i++)
      if (a->list[i].inside == BEGAN) {
        a->list[i].inside = REFUSED;
        snprintf(a->list[i].said, sizeof a->list[i].said, "killed with all of the command");
      }
    from = last;
    /* What it left may fill the memory still. */
    csn_sandbox_close(a->sb);
    jail_open(a);
  }
}

static void
try_outside(struct abuse *a, int number)
{
  char text[16], path[128], victim[32], workspace[160];
  int ends[2];
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
  const char *environment[VARIABLES + 8];
  snprintf(path, sizeof path, "%s/work", a->base);
  snprintf(text, sizeof text, "%d", number);
  snprintf(victim, sizeof victim, "VICTIM=%d", (int)suite.victim);
  snprintf(workspace, sizeof workspace, "WORKSPACE=%s", path);
  variables(environment, (const char *[]){"WHERE=outside", victim, workspace,
                                          "PATH=/usr/bin:/bin:/usr/sbin:/sbin", NULL});
  const char *argv[] = {"sh", "-c", script, "sh", text, NULL};
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (pid == 0) {
    if (geteuid() == 0 && (unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
                           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
      _exit(97);
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    if (number != 25) /* which looks at what it has and where it stands */
      (void)!chdir(path);
    setsid();
    alarm(60);
    execve("/bin/sh", (char **)(uintptr_t)argv, (char **)(uintptr_t)environment);
    _exit(98);
  }
  close(ends[1]);
  OK(csn_fd_read_all(ends[0], &out, &a->err), &a->err);
  close(ends[0]);
  int status = -1;
  waitpid(pid, &status, 0);
  if (status != 0)
    fail_msg("outside the script of case %d ended with %x: %s", number, (unsigned)status,
             out.p ? out.p : "");
  read_report(a, csn_buf_str(&out), false);
}

/* ---- a case ---- */

/* After whatever was done to it, it still has to run commands. */
static void
case_close(struct abuse *a)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  int rc = abuse_run(a, (const char *[]){"true", NULL}, &out, 20000, &end);
  csn_sandbox_close(a->sb);
  close(a->base_fd);
  close(a->work_fd);
  OK(rc, &a->err);
  assert_int_equal(end.code, 0);
}

static bool
is_among(const char *words, const char *said)
{
  csn_str all = csn_cstr(words), one = csn_str_trim(csn_cstr(said));
  while (all.n) {
    size_t end = csn_str_find(all, CSN_STR(" "), 0);
    csn_str word = csn_strn(all.p, end == SIZE_MAX ? all.n : end);
    if (csn_str_eq(word, one))
      return true;
    all = csn_strn(all.p + word.n + (end != SIZE_MAX), all.n - word.n - (end != SIZE_MAX));
  }
  return false;
}

/* What is wrong with an attempt that counts as refused; NULL: nothing. */
static const char *
doubt(const struct attempt *t)
{
  if (t->inside == UNTRIED)
    return "it was not made inside";
  if (t->inside != WORKED && t->inside != REFUSED)
    return "it could not be made inside";
  if (t->outside != UNTRIED && t->outside != WORKED && t->outside != REFUSED)
    return "it could not be made outside";
  if (t->inside == WORKED)
    return NULL;
  if (strcmp(t->how, "try") == 0 && t->outside == REFUSED)
    return "it does not work outside, so that the refusal says nothing";
  if ((strcmp(t->how, "alone") == 0 || strcmp(t->how, "maybe") == 0) &&
      !is_among(t->errnos, t->said))
    return "it was refused for another reason than expected";
  return NULL;
}

/* "denied", or "denied but: a, b". */
static void
outcome_of(const struct abuse *a, csn_buf *to)
{
  csn_buf_addz(to, "denied");
  for (size_t i = 0, shown = 0; i < a->n; i++)
    if (a->list[i].inside == WORKED)
      csn_buf_addf(to, "%s%s", shown++ ? ", " : " but: ", a->list[i].what);
}

static void
compare(const struct abuse *a, const struct row *r)
{
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1 << 16);
  for (size_t i = 0; i < a->n; i++) {
    const char *why = doubt(&a->list[i]);
    if (why)
      fail_msg("case %s: %s: %s (inside %d %s, outside %d %s)", r->name, a->list[i].what, why,
               a->list[i].inside, a->list[i].said, a->list[i].outside, a->list[i].told);
  }
  if (a->n == 0)
    fail_msg("case %s: nothing was tried", r->name);
  outcome_of(a, &got);
  bool is_denied = strcmp(got.p, "denied") == 0;
  csn_buf_addf(is_denied ? &suite.denied : &suite.open, "#   %s%s%s\n", r->name,
               is_denied ? "" : ": ", is_denied ? "" : got.p);
  bool is_excused = strstr(r->needs, "needs-limits") && a->missing[0];
  if (strcmp(got.p, r->outcome) == 0)
    return;
  if (!is_excused)
    fail_msg("case %s: SECURITY.md says \"%s\", but it is \"%s\"", r->name, r->outcome, got.p);
  csn_buf_addf(&suite.open, "#     where limits are enforced it is \"%s\"; not here: %s\n",
               r->outcome, a->missing);
}

/* "elsewhere: FILE: TEST", where both have to exist. */
static void
check_elsewhere(const struct row *r)
{
  char path[400];
  csn_auto(csn_closep) int root = open(suite.source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_err err;
  snprintf(path, sizeof path, "%s", r->outcome + strlen("elsewhere: "));
  char *test = strstr(path, ": ");
  if (!test)
    fail_msg("case %s: expected \"elsewhere: FILE: TEST\"", r->name);
  *test = '\0';
  test += 2;
  OK(csn_file_read(root, path, &text, &err), &err);
  if (!memmem(text.p, text.n, test, strlen(test)))
    fail_msg("case %s: %s has no test \"%s\"", r->name, path, test);
  csn_buf_addf(&suite.denied, "#   %s (%s)\n", r->name, r->outcome);
}

static void
case_of_the_table(void **state)
{
  static const struct {
    int number;
    void (*run)(struct abuse *a);
  } ours[] = {
      {34, abuse_case_34}, {38, abuse_case_38}, {39, abuse_case_39},
      {40, abuse_case_40}, {44, abuse_case_44},
  };
  const struct row *r = *state;
  bool needs_tree = strncmp(r->outcome, "elsewhere", 9) == 0 || r->number == 39;
  if (needs_tree && tree_is_closed())
    SKIP("this user cannot enter the folder of this checkout");
  if (strncmp(r->outcome, "elsewhere: ", 11) == 0) {
    check_elsewhere(r);
    return;
  }
  if (strncmp(r->outcome, "not tried: ", 11) == 0) {
    csn_buf_addf(&suite.open, "#   %s: %s\n", r->name, r->outcome);
    SKIP("%.190s", r->outcome);
  }
  struct abuse *a = csn_alloc(sizeof *a);
  case_open(a);
  bool is_ours = false;
  for (size_t i = 0; i < CSN_COUNT(ours); i++)
    if (ours[i].number == r->number) {
      is_ours = true;
      ours[i].run(a);
    }
  if (!is_ours) {
    try_inside(a, r->number, r->number == 48 ? abuse_move_folder : NULL);
    try_outside(a, r->number);
  }
  if (getenv("CSN_ABUSE_VERBOSE"))
    for (size_t i = 0; i < a->n; i++)
      printf("#   %d %s: inside %d %s, outside %d %s\n", r->number, a->list[i].what,
             a->list[i].inside, a->list[i].said, a->list[i].outside, a->list[i].told);
  case_close(a);
  compare(a, r);
  free(a);
}

/* ---- what is on the host to be got ---- */

static bool
put_file(int folder, const char *name, const char *text, mode_t mode)
{
  csn_auto(csn_closep) int fd = openat(folder, name, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0;
}

static bool
listen_at(struct sockaddr *at, socklen_t n, int kind)
{
  int fd = socket(at->sa_family, kind | SOCK_CLOEXEC, 0);
  socklen_t size = n;
  if (fd < 0 || bind(fd, at, n) < 0 || (kind == SOCK_STREAM && listen(fd, 64) < 0))
    return false;
  return at->sa_family != AF_INET || getsockname(fd, at, &size) == 0;
}

static bool
listen_everywhere(void)
{
  struct sockaddr_un path = {.sun_family = AF_UNIX}, abstract = {.sun_family = AF_UNIX};
  struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  snprintf(path.sun_path, sizeof path.sun_path, "%s/socket", suite.base);
  int n = snprintf(abstract.sun_path + 1, sizeof abstract.sun_path - 1, "caisson-abuse-%d",
                   (int)getpid());
  variable("SOCKET=%s", path.sun_path);
  variable("ABSTRACT=%s", abstract.sun_path + 1);
  if (!listen_at((struct sockaddr *)&path, sizeof path, SOCK_STREAM) ||
      chmod(path.sun_path, 0777) < 0 ||
      !listen_at((struct sockaddr *)&abstract,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n),
                 SOCK_STREAM) ||
      !listen_at((struct sockaddr *)&port, sizeof port, SOCK_STREAM) ||
      !listen_at((struct sockaddr *)&port, sizeof port, SOCK_DGRAM)) /* the same number */
    return false;
  variable("PORT=%d", ntohs(port.sin_port));
  return true;
}

/* The words after a label in a file of /proc. */
static void
fact(const char *name, const char *path, const char *label)
{
  char line[512];
  FILE *f = fopen(path, "re");
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, label, strlen(label)) == 0) {
      char *p = line + strlen(label);
      while (*p == ' ' || *p == ':' || *p == '\t')
        p++;
      p[strcspn(p, "\n")] = '\0';
      p[strcspn(p, "k")] = strcmp(name, "HOST_MEMORY") == 0 ? '\0' : p[strcspn(p, "k")];
      variable("%s=%s", name, csn_str_trim(csn_cstr(p)).n ? p : "?");
      break;
    }
  if (f)
    fclose(f);
}

static void
facts(void)
{
  struct utsname u;
  struct sysinfo s;
  uname(&u);
  sysinfo(&s);
  variable("HOST_KERNEL=%s", u.release);
  variable("HOST_NAME=%s", u.nodename);
  variable("HOST_BYTES=%llu", (unsigned long long)s.totalram * s.mem_unit);
  variable("HOST_UPTIME=%ld", s.uptime);
  variable("HOST_FOLDER=%s", suite.base);
  fact("HOST_CMDLINE", "/proc/cmdline", "");
  fact("HOST_MEMORY", "/proc/meminfo", "MemTotal");
  fact("HOST_PROCESSOR", "/proc/cpuinfo", "model name");
  fact("HOST_BOOTED", "/proc/stat", "btime");
}

static void
copy_scripts(int work)
{
  static const char *const names[] = {"lib.sh",   "processes.sh", "kernel.sh",
                                      "files.sh", "network.sh",   "limits.sh"};
  const char *from = getenv("CSN_ABUSE");
  csn_auto(csn_closep) int folder = from ? open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
    csn_err err;
    if (csn_file_read(folder, names[i], &text, &err) < 0 || !put_file(work, names[i], text.p, 0644))
      abort();
  }
}

/* Before privileges go: the suite's folder, and what only root can put there. */
static bool
set_out(int probe, bool is_user)
{
  snprintf(suite.base, sizeof suite.base, "/tmp/caisson-abuse-XXXXXX");
  if (!mkdtemp(suite.base) || chmod(suite.base, 0777) < 0)
    return false;
  csn_auto(csn_closep) int base = open(suite.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mkdirat(base, "work", 0777) < 0 || fchmodat(base, "work", 0777, 0) < 0 ||
      mkdirat(base, "beside", 0777) < 0 || fchmodat(base, "beside", 0777, 0) < 0)
    return false;
  csn_auto(csn_closep) int work = openat(base, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int beside = openat(base, "beside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  place_probe(probe, work);
  copy_scripts(work);
  snprintf(suite.secret, sizeof suite.secret, "%s/secret", suite.base);
  if (!put_file(base, "secret", "a secret of the host\n", 0644) ||
      !put_file(beside, "secret", "a secret of the host\n", 0644))
    return false;
  if (geteuid() == 0) { /* the probe twice more, as setuid programs */
    static const char *const names[] = {"planted", "planted-inside"};
    for (size_t i = 0; i < CSN_COUNT(names); i++) {
      renameat(work, "probe", work, "kept");
      place_probe(probe, work);
      uid_t owner = i && !is_user ? 1000000000 : 0;
      if (renameat(work, "probe", work, names[i]) < 0 ||
          fchownat(work, names[i], owner, owner, 0) < 0 || fchmodat(work, names[i], 04755, 0) < 0 ||
          renameat(work, "kept", work, "probe") < 0)
        return false;
    }
  }
  return true;
}

/* As whoever the tests run as. */
static bool
settle(void)
{
  facts();
  variable("SECRET=%s", suite.secret);
  variable("NEAR_SECRET=%s/linked", suite.base);
  variable("HARNESS=%d", (int)getpid());
  variable("ADDRESS=%p", (void *)marked);
  variable("ROOT=%s", geteuid() == 0 ? "yes" : "no");
  struct stat planted;
  char path[128];
  snprintf(path, sizeof path, "%s/work/planted", suite.base);
  variable("PLANTED=%s", stat(path, &planted) < 0 ? "no" : geteuid() == 0 ? "root" : "user");
  variable("QUEUE=/caisson-abuse");
  variable("MEMORY=%d", MEMORY_MIB);
  variable("PIDS=%d", PIDS);
  variable("CPU=%d", CPU_PERCENT);
  variable("ORPHANS=%s", getenv("CSN_LONG") ? "100000" : "3000");
  suite.shared = shmget(SHARED_KEY + (getpid() & 0xff), 1, 0666 | IPC_CREAT);
  variable("SHARED=%d", SHARED_KEY + (getpid() & 0xff));
  suite.victim = fork();
  if (suite.victim == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    for (;;)
      pause();
  }
  return suite.victim > 0 && suite.shared >= 0 && listen_everywhere();
}

static int
tests(void)
{
  static struct CMUnitTest all[ROWS];
  csn_auto(csn_closep) int inherited = open(suite.secret, O_RDONLY); /* on purpose */
  if (!settle()) {
    printf("Bail out! cannot set out what is to be got\n");
    return 1;
  }
  const char *only = getenv("CSN_ABUSE_ONLY");
  size_t n = 0;
  for (size_t i = 0; i < suite.n; i++) {
    char number[16];
    snprintf(number, sizeof number, "%d", suite.rows[i].number);
    if (!only || strcmp(only, number) == 0)
      all[n++] = (struct CMUnitTest){.name = suite.rows[i].name,
                                     .test_func = case_of_the_table,
                                     .initial_state = &suite.rows[i]};
  }
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  cmocka_set_message_output(CM_OUTPUT_TAP);
  int rc = _cmocka_run_group_tests("jail/abuse", all, n, NULL, NULL);
  printf("# denied:\n%s# not denied, or not all of it:\n%s", suite.denied.p ? suite.denied.p : "",
         suite.open.p ? suite.open.p : "");
  fflush(stdout);
  kill(suite.victim, SIGKILL);
  shmctl(suite.shared, IPC_RMID, NULL);
  csn_buf_fini(&suite.denied);
  csn_buf_fini(&suite.open);
  for (size_t i = 0; i < suite.count; i++)
    free(suite.variables[i]);
  return rc;
}

int
main(int argc, char **argv)
{
  const char *probe = getenv("CSN_JAIL_PROBE"), *table = getenv("CSN_SECURITY");
  csn_auto(csn_closep) int fd = probe ? open(probe, O_RDONLY | O_CLOEXEC) : -1;
  csn_auto(csn_closep) int root = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || !table || !read_table(table) || !set_out(fd, argc > 1)) {
    printf("Bail out! CSN_JAIL_PROBE or CSN_SECURITY is missing, or /tmp is not ours to write\n");
    return 1;
  }
  int rc = run_as(argc, argv, tests);
  csn_err err;
  if (csn_remove_tree(root, suite.base + strlen("/tmp/"), &err) < 0)
    printf("# %s\n", err.msg);
  return rc;
}
