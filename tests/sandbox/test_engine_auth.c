/* SPDX-License-Identifier: Apache-2.0
 * test_engine_auth.c - who we are to a registry: from the files of docker's own
 * client to the header field that an engine gets. */
#include "sandbox/engine_auth.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "caisson/json.h"
#include "check.h"
#include "core/fd.h"
#include "core/hash.h"

TEST(the_registry_of_a_name)
{
  static const char *const rows[][2] = {
      {"debian", "docker.io"},
      {"debian:12", "docker.io"},
      {"library/debian", "docker.io"},
      {"me/tool:1.0", "docker.io"},
      {"localhost/tool", "localhost"},
      {"localhost:5000/tool", "localhost:5000"},
      {"registry.example.com/a/b@sha256:00", "registry.example.com"},
      {"host:1/a", "host:1"},
      {"", "docker.io"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    STR_EQ(csn_engine_registry(csn_cstr(rows[i][0])), rows[i][1]);
}

/* The field's JSON; "" without one, or "error". */
static void
says(const char *config, const char *registry, const char *want)
{
  char folder[] = "/tmp/caisson-test-XXXXXX";
  csn_err err;
  assert_non_null(mkdtemp(folder));
  int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(dir >= 0);
  if (config)
    assert_int_equal(csn_file_write(dir, "config.json", csn_cstr(config), 0600, false, NULL), 0);
  setenv("DOCKER_CONFIG", folder, 1);
  csn_auto(csn_buf_finip) csn_buf field = CSN_BUF(10000), plain = CSN_BUF(10000);
  int rc = csn_engine_auth(NULL, csn_cstr(registry), &field, &err);
  csn_str got = csn_buf_str(&field), head = CSN_STR("X-Registry-Auth: ");
  if (rc == 1) {
    assert_true(csn_str_starts(got, head) && csn_str_ends(got, CSN_STR("\r\n")));
    got = csn_strn(got.p + head.n, got.n - head.n - 2);
    assert_true(got.n == 0 || (!memchr(got.p, '+', got.n) && !memchr(got.p, '/', got.n)));
    for (size_t i = 0; i < got.n; i++) /* back to the usual alphabet */
      field.p[head.n + i] = got.p[i] == '-' ? '+' : got.p[i] == '_' ? '/' : got.p[i];
    assert_true(csn_base64_decode(&plain, got));
  }
  STR_EQ(rc < 0 ? CSN_STR("error") : csn_buf_str(&plain), want);
  if (rc < 0)
    assert_null(strstr(err.msg, "hidden"));
  unsetenv("DOCKER_CONFIG");
  assert_int_equal(csn_remove_tree(tmp, strrchr(folder, '/') + 1, NULL), 0);
  close(tmp);
  close(dir);
}

TEST(entries_of_the_file)
{
  static const struct {
    const char *config, *registry, *want;
  } rows[] = {
      {NULL, "docker.io", ""},
      {"{}", "docker.io", ""},
      {"{\"auths\":{}}", "docker.io", ""},
      {"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"bWU6aGlkZGVuOn5+fj8/Pw==\"}}}",
       "docker.io",
       "{\"username\":\"me\",\"password\":\"hidden:~~~???\",\"serveraddress\":\"https://"
       "index.docker.io/v1/\"}"},
      {"{\"auths\":{\"r.example\":{\"auth\":\"bWU6aGlkZGVu\"}}}", "docker.io", ""},
      {"{\"auths\":{\"r.example\":{\"auth\":\"bWU6aGlkZGVu\"}}}", "r.example",
       "{\"username\":\"me\",\"password\":\"hidden\",\"serveraddress\":\"r.example\"}"},
      {"{\"auths\":{\"https://r.example/v2/\":{\"auth\":\"bWU6aGlkZGVu\"}}}", "r.example",
       "{\"username\":\"me\",\"password\":\"hidden\",\"serveraddress\":\"r.example\"}"},
      {"{\"auths\":{\"r.example.evil.test\":{\"auth\":\"bWU6aGlkZGVu\"}}}", "r.example", ""},
      {"{\"auths\":{\"r.example\":{\"identitytoken\":\"hidden\"}}}", "r.example",
       "{\"identitytoken\":\"hidden\",\"serveraddress\":\"r.example\"}"},
      {"{\"auths\":{\"r.example\":{}}}", "r.example", ""},
      {"{\"auths\":{\"r.example\":{\"auth\":\"hidden!\"}}}", "r.example", "error"},
      {"{\"auths\":{\"r.example\":{\"auth\":\"aGlkZGVu\"}}}", "r.example", "error"},
      {"{\"auths\":", "r.example", "error"},
      {"[\"hidden\"]", "r.example", ""},
      {"{\"credsStore\":\"../hidden\"}", "r.example", "error"},
      {"{\"credsStore\":\"no-such-program\"}", "r.example", "error"},
      {"{\"credHelpers\":{\"r.example\":\"no-such-program\"},\"auths\":{\"r.example\":{\"auth\":"
       "\"bWU6aGlkZGVu\"}}}",
       "r.example", "error"},
      {"{\"credHelpers\":{\"other\":\"no-such-program\"},\"auths\":{\"r.example\":{\"auth\":"
       "\"bWU6aGlkZGVu\"}}}",
       "r.example",
       "{\"username\":\"me\",\"password\":\"hidden\",\"serveraddress\":\"r.example\"}"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    says(rows[i].config, rows[i].registry, rows[i].want);
}

RUN_TESTS("sandbox/engine_auth", RUN(the_registry_of_a_name), RUN(entries_of_the_file))
