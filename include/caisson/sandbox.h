/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox.h - the port to untrusted compute: a machine with a workspace in
 * which commands run.
 *
 * Operations may be called from several threads at once; the back-end
 * serialises what it must.  Everything that waits takes a scope.  Paths are
 * relative to the workspace, or absolute inside the sandbox.
 *
 * A back-end is one static const table; a NULL slot is built from the others
 * or is CSN_E_UNSUPPORTED, by name.
 */
#ifndef CAISSON_SANDBOX_H
#define CAISSON_SANDBOX_H

#include "files.h"
#include "json.h"
#include "network.h"
#include "scope.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_sandbox csn_sandbox;
typedef struct csn_proc csn_proc;
struct csn_sandbox_sweep;

/* How much a sandbox may use.  0: the back-end's own choice, which may be no
 * limit (docs/jail.md has the jail's); CSN_UNLIMITED: as much as there is. */
typedef struct csn_sandbox_limits {
  int64_t memory_bytes;    /* RAM of all processes, with /tmp, home and a workspace in memory */
  int64_t swap_bytes;      /* beside it; the default is none */
  int64_t pids;            /* processes and threads at once */
  int64_t cpu_milli;       /* thousandths of a processor: 1500 is one and a half */
  int64_t disk_bytes;      /* of the workspace */
  int64_t inodes;          /* files and folders of the workspace */
  int64_t open_files;      /* of one process */
  int64_t file_bytes;      /* of one file */
  int64_t command_wall_ms; /* of one command */
  int64_t wall_ms;         /* since the sandbox was opened */
  int64_t output_bytes;    /* that one command may write to its output */
  bool strict;             /* refuse to open where one that is asked for is not enforced */
} csn_sandbox_limits;
enum { CSN_UNLIMITED = -1 };

enum csn_limit {
  CSN_LIMIT_MEMORY,
  CSN_LIMIT_SWAP,
  CSN_LIMIT_PIDS,
  CSN_LIMIT_CPU,
  CSN_LIMIT_DISK,
  CSN_LIMIT_INODES,
  CSN_LIMIT_OPEN_FILES,
  CSN_LIMIT_FILE_SIZE,
  CSN_LIMIT_COMMAND_WALL,
  CSN_LIMIT_WALL,
  CSN_LIMIT_OUTPUT,
  CSN_LIMITS
};

/* How a limit is kept: not at all; by what a command can get round or is only
 * looked at from time to time; by the kernel or the harness, always. */
enum csn_limit_state { CSN_LIMIT_ABSENT, CSN_LIMIT_SOFT, CSN_LIMIT_ENFORCED };

/* What an open sandbox has. */
typedef struct csn_sandbox_held {
  int64_t value[CSN_LIMITS]; /* in the units above; CSN_UNLIMITED: none */
  uint8_t state[CSN_LIMITS]; /* enum csn_limit_state; of one without a value: what it would be */
} csn_sandbox_held;

/* How often its limits were reached since it was opened. */
typedef struct csn_sandbox_usage {
  int64_t reached[CSN_LIMITS];
  bool is_dead, is_told; /* no command can run in it any more; its errors say why */
  const char *lost;      /* storage in it that is there no more, and why; NULL: none */
} csn_sandbox_usage;

/* A group that a sandbox shall have, and its members, NULL-terminated. */
typedef struct csn_sandbox_group {
  const char *name;
  const char *const *members; /* may be NULL */
} csn_sandbox_group;

/* A workspace that can be frozen: folders that never change, the layers, below
 * one that takes all changes (docs/snapshots.md).  Its folder, workspace_fd, is
 * the harness's own: new, or made so before. */
typedef struct csn_layers {
  int store_fd;             /* where layers are kept, on the file system of workspace_fd */
  const char *const *names; /* that a new workspace begins with, as csn_sandbox_freeze() gives
                               them; NULL: none.  One that exists knows its own. */
} csn_layers;

