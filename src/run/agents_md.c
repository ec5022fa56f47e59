/* SPDX-License-Identifier: Apache-2.0
 * agents_md.c - see agents_md.h. */
#include "run/agents_md.h"

#include "core/fd.h"
#include "run/clean_text.h"

/* What comes after is not of that file: no line of a file can look so. */
#define MARK "===== "

struct part {
  csn_buf path, text;
  bool is_cut;
};

/* A line that looks like ours is moved by a blank. */
static void
add_fenced(csn_buf *out, csn_str text)
{
  csn_str line;
  while (csn_str_line(&text, &line)) {
    if (csn_str_starts(line, CSN_STR(MARK)))
      csn_buf_addc(out, ' ');
    csn_buf_add(out, line);
    csn_buf_addc(out, '\n');
  }
}

static bool
read_part(csn_file_reader *read, void *user, struct part *p, size_t room)
{
  csn_err err;
  csn_buf raw = CSN_BUF(CSN_AGENTS_MD_MAX);
  int rc = read(user, p->path.p, &raw, &err);
  bool is_there = rc == 0 || (rc == CSN_E_LIMIT && raw.n);
  p->text = CSN_BUF(4 * CSN_AGENTS_MD_MAX);
  if (is_there)
    csn_text_clean(csn_buf_str(&raw), &p->text);
  csn_buf_fini(&raw);
  csn_str all = csn_str_trim(csn_buf_str(&p->text)), kept = csn_text_head(all, room);
  p->is_cut = is_there && (rc == CSN_E_LIMIT || kept.n < all.n);
  if (p->text.n) {
    memmove(p->text.p, kept.p, kept.n);
    p->text.n = kept.n;
  }
  return is_there && all.n;
}

static void
write_part(const struct part *p, csn_buf *out)
{
  csn_buf_addf(out, "%s" MARK "%s\n", out->n ? "\n" : "", p->path.p);
  add_fenced(out, csn_buf_str(&p->text));
  if (p->is_cut)
    csn_buf_addf(out, MARK "cut here: the file is longer; read it yourself\n");
}

/* The folders from the top down: how many, their ends in `clean`. */
static size_t
split(const csn_buf *clean, size_t ends[CSN_AGENTS_MD_DEPTH])
{
  size_t n = 0;
  ends[n++] = 0;
  for (size_t i = 1; i <= clean->n && n < CSN_AGENTS_MD_DEPTH; i++)
    if (i == clean->n || clean->p[i] == '/')
      ends[n++] = i;
  return n;
}

void
csn_agents_md_read(csn_file_reader *read, void *user, const char *cwd, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096);
  size_t ends[CSN_AGENTS_MD_DEPTH], room = CSN_AGENTS_MD_MAX;
  if (!csn_path_add(&clean, csn_cstr(cwd)) || clean.over)
    csn_buf_clear(&clean);
  size_t n = split(&clean, ends);
  struct part *parts = csn_alloc(n * sizeof *parts);
  bool found[CSN_AGENTS_MD_DEPTH] = {false};
  for (size_t i = n; i-- > 0;) {
    parts[i].path = CSN_BUF(8192);
    csn_buf_add(&parts[i].path, csn_strn(clean.p, ends[i]));
    csn_buf_addf(&parts[i].path, "%sAGENTS.md", ends[i] ? "/" : "");
    found[i] = read_part(read, user, &parts[i], room);
    room -= found[i] ? parts[i].text.n : 0;
  }
  for (size_t i = 0; i < n; i++) {
    if (found[i])
      write_part(&parts[i], out);
    csn_buf_fini(&parts[i].path);
    csn_buf_fini(&parts[i].text);
  }
  free(parts);
}
