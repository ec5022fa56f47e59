#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Handlers of an agent file for runs that would end without an answer.

usage: errors.py CAISSON"""
import sys

sys.dont_write_bytecode = True
from lib import *

HANDLERS = {"max_turns": {"output": "I ran out of turns."}, "model_refusal": {"output": "It would not.", "history": False},
            "invalid_final_output": {"output": "{\"n\": 0}"}}


def place(rules, **agent):
    return Place({"capabilities": [], "error_handlers": HANDLERS, **agent}, rules)


def finished(p):
    return [r["data"] for r in p.records() if r["kind"] == "finish"][0]


@test
def a_run_out_of_turns_ends_with_the_answer_of_the_file():
    p = place([{"name": "again", "reply": [{"nothing": {}}]}], limits={"turns": 2})
    done = expect(p.run(), 0)
    same(done.stdout, "I ran out of turns.\n")
    end = finished(p)
    same((end["state"], end["reason"], end["turns"]), ("done", "final", 2))
    said = [r["data"]["items"] for r in p.records() if r["kind"] == "callback_returned"][0]
    same(said[0]["content"][0]["text"], "I ran out of turns.")


@test
def a_refusal_is_answered_and_may_be_left_out_of_the_history():
    p = place([{"name": "no", "fail": True, "reply": "I won't"}])
    same(expect(p.run(), 0).stdout, "It would not.\n")
    same(["items" in r["data"] for r in p.records() if r["kind"] == "callback_returned"], [False])


@test
def an_answer_that_fits_no_schema_is_replaced():
    p = place([{"name": "bad", "reply": "no json"}], output_schema={"properties": {"n": {"type": "integer"}}})
    same(expect(p.run(), 0).stdout, "{\"n\": 0}\n")
    q = place([{"name": "bad", "reply": "no json"}], output_schema={"properties": {"m": {"type": "integer"}}})
    expect(q.run(), 1, "output_schema")


@test
def without_a_handler_it_ends_as_it_did():
    p = Place({"capabilities": [], "limits": {"turns": 2}}, [{"name": "again", "reply": [{"nothing": {}}]}])
    expect(p.run(), 4, "limit of 2 turns")


sys.exit(finish())
