/* SPDX-License-Identifier: Apache-2.0
 * decision.c - see decision.h. */
#include "run/decision.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "core/fd.h"
#include "run/items.h"
#include "run/policy.h"

/* ---- the key ---- */

static int
make_key(int dir, csn_err *err)
{
  unsigned char key[CSN_KEY_BYTES];
  char name[32] = "key.";
  csn_random_bytes(key, sizeof key);
  csn_random_name(name + 4, 12);
  int rc = csn_file_write(dir, name, csn_strn((const char *)key, sizeof key), 0600, true, err);
  if (rc < 0)
    return rc;
  /* A name that is taken stays as it is: another process was faster. */
  if (linkat(dir, name, dir, "key", 0) < 0 && errno != EEXIST)
    rc = csn_fail_errno(err, "cannot make the file `key` of the state folder");
  unlinkat(dir, name, 0);
  return rc;
}

int
csn_key_need(int dir, unsigned char key[CSN_KEY_BYTES], csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_KEY_BYTES + 1);
  int rc = csn_file_read(dir, "key", &b, err);
  if (rc == CSN_E_NOT_FOUND) {
    rc = make_key(dir, err);
    if (rc == 0)
      rc = csn_file_read(dir, "key", &b, err);
  }
  if (rc == 0 && b.n != CSN_KEY_BYTES)
    rc = csn_fail(err, CSN_E_INVALID,
                  "the file `key` of the state folder is not %d bytes long: it is not ours",
                  CSN_KEY_BYTES);
  if (rc == 0)
    memcpy(key, b.p, CSN_KEY_BYTES);
  return rc;
}

/* ---- writing ---- */

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

static void
write_always(csn_jw *w, const csn_decision *d, const csn_state *st, const csn_pending *p)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_policy_call c = {.agent = st->cfg.agent,
                       .tool = csn_cstr(p->name),
                       .input = csn_cstr(p->arguments),
                       .is_custom = p->is_custom};
  csn_policy_call_read(&c, st->cfg.root, a);
  csn_jw_key(w, "always");
  csn_jw_obj(w);
  member(w, "tool", c.tool);
  member(w, "agent", c.agent);
  if (d->like.n) {
    member(w, "like", d->like);
    if (c.box.n)
      member(w, "sandbox", c.box);
  } else {
    char hex[65];
    csn_digest scope = csn_policy_scope(&c);
    csn_digest_hex(&scope, hex);
    member(w, "scope", csn_cstr(hex));
  }
  if (d->until_ms) {
    csn_jw_key(w, "until_ms");
    csn_jw_int(w, d->until_ms);
  }
  csn_jw_end(w);
}

static int
check(const csn_decision *d, const csn_pending *p, csn_err *err)
{
  bool sticks = d->always || d->like.n;
  if (p->purpose == CSN_FOR_BUDGET && (sticks || d->edited.n))
    return csn_fail(err, CSN_E_INVALID, "a budget is allowed or denied as it is");
  if (d->edited.n && p->how == CSN_HOW_MCP)
    return csn_fail(err, CSN_E_INVALID, "a call that the provider makes is not edited");
  if (d->edited.n && !d->allow)
    return csn_fail(err, CSN_E_INVALID, "a call that is denied is not edited");
  if (d->edited.n && sticks)
    return csn_fail(err, CSN_E_INVALID, "what was edited cannot hold for later calls");
  if (d->until_ms && !sticks)
    return csn_fail(err, CSN_E_INVALID, "only a decision for later calls can expire");
  if (!d->edited.n || p->is_custom)
    return 0;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  int rc = csn_json_parse(a, d->edited, &v, err);
  if (rc == 0 && v->kind != CSN_JSON_OBJECT)
    rc = csn_fail(err, CSN_E_INVALID, "expected a JSON object");
  return csn_wrap(err, rc, "the edited arguments");
}

int
csn_decision_write(const csn_decision *d, const csn_state *st, const csn_pending *p, csn_buf *out,
                   csn_err *err)
{
  int rc = check(d, p, err);
  if (rc < 0)
    return rc;
  char uid[32];
  snprintf(uid, sizeof uid, "uid %u", (unsigned)geteuid());
  csn_str by = csn_cstr(d->by ? d->by : uid);
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "allow");
  csn_jw_bool(&w, d->allow);
  member(&w, "by", by);
  if (d->reason.n)
    member(&w, "reason", d->reason);
  if (d->edited.n)
    member(&w, p->is_custom ? "input" : "arguments", d->edited);
  if (d->always || d->like.n)
    write_always(&w, d, st, p);
  if (!d->allow && p->purpose != CSN_FOR_BUDGET) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(d->reason.n + by.n + 100);
    csn_buf_addf(&text, "The call was not made: it was denied by %.*s%s", (int)by.n, by.p,
                 d->reason.n ? ": " : ".");
    csn_buf_add(&text, d->reason);
    csn_jw_key(&w, "items");
    csn_jw_arr(&w);
    struct csn_call_answer a = {.how = p->how,
                                .is_custom = p->is_custom,
                                .is_denied = true,
                                .call_id = csn_cstr(p->call_id),
                                .text = csn_buf_str(&text)};
    csn_item_answer(&w, &a);
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* ---- signing ---- */

static csn_digest
mac_of(const unsigned char key[CSN_KEY_BYTES], csn_str run, const csn_digest *prev, int64_t effect,
       csn_str decision)
{
  char hex[65];
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(SIZE_MAX / 4);
  csn_digest_hex(prev, hex);
  csn_buf_addf(&b, "caisson decision 1\n%.*s\n%s\n%lld\n", (int)run.n, run.p, hex,
               (long long)effect);
  csn_buf_add(&b, decision);
  return csn_hmac_sha256(csn_strn((const char *)key, CSN_KEY_BYTES), csn_buf_str(&b));
}

int
csn_decision_sign(const unsigned char key[CSN_KEY_BYTES], csn_str run, const csn_digest *prev,
                  int64_t effect, csn_str decision, csn_buf *note, csn_err *err)
{
  char hex[65];
  csn_digest mac = mac_of(key, run, prev, effect, decision);
  csn_digest_hex(&mac, hex);
  csn_jw w;
  csn_jw_init(&w, note);
  csn_jw_obj(&w);
  member(&w, "note", CSN_STR("decision"));
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, effect);
  csn_jw_key(&w, "decision");
  csn_jw_raw(&w, decision);
  member(&w, "mac", csn_cstr(hex));
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

bool
csn_decision_verify(const unsigned char key[CSN_KEY_BYTES], csn_str run, const csn_digest *prev,
                    const csn_json *v)
{
  const csn_json *decision = csn_json_get(v, "decision");
  csn_digest said;
  if (!csn_json_is(decision, CSN_JSON_OBJECT) ||
      !csn_digest_from_hex(csn_json_str(v, "mac", CSN_STR("")), &said))
    return false;
  csn_digest mac = mac_of(key, run, prev, csn_json_int(v, "effect", -1), decision->raw);
  return csn_digest_same(&mac, &said);
}

int
csn_decision_event(const csn_json *v, int64_t note, csn_buf *out, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, csn_json_int(v, "effect", -1));
  csn_jw_key(&w, "note");
  csn_jw_int(&w, note);
  csn_json_each (m, csn_json_get(v, "decision")) {
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}
