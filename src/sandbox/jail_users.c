/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_users.c - the accounts of a jail; see sandbox/jail_users.h. */
#include "sandbox/jail_users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "jail/proto.h"
#include "sandbox/jail.h"
#include "sandbox/stack.h"

enum { FILE_MAX = 1 << 20 };

/* Reads a file of /etc from the topmost layer that has it.  What is no plain
 * file there counts as missing: its target could be in any layer. */
static int
read_etc(const csn_rootfs *r, const char *name, csn_buf *out)
{
  struct stat st;
  for (size_t i = r->n; i > 0; i--) {
    csn_auto(csn_closep) int etc =
        openat(r->layers[i - 1], "etc", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (etc < 0) {
      if (errno != ENOENT)
        return 0;
      continue;
    }
    if (fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      bool is_file = S_ISREG(st.st_mode) && !csn_layer_hides(etc, name, &st);
      return is_file && csn_file_read(etc, name, out, NULL) == 0;
    }
    if (csn_layer_is_opaque(etc))
      return 0;
  }
  return 0;
}

int
csn_jail_users_make(csn_accounts **out, const csn_rootfs *r, const csn_sandbox_spec *spec,
                    csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf passwd = CSN_BUF(FILE_MAX), group = CSN_BUF(FILE_MAX);
  bool has = r->n > 0 && read_etc(r, "passwd", &passwd);
  has |= r->n > 0 && read_etc(r, "group", &group);
  bool by_image = !spec->user && r->image && r->image->config.user.n;
  csn_accounts_wish w = {.passwd = csn_buf_str(&passwd),
                         .group = csn_buf_str(&group),
                         .user = by_image ? r->image->config.user.p : spec->user,
                         .may_fall_back = by_image,
                         .users = spec->users,
                         .groups = spec->groups,
                         .n_groups = spec->n_groups,
                         .home = CSN_JAIL_HOME};
  csn_jail_about about;
  if (by_image && geteuid() != 0 && (csn_jail_ask_about(&about, NULL) < 0 || !about.ranged))
    w.user = NULL; /* there is only user 1000 */
  return csn_accounts_make(out, &w, err);
}

int
csn_jail_users_file(const csn_accounts *a, const csn_rootfs *r, const csn_sandbox_spec *spec,
                    int *fd, csn_err *err)
{
  *fd = -1;
  if (csn_spec_build(spec))
    return 0; /* it may change them */
  if (r->n == 0 && !spec->user && !spec->users && spec->n_groups == 0)
    return 0;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 * FILE_MAX);
  csn_buf_add(&text, csn_accounts_passwd(a));
  csn_buf_addc(&text, '\0');
  csn_buf_add(&text, csn_accounts_group(a));
  csn_buf_addc(&text, '\0');
  int rc = csn_buf_done(&text, "the accounts", err);
  if (rc < 0)
    return rc;
  *fd = csn_fd_memory("caisson-accounts", csn_buf_str(&text), err);
  return *fd < 0 ? *fd : 0;
}

int
csn_jail_users_check(const csn_accounts *a, const csn_sandbox_spec *spec, csn_err *err)
{
  bool more = (spec->users && spec->users[0]) || spec->n_groups > 0;
  csn_jail_about about = {0};
  if (!more && csn_accounts_main(a)->uid == CSN_JAIL_UID)
    return 0;
  (void)!csn_jail_ask_about(&about, NULL);
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "users and groups of one's own need a range of user ids, which jails have when "
                  "root makes them or ids are lent to an ordinary user: %s; else a jail has one "
                  "user, whose name can be chosen",
                  about.why);
}

int
csn_jail_users_group(const csn_accounts *a, bool is_mapped, const char *name, gid_t *gid,
                     csn_err *err)
{
  csn_account found;
  char who[100];
  snprintf(who, sizeof who, "%u:%s", csn_accounts_main(a)->uid, name);
  int rc = csn_accounts_find(a, who, &found, err);
  if (rc < 0)
    return rc;
  if (!is_mapped || geteuid() != 0)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "files of a group need a jail that root makes, over a file system with "
                    "id-mapped mounts");
  *gid = (gid_t)CSN_JAIL_BASE + found.gid;
  return 0;
}

const char *const *
csn_jail_users_variables(csn_arena *a, const csn_account *who)
{
  const char **list = csn_arena_alloc(a, 4 * sizeof *list);
  size_t n = 0;
  list[n++] = csn_arena_printf(a, "HOME=%s", who->home).p;
  if (who->name) {
    list[n++] = csn_arena_printf(a, "USER=%s", who->name).p;
    list[n++] = csn_arena_printf(a, "LOGNAME=%s", who->name).p;
  }
  return list;
}

int
csn_jail_users_pipes(const csn_accounts *a, int main_user, const int ends[3],
                     const csn_account *who, csn_err *err)
{
  uid_t main = csn_accounts_main(a)->uid, uid = (uid_t)main_user - main + who->uid;
  for (int i = 0; i < 3; i++) {
    if (ends[i] >= 0 && main_user >= 0 && fchown(ends[i], uid, uid) < 0)
      return csn_fail_errno(err, "change the owner of a pipe");
    /* To a user with a lent id we cannot give it.  Nobody else has a way to it:
     * its only names are in /proc of the command. */
    if (ends[i] >= 0 && main_user < 0 && who->uid != main && fchmod(ends[i], 0666) < 0)
      return csn_fail_errno(err, "change the mode of a pipe");
  }
  return 0;
}
