/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml.h - YAML 1.2 (core schema) read into a JSON tree whose nodes carry
 * their line.  Aliases, tags, several documents and duplicate keys are
 * refused; so is anything over `CSN_YAML_MAX` bytes.
 */
#ifndef CSN_BASE_YAML_H
#define CSN_BASE_YAML_H

#include "caisson/json.h"

#define CSN_YAML_MAX (4u << 20)

/* `file` is the name used in messages: "agent.yaml:12: ...". */
int csn_yaml_parse(csn_arena *a, csn_str text, const char *file, const csn_json **out,
                   csn_err *err) CSN_MUST;

#endif
