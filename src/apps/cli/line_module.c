/* SPDX-License-Identifier: Apache-2.0
 *
 * line_module.c - libedit behind line_module.h.
 *
 * While a line is edited Ctrl-C is a key like any other: it empties the line.
 * The user's .editrc is not read: what stands in a repository's folder is
 * nobody's configuration here. */
#include "line_module.h"

#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

enum { LINES_MAX = 1000 };

struct editor {
  EditLine *el;
  History *history;
  const char *prompt;
};

static char *
prompt_of(EditLine *el)
{
  struct editor *e;
  el_get(el, EL_CLIENTDATA, &e);
  return (char *)(uintptr_t)e->prompt;
}

static unsigned char
empty_line(EditLine *el, wint_t key)
{
  (void)key;
  const LineInfo *at = el_line(el);
  el_cursor(el, (int)(at->lastchar - at->cursor));
  at = el_line(el);
  el_deletestr(el, (int)(at->cursor - at->buffer));
  return CC_REFRESH;
}

static void
close_editor(void *editor)
{
  struct editor *e = editor;
  if (e->el)
    el_end(e->el);
  if (e->history)
    history_end(e->history);
  free(e);
}

static void *
open_editor(void)
{
  HistEvent ev;
  struct editor *e = csn_alloc(sizeof *e);
  setlocale(LC_CTYPE, ""); /* letters that have more than one byte */
  e->prompt = "";
  e->history = history_init();
  e->el = el_init("caisson", stdin, stderr, stderr);
  if (!e->el || !e->history) {
    close_editor(e);
    return NULL;
  }
  history(e->history, &ev, H_SETSIZE, LINES_MAX);
  history(e->history, &ev, H_SETUNIQUE, 1);
  el_set(e->el, EL_CLIENTDATA, e);
  el_set(e->el, EL_PROMPT, prompt_of);
  el_set(e->el, EL_EDITOR, "emacs");
  el_set(e->el, EL_HIST, history, e->history);
  el_set(e->el, EL_SIGNAL, 0);
  el_set(e->el, EL_SETTY, "-d", "-isig", NULL);
  /* In wide characters, because the other form makes copies that it never frees. */
  el_wset(e->el, EL_ADDFN, L"empty-line", L"Empties the line", empty_line);
  el_set(e->el, EL_BIND, "^C", "empty-line", NULL);
  el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
  return e;
}

static int
read_line(void *editor, const char *prompt, csn_str *line)
{
  struct editor *e = editor;
  HistEvent ev;
  int n = 0;
  e->prompt = prompt;
  el_set(e->el, EL_PREP_TERM, 1); /* before the prompt: what is typed at once is edited, too */
  const char *text = el_gets(e->el, &n);
  if (!text || n <= 0)
    return 0;
  if (n > 1)
    history(e->history, &ev, H_ENTER, text);
  *line = csn_strn(text, (size_t)n);
  return 1;
}

extern const csn_line_module csn_line;
__attribute__((visibility("default"))) const csn_line_module csn_line = {
    .head = {CSN_LINE_ABI, CSN_VERSION},
    .open = open_editor,
    .close = close_editor,
    .read = read_line,
};
