/* SPDX-License-Identifier: Apache-2.0
 *
 * accounts.c - the users and groups inside a sandbox; see sandbox/accounts.h.
 *
 * The files may be a stranger's: lines that are none are left out, numbers
 * above the jail's are nobody's, and the caps are those of a sane system. */
#include "sandbox/accounts.h"

#include <stdio.h>

enum {
  MAIN_ID = 1000,
  IDS = 65536,
  NOBODY = 65534,
  MOST = 4096,
  NAME_MAX_BYTES = 32,
  TEXT_MAX = 1 << 20,
};

struct user {
  csn_str name, comment, home, shell;
  uint32_t uid, gid;
};

struct group {
  csn_str name;
  uint32_t gid;
  csn_buf members; /* "a,b" */
};

struct csn_accounts {
  csn_arena *arena;
  struct user *users;
  struct group *groups;
  size_t n_users, n_groups, room; /* room: of each */
  csn_account main;
  csn_buf passwd, group;
};

/* ---- reading ---- */

static csn_str
take_field(csn_str *line)
{
  size_t end = csn_str_find(*line, CSN_STR(":"), 0);
  csn_str field = csn_strn(line->p, end == SIZE_MAX ? line->n : end);
  *line = end == SIZE_MAX ? csn_strn(NULL, 0) : csn_strn(line->p + end + 1, line->n - end - 1);
  return field;
}

static bool
take_id(csn_str text, uint32_t *id)
{
  int64_t n;
  if (!csn_str_int(text, &n) || n < 0 || n >= IDS)
    return false;
  *id = (uint32_t)n;
  return true;
}

static struct user *
add_user(csn_accounts *a, csn_str name, uint32_t uid, uint32_t gid)
{
  if (a->n_users == a->room)
    return NULL;
  struct user *u = &a->users[a->n_users++];
  *u = (struct user){.name = csn_arena_dup(a->arena, name), .uid = uid, .gid = gid};
  u->comment = u->home = u->shell = CSN_STR("");
  return u;
}

static struct group *
add_group(csn_accounts *a, csn_str name, uint32_t gid)
{
  if (a->n_groups == a->room)
    return NULL;
  struct group *g = &a->groups[a->n_groups++];
  *g = (struct group){
      .name = csn_arena_dup(a->arena, name), .gid = gid, .members = CSN_BUF(1 << 16)};
  return g;
}

static void
read_users(csn_accounts *a, csn_str text)
{
  csn_str line;
  while (csn_str_line(&text, &line)) {
    uint32_t uid, gid;
    csn_str name = take_field(&line);
    take_field(&line); /* "x" */
    csn_str id = take_field(&line), first = take_field(&line);
    if (name.n == 0 || !take_id(id, &uid) || !take_id(first, &gid))
      continue;
    struct user *u = add_user(a, name, uid, gid);
    if (!u)
      return;
    u->comment = take_field(&line);
    u->home = take_field(&line);
    u->shell = take_field(&line);
  }
}

static void
read_groups(csn_accounts *a, csn_str text)
{
  csn_str line;
  while (csn_str_line(&text, &line)) {
    uint32_t gid;
    csn_str name = take_field(&line);
    take_field(&line);
    csn_str id = take_field(&line);
    struct group *g = name.n && take_id(id, &gid) ? add_group(a, name, gid) : NULL;
    if (g)
      csn_buf_add(&g->members, take_field(&line));
  }
}

/* ---- looking ---- */

static struct user *
find_user(const csn_accounts *a, csn_str name)
{
  for (size_t i = 0; i < a->n_users; i++)
    if (csn_str_eq(a->users[i].name, name))
      return &a->users[i];
  return NULL;
}

static struct user *
find_uid(const csn_accounts *a, uint32_t uid)
{
  for (size_t i = 0; i < a->n_users; i++)
    if (a->users[i].uid == uid)
      return &a->users[i];
  return NULL;
}

static struct group *
find_group(const csn_accounts *a, csn_str name)
{
  for (size_t i = 0; i < a->n_groups; i++)
    if (csn_str_eq(a->groups[i].name, name))
      return &a->groups[i];
  return NULL;
}

static bool
gid_is_free(const csn_accounts *a, uint32_t gid)
{
  for (size_t i = 0; i < a->n_groups; i++)
    if (a->groups[i].gid == gid)
      return false;
  return true;
}

/* The first number from `id` on that is neither a user's nor a group's. */
static uint32_t
free_id(const csn_accounts *a, uint32_t id)
{
  while (find_uid(a, id) || !gid_is_free(a, id))
    id++; /* there are more numbers than entries */
  return id;
}

static bool
is_member(csn_str members, csn_str name)
{
  while (members.n) {
    size_t end = csn_str_find(members, CSN_STR(","), 0);
    csn_str one = csn_strn(members.p, end == SIZE_MAX ? members.n : end);
    if (csn_str_eq(one, name))
      return true;
    members =
        end == SIZE_MAX ? csn_strn(NULL, 0) : csn_strn(members.p + end + 1, members.n - end - 1);
  }
  return false;
}

