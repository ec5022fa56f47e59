/* SPDX-License-Identifier: Apache-2.0
 * limits.c - see limits.h. */
#include "sandbox/limits.h"

#include <signal.h>
#include <stddef.h>

enum unit { BYTES, COUNT, MILLI, TIME };

static const struct kind {
  const char *name;
  size_t at; /* in csn_sandbox_limits */
  enum unit unit;
  int64_t least, most;
  const char *remedy; /* where it is not enforced */
} kinds[CSN_LIMITS] = {
#define GROUPS                                                                                     \
  "it takes a control group with this controller: run as root, or as a user under "                \
  "`systemd-run --user --scope -p Delegate=yes`"
#define FOLDER                                                                                     \
  "the workspace's file system has no quota for it; without a workspace folder the workspace is "  \
  "in memory and is limited"
    [CSN_LIMIT_MEMORY] = {"memory", offsetof(csn_sandbox_limits, memory_bytes), BYTES, 16 << 20,
                          INT64_MAX >> 12, GROUPS},
    [CSN_LIMIT_SWAP] = {"swap", offsetof(csn_sandbox_limits, swap_bytes), BYTES, 0, INT64_MAX >> 12,
                        GROUPS},
    [CSN_LIMIT_PIDS] = {"pids", offsetof(csn_sandbox_limits, pids), COUNT, 1, 4 << 20, GROUPS},
    [CSN_LIMIT_CPU] = {"cpu", offsetof(csn_sandbox_limits, cpu_milli), MILLI, 10, 4096000, GROUPS},
    [CSN_LIMIT_DISK] = {"disk", offsetof(csn_sandbox_limits, disk_bytes), BYTES, 1 << 20,
                        INT64_MAX >> 12, FOLDER},
    [CSN_LIMIT_INODES] = {"inodes", offsetof(csn_sandbox_limits, inodes), COUNT, 16,
                          INT64_MAX >> 12, FOLDER},
    [CSN_LIMIT_OPEN_FILES] = {"open_files", offsetof(csn_sandbox_limits, open_files), COUNT, 16,
                              1 << 30, "the harness itself may not open so many"},
    [CSN_LIMIT_FILE_SIZE] = {"file_size", offsetof(csn_sandbox_limits, file_bytes), BYTES, 4096,
                             INT64_MAX >> 12, "use the jail"},
    [CSN_LIMIT_COMMAND_WALL] = {"command_wall", offsetof(csn_sandbox_limits, command_wall_ms), TIME,
                                1, INT64_MAX >> 24, "use the jail"},
    [CSN_LIMIT_WALL] = {"wall", offsetof(csn_sandbox_limits, wall_ms), TIME, 1, INT64_MAX >> 24,
                        "use the jail"},
    [CSN_LIMIT_OUTPUT] = {"output", offsetof(csn_sandbox_limits, output_bytes), BYTES, 1,
                          INT64_MAX >> 12, "use the jail"},
#undef GROUPS
#undef FOLDER
};

/* Units of a text, the larger first. */
static const struct scale {
  const char *word, *told; /* read; written for people, or NULL */
  int64_t factor;
} bytes[] = {{"TiB", "TiB", 1LL << 40},
             {"GiB", "GiB", 1 << 30},
             {"MiB", "MiB", 1 << 20},
             {"KiB", "KiB", 1 << 10},
             {"T", NULL, 1LL << 40},
             {"G", NULL, 1 << 30},
             {"M", NULL, 1 << 20},
             {"K", NULL, 1 << 10},
             {"t", NULL, 1LL << 40},
             {"g", NULL, 1 << 30},
             {"m", NULL, 1 << 20},
             {"k", NULL, 1 << 10},
             {"TB", NULL, 1000000000000},
             {"GB", NULL, 1000000000},
             {"MB", NULL, 1000000},
             {"KB", NULL, 1000},
             {"B", NULL, 1},
             {"", "bytes", 1},
             {NULL, NULL, 0}},
  times[] = {{"h", "h", 3600000}, {"m", "min", 60000}, {"s", "s", 1000},
             {"ms", "ms", 1},     {"", NULL, 1000},    {NULL, NULL, 0}},
  counts[] = {{"", "", 1}, {NULL, NULL, 0}}, processors[] = {{"", "", 1000}, {NULL, NULL, 0}};

