/* SPDX-License-Identifier: Apache-2.0
 *
 * skill.h - SKILL.md: a front matter with a name and a description, and a body.
 *
 *   ---
 *   name: pdf-forms
 *   description: Fills in forms of PDF files. Use when ...
 *   ---
 *   # How to fill in a form
 *
 * The front matter is read as lines "KEY: VALUE", not as YAML: values are plain
 * (also with a colon in them, as people write them), in quotes, or blocks (| and
 * >); lines that are further in belong to the key above.  There are no anchors,
 * tags or lists, so that a hostile file costs no more than its bytes.
 */
#ifndef CSN_RUN_SKILL_H
#define CSN_RUN_SKILL_H

#include "caisson/mem.h"

enum {
  CSN_SKILL_HEAD_MAX = 16 << 10, /* bytes of the front matter */
  CSN_SKILL_NAME_MAX = 64,
  CSN_SKILL_DESCRIPTION_MAX = 1024, /* characters */
  CSN_SKILL_FILE_MAX = 1 << 20,     /* bytes of SKILL.md */
};

typedef struct csn_skill {
  csn_str name, description; /* in the arena, cleaned, one line each */
  csn_str body;              /* borrowed from the text, without the front matter */
} csn_skill;

/* dir: the name of its folder, which stands for one that is not given; may be
 * empty.  CSN_E_PARSE, CSN_E_INVALID or CSN_E_LIMIT say what is wrong, with the
 * line.  A text that was cut after its front matter is fine. */
int csn_skill_parse(csn_skill *out, csn_arena *a, csn_str text, csn_str dir, csn_err *err) CSN_MUST;
/* a-z, 0-9 and single "-" in between, at most CSN_SKILL_NAME_MAX. */
int csn_skill_name_check(csn_str name, csn_err *err) CSN_MUST;

#endif
