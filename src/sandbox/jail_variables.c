/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_variables.c - nothing of the harness's own environment reaches a
 * command: there are these, then what the image says, the network needs and
 * the specification adds; the later one of a name counts. */
#include "sandbox/jail_variables.h"

#include "jail/proto.h"
#include "sandbox/jail_users.h"
#include "sandbox/strings.h"

static const char *const defaults[] = {
    "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
    ("HOME=" CSN_JAIL_HOME),
    "USER=user",
    "LOGNAME=user",
    "LANG=C.UTF-8",
    NULL,
};

const char **
csn_jail_variables(csn_arena *a, const csn_jail_sources *from)
{
  const csn_image *image = from->rootfs->image;
  const char *const *const lists[] = {
      defaults,
      csn_devices_variables(from->devices),
      image ? (const char *const *)image->config.environment : NULL,
      csn_jail_users_variables(a, from->who),
      from->network,
      from->given,
  };
  size_t room = 1, n = 0;
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    room += csn_strings_count(lists[i]);
  const char **all = csn_arena_alloc(a, room * sizeof *all);
  for (size_t i = 0; i < CSN_COUNT(lists); i++)
    n = csn_variables_put(all, n, lists[i]);
  for (size_t i = 0; i < n; i++)
    all[i] = csn_arena_dup(a, csn_cstr(all[i])).p;
  return all;
}
