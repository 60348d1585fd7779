/** What the bridge has taken from WhatsApp and wad has not: kept in the spool, whatever dies. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { house } from './house.js'

// lines.js takes stdout for the protocol; the test's report needs it.
const { write } = process.stdout
const { Spool } = await import('../bridge/spool.js')
process.stdout.write = write

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'

const ids = (bridge) => bridge.events.filter(({ event }) => event === 'messages').flatMap(({ args }) => args.messages.map(({ key }) => key.id))
const size = (home) => statSync(join(home.dir, 'spool', 'shop.jsonl')).size

test('a message that wad did not acknowledge is told again after a kill', async (t) => {
	const home = await house(t)
	const first = await home.paired('shop', ACCOUNT, { acking: false })
	const { id } = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'keep me ñ' } })
	const told = await first.message('shop', id)
	await home.web.entry(id, ({ received }) => received)
	const stored = readFileSync(join(home.dir, 'spool', 'shop.jsonl'), 'utf8')
	assert.doesNotMatch(stored, /keep me|15551110001/, 'the spool is sealed')
	assert.equal(statSync(join(home.dir, 'spool', 'shop.jsonl')).mode & 0o777, 0o600)
	first.child.kill('SIGKILL')
	await first.gone

	const second = home.bridge()
	await second.open('shop')
	const again = await second.message('shop', id)
	assert.deepEqual(again.message, told.message)
	for (const field of ['remoteJid', 'remoteJidAlt', 'fromMe', 'id', 'addressingMode']) assert.equal(again.key[field], told.key[field], field)
	assert.deepEqual([again.messageTimestamp, again.pushName], [told.messageTimestamp, told.pushName])
	await second.told('shop', 'open')
	await second.call('ping')
	while (size(home) > 0) await second.call('ping')

	second.child.kill('SIGKILL')
	await second.gone
	const third = home.bridge()
	await third.open('shop')
	await third.told('shop', 'open')
	assert.deepEqual(ids(third), [], 'what was acknowledged is not told again')
})

test('a group message is told again whole, with who wrote it', async (t) => {
	const home = await house(t)
	const first = await home.paired('shop', ACCOUNT, { acking: false })
	const { id: group } = await home.web.call('group_create', { subject: 'Friends', participants: [CONTACT, ACCOUNT] })
	const { id } = await home.web.call('say', { from: CONTACT, group, content: { text: 'all' } })
	const told = await first.message('shop', id)
	first.child.kill('SIGKILL')
	await first.gone
	const second = home.bridge()
	await second.open('shop')
	const again = await second.message('shop', id)
	assert.deepEqual(again.key, told.key)
	assert.equal(again.message.conversation ?? again.message.extendedTextMessage.text, 'all')
})

test("a group member's key is kept with the message that brought it, whenever the bridge is killed", async (t) => {
	const home = await house(t)
	const first = await home.paired('shop', ACCOUNT)
	const { id: group } = await home.web.call('group_create', { subject: 'Friends', participants: [CONTACT, ACCOUNT] })
	home.store.written = (data) => {
		const opened = Object.keys(data.session ?? {}).some((address) => address.includes(CONTACT))
		if (opened) first.child.kill('SIGKILL')
	}
	await home.web.call('say', { from: CONTACT, group, content: { text: 'with my key' } })
	await first.gone
	home.store.written = () => {}

	const second = home.bridge()
	await second.open('shop')
	await second.told('shop', 'open')
	const { id } = await home.web.call('say', { from: CONTACT, group, content: { text: 'without it' } })
	const told = await second.message('shop', id)
	assert.equal(told.message.conversation ?? told.message.extendedTextMessage.text, 'without it')
	assert.equal((await home.web.entry(id, ({ received }) => received)).retries, 0, 'it did not have to be asked for')
})

test('nothing that WhatsApp holds for received is lost, whenever the bridge is killed', async (t) => {
	const home = await house(t)
	const seen = new Set()
	let bridge = await home.paired('shop', ACCOUNT)
	const watch = () => ids(bridge).forEach((id) => seen.add(id))
	const said = []
	for (let round = 0; round < 6; round++) {
		for (let n = 0; n < 15; n++) {
			const from = `1555111000${n % 3}`
			said.push((await home.web.call('say', { from, to: ACCOUNT, content: { text: `${round}.${n}` } })).id)
			if (n === 2 + 2 * round) bridge.child.kill('SIGKILL')
		}
		await bridge.gone
		watch()
		bridge = home.bridge()
		await bridge.open('shop')
		await bridge.told('shop', 'open')
	}
	const { entries } = await home.web.call('ledger', {})
	// One that was deciphered, and whose receipt the kill cut off, is refused when it comes again: it is in the spool.
	for (const id of said) await home.web.entry(id, ({ received, nacked }) => received || nacked.length)
	watch()
	while (!said.every((id) => seen.has(id))) {
		const missing = said.filter((id) => !seen.has(id))
		const before = seen.size
		await new Promise((resolve) => setTimeout(resolve, 500))
		watch()
		assert.ok(seen.size > before, `lost: ${JSON.stringify(missing.map((id) => entries.find((entry) => entry.id === id)))} ${bridge.log()}`)
	}
})

test('what was deciphered when the phone unlinked the device is told before the end', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const say = async (text) => (await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text } })).id
	await bridge.message('shop', await say('first'))
	while (size(home) > 0) await bridge.call('ping')
	let release
	home.store.held = new Promise((resolve) => (release = resolve)) // so Baileys does not get to tell of the next one
	t.after(() => release())
	const id = await say('last')
	while (size(home) === 0) await bridge.call('ping')
	await home.web.call('unlink', { phone: ACCOUNT })
	// The parent throws the keys away then, and the spool's is one of them.
	const { status } = await bridge.told('shop', 'close')
	assert.equal(status, 401)
	assert.ok(ids(bridge).includes(id))
})

test('a flood stops at the socket until wad has caught up', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT, { acking: false })
	const last = bridge.events.at(-1).seq
	bridge.say({ ack: last })
	const people = Array.from({ length: 10 }, (_, n) => `1555111000${n}`)
	const count = 1_400
	const saying = (async () => {
		for (let n = 0; n < count; n++) await home.web.call('say', { from: people[n % 10], to: ACCOUNT, content: { text: String(n) } })
	})()
	const stats = async () => (await bridge.call('stats')).unacked
	while ((await stats()) <= 1_000) await new Promise((resolve) => setTimeout(resolve, 20))
	await saying
	await new Promise((resolve) => setTimeout(resolve, 300))
	const held = await stats()
	assert.ok(held < 1_300, `${held} events are out, of ${count} messages`)
	bridge.say({ ack: bridge.events.at(-1).seq })
	while (new Set(ids(bridge)).size < count) {
		await new Promise((resolve) => setTimeout(resolve, 20))
		bridge.say({ ack: bridge.events.at(-1).seq })
	}
})

test('a spool that was torn, or whose bytes changed, gives what is whole', (t) => {
	const dir = mkdtempSync(join(tmpdir(), 'wad-spool-'))
	t.after(() => rmSync(dir, { recursive: true, force: true }))
	const key = randomBytes(32).toString('base64')
	const first = new Spool(dir, 's', key)
	for (let n = 0; n < 3; n++) first.keep({ n })
	first.close()
	const path = join(dir, 's.jsonl')
	appendFileSync(path, readFileSync(path).subarray(0, 20)) // half a line
	const second = new Spool(dir, 's', key)
	assert.deepEqual([...second.pending].map(({ record }) => record.n), [0, 1, 2])
	second.keep({ n: 3 })
	second.close()
	appendFileSync(path, `${randomBytes(60).toString('base64')}\n`)
	const third = new Spool(dir, 's', key)
	assert.deepEqual([...third.pending].map(({ record }) => record.n), [0, 1, 2, 3])
	;[...third.pending].forEach((entry, n) => (entry.seq = n + 1))
	third.acked(2)
	assert.equal(third.pending.size, 2)
	third.acked(4)
	assert.equal(statSync(path).size, 0)
	third.close()
	const stranger = new Spool(dir, 's', randomBytes(32).toString('base64'))
	assert.equal(stranger.pending.size, 0)
	stranger.close()
})

test('a spool that is never empty does not grow for ever', (t) => {
	const dir = mkdtempSync(join(tmpdir(), 'wad-spool-'))
	t.after(() => rmSync(dir, { recursive: true, force: true }))
	const key = randomBytes(32).toString('base64')
	const spool = new Spool(dir, 's', key)
	let before = spool.keep({ n: 0, text: 'x'.repeat(10_000) })
	before.seq = 0
	for (let n = 1; n < 1_000; n++) {
		const entry = spool.keep({ n, text: 'x'.repeat(10_000) })
		entry.seq = n
		spool.acked(before.seq)
		before = entry
	}
	assert.ok(statSync(join(dir, 's.jsonl')).size < 1 << 20)
	spool.close()
	const again = new Spool(dir, 's', key)
	// What was acknowledged since the file was last written anew may be told again, and is known by its id.
	const kept = [...again.pending].map(({ record }) => record.n)
	assert.equal(kept.at(-1), 999)
	assert.ok(kept.length < 50, `${kept.length}`)
	again.close()
})

test('a spool that cannot be written anew stays as it is, whole', (t) => {
	const dir = mkdtempSync(join(tmpdir(), 'wad-spool-'))
	t.after(() => rmSync(dir, { recursive: true, force: true }))
	const key = randomBytes(32).toString('base64')
	const spool = new Spool(dir, 's', key)
	const beside = join(dir, 's.jsonl.new')
	mkdirSync(beside) // a file of that name cannot be made
	const fill = (from, to) => {
		for (let n = from; n < to; n++) spool.keep({ n, text: 'x'.repeat(10_000) }).seq = n
	}
	fill(1, 21)
	spool.acked(19) // an exception here would end the process, and all the sessions in it
	fill(21, 31)
	const again = new Spool(dir, 's', key)
	assert.deepEqual([...again.pending].map(({ record }) => record.n), Array.from({ length: 30 }, (_, n) => n + 1))
	again.close()

	rmSync(beside, { recursive: true })
	fill(31, 51)
	spool.acked(49)
	spool.close()
	const last = new Spool(dir, 's', key)
	assert.deepEqual([...last.pending].map(({ record }) => record.n), [50], 'and is written anew as soon as it can be')
	last.close()
})

test('a session whose spool cannot be written ends, and WhatsApp keeps its messages', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	const file = join(home.dir, 'file')
	writeFileSync(file, '')
	await bridge.open('shop', { spool: file })
	const { status, reason } = await bridge.told('shop', 'close')
	assert.deepEqual([status, reason], [null, 'not_started'])
	await home.pair(bridge, 'shop', ACCOUNT)
	await bridge.send('shop', CONTACT, { text: 'x' })
	await assert.rejects(bridge.open('../etc'), { code: 'bad_settings', message: /file name/ })
})

test('a session whose credentials cannot be stored lets go of its spool all the same', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const path = join(home.dir, 'spool', 'shop.jsonl')
	const open = () => readdirSync(`/proc/${bridge.child.pid}/fd`).filter((fd) => target(bridge.child.pid, fd) === path).length
	assert.equal(open(), 1)
	home.store.refusing = true
	await assert.rejects(bridge.call('close', { session: 'shop' }))
	assert.equal(open(), 0)
})

function target(pid, fd) {
	try {
		return readlinkSync(`/proc/${pid}/fd/${fd}`)
	} catch {
		return null // closed meanwhile
	}
}
