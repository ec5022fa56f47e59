/* SPDX-License-Identifier: Apache-2.0 */
/* inventory LEDGER: prints the stock after the last line of the ledger. */
#include <stdio.h>

#include "report.h"

static struct stock stock;

static int
read_ledger(FILE *f, const char *file)
{
  char line[256];
  for (int number = 1; fgets(line, sizeof line, f); number++) {
    struct entry e;
    const char *wrong = ledger_read_line(line, &e) < 0 ? "malformed" : stock_apply(&stock, &e);
    if (wrong) {
      fprintf(stderr, "%s:%d: %s\n", file, number, wrong);
      return -1;
    }
  }
  return 0;
}

int
main(int argc, char **argv)
{
  if (argc != 2) {
    fprintf(stderr, "usage: inventory LEDGER\n");
    return 2;
  }
  FILE *f = fopen(argv[1], "r");
  if (!f || stock_init(&stock) < 0) {
    perror(argv[1]);
    return 1;
  }
  int rc = read_ledger(f, argv[1]);
  fclose(f);
  for (size_t i = 0; rc == 0 && i < stock.n; i++) {
    char line[LINE_SIZE];
    puts(report_line(line, &stock.articles[i]));
  }
  if (rc == 0) {
    char worth[24];
    money_format(stock_value(&stock), worth, sizeof worth);
    printf("  worth %s\n", worth);
  }
  stock_fini(&stock);
  return rc < 0;
}
