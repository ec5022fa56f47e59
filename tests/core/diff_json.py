#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""diff_json.py json_canon [seed] - our JSON parser and Python's see the same.

Documents are generated and mutated from a seed that is printed.  Python's
differences are taken out: it reads NaN and Infinity (refused here through
parse_constant), keeps lone surrogates (U+FFFD for us), guesses encodings (so
it gets strict UTF-8 text) and has another limit of depth.
"""
import json, random, subprocess, sys, time

seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 10**9
rnd = random.Random(seed)
ODD = ['\\', '"', '\\u', '\\ud83d', '\\ude00', '\\u0000', '{', '}', '[', ']', ',', ':', '-', '+', '.', 'e',
       'E', '0', '1', '00', 'NaN', 'Infinity', 'null', 'true', 'false', ' ', '\t', '\n', '\r', '\0', '\x1f', '\x7f',
       '\u00e9', '\u20ac', '\U0001f600', '\u2028', '\ufeff', '\ufffd', "'", '/', '//', '\x0b', '\xa0']


def string():
    return ''.join(rnd.choice(['a', 'Zz', ' ', *ODD]) for _ in range(rnd.randrange(12)))


def value(depth=0):
    kind = rnd.randrange(9 if depth < 5 else 6)
    if kind < 2:
        return string()
    if kind < 4:
        return rnd.choice([0, -1, 7, 2**53 + 1, 2**70, 1.5, -2.5e-7, 1e300, rnd.random()])
    if kind < 6:
        return rnd.choice([None, True, False])
    if kind == 6:
        return {string(): value(depth + 1) for _ in range(rnd.randrange(5))}
    return [value(depth + 1) for _ in range(rnd.randrange(5))]


def document():
    text = json.dumps(value(), ensure_ascii=rnd.random() < .5, indent=rnd.choice([None, None, 1]))
    data = bytearray(text.encode('utf-8', 'surrogatepass'))
    for _ in range(rnd.choice([0, 0, 1, 1, 2, 5])):
        at, what = rnd.randrange(len(data) + 1), rnd.randrange(5)
        if what == 0:
            data[at:at] = rnd.choice(ODD).encode()
        elif what == 1:
            del data[at:at + rnd.randrange(4)]
        elif what == 2 and at < len(data):
            data[at] = rnd.randrange(256)
        elif what == 3:
            data = data[:at]
        else:
            part = data[at:at + rnd.randrange(20)]
            data[rnd.randrange(len(data) + 1):0] = part
    if rnd.random() < .01:
        n = rnd.choice([100, 127, 128, 129, 300])
        data = bytearray(b'[' * n + data + b']' * n)
    return bytes(data)


def hexed(s):
    s = ''.join('\ufffd' if 0xd800 <= ord(c) < 0xe000 else c for c in s)
    return '"' + s.encode().hex() + '"'


class Pairs(list):
    pass


class Number(str):
    pass


def refuse(word):
    raise ValueError(word)


def canon(v):
    if v is None or isinstance(v, bool):
        return {None: 'n', True: 't', False: 'f'}[v]
    if isinstance(v, Number):
        return str(v)
    if isinstance(v, str):
        return hexed(v)
    if isinstance(v, Pairs):
        return '{' + ''.join(hexed(k) + canon(m) + ',' for k, m in v) + '}'
    return '[' + ''.join(canon(m) + ',' for m in v) + ']'


def depth(v):
    below = [m for _, m in v] if isinstance(v, Pairs) else v if isinstance(v, list) else None
    return 0 if below is None else 1 + max(map(depth, below), default=0)


def expected(data):
    try:
        v = json.loads(data.decode('utf-8'), object_pairs_hook=Pairs, parse_int=Number,
                       parse_float=Number, parse_constant=refuse)
    except (ValueError, RecursionError):
        return 'R'
    return 'L' if depth(v) > 128 else 'A' + canon(v)


docs = [document() for _ in range(6000)]
told = b''.join(b'%d\n' % len(d) + d for d in docs)
lines = subprocess.run([sys.argv[1]], input=told, stdout=subprocess.PIPE, check=True, timeout=100).stdout.decode().split('\n')
want = [expected(d) for d in docs]
# What is too deep for us and broken further on is a limit before it is an error.
bad = [i for i, w in enumerate(want) if lines[i] != w and not (lines[i] == 'L' and w == 'R')]
print('1..1')
print(f'# seed {seed}: {len(docs)} documents, {sum(w[0] == "A" for w in want)} accepted')
for i in bad[:10]:
    print(f'# {docs[i]!r}\n#   ours   {lines[i][:200]}\n#   python {want[i][:200]}')
if len(lines) != len(docs) + 1 or bad:
    print(f'not ok 1 - {len(bad)} documents differ')
    sys.exit(1)
print('ok 1 - our parser and the one of Python see the same')
