/* SPDX-License-Identifier: Apache-2.0
 *
 * network.c - the network of a jail that has one: every address is local.
 *
 * Two routes make each address of the internet one of the loopback interface,
 * so a connection to any of them arrives at a socket in this namespace, which
 * sees what was asked for as its own name.  The sockets are made here and
 * handed to the harness, whose egress process accepts from them: a socket
 * keeps the namespace it was made in.  Nothing else leads out, and a port
 * without a socket refuses at once.
 */
#include "jail/network.h"

#include <arpa/inet.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "jail/steps.h"

enum { LOOPBACK = 1, BACKLOG = 512 };

/* ---- routes ---- */

struct message {
  struct nlmsghdr head;
  union {
    struct rtmsg route;
    struct ifaddrmsg address;
    char bytes[64];
  } body;
};

static void
add_attribute(struct message *m, unsigned short type, const void *value, unsigned short n)
{
  struct rtattr a = {.rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(n)};
  char *at = (char *)m + NLMSG_ALIGN(m->head.nlmsg_len);
  memcpy(at, &a, sizeof a);
  memcpy(at + RTA_LENGTH(0), value, n);
  m->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->head.nlmsg_len) + RTA_LENGTH(n));
}

/* False with errno when the kernel refused. */
static bool
ask_kernel(int fd, struct message *m)
{
  struct {
    struct nlmsghdr head;
    struct nlmsgerr answer;
  } reply;
  m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
  if (send(fd, m, m->head.nlmsg_len, 0) < 0)
    return false;
  ssize_t n = recv(fd, &reply, sizeof reply, 0);
  if (n < (ssize_t)sizeof reply.head || reply.head.nlmsg_type != NLMSG_ERROR) {
    errno = n < 0 ? errno : EPROTO;
    return false;
  }
  errno = -reply.answer.error;
  return reply.answer.error == 0;
}

static bool
add_route(int fd, unsigned char family)
{
  static const uint32_t loopback = LOOPBACK;
  struct message m = {
      .head = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_len = NLMSG_LENGTH(sizeof m.body.route)},
      .body.route = {.rtm_family = family,
                     .rtm_table = RT_TABLE_LOCAL,
                     .rtm_protocol = RTPROT_BOOT,
                     .rtm_scope = RT_SCOPE_HOST,
                     .rtm_type = RTN_LOCAL}};
  add_attribute(&m, RTA_OIF, &loopback, sizeof loopback);
  return ask_kernel(fd, &m);
}

/* Beside 127.0.0.1, which resolvers do not count when they look whether this
 * machine speaks IPv4 at all (AI_ADDRCONFIG): the dummy address of RFC 7600. */
static bool
add_address(int fd)
{
  static const unsigned char dummy[4] = {192, 0, 0, 8};
  struct message m = {
      .head = {.nlmsg_type = RTM_NEWADDR, .nlmsg_len = NLMSG_LENGTH(sizeof m.body.address)},
      .body.address = {.ifa_family = AF_INET,
                       .ifa_prefixlen = 32,
                       .ifa_scope = RT_SCOPE_UNIVERSE,
                       .ifa_index = LOOPBACK}};
  add_attribute(&m, IFA_LOCAL, dummy, sizeof dummy);
  add_attribute(&m, IFA_ADDRESS, dummy, sizeof dummy);
  return ask_kernel(fd, &m);
}

static void
lead_everything_home(void)
{
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0 || !add_address(fd))
    csn_jail_fail("give the loopback interface an address", "");
  if (!add_route(fd, AF_INET))
    csn_jail_fail("lead all addresses to the loopback interface", "");
  (void)add_route(fd, AF_INET6); /* a kernel without IPv6 reaches nothing there in any case */
  close(fd);
}

/* ---- sockets ---- */

