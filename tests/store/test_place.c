/* SPDX-License-Identifier: Apache-2.0
 * test_place.c - URLs of databases: taken apart, passwords found, what is local. */
#include "store/place.h"

#include "check.h"

TEST(a_url_is_taken_apart)
{
  csn_place p;
  csn_err err;
  OK(csn_place_parse(CSN_STR("postgres://ada:pw@db.example.com:5433/agents?sslmode=require&a=b"),
                     &p, &err),
     &err);
  STR_EQ(p.scheme, "postgres");
  STR_EQ(p.user, "ada");
  STR_EQ(p.password, "pw");
  STR_EQ(p.hosts, "db.example.com:5433");
  STR_EQ(p.path, "agents");
  STR_EQ(p.query, "sslmode=require&a=b");
  OK(csn_place_parse(CSN_STR("redis://127.0.0.1"), &p, &err), &err);
  STR_EQ(p.hosts, "127.0.0.1");
  STR_EQ(p.user, "");
  STR_EQ(p.path, "");
}

TEST(what_is_wrong_is_said_without_a_word_of_it)
{
  static const char *const rows[] = {
      "secret",
      "http://secret/",
      "postgres://u:sec/ret@h/d",
      "postgres://u:secret@h:0/d",
      "postgres://u:secret@h:99999/d",
      "postgres://u:secret@h:1a/d",
      "postgres://u:sec ret@h/d",
      "postgres://h/d?pass%77ord=secret",
      "postgres://a,secret:x/d",
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_place p;
    csn_err err = {0};
    assert_int_equal(csn_place_parse(csn_cstr(rows[i]), &p, &err), CSN_E_INVALID);
    if (strstr(err.msg, "sec") || !*err.msg)
      fail_msg("%s: %s", rows[i], err.msg);
  }
}

TEST(a_password_is_found_wherever_it_stands)
{
  static const struct {
    const char *url, *advice; /* advice NULL: there is none */
  } rows[] = {
      {"postgres://u@h/d", NULL},
      {"postgres:///d?host=/tmp&user=u", NULL},
      {"postgres://u:hush@h/d", "PGPASSFILE"},
      {"postgresql://h/d?a=b&password=hush", "PGPASSFILE"},
      {"postgresql://h/d?sslpassword=hush", "PGPASSFILE"},
      {"redis://:hush@h", "REDISCLI_AUTH"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err = {0};
    int rc = csn_place_check_open(csn_cstr(rows[i].url), "--state", &err);
    if (rc != (rows[i].advice ? CSN_E_INVALID : 0) || strstr(err.msg, "hush") ||
        (rows[i].advice && (!strstr(err.msg, rows[i].advice) || !strstr(err.msg, "--state"))))
      fail_msg("%s: %d %s", rows[i].url, rc, err.msg);
  }
}

TEST(only_this_machine_is_local)
{
  static const struct {
    const char *url;
    bool is_local;
  } rows[] = {
      {"postgres:///d", true},
      {"postgres://localhost/d", true},
      {"postgres://u@127.0.0.1:5432/d", true},
      {"postgres://127.1.2.3,localhost:1/d", true},
      {"postgres://[::1]:5432/d", true},
      {"postgres://%2Fvar%2Frun/d", true},
      {"postgres:///d?host=/var/run", true},
      {"redis://localhost:6379/0", true},
      {"postgres://db.example.com/d", false},
      {"postgres://127.0.0.1,db.example.com/d", false},
      {"postgres://127.0.0.1.example.com/d", false},
      {"postgres://localhost.example.com/d", false},
      {"postgres://localhost@example.com/d", false},
      {"postgres://localhost/d?host=example.com", false},
      {"postgres://localhost/d?hostaddr=192.0.2.1", false},
      {"postgres:///d?service=x", false},
      {"postgres://[::2]/d", false},
      {"redis://192.0.2.1", false},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_place p;
    csn_err err;
    OK(csn_place_parse(csn_cstr(rows[i].url), &p, &err), &err);
    if (csn_place_is_local(&p) != rows[i].is_local)
      fail_msg("%s", rows[i].url);
  }
}

RUN_TESTS("store/place", RUN(a_url_is_taken_apart), RUN(what_is_wrong_is_said_without_a_word_of_it),
          RUN(a_password_is_found_wherever_it_stands), RUN(only_this_machine_is_local))