static csn_account
account_of(const csn_accounts *a, const struct user *u)
{
  csn_account c = {.name = u->name.p, .home = "/tmp", .uid = u->uid, .gid = u->gid};
  for (size_t i = 0; i < a->n_groups && c.n_groups < CSN_ACCOUNT_GROUPS; i++)
    if (a->groups[i].gid != u->gid && a->groups[i].gid != 0 &&
        is_member(csn_buf_str(&a->groups[i].members), u->name))
      c.groups[c.n_groups++] = a->groups[i].gid;
  return c;
}

/* ---- making ---- */

static int
check_name(const char *name, csn_err *err)
{
  size_t n = strlen(name);
  for (size_t i = 0; i < n; i++) {
    char c = name[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-' || c == '.')))
      n = 0;
  }
  if (n > 0 && n <= NAME_MAX_BYTES)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "\"%.60s\" cannot name a user or group: letters, digits, - . and _, a letter "
                  "first, at most %d",
                  name, NAME_MAX_BYTES);
}

static int
too_many(csn_err *err)
{
  return csn_fail(err, CSN_E_LIMIT, "more than %d users or groups", MOST);
}

/* A user of that name with a group of its own, unless there is one. */
static int
need_user(csn_accounts *a, const char *name, uint32_t from, csn_err *err)
{
  if (find_user(a, csn_cstr(name)))
    return 0;
  int rc = check_name(name, err);
  if (rc < 0)
    return rc;
  struct group *g = find_group(a, csn_cstr(name));
  uint32_t id = free_id(a, from);
  if (!g)
    g = add_group(a, csn_cstr(name), id);
  struct user *u = g ? add_user(a, csn_cstr(name), id, g->gid) : NULL;
  if (!u)
    return too_many(err);
  u->home = CSN_STR("/tmp");
  u->shell = CSN_STR("/bin/sh");
  return 0;
}

static int
need_group(csn_accounts *a, const csn_sandbox_group *wish, csn_err *err)
{
  struct group *g = find_group(a, csn_cstr(wish->name));
  int rc = g ? 0 : check_name(wish->name, err);
  if (rc < 0)
    return rc;
  if (!g)
    g = add_group(a, csn_cstr(wish->name), free_id(a, MAIN_ID + 1));
  if (!g)
    return too_many(err);
  for (const char *const *m = wish->members; m && *m; m++) {
    rc = need_user(a, *m, MAIN_ID + 1, err);
    if (rc < 0)
      return rc;
    if (!is_member(csn_buf_str(&g->members), csn_cstr(*m)))
      csn_buf_addf(&g->members, "%s%s", g->members.n ? "," : "", *m);
  }
  return csn_buf_done(&g->members, "the members of a group", err);
}

/* UID[:GID] or NAME[:GROUP]. */
static int
resolve(const csn_accounts *a, const char *who, csn_account *out, csn_err *err)
{
  csn_str rest = csn_cstr(who), name = take_field(&rest);
  uint32_t uid;
  bool is_number = take_id(name, &uid);
  const struct user *u = is_number ? find_uid(a, uid) : find_user(a, name);
  if (u)
    *out = account_of(a, u);
  else if (is_number)
    *out = (csn_account){.uid = uid, .gid = uid, .home = "/tmp"};
  else
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no user \"%.60s\" in the sandbox", who);
  if (rest.p) {
    const struct group *g = find_group(a, rest);
    if (g)
      out->gid = g->gid;
    else if (!take_id(rest, &out->gid))
      return csn_fail(err, CSN_E_NOT_FOUND, "there is no group \"%.60s\" in the sandbox", rest.p);
  }
  if (out->uid == 0 || out->gid == 0)
    return csn_fail(err, CSN_E_INVALID,
                    "\"%.60s\" is root or of its group: no command in a sandbox is", who);
  return 0;
}

/* User 1000, under the name that the file has for it. */
static int
usual_user(csn_accounts *a, csn_account *out, csn_err *err)
{
  if (!find_uid(a, MAIN_ID)) {
    int rc = need_user(a, find_user(a, CSN_STR("user")) ? "sandbox" : "user", MAIN_ID, err);
    if (rc < 0)
      return rc;
  }
  const struct user *u = find_uid(a, MAIN_ID);
  *out = u ? account_of(a, u) : (csn_account){.uid = MAIN_ID, .gid = MAIN_ID};
  if (out->gid == 0)
    out->gid = MAIN_ID;
  return 0;
}

