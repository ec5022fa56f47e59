/* SPDX-License-Identifier: Apache-2.0
 *
 * address.c - addresses and their kinds; see address.h.
 *
 * The tables follow IANA's registries of special-purpose addresses.  IPv6 is
 * judged the other way round: only 2000::/3 has been given out to the world,
 * so everything outside of it is refused before any table is looked at, and
 * what a later standard adds elsewhere is refused until it is known here.
 */
#include "wire/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

bool
csn_address_parse(csn_str text, csn_address *out)
{
  char z[CSN_ADDRESS_TEXT];
  if (text.n == 0 || text.n >= sizeof z || memchr(text.p, '\0', text.n))
    return false;
  memcpy(z, text.p, text.n);
  z[text.n] = '\0';
  csn_address a = {.v6 = memchr(z, ':', text.n) != NULL};
  if (inet_pton(a.v6 ? AF_INET6 : AF_INET, z, a.b) != 1)
    return false;
  *out = a;
  return true;
}

bool
csn_endpoint_parse(csn_str text, csn_address *out, uint16_t *port)
{
  size_t colon = text.n;
  while (colon && text.p[colon - 1] != ':')
    colon--;
  if (colon < 2)
    return false;
  csn_str host = csn_strn(text.p, colon - 1), digits = csn_strn(text.p + colon, text.n - colon);
  bool brackets = host.p[0] == '[' && host.p[host.n - 1] == ']' && host.n > 2;
  if (brackets)
    host = csn_strn(host.p + 1, host.n - 2);
  int64_t n;
  csn_address a;
  if (digits.n == 0 || digits.n > 5 || digits.p[0] < '1' || digits.p[0] > '9' ||
      !csn_str_int(digits, &n) || n > UINT16_MAX || !csn_address_parse(host, &a) ||
      brackets != (a.v6 == 1))
    return false;
  *out = a;
  *port = (uint16_t)n;
  return true;
}

void
csn_address_text(const csn_address *a, char out[CSN_ADDRESS_TEXT])
{
  if (!inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->b, out, CSN_ADDRESS_TEXT))
    out[0] = '\0';
}

void
csn_endpoint_text(const csn_address *a, uint16_t port, char out[CSN_ENDPOINT_TEXT])
{
  char text[CSN_ADDRESS_TEXT];
  csn_address_text(a, text);
  snprintf(out, CSN_ENDPOINT_TEXT, a->v6 ? "[%s]:%u" : "%s:%u", text, port);
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool
csn_address_from_sockaddr(const struct sockaddr_storage *from, csn_address *out, uint16_t *port)
{
  *out = (csn_address){0};
  if (from->ss_family == AF_INET) {
    struct sockaddr_in in;
    memcpy(&in, from, sizeof in);
    memcpy(out->b, &in.sin_addr, 4);
    *port = ntohs(in.sin_port);
    return true;
  }
  if (from->ss_family != AF_INET6)
    return false;
  struct sockaddr_in6 in;
  memcpy(&in, from, sizeof in);
  *port = ntohs(in.sin6_port);
  if (memcmp(&in.sin6_addr, mapped, sizeof mapped) == 0) {
    memcpy(out->b, (const char *)&in.sin6_addr + 12, 4);
    return true;
  }
  out->v6 = 1;
  memcpy(out->b, &in.sin6_addr, 16);
  return true;
}

socklen_t
csn_address_to_sockaddr(const csn_address *a, uint16_t port, struct sockaddr_storage *to)
{
  memset(to, 0, sizeof *to);
  if (a->v6) {
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&in.sin6_addr, a->b, 16);
    memcpy(to, &in, sizeof in);
    return sizeof in;
  }
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
  memcpy(&in.sin_addr, a->b, 4);
  memcpy(to, &in, sizeof in);
  return sizeof in;
}

/* ---- what is public ---- */

struct range {
  uint8_t prefix[8];
  uint8_t bits;
  const char *what;
};

