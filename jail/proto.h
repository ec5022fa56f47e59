/* SPDX-License-Identifier: Apache-2.0
 *
 * proto.h - what harness, spawner and warden say to each other.
 *
 * Harness -> spawner: one packet (SOCK_SEQPACKET) for each jail, a
 * csn_jail_open with the descriptors that its bits in `with` name, in the order
 * of their numbers, the layers of the root file system and those of the
 * workspace.  Spawner -> harness: one csn_jail_opened with a pidfd of the jail's first process and
 * the read end of its life pipe, which ends when nothing of the jail is left.
 *
 * Harness -> warden, on the control stream: frames, each a csn_jail_frame, its
 * fixed part and its strings.  The descriptors of a frame travel with its
 * first byte.  Warden -> harness: one csn_jail_note when the jail is ready or
 * has failed; before it, of a networked jail, one with its listening sockets.
 * Everything about a running command goes over the command's own channel
 * (core/command.h).  The end of the control stream ends the jail.
 */
#ifndef CSN_JAIL_PROTO_H
#define CSN_JAIL_PROTO_H

#include <stdint.h>

/* Descriptors that the spawner is started with. */
enum { CSN_SPAWNER_SOCKET = 3, CSN_SPAWNER_IMAGE = 4 };

/* Descriptors of the first process of a jail.  Those up to GIVEN come with the
 * request under the same number: to add one, append it there.  The warden
 * keeps CONTROL, LIFE and LOCK. */
enum csn_jail_fd {
  CSN_JAIL_CONTROL = 3,
  CSN_JAIL_LOCK,
  CSN_JAIL_WORKSPACE,
  CSN_JAIL_ACCOUNTS, /* a file: /etc/passwd, a NUL, /etc/group, a NUL */
  CSN_JAIL_NAMES,    /* a file: names of devices, then of libraries, each with a NUL */
  CSN_JAIL_GRANTS,   /* a file: of each granted path 'r' or 'w' and the path, with a NUL */
  CSN_JAIL_STORAGE,  /* a file: of each mount 'r' or 'w' and its path, with a NUL */
  CSN_JAIL_GIVEN,
  /* Read end of a pipe that the spawner holds open while it lives. */
  CSN_JAIL_LIFE = CSN_JAIL_GIVEN,
  CSN_JAIL_BLANK,   /* an empty mount namespace, for the jail to end in */
  CSN_JAIL_USERS,   /* the commands' user namespace */
  CSN_JAIL_DEV,     /* with devices of the host: a tree of its /dev, */
  CSN_JAIL_DRIVERS, /* and one of libraries */
  CSN_JAIL_ORDERS,  /* of a warm jail: brings what was not there yet (jail/pool.c) */
  CSN_JAIL_FUSE,    /* /dev/fuse, opened once for each mount */
  CSN_JAIL_FUSE_LAST = CSN_JAIL_FUSE + 15,
  CSN_JAIL_FDS
};
enum { CSN_JAIL_MOUNTS_MAX = CSN_JAIL_FUSE_LAST - CSN_JAIL_FUSE + 1 };
#define CSN_JAIL_WITH(fd) (1u << (fd))

/* Who commands are inside, and where a root harness puts user ids on the host:
 * jail after jail has a range of its own, and the first of all is for folders
 * that must be given away because their file system has no id-mapped mounts. */
enum { CSN_JAIL_UID = 1000, CSN_JAIL_BASE = 1000000000, CSN_JAIL_RANGE = 65536 };

#define CSN_JAIL_HOME "/home/user"

enum { CSN_JAIL_ROOT_MAX = 512, CSN_JAIL_LAYERS_MAX = 128, CSN_JAIL_GROUPS_MAX = 32 };
/* With those the descriptors of a packet: SCM_RIGHTS carries 253. */
enum { CSN_JAIL_EXTRAS_MAX = 72 };

enum { CSN_JAIL_GRANTS_MAX = 16 };

/* A workspace of layers: the folder given holds `upper`, which takes all
 * changes, and `work`, empty; below them are the layers, at least one. */
enum { CSN_JAIL_UNDER_MAX = 40 };

/* Root's harness owns on the disk what it has just made in such a workspace and
 * not given to the jail's user yet as this id, which nobody has. */
enum { CSN_JAIL_HARNESS_ID = CSN_JAIL_BASE - 1 };

/* A build: the folder given as the workspace, with layers under it, is no
 * workspace but the root file system itself, writable, whose owners are on the
 * disk who they are inside; the workspace is in memory.  Where there is a range
 * of ids, commands are root of it, with what installing takes and no more. */