static int
choose_main(csn_accounts *a, const csn_accounts_wish *w, csn_err *err)
{
  csn_str rest = csn_cstr(w->user), name = take_field(&rest);
  uint32_t id;
  int rc = CSN_E_NOT_FOUND;
  if (w->user && !w->may_fall_back && !take_id(name, &id)) {
    csn_auto(csn_freep) char *z = csn_dupz(name);
    rc = need_user(a, z, MAIN_ID, err);
    if (rc < 0)
      return rc;
  }
  if (w->user)
    rc = resolve(a, w->user, &a->main, w->may_fall_back ? NULL : err);
  if (!w->user || (rc < 0 && w->may_fall_back))
    rc = usual_user(a, &a->main, err);
  a->main.home = w->home;
  return rc;
}

/* ---- writing ---- */

static void
write_files(csn_accounts *a)
{
  for (size_t i = 0; i < a->n_users; i++) {
    const struct user *u = &a->users[i];
    csn_str home = u->uid == a->main.uid ? csn_cstr(a->main.home) : u->home;
    csn_buf_addf(&a->passwd, "%.*s:x:%u:%u:%.*s:%.*s:%.*s\n", (int)u->name.n, u->name.p, u->uid,
                 u->gid, (int)u->comment.n, u->comment.p, (int)home.n, home.p, (int)u->shell.n,
                 u->shell.p);
  }
  for (size_t i = 0; i < a->n_groups; i++) {
    const struct group *g = &a->groups[i];
    csn_buf_addf(&a->group, "%.*s:x:%u:%.*s\n", (int)g->name.n, g->name.p, g->gid,
                 (int)g->members.n, g->members.p ? g->members.p : "");
  }
}

/* Entries that may be needed of either kind, so that they never move. */
static size_t
room_for(const csn_accounts_wish *w)
{
  size_t n = 8 + w->n_groups;
  for (size_t i = 0; i < w->passwd.n; i++)
    n += w->passwd.p[i] == '\n';
  for (size_t i = 0; i < w->group.n; i++)
    n += w->group.p[i] == '\n';
  for (const char *const *u = w->users; u && *u; u++)
    n++;
  for (size_t i = 0; i < w->n_groups; i++)
    for (const char *const *m = w->groups[i].members; m && *m; m++)
      n++;
  return n < MOST ? n : MOST;
}

int
csn_accounts_make(csn_accounts **out, const csn_accounts_wish *w, csn_err *err)
{
  static const char users[] = "root:x:0:0:root:/root:/bin/false\n"
                              "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
  static const char groups[] = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";
  bool usual = w->passwd.n == 0 && w->group.n == 0;
  csn_auto(csn_accounts_freep) csn_accounts *a = csn_alloc(sizeof *a);
  a->arena = csn_arena_new(0);
  a->room = room_for(w);
  a->users = csn_alloc(a->room * sizeof *a->users);
  a->groups = csn_alloc(a->room * sizeof *a->groups);
  a->passwd = a->group = CSN_BUF(TEXT_MAX);
  read_users(a, usual ? csn_cstr(users) : w->passwd);
  read_groups(a, usual ? csn_cstr(groups) : w->group);
  int rc = choose_main(a, w, err);
  for (const char *const *u = w->users; rc == 0 && u && *u; u++)
    rc = need_user(a, *u, MAIN_ID + 1, err);
  for (size_t i = 0; rc == 0 && i < w->n_groups; i++)
    rc = need_group(a, &w->groups[i], err);
  const struct user *self = rc == 0 ? find_uid(a, a->main.uid) : NULL;
  if (self) { /* groups may have come to it */
    csn_account again = account_of(a, self);
    again.gid = a->main.gid;
    again.home = a->main.home;
    a->main = again;
  }
  write_files(a);
  if (rc == 0)
    rc = csn_buf_done(&a->passwd, "/etc/passwd", err);
  if (rc == 0)
    rc = csn_buf_done(&a->group, "/etc/group", err);
  if (rc == 0)
    *out = csn_steal(a);
  return rc;
}

void
csn_accounts_free(csn_accounts *a)
{
  if (!a)
    return;
  for (size_t i = 0; i < a->n_groups; i++)
    csn_buf_fini(&a->groups[i].members);
  csn_buf_fini(&a->passwd);
  csn_buf_fini(&a->group);
  csn_arena_free(a->arena);
  free(a->users);
  free(a->groups);
  free(a);
}

const csn_account *
csn_accounts_main(const csn_accounts *a)
{
  return &a->main;
}

int
csn_accounts_find(const csn_accounts *a, const char *who, csn_account *out, csn_err *err)
{
  if (!who || (a->main.name && strcmp(who, a->main.name) == 0)) {
    *out = a->main;
    return 0;
  }
  int rc = resolve(a, who, out, err);
  if (rc == 0 && out->uid == a->main.uid)
    out->home = a->main.home;
  return rc;
}

csn_str
csn_accounts_passwd(const csn_accounts *a)
{
  return csn_buf_str(&a->passwd);
}

csn_str
csn_accounts_group(const csn_accounts *a)
{
  return csn_buf_str(&a->group);
}