/* What a sandbox is made from.  Borrowed during open. */
typedef struct csn_sandbox_spec {
  const char *backend; /* "jail" (NULL too), "local", "docker", "e2b", "fake", "exec:PROGRAM" */
  int workspace_fd;    /* host folder that becomes the workspace; -1: a temporary one */
  int lock_fd;         /* held open by every process of the sandbox until it has ended; -1: none */
  const char *root;  /* where the workspace is inside; NULL: /workspace; of "local" as it is here */
  const char *level; /* of the jail: "native" (NULL too), "gvisor" */
  const char *rootfs; /* "host" (NULL too), a folder's absolute path, "dir:PATH", "tar:FILE",
                         "oci:PATH[@TAG]" or "image:NAME" */
  const char *const
      *environment; /* NAME=VALUE list for all commands, NULL-terminated, may be NULL */
  uint32_t pool;    /* sandboxes of this kind to keep ready for those who ask next; the jail's */
  const csn_json *options;          /* further options of the back-end, or NULL */
  const csn_sandbox_limits *limits; /* NULL: the defaults */
  /* Who commands are: NAME or UID[:GID] of the root file system, or a new name
   * for user 1000.  NULL: whom an image names, else user 1000.  Never root. */
  const char *user;
  /* Further users (NULL-terminated, may be NULL) and groups; what the root file
   * system has already is used.  Only "jail", and there only root's. */
  const char *const *users;
  const csn_sandbox_group *groups;
  size_t n_groups;
  const csn_network *network; /* what it may reach; NULL: nothing */
  /* Devices of this machine that commands may use: "nvidia", "dri", "fuse";
   * NULL-terminated, may be NULL.  Only "jail". */
  const char *const *devices;
  const uint16_t *expose; /* ports that csn_sandbox_dial() may connect to */
  size_t n_expose;
  bool has_scopes;          /* commands will have csn_exec.files: refuse where nothing holds them */
  const csn_layers *layers; /* NULL: the workspace is workspace_fd itself */
  const struct csn_sandbox_own *own; /* the port's: leave it NULL */
  /* What csn_sandbox_state() told: opens that one again, or CSN_E_NOT_FOUND.  NULL: a new one. */
  const csn_json *state;
  const struct csn_mount *const *mounts; /* storage inside, NULL-terminated, or NULL */
  bool keep;         /* closing lets go of it, and csn_sandbox_destroy() ends it */
  const char *label; /* "OWNER/NAME", for csn_sandbox_sweep() to know it by; may be NULL */
} csn_sandbox_spec;

/* A command to start.  Borrowed during spawn. */
typedef struct csn_exec {
  const char *const *argv;
  const char *const *environment; /* added to the sandbox's; may be NULL */
  const char *cwd;                /* relative to the workspace, or absolute; NULL: the workspace */
  bool tty;                       /* a pseudo-terminal instead of pipes */
  bool with_stdin;                /* false: stdin is /dev/null (without tty) */
  bool split_output;   /* keep stdout and stderr apart; else both arrive in order as stdout */
  uint16_t rows, cols; /* of the terminal; 0: 24 x 80 */
  int claim_fd;        /* -1, or a file that gets one byte right before the program is
                          executed: the proof, after a crash, that it started */
  const char *user;    /* NAME or UID[:GID] in the sandbox; NULL: the sandbox's own */
  const csn_file_scope *files; /* NULL: the whole workspace; only "jail", with Landlock */
} csn_exec;

/* How a command ended.  signal is 0 when it exited by itself; else code is
 * 128 + signal. */
typedef struct csn_exit {
  int code, signal;
  unsigned reached; /* 1 << enum csn_limit of those that were reached while it ran */
} csn_exit;

/* Output is delivered by the caller's wish, so that a flood costs no memory:
 * csn_proc_read() hands over at most what fits and the rest waits in pipes. */
enum csn_stream { CSN_STDOUT = 1, CSN_STDERR = 2 };

