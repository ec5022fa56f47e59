/* SPDX-License-Identifier: Apache-2.0
 *
 * devices.h - devices of the host that a jail may use: what is there under a
 * word, looked at and opened.
 */
#ifndef CSN_SANDBOX_DEVICES_H
#define CSN_SANDBOX_DEVICES_H

#include "sandbox/jail.h"

/* The words, NULL-terminated. */
extern const char *const csn_device_words[];

typedef struct csn_devices {
  int *fds;      /* O_PATH: devices, then libraries */
  csn_buf names; /* of them, each with its NUL: "dri/card0", "libcuda.so.1" */
  size_t n, n_devices;
  int names_fd; /* made by csn_devices_ask() */
} csn_devices;

/* Opens what the words name.  CSN_E_INVALID for a word that is none;
 * CSN_E_UNSUPPORTED where one is missing, something else than it should be, or
 * closed to this user, and says which.  Libraries below /usr are left out when
 * `has_usr`: the jail has the host's.  NULL words: nothing. */
int csn_devices_open(csn_devices *d, const char *const *words, bool has_usr, csn_err *err) CSN_MUST;
void csn_devices_close(csn_devices *d);
/* Puts them into a request, which borrows. */
int csn_devices_ask(csn_devices *d, csn_jail_ask *ask, csn_err *err) CSN_MUST;
/* What commands need to find the libraries, NULL-terminated. */
const char *const *csn_devices_variables(const csn_devices *d);

/* One line about a word: "present", "absent" or "closed", and what of it. */
typedef struct csn_device_state {
  const char *state;
  char note[400];
} csn_device_state;
void csn_device_look(const char *word, csn_device_state *out);

/* Names of a library cache of the dynamic linker and where they are, for as
 * long as fn gives true.  Text of any origin: what is malformed ends it. */
void csn_device_libraries(csn_str cache, bool (*fn)(void *user, const char *name, const char *path),
                          void *user);

#endif