static const struct scale *
scales(enum csn_limit which)
{
  static const struct scale *const all[] = {
      [BYTES] = bytes, [COUNT] = counts, [MILLI] = processors, [TIME] = times};
  return all[kinds[which].unit];
}

const char *
csn_limit_name(enum csn_limit which)
{
  return kinds[which].name;
}

const char *
csn_limit_remedy(enum csn_limit which)
{
  return kinds[which].remedy;
}

const char *
csn_limit_state_name(enum csn_limit_state state)
{
  static const char *const names[] = {"absent", "soft", "enforced"};
  return names[state];
}

int64_t
csn_limit_asked(const csn_sandbox_limits *l, enum csn_limit which)
{
  int64_t value = 0;
  if (l)
    memcpy(&value, (const char *)l + kinds[which].at, sizeof value);
  return value;
}

void
csn_limit_ask(csn_sandbox_limits *l, enum csn_limit which, int64_t value)
{
  memcpy((char *)l + kinds[which].at, &value, sizeof value);
}

static int
check(enum csn_limit which, int64_t value, csn_err *err)
{
  const struct kind *k = &kinds[which];
  if (value == CSN_UNLIMITED || (value >= k->least && value <= k->most))
    return 0;
  csn_auto(csn_buf_finip) csn_buf least = CSN_BUF(64), most = CSN_BUF(64);
  csn_limit_tell(which, k->least, &least);
  csn_limit_tell(which, k->most, &most);
  return csn_fail(err, CSN_E_INVALID, "limit %s: expected from %s to %s, or none", k->name, least.p,
                  most.p);
}

int
csn_limits_check(const csn_sandbox_limits *l, csn_err *err)
{
  int rc = 0;
  for (enum csn_limit i = 0; i < CSN_LIMITS && rc == 0; i++)
    if (csn_limit_asked(l, i) != 0)
      rc = check(i, csn_limit_asked(l, i), err);
  return rc;
}

/* ---- texts ---- */

static bool
is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* Digits, perhaps a point and up to three more: thousandths.  False when it is
 * no such number. */
static bool
take_number(csn_str *s, int64_t *thousandths)
{
  size_t i = 0;
  int64_t n = 0, unit = 1000;
  for (; i < s->n && is_digit(s->p[i]) && n < INT64_MAX / 100000; i++)
    n = n * 10 + (s->p[i] - '0');
  bool good = i > 0;
  n *= 1000;
  if (i < s->n && s->p[i] == '.')
    for (i++; i < s->n && is_digit(s->p[i]); i++) {
      unit /= 10;
      n += (s->p[i] - '0') * unit;
    }
  *s = csn_strn(s->p + i, s->n - i);
  *thousandths = n;
  return good;
}

static int
bad_text(enum csn_limit which, csn_str text, csn_err *err)
{
  static const char *const wanted[] = {
      [BYTES] = "a size like 512MiB or 2GiB",
      [COUNT] = "a whole number",
      [MILLI] = "a number of processors like 1.5",
      [TIME] = "a time like 90s, 10m or 1h",
  };
  return csn_fail(err, CSN_E_INVALID, "limit %s: expected %s, or none, not '%.*s'",
                  kinds[which].name, wanted[kinds[which].unit], (int)(text.n & 0x3f), text.p);
}

int
csn_limit_parse(enum csn_limit which, csn_str text, int64_t *value, csn_err *err)
{
  csn_str rest = csn_str_trim(text);
  int64_t n;
  if (csn_str_eq(rest, CSN_STR("none"))) {
    *value = CSN_UNLIMITED;
    return 0;
  }
  if (!take_number(&rest, &n))
    return bad_text(which, text, err);
  rest = csn_str_trim(rest);
  for (const struct scale *s = scales(which); s->word; s++) {
    int64_t product;
    if (!csn_str_eq(rest, csn_cstr(s->word)))
      continue;
    if (__builtin_mul_overflow(n, s->factor, &product))
      return bad_text(which, text, err);
    if (product % 1000 && s->factor == 1)
      return bad_text(which, text, err);
    int64_t result = product / 1000;
    int rc = check(which, result, err);
    if (rc == 0)
      *value = result;
    return rc;
  }
  return bad_text(which, text, err);
}

void
csn_limit_write(enum csn_limit which, int64_t value, csn_buf *out)
{
  if (value == CSN_UNLIMITED)
    csn_buf_addz(out, "none");
  else if (kinds[which].unit == MILLI)
    csn_buf_addf(out, "%lld.%03lld", (long long)value / 1000, (long long)value % 1000);
  else
    csn_buf_addf(out, "%lld%s", (long long)value, kinds[which].unit == TIME ? "ms" : "");
}