/* The first that holds counts: single addresses stand before their range. */
static const struct range special_v4[] = {
    {{169, 254, 169, 254}, 32, "metadata"},
    {{100, 100, 100, 200}, 32, "metadata"},
    {{168, 63, 129, 16}, 32, "metadata"}, /* a public address that a cloud's hosts answer */
    {{192, 0, 0, 192}, 32, "metadata"},
    {{0}, 8, "unspecified"},
    {{10}, 8, "private"},
    {{100, 64}, 10, "carrier-grade NAT"},
    {{127}, 8, "loopback"},
    {{169, 254}, 16, "link-local"},
    {{172, 16}, 12, "private"},
    {{192, 0, 0}, 24, "reserved"},
    {{192, 0, 2}, 24, "documentation"},
    {{192, 88, 99}, 24, "6to4 relay"},
    {{192, 168}, 16, "private"},
    {{198, 18}, 15, "benchmarking"},
    {{198, 51, 100}, 24, "documentation"},
    {{203, 0, 113}, 24, "documentation"},
    {{224}, 4, "multicast"},
    {{255, 255, 255, 255}, 32, "broadcast"},
    {{240}, 4, "reserved"},
};

/* Outside of 2000::/3 these only name what is refused in any case. */
static const struct range special_v6[] = {
    {{0xfc}, 7, "private"},
    {{0xfe, 0x80}, 10, "link-local"},
    {{0xfe, 0xc0}, 10, "site-local"},
    {{0xff}, 8, "multicast"},
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, "local NAT64"},
    {{0x01, 0x00}, 64, "discard"},
    {{0x20, 0x01, 0x00, 0x00}, 32, "Teredo"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "documentation"},
    {{0x20, 0x01}, 23, "reserved"},
    {{0x3f, 0xff}, 20, "documentation"},
};

static bool
holds(const struct range *r, const uint8_t *b)
{
  size_t whole = r->bits / 8;
  unsigned rest = r->bits % 8;
  if (memcmp(r->prefix, b, whole) != 0)
    return false;
  return rest == 0 || (r->prefix[whole] ^ b[whole]) >> (8 - rest) == 0;
}

static const char *
find(const struct range *rows, size_t n, const uint8_t *b)
{
  for (size_t i = 0; i < n; i++)
    if (holds(&rows[i], b))
      return rows[i].what;
  return NULL;
}

static const char *
judge_v4(const uint8_t *b)
{
  return find(special_v4, sizeof special_v4 / sizeof *special_v4, b);
}

/* ::1, ::, and IPv4 addresses in the low bytes: mapped (a socket for them
 * speaks IPv4), compatible (which nothing uses any more) and translated. */
static const char *
judge_low(const uint8_t *b)
{
  static const uint8_t zero[16], one[16] = {[15] = 1};
  if (memcmp(b, zero, 16) == 0)
    return "unspecified";
  if (memcmp(b, one, 16) == 0)
    return "loopback";
  if (memcmp(b, mapped, sizeof mapped) == 0)
    return judge_v4(b + 12);
  return memcmp(b, zero, 12) == 0 ? "v4-compatible" : "reserved";
}

static const char *
judge_v6(const uint8_t *b)
{
  static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b}, zero[8];
  if (memcmp(b, zero, sizeof zero) == 0)
    return judge_low(b);
  if (memcmp(b, nat64, sizeof nat64) == 0)
    return judge_v4(b + 12);
  const char *what = find(special_v6, sizeof special_v6 / sizeof *special_v6, b);
  if (what)
    return what;
  if (b[0] >> 5 != 1)
    return "reserved";
  if (b[0] == 0x20 && b[1] == 0x02) /* 6to4: the packet goes to the address inside */
    return judge_v4(b + 2);
  /* ISATAP: the last four bytes are an address of the site's own network. */
  static const uint8_t isatap[3] = {0x00, 0x5e, 0xfe};
  return b[8] <= 3 && memcmp(b + 9, isatap, sizeof isatap) == 0 ? judge_v4(b + 12) : NULL;
}

const char *
csn_address_refusal(const csn_address *a)
{
  return a->v6 ? judge_v6(a->b) : judge_v4(a->b);
}