typedef struct csn_sandbox_ops {
  size_t size;      /* sizeof(csn_sandbox_ops) the back-end was built with */
  const char *name; /* the word used in configuration */
  int (*open)(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err);
  void (*close)(csn_sandbox *sb); /* kills every process of the sandbox and waits for their end */
  int (*spawn)(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err);
  /* optional: a stream to a port of the sandbox's own loopback interface, as a
   * descriptor of this process */
  int (*dial)(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd, csn_err *err);
  /* optional: what this instance enforces, as members of an open JSON object */
  void (*describe)(csn_sandbox *sb, csn_jw *w);
  /* optional: which limits were reached, and whether it is dead.  is_lost: a
   * command's end could not be told, so it dies now: wait for why */
  void (*usage)(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u);
  /* optional: ends the sandbox, unless a process runs in it: CSN_E_CONFLICT */
  int (*stop)(csn_sandbox *sb, csn_scope *sc, csn_err *err);
  /* optional: see csn_sandbox_restrict() */
  int (*restrict_network)(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to,
                          int64_t *reached, csn_err *err);
  /* optional, beside it: CSN_E_UNSUPPORTED names what of a policy it cannot hold */
  int (*check_network)(const csn_network *n, csn_err *err);
  /* ---- all optional; see caisson/remote.h ---- */
  bool is_remote; /* workspaces are not folders of this machine: workspace_fd is -1 */
  bool has_users; /* spec.user and csn_exec.user may be given */
  const struct csn_sandbox_option *options; /* what spec.options may hold; NULL: nothing */
  const char *const *keys; /* variables of the harness with what nobody may see; NULL: none */
  int (*get)(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd, csn_err *err);
  int (*put)(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err);
  int (*remove)(csn_sandbox *sb, csn_scope *sc, const char *const *paths, csn_err *err);
  void (*state)(csn_sandbox *sb, csn_jw *w);
  int (*pause)(csn_sandbox *sb, csn_scope *sc, csn_err *err);
  int (*resume)(csn_sandbox *sb, csn_scope *sc, csn_err *err);
  int (*destroy)(csn_sandbox *sb, csn_scope *sc, csn_err *err);
  /* options: as in csn_sandbox_spec */
  int (*sweep)(csn_scope *sc, const csn_json *options, const struct csn_sandbox_sweep *how,
               csn_err *err);
  /* optional: see csn_sandbox_rests() */
  int (*rests)(csn_sandbox *sb, csn_scope *sc, bool *has_more, csn_err *err);
} csn_sandbox_ops;

typedef struct csn_proc_ops {
  /* Waits until there is output, the command has ended, or the scope ends.
   * Appends up to `max` bytes to `out` and says the stream in *which.
   * > 0: bytes; 0: no more output will come (all holders closed it, or the
   * leader has ended and what it left was read).  Negative: the scope's error. */
  int (*read)(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
              csn_err *err);
  /* Waits for the leader's end; 0 and *exit filled, or the scope's error. */
  int (*wait)(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err);
  /* Returns bytes taken (all of them unless the scope ends).  A command that
   * has ended or closed its input: CSN_E_IO with sys_errno EPIPE. */
  int (*write)(csn_proc *p, csn_scope *sc, csn_str bytes, csn_err *err);
  void (*close_stdin)(csn_proc *p); /* of a pipe; a terminal's end of input is "\x04" */
  /* To the process group; CSN_E_NOT_FOUND once the leader has ended. */
  int (*signal)(csn_proc *p, int sig, csn_err *err);
  int (*resize)(csn_proc *p, int rows, int cols, csn_err *err);
  void (*close)(csn_proc *p); /* kills the process group if it still runs; frees */
} csn_proc_ops;

