/* SPDX-License-Identifier: Apache-2.0
 * script.c - a playbook as the model.  The file is read at each turn, so the
 * back-end keeps nothing between turns; it is no language model. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/yaml.h"
#include "core/fd.h"
#include "model/backends.h"
#include "model/playbook.h"

enum { SCRATCH_MAX_BYTES = 512 << 20 };

static int
read_file(const char *path, csn_buf *out, csn_err *err)
{
  /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "playbook %s", path);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "playbook %s: not a regular file", path);
  return csn_wrap(err, csn_fd_read_all(fd, out, err), "playbook %s", path);
}

static int
script_answer(csn_arena *arena, csn_str source, const csn_model_request *rq, csn_model_reply *out,
              csn_err *err)
{
  if (!source.n || memchr(source.p, '\0', source.n))
    return csn_fail(err, CSN_E_INVALID, "model script: expected a file, as in script:fix.yaml");
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(SCRATCH_MAX_BYTES);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_YAML_MAX);
  csn_auto(csn_playbook_freep) csn_playbook *book = NULL;
  const char *path = csn_arena_dup(tmp, source).p;
  const csn_json *v;
  csn_transcript t;
  int rc = read_file(path, &text, err);
  if (rc >= 0)
    rc = csn_yaml_parse(tmp, csn_buf_str(&text), path, &v, err);
  if (rc >= 0)
    rc = csn_playbook_new(&book, v, path, err);
  if (rc >= 0)
    rc = csn_transcript_read(tmp, rq, &t, err);
  return rc < 0 ? rc : csn_playbook_answer(book, arena, rq, &t, out, err);
}

const csn_model_ops csn_model_script = {
    .size = sizeof(csn_model_ops),
    .name = "script",
    .answer = script_answer,
};
