/** The bridge with real Baileys against the emulator: pairing, restarts, sending, receiving, closes. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { house } from './house.js'
import { lid, pn } from './web.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'
const OTHER = '15551110002'

test('a session pairs by QR, and opens after the restart that WhatsApp asks for', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await bridge.open('shop')
	const { qr, expiresAt } = await bridge.told('shop', 'qr')
	assert.match(qr, /^https:\/\/wa\.me\/settings\/linked_devices#/)
	assert.ok(new Date(expiresAt) > new Date())
	assert.equal(home.store.creds('shop'), null, 'nothing is stored before a phone has paired')
	const { jid } = await home.web.call('scan', { qr, phone: ACCOUNT })
	await bridge.told('shop', 'paired')
	const { me } = await bridge.told('shop', 'open')
	assert.deepEqual({ id: me.id, lid: me.lid }, { id: jid, lid: lid(ACCOUNT).replace('@', ':1@') })
	assert.deepEqual(bridge.events.filter(({ event }) => event === 'close'), [], 'the 515 is no close')
	assert.doesNotMatch(bridge.log(), /stream errored out/, 'and no trouble')
	assert.equal(JSON.parse(home.store.creds('shop')).me.id, jid)
	assert.deepEqual(await bridge.told('shop', 'mapping', ({ pairs }) => pairs.some((pair) => pair.pn === pn(ACCOUNT))), {
		session: 'shop',
		pairs: [{ lid: lid(ACCOUNT), pn: pn(ACCOUNT) }],
	})
})

test('a session pairs by code', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await bridge.open('shop')
	const { code } = await bridge.call('pairing_code', { session: 'shop', phone: ACCOUNT })
	assert.match(code, /^[A-Z0-9]{8}$/)
	await home.web.call('enter_code', { phone: ACCOUNT, code })
	await bridge.told('shop', 'open')
	await assert.rejects(bridge.call('pairing_code', { session: 'shop', phone: ACCOUNT }), { code: 'already_paired' })
})

test('a code that WhatsApp refuses is no code', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await home.web.call('unregister', { phone: ACCOUNT })
	await bridge.open('shop')
	const asked = bridge.call('pairing_code', { session: 'shop', phone: ACCOUNT })
	await assert.rejects(asked, { code: 'refused', data: { sent: false, status: 404 } })
})

test('a code that nobody enters leaves a session that can pair anew', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await bridge.open('shop')
	await bridge.call('pairing_code', { session: 'shop', phone: ACCOUNT })
	await bridge.call('close', { session: 'shop' })
	await home.pair(bridge, 'shop', ACCOUNT)
})

test('a bridge that is killed leaves all that another one needs', async (t) => {
	const home = await house(t)
	const first = await home.paired('shop', ACCOUNT)
	await first.send('shop', CONTACT, { text: 'before' })
	first.child.kill('SIGKILL')
	await first.gone
	const second = home.bridge()
	await second.open('shop')
	await second.told('shop', 'open')
	const id = `3EB0${'1'.repeat(18)}`
	await second.send('shop', CONTACT, { text: 'after' }, { id })
	const entry = await home.web.entry(id, ({ recipients }) => recipients[CONTACT]?.shown)
	assert.deepEqual(entry.recipients[CONTACT].content, { type: 'text', text: 'after' })
	assert.deepEqual(second.events.filter(({ event }) => event === 'qr'), [])
})

test('stdout carries the protocol alone, whatever libsignal prints', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	// A session that is closed and opened anew is what libsignal prints, private keys included.
	const { id } = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'one' } })
	await bridge.message('shop', id)
	await home.web.call('contact_lose_session', { phone: CONTACT, account: ACCOUNT })
	const answer = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'two' } })
	await bridge.message('shop', answer.id)
	await bridge.send('shop', CONTACT, { text: 'three' })
	assert.deepEqual(bridge.stray, [])
	assert.doesNotMatch(bridge.log(), /privKey|SessionEntry|"two"/)
})

test('a message is sent when the server has it, under the id that was given', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const id = `3EB0${'A'.repeat(18)}`
	const { timestamp, jid } = await bridge.send('shop', CONTACT, { text: 'hello' }, { id, check: true })
	assert.ok(Math.abs(timestamp - Date.now() / 1000) < 60)
	assert.equal(jid, pn(CONTACT))
	const entry = await home.web.entry(id, ({ receipts }) => receipts[CONTACT]?.delivered)
	assert.deepEqual([entry.sent, entry.acked.length, entry.recipients[CONTACT].shown], [1, 1, 1])
	await bridge.told('shop', 'updates', ({ updates }) => updates.some((each) => each.key.id === id && each.update.status === 3))
	await home.web.call('read', { by: CONTACT, to: ACCOUNT, ids: [id] })
	await bridge.told('shop', 'updates', ({ updates }) => updates.some((each) => each.key.id === id && each.update.status === 4))
})

test('a person is given a privacy token once, not with each message', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	for (const text of ['one', 'two', 'three', 'four']) {
		await bridge.send('shop', CONTACT, { text })
		await bridge.call('groups', { session: 'shop' }) // whose answer comes after that to any query before
	}
	const { accounts } = await home.web.call('state')
	assert.equal(accounts.find(({ phone }) => phone === ACCOUNT).clients[0].tokens, 1)
})

test('two sends of one id are one', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const id = `3EB0${'B'.repeat(18)}`
	await Promise.all([bridge.send('shop', CONTACT, { text: 'x' }, { id }), bridge.send('shop', CONTACT, { text: 'x' }, { id })])
	assert.equal((await home.web.entry(id)).sent, 1)
})

test('people who write to each other at the same time can all be read, at once', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const said = []
	const sending = []
	// Each begins a session of its own, and so they have two; in the third round libsignal had broken one of them.
	for (let round = 0; round < 3; round++) {
		for (let n = 0; n < 3; n++) sending.push(bridge.send('shop', CONTACT, { text: `${round}.${n}` }))
		for (let n = 0; n < 3; n++) said.push((await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: `${round}.${n}` } })).id)
		await Promise.all(sending)
	}
	for (const id of said) {
		const entry = await home.web.entry(id, ({ received }) => received)
		assert.deepEqual([entry.retries, entry.nacked], [0, []])
	}
})

test('a number that is not on WhatsApp is found out before anything leaves', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await home.web.call('unregister', { phone: OTHER })
	await assert.rejects(bridge.send('shop', OTHER, { text: 'x' }, { check: true }), { code: 'not_registered', data: { sent: false } })
	assert.deepEqual(await bridge.call('on_whatsapp', { session: 'shop', phones: [OTHER, CONTACT] }), [
		{ phone: OTHER, jid: null, lid: null, exists: false },
		{ phone: CONTACT, jid: pn(CONTACT), lid: lid(CONTACT), exists: true },
	])
	await home.web.call('register', { phone: OTHER })
	await bridge.send('shop', OTHER, { text: 'x' }, { check: true })
})

test('a refusal of the server carries its number', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await home.web.call('fault', { phone: ACCOUNT, kind: 'error', code: 463 })
	await assert.rejects(bridge.send('shop', CONTACT, { text: 'x' }), { code: 'refused', data: { status: 463, sent: true } })
})

for (const [what, kind, arrives] of [
	['before the server has the message', 'drop_before', false],
	['after the server has the message', 'drop_after', true],
]) {
	test(`a connection that breaks ${what} leaves the send in doubt`, async (t) => {
		const home = await house(t)
		const bridge = await home.paired('shop', ACCOUNT)
		const id = `3EB0${'C'.repeat(18)}`
		await home.web.call('fault', { phone: ACCOUNT, kind })
		await assert.rejects(bridge.send('shop', CONTACT, { text: 'x' }, { id }), { code: 'closed', data: { sent: true } })
		const { status } = await bridge.told('shop', 'close')
		assert.equal(status, 428)
		await assert.rejects(bridge.send('shop', CONTACT, { text: 'x' }, { id }), { code: 'closed', data: { sent: false } })
		// The remedy: the same id again.
		const opened = bridge.events.length
		await bridge.open('shop')
		await bridge.event((event) => event.event === 'open' && bridge.events.indexOf(event) >= opened)
		await bridge.send('shop', CONTACT, { text: 'x' }, { id })
		const entry = await home.web.entry(id, ({ recipients }) => recipients[CONTACT]?.shown)
		assert.equal(entry.recipients[CONTACT].shown, 1)
		assert.equal(entry.sent, arrives ? 2 : entry.sent)
	})
}

test('an acknowledgement that comes late is told', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await home.web.call('fault', { phone: ACCOUNT, kind: 'delay', ms: 300 })
	const id = `3EB0${'D'.repeat(18)}`
	const sending = bridge.send('shop', CONTACT, { text: 'x' }, { id })
	await home.web.entry(id)
	const before = bridge.events.filter(({ event }) => event === 'ack').length
	await sending
	assert.equal(bridge.events.filter(({ event }) => event === 'ack').length, before, 'a send in hand is answered, not told')
})

for (const [what, content] of [
	['nothing', null],
	['a URL for a file', { image: { url: 'https://169.254.169.254/latest' } }],
	['a file that is not there', { document: { url: '/nowhere/file.pdf' }, mimetype: 'application/pdf' }],
	['a relative path', { image: { url: 'file.jpg' } }],
	['bytes inline', { image: { type: 'Buffer', data: 'AAAA' } }],
]) {
	test(`content that is ${what} is refused`, async (t) => {
		const home = await house(t)
		const bridge = await home.paired('shop', ACCOUNT)
		await assert.rejects(bridge.send('shop', CONTACT, content), { code: 'bad_content', data: { sent: false } })
	})
}

test('media goes out from a file and comes in to a file, byte for byte', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const [out, back, there] = ['out.pdf', 'back.pdf', 'there.pdf'].map((name) => join(home.dir, name))
	const bytes = randomBytes(300_000)
	const sha256 = createHash('sha256').update(bytes).digest('hex')
	writeFileSync(out, bytes)
	const id = `3EB0${'E'.repeat(18)}`
	await bridge.send('shop', CONTACT, { document: { url: out }, mimetype: 'application/pdf', fileName: 'out.pdf' }, { id })
	await home.shown(id)
	await home.web.call('media', { phone: CONTACT, id, path: there })
	assert.deepEqual(readFileSync(there), bytes)

	const said = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { document: { file: out, mimetype: 'application/pdf' } } })
	const message = await bridge.message('shop', said.id)
	assert.equal(message.message.documentMessage.mediaKey.type, 'Buffer')
	assert.deepEqual(await bridge.call('download', { session: 'shop', message, path: back }), { size: bytes.length, sha256 })
	assert.deepEqual(readFileSync(back), bytes)
	await assert.rejects(bridge.call('download', { session: 'shop', message, path: back, limit: 1000 }), { code: 'too_large' })

	// A stranger names the host and the path. Neither may lead elsewhere.
	const forged = structuredClone(message)
	forged.message.documentMessage.url = 'https://127.0.0.1:1/x'
	assert.equal((await bridge.call('download', { session: 'shop', message: forged, path: back })).size, bytes.length)
	forged.message.documentMessage.directPath = '@127.0.0.1:1/x'
	await assert.rejects(bridge.call('download', { session: 'shop', message: forged, path: back }), { code: 'no_media' })
})

test('a file that was replaced under its name is uploaded anew', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const [out, there] = ['out.bin', 'there.bin'].map((name) => join(home.dir, name))
	for (const [n, text] of ['the first', 'another, longer'].entries()) {
		writeFileSync(out, text)
		const id = `3EB0${String(n).repeat(18)}`
		await bridge.send('shop', CONTACT, { document: { url: out }, mimetype: 'text/plain' }, { id })
		await home.shown(id)
		await home.web.call('media', { phone: CONTACT, id, path: there })
		assert.equal(readFileSync(there, 'utf8'), text)
	}
})

test('a reply quotes what it answers', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const said = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'a question' } })
	const { key, message } = await bridge.message('shop', said.id)
	const id = `3EB0${'F'.repeat(18)}`
	await bridge.send('shop', CONTACT, { text: 'an answer' }, { id, quoted: { key, message } })
	const entry = await home.web.entry(id, ({ recipients }) => recipients[CONTACT]?.shown)
	assert.equal(entry.recipients[CONTACT].content.reply?.id ?? entry.recipients[CONTACT].content.reply, said.id)
})

test('messages come with their bytes, numbers and addresses, and are read', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const { id } = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'hi ñ' }, addressing: 'lid' })
	const message = await bridge.message('shop', id)
	assert.equal(message.message.conversation ?? message.message.extendedTextMessage.text, 'hi ñ')
	assert.equal(typeof message.messageTimestamp, 'number')
	assert.deepEqual([message.key.remoteJid, message.key.remoteJidAlt], [lid(CONTACT), pn(CONTACT)])
	await bridge.told('shop', 'mapping', ({ pairs }) => pairs.some((pair) => pair.pn === pn(CONTACT) && pair.lid === lid(CONTACT)))
	await bridge.call('read', { session: 'shop', keys: [message.key] })
	await home.web.entry(id, ({ read }) => read)
	await bridge.call('presence', { session: 'shop', jid: pn(CONTACT), kind: 'composing' })
	await home.web.event(({ event, args }) => event === 'presence' && args.state === 'composing')
})

test('a group is listed, described, spoken to and heard', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const { id: group } = await home.web.call('group_create', { subject: 'Friends', participants: [CONTACT, ACCOUNT, OTHER] })
	const groups = await bridge.call('groups', { session: 'shop' })
	assert.deepEqual(groups.map(({ id, subject }) => ({ id, subject })), [{ id: group, subject: 'Friends' }])
	assert.equal((await bridge.call('group', { session: 'shop', jid: group })).participants.length, 3)
	const id = `3EB0${'9'.repeat(18)}`
	await bridge.send('shop', group, { text: 'all of you' }, { id, check: true })
	await home.web.entry(id, ({ recipients }) => recipients[CONTACT]?.shown && recipients[OTHER]?.shown)
	await bridge.told('shop', 'receipts', ({ receipts }) => receipts.some((each) => each.key.id === id))
	const said = await home.web.call('say', { from: OTHER, group, content: { text: 'yes' } })
	const message = await bridge.message('shop', said.id)
	assert.equal(message.key.remoteJid, group)
	assert.deepEqual([message.key.participant, message.key.participantAlt].sort(), [lid(OTHER), pn(OTHER)].sort())
	await assert.rejects(bridge.call('group', { session: 'shop', jid: '120363000000000000@g.us' }), { code: 'refused', data: { status: 404, sent: false } })
})

test('a member who joins after the list was kept gets the next message', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const { id: group } = await home.web.call('group_create', { subject: 'Friends', participants: [CONTACT, ACCOUNT] })
	await bridge.send('shop', group, { text: 'one' })
	await home.web.call('group_add', { id: group, participants: [OTHER] })
	await bridge.told('shop', 'groups.update')
	const id = `3EB0${'8'.repeat(18)}`
	await bridge.send('shop', group, { text: 'two' }, { id })
	await home.web.entry(id, ({ recipients }) => recipients[OTHER]?.shown)
})

test('a contact that cannot read a message gets it again, over the next connection, from the store', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await bridge.send('shop', CONTACT, { text: 'before' })
	// Before it has answered, every message opens its session anew, and a lost one is no loss.
	const said = await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'yes' } })
	await bridge.message('shop', said.id)
	await home.web.call('contact_lose_session', { phone: CONTACT, account: ACCOUNT })
	await home.web.call('fault', { phone: ACCOUNT, kind: 'late', ms: 500 })
	const id = `3EB0${'7'.repeat(18)}`
	const sending = bridge.send('shop', CONTACT, { text: 'again' }, { id })
	await home.web.entry(id)
	await home.web.call('drop', { phone: ACCOUNT })
	await assert.rejects(sending, { code: 'closed', data: { sent: true } })
	await bridge.told('shop', 'close')
	await bridge.open('shop')
	const entry = await home.web.entry(id, ({ recipients }) => recipients[CONTACT]?.shown)
	assert.deepEqual(entry.recipients[CONTACT].content, { type: 'text', text: 'again' })
	// To a phone Baileys answers with the whole message, under the same id.
	assert.deepEqual([entry.sent + entry.resent, entry.recipients[CONTACT].undecryptable > 0], [2, true])
})

for (const [what, status, cause] of [
	['another client takes over', 440, (web) => web.call('replace', { phone: ACCOUNT })],
	['the phone unlinks the device', 401, (web) => web.call('unlink', { phone: ACCOUNT })],
	['the account is locked', 403, (web) => web.call('ban', { phone: ACCOUNT, kind: 'blocked' })],
	['the account is banned for a time', 402, (web) => web.call('ban', { phone: ACCOUNT, kind: 'temporary', code: 101, expire: 60 })],
	['the client is too old', 405, (web) => web.call('ban', { phone: ACCOUNT, kind: 'outdated' })],
	['the connection breaks', 428, (web) => web.call('drop', { phone: ACCOUNT })],
	['the server is not available', 503, (web) => web.call('drop', { phone: ACCOUNT, code: 503 })],
]) {
	test(`when ${what} the session closes with ${status} and stays closed`, async (t) => {
		const home = await house(t)
		const bridge = await home.paired('shop', ACCOUNT)
		await cause(home.web)
		const close = await bridge.told('shop', 'close')
		assert.equal(close.status, status)
		assert.equal(typeof close.reason, 'string')
		if (status === 402) assert.deepEqual([Number(close.data.code), Number(close.data.expire)], [101, 60])
		await assert.rejects(bridge.call('groups', { session: 'shop' }), { code: 'closed' })
		assert.deepEqual(bridge.events.filter(({ event }) => event === 'open').length, 1)
	})
}

test('the restart that the server asks for later is done without a word', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	const opened = bridge.events.length
	await home.web.call('drop', { phone: ACCOUNT, code: 515 })
	await bridge.event((event) => event.event === 'open' && bridge.events.indexOf(event) >= opened)
	assert.deepEqual(bridge.events.filter(({ event }) => event === 'close'), [])
})

test('a server whose certificate another root signed is refused', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await bridge.open('shop', { rootKey: null })
	const { status, reason } = await bridge.told('shop', 'close')
	assert.equal(status, 400)
	assert.match(reason, /certificate/i)
	await assert.rejects(bridge.open('other'), { code: 'bad_settings' })
})

test('a server that is not there closes the session with a status', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	await bridge.open('shop', { url: 'ws://127.0.0.1:1/' })
	assert.equal((await bridge.told('shop', 'close')).status, 408)
	await bridge.open('other', { url: 'no url' })
	const { status, reason } = await bridge.told('other', 'close')
	assert.deepEqual([status, reason], [null, 'not_started'])
})

test('a session that is closed by its parent tells nothing more', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await bridge.call('close', { session: 'shop' })
	const told = bridge.events.length
	await home.web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'anyone?' } })
	assert.equal(bridge.events.length, told)
	await assert.rejects(bridge.send('shop', CONTACT, { text: 'x' }), { code: 'no_session' })
	assert.equal((await bridge.call('stats')).sessions, 0)
})

test('a session that logs out is unlinked at WhatsApp', async (t) => {
	const home = await house(t)
	const bridge = await home.paired('shop', ACCOUNT)
	await bridge.call('logout', { session: 'shop' })
	await home.web.event(({ event, args }) => event === 'unlinked' && args.by === 'client')
	const { accounts } = await home.web.call('state')
	assert.deepEqual(accounts.flatMap(({ clients }) => clients), [])
})

test('a refused call under a promise that nobody waits for does not end the bridge', async (t) => {
	const home = await house(t)
	const lines = new URL('../lines.js', import.meta.url)
	const source = `
		import { CallError } from '${lines}'
		const timer = setInterval(() => {
			if (process.title !== 'wad-bridge') return // its program is still being loaded
			clearInterval(timer)
			Promise.reject(new CallError('no_session', 'the session has left'))
		}, 10)`
	const bridge = home.bridge({ flags: ['--import', `data:text/javascript,${encodeURIComponent(source)}`] })
	while (!bridge.log().includes('the session has left')) await bridge.call('ping')
	await home.pair(bridge, 'shop', ACCOUNT)
})

test('many sessions share a bridge, and one that falls leaves the others', async (t) => {
	const home = await house(t)
	const bridge = home.bridge()
	const phones = [0, 1, 2].map((n) => `1555000010${n}`)
	for (const phone of phones) await home.pair(bridge, phone, phone)
	await home.web.call('unlink', { phone: phones[0] })
	await bridge.told(phones[0], 'close')
	await bridge.send(phones[1], CONTACT, { text: 'x' })
	await bridge.send(phones[2], phones[1], { text: 'from one to the other' })
	await bridge.told(phones[1], 'messages')
	assert.equal((await bridge.call('stats')).sessions, 3)
})

/** What makes Baileys throw where nobody catches. */
const POISON = {
	'in a promise': { tag: 'iq', attrs: { id: 'p', type: 'set', from: '@s.whatsapp.net' }, content: [{ tag: 'pair-device', content: [{ tag: 'ref' }] }] },
	'at once': { tag: 'chatstate', attrs: { from: pn(CONTACT) }, content: [] },
}
for (const [where, stanza] of Object.entries(POISON)) {
	test(`what Baileys trips over ${where} closes that session alone, as often as it comes`, async (t) => {
		const home = await house(t)
		const bridge = await home.paired('shop', ACCOUNT)
		await home.pair(bridge, 'other', OTHER)
		for (let turn = 0; turn < 2; turn++) {
			const before = bridge.events.length
			assert.deepEqual(await home.web.call('stanza', { phone: ACCOUNT, stanza }), { told: 1 })
			const close = await bridge.event((each) => each.event === 'close' && bridge.events.indexOf(each) >= before)
			assert.deepEqual(close.args, { session: 'shop', status: null, reason: 'stumbled', data: { detail: 'TypeError' } })
			await bridge.open('shop')
			await bridge.event((each) => each.event === 'open' && each.args.session === 'shop' && bridge.events.indexOf(each) >= before)
		}
		assert.equal(bridge.events.filter(({ event, args }) => event === 'close' && args.session === 'other').length, 0)
		await bridge.send('other', ACCOUNT, { text: 'still here' })
	})
}
