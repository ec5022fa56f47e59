/* SPDX-License-Identifier: Apache-2.0
 *
 * transfer.h - much to and from a place of objects: several requests at once,
 * with bounded memory, and uploads that go on where they were cut.
 */
#ifndef CSN_STORE_TRANSFER_H
#define CSN_STORE_TRANSFER_H

#include "store/objects.h"

enum { CSN_TRANSFER_PARALLEL = 4, CSN_TRANSFER_PARALLEL_MAX = 16 };

/* Calls fn(user, i, err) for each i below n, from up to `parallel` threads; the
 * first failure ends it once the calls under way have returned. */
int csn_transfer_each(int parallel, size_t n, int (*fn)(void *user, size_t i, csn_err *err),
                      void *user, csn_err *err) CSN_MUST;

/* How far it is; called from any thread, one at a time. */
typedef struct csn_transfer_watch {
  void (*fn)(void *user, int64_t done, int64_t all);
  void *user;
  int64_t done, all; /* bytes */
} csn_transfer_watch;

typedef struct csn_uploader csn_uploader;
typedef struct csn_uploader_spec {
  csn_objects *objects;
  csn_scope *sc;
  const char *name; /* of the object; must live as long as the uploader */
  int parallel;
  /* A file of ours, empty or with what an uploader of the same object has
   * written there: which parts the store has got already. */
  int notes_fd;
  csn_transfer_watch *watch; /* may be NULL */
} csn_uploader_spec;

/* Takes 8 MiB for each part under way.  Bytes that come again are not sent
 * again.  CSN_E_CONFLICT of any of these: the store has forgotten the upload, or
 * mixed it up: empty the notes and begin again. */
int csn_uploader_new(csn_uploader **out, const csn_uploader_spec *spec, csn_err *err) CSN_MUST;
int csn_uploader_add(csn_uploader *u, csn_str bytes, csn_err *err) CSN_MUST;
/* The object is there. */
int csn_uploader_end(csn_uploader *u, csn_err *err) CSN_MUST;
/* Bytes that were sent, and that were there already. */
void csn_uploader_count(const csn_uploader *u, int64_t *sent, int64_t *kept);
/* Waits for what is under way.  An upload that has not ended can go on later. */
void csn_uploader_free(csn_uploader *u);
CSN_FREER(uploader)

#endif
