/* SPDX-License-Identifier: Apache-2.0
 *
 * box.h - a sandbox of a run, as the driver uses it: its folder, its workspace,
 * its processes.  The run makes it when it begins; a child uses its parent's.
 */
#ifndef CSN_RUN_BOX_H
#define CSN_RUN_BOX_H

#include <pthread.h>
#include <stdatomic.h>

#include "caisson/run.h"
#include "caisson/sandbox.h"
#include "core/hash.h"
#include "run/ports.h"

typedef struct csn_shell csn_shell;
struct csn_project;

/* A checkpoint of the workspace, see box_checkpoint.c. */
enum { CSN_BOX_SAVED_NAME = 80, CSN_BOX_SAVED_KEPT = 2 };
struct csn_box_saved {
  int64_t seq; /* of the sandbox_checkpoint: what was called before it is in there */
  char name[CSN_BOX_SAVED_NAME];
  bool is_frozen; /* layers, else a snapshot */
};

enum { CSN_BOX_ID_MAX = 64 }; /* RUN, or RUN.NAME */

/* A sandbox of a run, see box.c. */
struct csn_box {
  csn_run *run;     /* that owns it */
  size_t index;     /* among the run's; 0: the first */
  const char *name; /* in the agent file; NULL: it is the only one */
  char id[CSN_BOX_ID_MAX];
  const csn_agent *agent; /* whose sections say what it is */
  pthread_mutex_t lock;   /* guards sb and shell while one is being opened */
  bool backend_changed;   /* to what opts.backend says, as its user asked */
  csn_sandbox *sb;
  csn_shell *shell;
  /* Those that died under the run; calls may still use them. */
  struct csn_dead_box {
    csn_sandbox *sb;
    csn_shell *shell;
  } dead[8];
  size_t n_dead;
  struct csn_forward **forwards; /* of the ports that the agent exposes */
  size_t n_forwards;
  csn_ports_told told;                  /* which those are, to other processes */
  int folder_fd, workspace_fd, lock_fd; /* workspace_fd: of stack/ if it has layers */
  int layers_fd;                        /* where those are kept; -1: it has none */
  atomic_int users;                     /* calls that are at work in it */
  int64_t opened_ns;                    /* when sb was */
  const char *from;                     /* the snapshot that it begins with; or NULL */
  csn_digest from_tree;                 /* that one's */
  csn_str lent;                         /* a sandbox elsewhere that it was given; empty: none */
  struct csn_box_network *network;      /* NULL: none, or not needed yet */
  struct csn_box_saved saved[CSN_BOX_SAVED_KEPT];
  size_t n_saved;
  uint64_t saved_mark;        /* what the newest of them was made of (csn_stack_look) */
  bool has_saved_mark;        /* it was made by this process, of this stack */
  int64_t walk_ns, walked_ns; /* how long the last checkpoint without layers took, when it ended */
  int64_t saved_ns;           /* when that was, of whatever kind; 0: not known */
  bool is_touched;            /* somebody may have worked in it since */
  char *news;                 /* what the model is to hear of a loss; NULL: nothing */
  unsigned n_lost;            /* how often that happened here */
  struct csn_mount **mounts;  /* of the manifest, with credentials (box_mount.h); NULL: none */
  csn_arena *mounts_arena;
  int mounts_fd; /* of what was written to them and is not stored yet; -1 */
};

void csn_box_init(struct csn_box *b, csn_run *r);
/* Name of its folder in sandboxes/. */
const char *csn_box_id(const struct csn_box *b);
/* Makes folder and workspace anew, applies the manifest, opens the sandbox.
 * What could not be made whole is removed again. */
int csn_box_make(struct csn_box *b, csn_scope *sc, csn_jw *ready, csn_err *err) CSN_MUST;
/* The same with one that was made: another one could not be. */
void csn_box_unmake(struct csn_box *b);
/* What the new workspace tells the model (workspace_look.h); nothing when it tells
 * nothing.  *untrusted: why that is not to be trusted, or NULL. */
int csn_box_context(struct csn_box *b, csn_scope *sc, csn_buf *context, const char **untrusted,
                    csn_err *err) CSN_MUST;
/* ---- boxes.c: all of a run ---- */

/* Of those that it uses; NULL: no such. */
struct csn_box *csn_box_at(csn_run *r, size_t i);
/* Its journal is there from now on. */
void csn_boxes_name(csn_run *r);
/* The members `sandbox` and, of the others, `sandboxes`. */
int csn_boxes_make(csn_run *r, csn_scope *sc, csn_jw *w, csn_err *err) CSN_MUST;
int csn_boxes_collect(csn_run *r, csn_buf *report, csn_err *err) CSN_MUST;
void csn_boxes_close(csn_run *r, bool is_over);
void csn_boxes_sweep(csn_run *r);
void csn_boxes_free(csn_run *r);
/* What a run that is no more has left of them in the state folder. */
int csn_boxes_remove(int state_fd, const char *id, csn_err *err) CSN_MUST;
/* Their workspaces are in the state folder, and whole. */
bool csn_boxes_are_there(csn_run *r);

/* ---- box.c ---- */

/* Whose boxes a run uses: a child its parent's. */
csn_run *csn_box_owner(csn_run *r);
/* The open sandbox and its shell, opened over the kept workspace if need be. */
int csn_box_need(struct csn_box *b, csn_sandbox **sb, csn_shell **shell, csn_err *err) CSN_MUST;
/* A call works in it from now on, or has ended. */
void csn_box_enter(struct csn_box *b);
void csn_box_leave(struct csn_box *b);
/* A descriptor of the box's folder, the caller's: it may be another one any time. */
int csn_box_folder_of(struct csn_box *b, csn_err *err) CSN_MUST;
/* It could not begin a command: whoever needs one next opens another. */
void csn_box_suspect(struct csn_box *b, const csn_sandbox *sb);
/* Collects the declared outputs; report: a list that is open. */
int csn_box_collect(struct csn_box *b, csn_jw *report, csn_err *err) CSN_MUST;
/* Ends every process; removes the folder unless it is worth keeping. */
void csn_box_close(struct csn_box *b, bool is_over);
/* What a process that died after the end of the run could not remove. */
void csn_box_sweep(struct csn_box *b);
/* Descriptor of the state folder's sandboxes/ID, for diff and apply. */
int csn_box_folder(csn_rt *rt, const char *id, csn_err *err) CSN_MUST;
/* The same: sandboxes/ID has a workspace, of whichever form. */
bool csn_box_has_workspace(int folder);
/* Of a run that is not at work: makes workspace/ of layers, and base/ of what it
 * began with.  CSN_E_CONFLICT while it is at work. */
int csn_box_lay_out(struct csn_project *p, int state_fd, const char *id, csn_scope *sc,
                    csn_err *err) CSN_MUST;
/* Appends what the model of r is to hear of a loss of the sandbox, if anything;
 * told: once that is in the journal. */
void csn_box_news(const csn_run *r, struct csn_box *b, csn_buf *out);
void csn_box_news_told(csn_run *r, struct csn_box *b);
/* Box locked, its folder open: moves the workspace of the run opts.after into it. */
int csn_box_take_over(struct csn_box *b, csn_err *err) CSN_MUST;

#endif
