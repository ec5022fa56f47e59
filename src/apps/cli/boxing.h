/* SPDX-License-Identifier: Apache-2.0
 * boxing.h - the sandbox that a command's options describe. */
#ifndef CSN_APPS_BOXING_H
#define CSN_APPS_BOXING_H

#include "caisson/sandbox.h"
#include "cli.h"
#include "networking.h"
#include "sandbox/rootfs.h"
#include "sandbox/stack.h"

typedef struct cli_box_opts {
  const char *backend, *level, *rootfs, *user;
  cli_list env, devices, options, expose;
  const char *limits[CSN_LIMITS];
  bool strict;
  cli_network_opts network;
} cli_box_opts;

#define CLI_BOX_LIMIT(T, field, name, value, help, which)                                          \
  {                                                                                                \
    name, 0, value, help, CLI_STR(T, field.limits[CSN_LIMIT_##which])                              \
  }

/* The rows of a table of options whose struct T has such a `field`. */
#define CLI_BOX_OPTS(T, field)                                                                     \
  {"backend", 0, "BACKEND",                                                                        \
   "How to isolate it: jail, the default; local, which does not; docker, e2b or exec:PROGRAM",     \
   CLI_STR(T, field.backend)},                                                                     \
      {"level", 0, "native|gvisor",                                                                \
       "How strong a jail is; gvisor has a kernel of its own (runsc)", CLI_STR(T, field.level)},   \
      {"rootfs", 0, "WORD",                                                                        \
       "Use the root file system dir:DIR, tar:FILE, oci:PATH or image:NAME instead of this "       \
       "machine's programs",                                                                       \
       CLI_STR(T, field.rootfs)},                                                                  \
      {"user", 'u', "USER",                                                                        \
       "Be the user NAME or UID[:GID] of the root file system, or a new NAME",                     \
       CLI_STR(T, field.user)},                                                                    \
      {"device", 0, "nvidia|dri|fuse",                                                             \
       "Let it use a device of this machine; may be given several times",                          \
       CLI_LIST(T, field.devices)},                                                                \
      {"option", 'o', "NAME=VALUE",                                                                \
       "Set an option of the back-end, like image=debian:12; may be given several times",          \
       CLI_LIST(T, field.options)},                                                                \
      {"env", 'e', "NAME=VALUE", "Set a variable; may be given several times",                     \
       CLI_LIST(T, field.env)},                                                                    \
      CLI_BOX_LIMIT(T, field, "memory", "SIZE",                                                    \
                    "Most memory of all processes, /tmp and home; 1GiB, say", MEMORY),             \
      CLI_BOX_LIMIT(T, field, "swap", "SIZE", "Most swap beside it; none unless given", SWAP),     \
      CLI_BOX_LIMIT(T, field, "pids", "N", "Most processes and threads at once", PIDS),            \
      CLI_BOX_LIMIT(T, field, "cpu", "N", "Processors; 1.5 is one and a half", CPU),               \
      CLI_BOX_LIMIT(T, field, "disk", "SIZE", "Size of the workspace", DISK),                      \
      CLI_BOX_LIMIT(T, field, "inodes", "N", "Most files and folders in the workspace", INODES),   \
      CLI_BOX_LIMIT(T, field, "open-files", "N", "Most open files of one process", OPEN_FILES),    \
      CLI_BOX_LIMIT(T, field, "file-size", "SIZE", "Largest file", FILE_SIZE),                     \
      CLI_BOX_LIMIT(T, field, "wall", "TIME", "End it after this time; 90s, 10m or 1h", WALL),     \
      CLI_BOX_LIMIT(T, field, "output", "SIZE", "Most output", OUTPUT),                            \
      {"strict", 0, NULL, "Refuse where a limit that is given is not enforced",                    \
       CLI_BOOL(T, field.strict)},                                                                 \
      CLI_NETWORK_OPTS(T, field.network),                                                          \
  {                                                                                                \
    "expose", 0, "[HERE:]PORT", "Reach its PORT at 127.0.0.1:HERE, or at any port that is free",   \
        CLI_LIST(T, field.expose)                                                                  \
  }

/* The specification borrows from all of it. */
typedef struct cli_box {
  csn_sandbox_spec spec; /* workspace_fd and lock_fd are -1 */
  csn_sandbox_limits limits;
  csn_rootfs *rootfs; /* held, so that nobody removes it */
  cli_ports ports;
  struct csn_sandbox_own own; /* the specification's: shows what takes long */
} cli_box;

/* NAME=VALUE, each a member: what is JSON as it is, else a text.  NULL for none. */
int cli_box_options(cli *c, const cli_list *list, const csn_json **out, csn_err *err) CSN_MUST;
/* Unpacks an image that is not there yet, telling how far it is. */
int cli_box_read(cli *c, const cli_box_opts *o, cli_box *b, csn_err *err) CSN_MUST;
void cli_box_fini(cli_box *b);

/* All that is set of them as an object, and back; what is not known is refused. */
void cli_box_to_json(const cli_box_opts *o, csn_jw *w);
int cli_box_from_json(cli *c, const csn_json *v, cli_box_opts *o, csn_err *err) CSN_MUST;

#endif
