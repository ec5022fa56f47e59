/* SPDX-License-Identifier: Apache-2.0
 * keyring.c - see keyring.h. */
#include "store/keyring.h"

#include "core/hash.h"
#include "store/secret.h"

struct csn_keyring {
  size_t n;
  csn_session_key keys[CSN_KEYS_MAX];
};

static bool
is_name(csn_str s)
{
  bool good = s.n > 0 && s.n <= CSN_KEY_NAME_MAX;
  for (size_t i = 0; good && i < s.n; i++) {
    char c = s.p[i];
    good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  }
  return good;
}

static bool
read_key(csn_str text, unsigned char out[CSN_SEAL_KEY])
{
  csn_digest d;
  if (csn_digest_from_hex(text, &d)) {
    memcpy(out, d.b, sizeof d.b);
    explicit_bzero(&d, sizeof d);
    return true;
  }
  csn_auto(csn_secret_wipe) csn_buf b = CSN_BUF(128);
  bool ok = csn_base64_decode(&b, text) && !b.over && b.n == CSN_SEAL_KEY;
  if (ok)
    memcpy(out, b.p, CSN_SEAL_KEY);
  return ok;
}

static int
take_line(csn_keyring *k, csn_str line, int n, csn_err *err)
{
  size_t at = 0;
  while (at < line.n && line.p[at] != ' ' && line.p[at] != '\t')
    at++;
  csn_str name = csn_strn(line.p, at), key = csn_str_trim(csn_strn(line.p + at, line.n - at));
  if (k->n == CSN_KEYS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "line %d: more than %d keys", n, CSN_KEYS_MAX);
  if (!is_name(name) || !key.n)
    return csn_fail(err, CSN_E_INVALID,
                    "line %d: expected \"NAME KEY\", a name of at most %d letters, digits, - _ .",
                    n, CSN_KEY_NAME_MAX);
  if (csn_keyring_find(k, name))
    return csn_fail(err, CSN_E_INVALID, "line %d: a key of this name stands above", n);
  csn_session_key *to = &k->keys[k->n];
  if (!read_key(key, to->key))
    return csn_fail(err, CSN_E_INVALID,
                    "line %d: a key is 32 random bytes in base64 or hexadecimal; `openssl rand "
                    "-base64 32` makes one",
                    n);
  memcpy(to->name, name.p, name.n);
  k->n++;
  return 0;
}

int
csn_keyring_parse(csn_str text, csn_keyring **out, csn_err *err)
{
  csn_auto(csn_keyring_freep) csn_keyring *k = csn_alloc(sizeof *k);
  csn_str rest = text, line;
  int rc = 0;
  for (int n = 1; rc == 0 && csn_str_line(&rest, &line); n++) {
    line = csn_str_trim(line);
    if (line.n && *line.p != '#')
      rc = take_line(k, line, n, err);
  }
  if (rc == 0 && !k->n)
    rc = csn_fail(err, CSN_E_INVALID, "there is no key");
  if (rc == 0)
    *out = csn_steal(k);
  return rc;
}

int
csn_keyring_from_file(const char *path, const char *what, csn_keyring **out, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  int rc = csn_secret_read(path, what, &text, err);
  return rc < 0
             ? rc
             : csn_wrap(err, csn_keyring_parse(csn_buf_str(&text), out, err), "%s: %s", what, path);
}

int
csn_keyring_from_command(const char *const *argv, const char *what, csn_keyring **out, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  int rc = csn_secret_ask(argv, NULL, what, &text, err);
  return rc < 0 ? rc
                : csn_wrap(err, csn_keyring_parse(csn_buf_str(&text), out, err), "%s: %s", what,
                           argv[0]);
}

void
csn_keyring_free(csn_keyring *k)
{
  if (!k)
    return;
  explicit_bzero(k, sizeof *k);
  free(k);
}

const csn_session_key *
csn_keyring_newest(const csn_keyring *k)
{
  return &k->keys[k->n - 1];
}

size_t
csn_keyring_count(const csn_keyring *k)
{
  return k->n;
}

const csn_session_key *
csn_keyring_at(const csn_keyring *k, size_t i)
{
  return &k->keys[k->n - 1 - i];
}

const csn_session_key *
csn_keyring_find(const csn_keyring *k, csn_str name)
{
  for (size_t i = 0; i < k->n; i++)
    if (csn_str_eq(csn_cstr(k->keys[i].name), name))
      return &k->keys[i];
  return NULL;
}
