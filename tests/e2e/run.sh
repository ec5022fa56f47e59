#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# caisson run with a playbook as the model: the README's agent, the statuses,
# what is left behind.
. "$(dirname "$0")/lib.sh"

cat >answer.yaml <<'END'
about: Answers at once.
rules:
  - name: answer
    reply: All is well.
END
cat >refuse.yaml <<'END'
about: Refuses.
rules:
  - name: refuse
    fail: true
    reply: I would rather not.
END
cat >loop.yaml <<'END'
about: Never ends.
rules:
  - name: again
    reply:
      - exec_command: {cmd: "true"}
END
cat >plain.yaml <<'END'
name: plain
capabilities: []
END
cat >boxed.yaml <<'END'
name: boxed
limits: {turns: 3}
END
cp "$SOURCE/examples/agent.yaml" .

readme_agent() {
  exits 0 "$CAISSON" run agent.yaml -m script:answer.yaml 'Is all well?' || return 1
  is "$(cat .out)" 'All is well.'
}
failing() { exits 1 "$CAISSON" run plain.yaml -m script:refuse.yaml x; }
limit() { exits 4 "$CAISSON" run boxed.yaml -m script:loop.yaml x; }
no_model() { exits 2 env -u OPENAI_API_KEY "$CAISSON" run plain.yaml -m nosuch/model x && has "$(cat .err)" nosuch; }
bad_file() {
  printf 'name: x\nmodle: y\n' >bad.yaml
  exits 2 "$CAISSON" run bad.yaml x && has "$(cat .err)" 'bad.yaml:2' && has "$(cat .err)" modle
}
events() {
  exits 0 "$CAISSON" run plain.yaml --json -m script:answer.yaml x || return 1
  while IFS= read -r line; do
    case $line in '{"type":"'*'"run":"'*'}') ;; *) echo "no event: $line"; return 1 ;; esac
  done <.out
}
listed() { has "$("$CAISSON" runs)" plain; }
private() { is "$(stat -c %a .caisson)" 700 && is "$(find .caisson -type f ! -perm 600 ! -path '*/workspace/*' ! -path '*/base/*' | wc -l)" 0; }

if "$CAISSON" sandbox run -- true </dev/null 2>.why; then
  check "the agent of the README runs" readme_agent
  check 'a limit that is reached is status 4' limit
else
  skip "the agent of the README runs" "$(cat .why)"
  skip 'a limit that is reached is status 4' "$(cat .why)"
fi
check 'a refusal is status 1' failing
check 'a model nobody knows is status 2' no_model
check 'a mistake in an agent file is status 2, with file and line' bad_file
check 'with --json stdout is one event a line' events
check 'runs are listed' listed
check 'the state folder and its files are private' private
finish