/* First members of every back-end's own structs. */
struct csn_sandbox {
  const csn_sandbox_ops *ops;
  char *root;       /* the workspace's path inside */
  int workspace_fd; /* the workspace on this host, as the sandbox sees it; -1: it is elsewhere */
  int uid, gid;     /* owner that files made by the harness in the workspace need; -1: leave them */
  csn_sandbox_held held;
  int64_t deadline_ns; /* the port's: when its wall time is over; INT64_MAX: never */
  uint16_t *expose;    /* the port's, as what follows: a copy of the specification's */
  size_t n_expose;
  char **skips;                /* paths of storage in the workspace, NULL-terminated, or NULL */
  struct csn_stack *stack;     /* of a workspace of layers */
  struct csn_tunnels *tunnels; /* connections that go through commands */
  bool is_frozen;
  int64_t ends_ns; /* when its provider ends it, whatever runs in it, as csn_now_ns(); 0: never */
};
struct csn_proc {
  const csn_proc_ops *ops;
  bool tty;
  struct csn_guard *guard; /* the port's: what holds the command's limits */
};

CSN_API int csn_sandbox_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec,
                             csn_err *err) CSN_MUST;
CSN_API void csn_sandbox_close(csn_sandbox *sb);
/* A program that does not exist is CSN_E_NOT_FOUND ("no such program"), a cwd
 * that does not exist CSN_E_NOT_FOUND naming it; neither leaves a claim. */
CSN_API int csn_sandbox_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out,
                              csn_err *err) CSN_MUST;
/* Spawn, read everything up to the buffers' caps (what comes after a cap is
 * read and dropped), wait.  A process that outlives the scope is killed.
 * stderr_out NULL: both streams go to out in order of arrival. */
CSN_API int csn_sandbox_exec(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_buf *out,
                             csn_buf *stderr_out, csn_exit *exit, csn_err *err) CSN_MUST;

/* No more than this goes out from now on, for good: what is under way and may do
 * more is cut when it returns.  CSN_NETWORK_AS_LISTED changes nothing.
 * *reached: connections outside so far; 0 without a network. */
CSN_API int csn_sandbox_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to,
                                 int64_t *reached, csn_err *err) CSN_MUST;
/* A connection to a server inside, which listens on `port` of its loopback
 * interface or of all.  *fd is the caller's, non-blocking, close-on-exec.
 * CSN_E_DENIED for a port that was not exposed; CSN_E_UNAVAILABLE while nobody
 * listens there. */
CSN_API int csn_sandbox_dial(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd,
                             csn_err *err) CSN_MUST;

CSN_API int csn_proc_read(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max,
                          enum csn_stream *which, csn_err *err) CSN_MUST;
CSN_API int csn_proc_wait(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err) CSN_MUST;
CSN_API int csn_proc_write(csn_proc *p, csn_scope *sc, csn_str bytes, csn_err *err) CSN_MUST;
CSN_API void csn_proc_close_stdin(csn_proc *p);
CSN_API int csn_proc_signal(csn_proc *p, int sig, csn_err *err) CSN_MUST;
CSN_API int csn_proc_resize(csn_proc *p, int rows, int cols, csn_err *err) CSN_MUST;
CSN_API void csn_proc_close(csn_proc *p);

/* The word of agent.yaml, "memory". */
CSN_API const char *csn_limit_name(enum csn_limit which);
/* Says what a reached limit or lost storage means, or nothing: "killed: the sandbox's
 * memory limit of 1 GiB was reached"; several are separated by "; ". */
CSN_API void csn_exit_explain(const csn_sandbox *sb, const csn_exit *exit, csn_buf *out);
/* The limits as an object: {"memory": {"state": "enforced", "value": 1073741824}}. */
CSN_API void csn_sandbox_limits_to_json(const csn_sandbox *sb, csn_jw *w);

static inline void
csn_sandbox_closep(csn_sandbox **p)
{
  if (*p)
    csn_sandbox_close(*p);
}
static inline void
csn_proc_closep(csn_proc **p)
{
  if (*p)
    csn_proc_close(*p);
}

/* Words of the back-ends that this build has, NULL-terminated. */
CSN_API const char *const *csn_sandbox_backends(void);

#ifdef __cplusplus
}
#endif
#endif
