// SPDX-License-Identifier: Apache-2.0
// The JavaScript client's part of e2b_sdk.py.
import assert from 'node:assert/strict'
import { Sandbox } from 'e2b'

let checks = 0
const check = (got, want, what) => { assert.deepEqual(got, want, what); checks++ }

const box = await Sandbox.create('base', { timeoutMs: 120000, metadata: { k: 'v' }, envs: { A: '1' } })
check(await box.isRunning(), true, 'is it running')
let seen = ''
const r = await box.commands.run('echo out; echo err >&2; echo $A$B', { envs: { B: '2' }, cwd: '/tmp', onStdout: s => { seen += s } })
check([r.stdout, r.stderr, r.exitCode, seen], ['out\n12\n', 'err\n', 0, 'out\n12\n'], 'a command')
await assert.rejects(box.commands.run('exit 3'), e => e.exitCode === 3)
await assert.rejects(box.commands.run('sleep 5', { timeoutMs: 1000 }))
const h = await box.commands.run('cat', { background: true, stdin: true })
await box.commands.sendStdin(h.pid, 'hello\n')
await box.commands.closeStdin(h.pid)
check((await h.wait()).stdout, 'hello\n', 'its input')
const sleeper = await box.commands.run('sleep 100', { background: true })
check([await box.commands.kill(sleeper.pid), await box.commands.kill(999999)], [true, false], 'kill')
await sleeper.wait().catch(() => {})

const folder = `/tmp/caisson-e2b-js-${process.pid}`
check([await box.files.makeDir(folder), await box.files.makeDir(folder)], [true, false], 'folders')
await box.files.write(folder + '/a', 'hello\n')
await box.files.write([{ path: folder + '/b', data: '1' }, { path: folder + '/c', data: '2' }])
check(await box.files.read(folder + '/a'), 'hello\n', 'a file')
check((await box.files.list(folder)).map(e => e.name).sort(), ['a', 'b', 'c'], 'the list of files')
check([await box.files.exists(folder + '/zz'), await box.files.exists(folder + '/a')], [false, true], 'exists')
check((await box.files.rename(folder + '/b', folder + '/d')).name, 'd', 'a new name')
await box.files.remove(folder)

let screen = ''
const t = await box.pty.create({ cols: 80, rows: 24, onData: d => { screen += Buffer.from(d).toString() } })
await box.pty.resize(t.pid, { cols: 100, rows: 30 })
await box.pty.sendInput(t.pid, Buffer.from('stty size; exit\n'))
await t.wait().catch(() => {})
check(screen.includes('30 100'), true, "a terminal's size")

check(box.getHost(3000), `3000-${box.sandboxId}.127.0.0.1`, "a port's host")
await box.setTimeout(60000)
check((await box.getInfo()).metadata, { k: 'v' }, 'what it is')
const snapshot = await box.createSnapshot()
const other = await Sandbox.create(snapshot.snapshotId)
check(await other.kill(), true, 'one of a snapshot')
const named = await box.createSnapshot({ name: 'judged' })
check(await (await Sandbox.create('judged')).kill(), true, 'one of a snapshot with a name')
check((await Sandbox.listSnapshots().nextItems()).some(s => s.snapshotId === named.snapshotId), true, 'the list of snapshots')
check([await Sandbox.deleteSnapshot(named.snapshotId), await Sandbox.deleteSnapshot(named.snapshotId)], [true, false], "a snapshot's end")
await (box.pause ? box.pause() : box.betaPause())
const again = await Sandbox.connect(box.sandboxId, { timeoutMs: 99000 })
check((await again.commands.run('echo back')).stdout, 'back\n', 'does it go on')
check([await again.kill(), await Sandbox.kill(box.sandboxId)], [true, false], 'its end')
console.log(`${checks} comparisons`)
process.exit(0)