/* A listener, for both families where the kernel has both. */
static int
listen_everywhere(uint16_t port)
{
  static const int off = 0;
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool bound = fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
               bind(fd, (struct sockaddr *)&v6, sizeof v6) == 0;
  if (!bound) {
    if (fd >= 0)
      close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bound = fd >= 0 && bind(fd, (struct sockaddr *)&v4, sizeof v4) == 0;
  }
  if (!bound || listen(fd, BACKLOG) < 0)
    csn_jail_fail("listen for connections", "");
  return fd;
}

static int
listen_for_names(void)
{
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(CSN_JAIL_DNS_PORT)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
    csn_jail_fail("listen for questions about names", "");
  return fd;
}

void
csn_jail_network(const csn_jail_open *open)
{
  int fds[CSN_JAIL_LISTENERS_MAX];
  size_t n = CSN_JAIL_PORT_FDS;
  if (open->n_ports > CSN_JAIL_PORTS_MAX) {
    errno = EINVAL;
    csn_jail_fail("listen on so many ports", "");
  }
  lead_everything_home();
  fds[CSN_JAIL_PROXY_FD] = listen_everywhere(CSN_JAIL_PROXY_PORT);
  fds[CSN_JAIL_DNS_UDP_FD] = listen_for_names();
  fds[CSN_JAIL_DNS_TCP_FD] = listen_everywhere(CSN_JAIL_DNS_PORT);
  for (size_t i = 0; i < open->n_ports; i++)
    fds[n++] = listen_everywhere(open->ports[i]);
  if (!csn_jail_hand_over(CSN_JAIL_LISTENING, fds, n))
    csn_jail_fail("hand over the listening sockets", "");
  for (size_t i = 0; i < n; i++)
    close(fds[i]);
}

/* ---- files ---- */

/* From the control stream into a file of the new root. */
static void
receive_file(const char *path)
{
  char piece[16384];
  csn_jail_frame head;
  if (!csn_jail_read(&head, sizeof head))
    _exit(1); /* the harness gave up */
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  errno = fd < 0 ? errno : EPROTO;
  if (fd < 0 || head.kind != CSN_JAIL_TRUST || head.length > CSN_JAIL_TRUST_MAX)
    csn_jail_fail("take the certificates", "");
  for (size_t left = head.length; left;) {
    size_t n = left < sizeof piece ? left : sizeof piece;
    if (!csn_jail_read(piece, n))
      _exit(1);
    if (write(fd, piece, n) != (ssize_t)n)
      csn_jail_fail("write", path);
    left -= n;
  }
  close(fd);
}

/* Puts our file over one that the root file system has; links in the way are
 * followed as they will be inside. */
static void
cover(const char *ours, const char *path)
{
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
  struct stat st;
  int at = (int)syscall(NR_openat2, AT_FDCWD, path, &how, sizeof how);
  if (at < 0)
    return; /* not there: nothing to cover */
  int tree = sys_open_tree(AT_FDCWD, ours, 0);
  if (fstat(at, &st) == 0 && S_ISREG(st.st_mode) &&
      (tree < 0 || sys_tree_protect(tree, CSN_LOCKED | ATTR_NOEXEC, -1) < 0 ||
       syscall(NR_move_mount, tree, "", at, "", MOVE_EMPTY_FROM | MOVE_EMPTY_TO) < 0))
    csn_jail_fail("cover", path);
  if (tree >= 0)
    close(tree);
  close(at);
}

void
csn_jail_trust(void)
{
  static const char *const roots[] = {
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/ssl/cert.pem",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
      "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
  };
  enum { FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC };
  /* There is a place for it where the jail has drivers. */
  const char *at = access("/run/caisson", F_OK) < 0 ? "/run" : "/run/caisson";
  csn_mount_new("tmpfs", at, FLAGS, "size=16m,nr_inodes=16,mode=755");
  csn_make_folder("/run/caisson");
  csn_make_file("/run/caisson/resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n");
  receive_file(CSN_JAIL_TRUST_FILE);
  if (mount(NULL, at, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS, NULL) < 0)
    csn_jail_fail("make read-only", at);
  cover("/run/caisson/resolv.conf", "/etc/resolv.conf");
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
    cover(CSN_JAIL_TRUST_FILE, roots[i]);
}