void
csn_limit_tell(enum csn_limit which, int64_t value, csn_buf *out)
{
  if (value == CSN_UNLIMITED) {
    csn_buf_addz(out, "none");
    return;
  }
  for (const struct scale *s = scales(which); s->word; s++) {
    bool is_last = s[1].word == NULL || s->factor == 1;
    if (!s->told || (value < s->factor && !is_last))
      continue;
    csn_buf_addf(out, "%lld", (long long)(value / s->factor));
    int64_t tenths = value % s->factor * 10 / s->factor;
    if (tenths || (value % s->factor && value < s->factor))
      csn_buf_addf(out, ".%lld", (long long)tenths);
    csn_buf_addf(out, "%s%s", *s->told ? " " : "", s->told);
    return;
  }
}

/* ---- what is told ---- */

void
csn_exit_explain(const csn_sandbox *sb, const csn_exit *exit, csn_buf *out)
{
  static const struct {
    const char *head, *tail; /* around the limit's value */
  } texts[CSN_LIMITS] = {
      [CSN_LIMIT_MEMORY] = {"the sandbox's memory limit of ", " was reached"},
      [CSN_LIMIT_PIDS] = {"the sandbox's limit of ",
                          " processes was reached: new ones were refused"},
      [CSN_LIMIT_DISK] = {"the sandbox's disk limit of ", " was reached"},
      [CSN_LIMIT_INODES] = {"the sandbox's limit of ", " files and folders was reached"},
      [CSN_LIMIT_FILE_SIZE] = {"the limit of ", " for one file was reached"},
      [CSN_LIMIT_COMMAND_WALL] = {"the limit of ", " for one command was reached"},
      [CSN_LIMIT_WALL] = {"the sandbox's time of ", " is over"},
      [CSN_LIMIT_OUTPUT] = {"the limit of ", " of output for one command was reached"},
  };
  bool was_killed = exit->signal == SIGKILL || exit->signal == SIGXFSZ ||
                    exit->code == 128 + SIGKILL || exit->code == 128 + SIGXFSZ;
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++) {
    if (!(exit->reached & 1u << i) || !texts[i].head)
      continue;
    bool kills = i != CSN_LIMIT_PIDS;
    csn_buf_addz(out, out->n ? "; " : "");
    csn_buf_addz(out, kills && was_killed ? "killed: " : "");
    csn_buf_addz(out, texts[i].head);
    csn_limit_tell(i, sb->held.value[i], out);
    csn_buf_addz(out, texts[i].tail);
    csn_buf_addz(out, kills && !was_killed ? " and a process was killed" : "");
  }
  csn_sandbox_usage u = {{0}};
  if (sb->ops->usage)
    sb->ops->usage((csn_sandbox *)(uintptr_t)sb, false, &u);
  if (u.lost) {
    csn_buf_addz(out, out->n ? "; " : "");
    csn_buf_addz(out, u.lost);
  }
}

void
csn_sandbox_limits_to_json(const csn_sandbox *sb, csn_jw *w)
{
  csn_jw_obj(w);
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++) {
    csn_jw_key(w, kinds[i].name);
    csn_jw_obj(w);
    csn_jw_key(w, "state");
    csn_jw_strz(w, csn_limit_state_name((enum csn_limit_state)sb->held.state[i]));
    if (sb->held.value[i] != CSN_UNLIMITED) {
      csn_jw_key(w, "value");
      csn_jw_int(w, sb->held.value[i]);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

int
csn_limits_strict(const csn_sandbox *sb, const csn_sandbox_limits *l, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(2000);
  const char *remedy = NULL;
  for (enum csn_limit i = 0; l && l->strict && i < CSN_LIMITS; i++) {
    if (csn_limit_asked(l, i) <= 0 || sb->held.state[i] == CSN_LIMIT_ENFORCED)
      continue;
    csn_buf_addf(&list, "%s%s is %s", list.n ? ", " : "", kinds[i].name,
                 csn_limit_state_name((enum csn_limit_state)sb->held.state[i]));
    remedy = remedy ? remedy : kinds[i].remedy;
  }
  if (!list.n)
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED, "strict: not every limit would be enforced: %s; %s",
                  list.p, remedy);
}