/* What a jail may use; -1: as much as there is.  The harness has filled in all
 * of it but memory, where 0 asks for a share of what this machine has. */
typedef struct csn_jail_limits {
  int64_t memory, swap; /* bytes */
  int64_t pids;
  int64_t cpu;                         /* thousandths of a processor */
  int64_t disk, inodes;                /* of a workspace that is in memory */
  int64_t open_files, most_open_files; /* a process may raise its own up to the second */
  int64_t file_size;
  int64_t wall_ms; /* -1 or since the jail was made */
  int64_t data;    /* writable memory of one process, where no group counts all of it */
} csn_jail_limits;

enum { CSN_JAIL_OWN_BYTES = 1 << 30, CSN_JAIL_OWN_FILES = 1 << 18 };

/* The size of one of the jail's folders of memory: the wish, or a part of the
 * memory of all that leaves most to the others. */
static inline int64_t
csn_jail_share(const csn_jail_limits *l, int64_t wish, int part)
{
  return l->memory > 0 && l->memory / part < wish ? l->memory / part : wish;
}

/* A workspace of memory. */
static inline int64_t
csn_jail_workspace_bytes(const csn_jail_limits *l)
{
  return l->disk >= 0 ? csn_jail_share(l, l->disk, 2) : csn_jail_share(l, CSN_JAIL_OWN_BYTES, 4);
}

/* Files cost memory that no size counts, about 1 KiB each: no more of them than
 * the folder has pages. */
static inline int64_t
csn_jail_files(int64_t bytes, int64_t most)
{
  return bytes / 4096 < most ? bytes / 4096 : most;
}

static inline int64_t
csn_jail_workspace_files(const csn_jail_limits *l)
{
  return l->inodes >= 0 ? l->inodes
                        : csn_jail_files(csn_jail_workspace_bytes(l), CSN_JAIL_OWN_FILES);
}

/* Who holds a limit: 0 nobody, else the version of control groups. */
typedef struct csn_jail_held {
  int64_t memory_bytes; /* the limit itself; -1: none */
  uint8_t memory, swap, pids, cpu;
} csn_jail_held;

/* On the life pipe, when nothing of the jail is left. */
typedef struct csn_jail_end {
  uint32_t is_late;         /* the wall time was over, so the spawner ended it */
  uint32_t kills, refusals; /* by the kernel at the memory limit; of new processes */
} csn_jail_end;
/* A networked jail has a proxy's port and a name server's beside its own. */
enum { CSN_JAIL_PORTS_MAX = 64, CSN_JAIL_PROXY_PORT = 3128, CSN_JAIL_DNS_PORT = 53 };
/* Sockets of a LISTENING note, in this order; then those of the ports. */
enum { CSN_JAIL_PROXY_FD, CSN_JAIL_DNS_UDP_FD, CSN_JAIL_DNS_TCP_FD, CSN_JAIL_PORT_FDS };
enum { CSN_JAIL_LISTENERS_MAX = CSN_JAIL_PORT_FDS + CSN_JAIL_PORTS_MAX };

/* What programs in a networked jail trust: the harness's choice of roots. */
#define CSN_JAIL_DRIVERS_FOLDER "/run/drivers"
#define CSN_JAIL_TRUST_FILE "/run/caisson/ca.pem"

/* What a packet to the spawner wants: a jail; to know how it would be made
 * (`ranged`, and in `step` why it has one user only); that the folder which
 * comes as WORKSPACE becomes the harness's own. */
enum csn_jail_what { CSN_JAIL_MAKE, CSN_JAIL_ABOUT, CSN_JAIL_TAKE_OVER };

typedef struct csn_jail_open {
  uint32_t what;   /* a csn_jail_what */
  uint32_t with;   /* CSN_JAIL_WITH() of each descriptor */
  uint32_t layers; /* folders of the root file system, whose descriptors come behind those,
                      the lowest first; 0: the host's programs */
  uint32_t pool;   /* warm jails of this kind to keep; without CONTROL: only that */
  uint32_t under;  /* layers of the workspace, whose descriptors come next, the lowest
                      first; 0: the workspace is a plain folder */
  uint32_t devices, libraries; /* the NAMES; descriptors of them, O_PATH will do, come next */
  uint32_t grants;             /* the GRANTS; likewise, last */
  uint32_t keep_groups; /* commands keep the harness's further groups, which an ordinary user may
                           need for devices */
  uint32_t keep_owner;  /* fail rather than give the folder of the workspace away */
  uint32_t is_build;    /* see below */
  uint32_t mounts;      /* of the STORAGE */
  csn_jail_limits limits;
  uint32_t uid, gid; /* who owns the workspace and the home; 1000 without a range of ids */
  char root[CSN_JAIL_ROOT_MAX]; /* where the workspace is inside */
  /* Networked: reaches nothing but sockets that are made in its own network
   * and handed to the harness, among them listeners for these TCP ports; waits
   * for a TRUST frame. */
  uint16_t networked, n_ports, ports[CSN_JAIL_PORTS_MAX];
} csn_jail_open;

