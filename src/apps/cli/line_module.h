/* SPDX-License-Identifier: Apache-2.0
 *
 * line_module.h - what caisson-line.so offers: editing of lines by libedit.
 * It is opened when a human is there, because it loads a terminal library.
 */
#ifndef CSN_APPS_LINE_MODULE_H
#define CSN_APPS_LINE_MODULE_H

#include "wire/module.h"

enum { CSN_LINE_ABI = 1 };

typedef struct csn_line_module {
  csn_module head;
  void *(*open)(void); /* NULL: the terminal cannot be edited on */
  void (*close)(void *editor);
  /* 1 with the line and its end, borrowed until the next call; 0: no more. */
  int (*read)(void *editor, const char *prompt, csn_str *line);
} csn_line_module;

#endif
