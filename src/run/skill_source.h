/* SPDX-License-Identifier: Apache-2.0
 * skill_source.h - the folders that skills come from; see skills.h. */
#ifndef CSN_RUN_SKILL_SOURCE_H
#define CSN_RUN_SKILL_SOURCE_H

#include "run/skills.h"

/* The folder of a `local` or `git` source, the n-th of the list: a descriptor.
 * What git brings is fetched once and kept in the cache folder. */
int csn_skill_source_open(const csn_json *source, int64_t n, csn_scope *sc,
                          const struct csn_skill_places *p, csn_err *err) CSN_MUST;

/* Lays out one entry of a manifest (its JSON) at `path` of the folder `into`;
 * relative sources start from source_fd (-1: none). */
int csn_skill_lay_out(int into, const char *path, csn_str entry, int source_fd, csn_scope *sc,
                      csn_err *err) CSN_MUST;

#endif