/* Whose the files of the workspace are on the host. */
enum csn_jail_owner {
  CSN_JAIL_SAME,       /* the harness and the commands are the same user */
  CSN_JAIL_MAPPED,     /* what commands make belongs to the owner of the folder */
  CSN_JAIL_GIVEN_AWAY, /* the folder and what commands make belong to user 1000001000 */
};

typedef struct csn_jail_opened {
  int32_t error;    /* an errno, with `step` naming what failed; 0: descriptors come along */
  int32_t owner;    /* a csn_jail_owner */
  int32_t uid, gid; /* that files of the harness in the workspace need; -1: leave them */
  int32_t user;     /* who commands are on the host; -1: whoever the harness is */
  uint32_t ranged;  /* 65536 user ids exist inside, else one */
  uint32_t events;  /* of the descriptors after the first two: 1 memory, 2 processes, 4 the
                       workspace of layers as the jail has it */
  csn_jail_held held;
  char step[120];
} csn_jail_opened;

enum csn_jail_note_kind {
  CSN_JAIL_FAILED = 1,
  CSN_JAIL_READY = 2,
  CSN_JAIL_LISTENING = 3,
  CSN_JAIL_MOUNTED = 4,
};

typedef struct csn_jail_note {
  int32_t kind;
  int32_t error;    /* FAILED: an errno */
  int32_t landlock; /* READY: ABI of the rules in force, 0 for none */
  char step[120];   /* FAILED: what was being done */
} csn_jail_note;

/* KILL, without a body: all processes but the warden.  IDLE, without one and
 * with a channel: ENDED with the value 0 when there are none, else 1; `more` is 1
 * when files were made outside of the workspace. */
enum csn_jail_frame_kind {
  CSN_JAIL_EXEC = 1,
  CSN_JAIL_KILL = 2,
  CSN_JAIL_TRUST = 3,
  CSN_JAIL_DIAL = 4,
  CSN_JAIL_IDLE = 5,
  CSN_JAIL_MOUNT = 6,
};

/* MOUNT, without a body, before READY: the folders for the storage are in the
 * workspace now.  A MOUNTED note answers, with the /dev/fuse of each mount in
 * their order; READY comes when each has shown what is in it. */

/* Bytes of a frame's body: what one execve(2) may take, and no more. */
enum { CSN_JAIL_BODY_MAX = 1 << 20, CSN_JAIL_STRINGS_MAX = 16384 };

/* TRUST, before READY and not after it: the body is a file of certificates. */
enum { CSN_JAIL_TRUST_MAX = 8 << 20 };

/* DIAL: one descriptor, the channel of the answer: STARTED with a socket that
 * is or will be connected, or FAILED (core/command.h). */
typedef struct csn_jail_dial {
  uint16_t port, v6; /* of the loopback interface */
} csn_jail_dial;

typedef struct csn_jail_frame {
  uint32_t kind;
  uint32_t length; /* of the body that follows */
} csn_jail_frame;

enum {
  CSN_JAIL_TTY = 1,
  CSN_JAIL_WITH_STDIN = 2,
  CSN_JAIL_SPLIT = 4,
  CSN_JAIL_WITH_CLAIM = 8,
  CSN_JAIL_READS_LISTED = 16,  /* of the workspace it may read only what is listed */
  CSN_JAIL_WRITES_LISTED = 32, /* likewise */
};

/* Descriptors of an EXEC, in this order: the channel, without TTY stdout, and
 * those that the flags name (stdin, stderr, claim).  The body is this and then
 * cwd, argv, the environment and the paths of the workspace that it may read and
 * write, each string with its NUL. */
typedef struct csn_jail_exec {
  uint32_t flags;
  uint32_t args, variables, reads, writes;
  uint16_t rows, cols;
  uint32_t uid, gid, n_groups; /* who it is, where the jail has a range of ids */
  uint32_t groups[CSN_JAIL_GROUPS_MAX];
} csn_jail_exec;
enum { CSN_JAIL_EXEC_FDS = 5 };

#endif
