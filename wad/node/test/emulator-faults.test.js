import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { emulator } from './web.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'
const OTHER = '15551110002'

const heard = (web, id, phone = CONTACT) =>
	web.event(({ event, args }) => event === 'message' && args.id === id && args.to === phone)

for (const code of [463, 479]) {
	test(`a send can be refused with ${code}, and then reaches nobody`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		await web.call('fault', { phone: ACCOUNT, kind: 'error', code })
		const id = await client.send(CONTACT, { text: 'x' })
		assert.equal((await client.ack(id)).error, String(code))
		const entry = await web.entry(id, ({ refused }) => refused.length)
		assert.deepEqual([entry.refused, entry.acked, entry.dropped, entry.recipients], [[code], [], 1, {}])
		const next = await client.send(CONTACT, { text: 'y' })
		assert.equal((await client.ack(next)).error, undefined)
	})
}

test('a send without an ack was delivered; sent again under its id it is shown once', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('stop_acks', { phone: ACCOUNT })
	const messageId = '3EB0AAAAAAAAAAAAAAAAAA'
	await client.send(CONTACT, { text: 'once' }, { messageId })
	assert.equal((await heard(web, messageId)).args.shown, true)
	assert.deepEqual((await web.entry(messageId)).acked, [])
	await web.call('stop_acks', { phone: ACCOUNT, on: false })
	await client.send(CONTACT, { text: 'once' }, { messageId })
	await client.ack(messageId)
	const entry = await web.entry(messageId, ({ recipients }) => recipients[CONTACT].decrypted === 2)
	assert.deepEqual(
		[entry.sent, entry.acked.length, entry.recipients[CONTACT].shown, entry.recipients[ACCOUNT].shown],
		[2, 1, 1, 1],
	)
	assert.deepEqual(
		web.events.filter(({ event, args }) => event === 'message' && args.id === messageId).map(({ args }) => args.shown),
		[true, false],
	)
})

test('a lost send reaches nobody and has no ack', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('fault', { phone: ACCOUNT, kind: 'lost' })
	const lost = await client.send(CONTACT, { text: 'lost' })
	const next = await client.send(CONTACT, { text: 'next' })
	await client.ack(next)
	await heard(web, next)
	const entry = await web.entry(lost)
	assert.deepEqual([entry.dropped, entry.acked, entry.recipients], [1, [], {}])
})

for (const [kind, delivered] of [
	['drop_before', false],
	['drop_after', true],
]) {
	test(`a connection that breaks by ${kind} ${delivered ? 'has delivered' : 'delivers nothing'}, and gives no ack`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		await web.call('fault', { phone: ACCOUNT, kind })
		const id = await client.send(CONTACT, { text: 'x' })
		assert.equal(await client.closed(), 428)
		if (delivered) await heard(web, id)
		const entry = await web.entry(id)
		assert.deepEqual(
			[entry.acked, Object.keys(entry.recipients).includes(CONTACT), entry.dropped],
			[[], delivered, delivered ? 0 : 1],
		)
	})
}

test('an ack can be late, and a delivery with it', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('fault', { phone: ACCOUNT, kind: 'delay', ms: 300 })
	const delayed = await client.send(CONTACT, { text: 'x' })
	await heard(web, delayed)
	assert.deepEqual((await web.entry(delayed)).acked, [])
	await client.ack(delayed)
	await web.call('fault', { phone: ACCOUNT, kind: 'late', ms: 300 })
	const late = await client.send(CONTACT, { text: 'y' })
	assert.deepEqual((await web.entry(late)).recipients, {})
	await client.ack(late)
	await heard(web, late)
})

test('a muted connection says nothing more, and the client notices', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT, { options: { keepAliveIntervalMs: 100 } })
	await web.call('mute', { phone: ACCOUNT })
	assert.equal(await client.closed(), 408)
})

test('faults are used up in order, and unknown ones refused', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('fault', { phone: ACCOUNT, kind: 'error', code: 463, times: 2 })
	await web.call('fault', { phone: ACCOUNT, kind: 'error', code: 479 })
	for (const expected of ['463', '463', '479', undefined])
		assert.equal((await client.ack(await client.send(CONTACT, { text: 'x' }))).error, expected)
	await assert.rejects(web.call('fault', { phone: ACCOUNT, kind: 'error' }), { code: 'bad_arguments' })
	await assert.rejects(web.call('fault', { phone: ACCOUNT, kind: 'plague' }), { code: 'bad_arguments' })
})

test('a contact that lost its session asks again, and gets the same message', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await heard(web, await client.send(CONTACT, { text: 'before' }))
	// A session is one of plain messages only once the other side has answered.
	await client.message((await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'yes' } })).id)
	await heard(web, await client.send(CONTACT, { text: 'between' }))
	await web.call('contact_lose_session', { phone: CONTACT, account: ACCOUNT })
	const id = await client.send(CONTACT, { text: 'after' })
	assert.deepEqual((await heard(web, id)).args.content, { type: 'text', text: 'after' })
	const entry = await web.entry(id)
	assert.deepEqual(
		[entry.recipients[CONTACT].undecryptable, entry.recipients[CONTACT].decrypted, entry.recipients[CONTACT].shown],
		[1, 1, 1],
	)
	assert.equal(entry.sent, 2)
	await client.updates.first(({ key, update }) => key.id === id && update.status === 3)
})

test('a group member that lost its session and sender key asks again too', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id: group } = await web.call('group_create', { subject: 'G', participants: [CONTACT, OTHER, ACCOUNT] })
	const before = await client.send(group, { text: 'before' })
	for (const phone of [CONTACT, OTHER]) await heard(web, before, phone)
	await web.call('contact_lose_session', { phone: CONTACT, account: ACCOUNT })
	const id = await client.send(group, { text: 'after' })
	for (const phone of [CONTACT, OTHER]) assert.equal((await heard(web, id, phone)).args.content.text, 'after')
	const entry = await web.entry(id, ({ recipients }) => recipients[CONTACT].decrypted)
	assert.deepEqual(
		[entry.recipients[CONTACT].undecryptable, entry.recipients[CONTACT].shown, entry.recipients[OTHER].shown],
		[1, 1, 1],
	)
})

for (const [where, extra] of [
	['a chat', {}],
	['a group', { group: true }],
]) {
	test(`a message in ${where} that the client cannot read is said again until it can`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		const to = extra.group
			? { group: (await web.call('group_create', { subject: 'G', participants: [CONTACT, ACCOUNT] })).id }
			: { to: ACCOUNT }
		const first = await web.call('say', { from: CONTACT, ...to, content: { text: 'first' } })
		await client.message(first.id)
		await web.call('fault', { phone: ACCOUNT, kind: 'garble', times: 2 })
		const { id } = await web.call('say', { from: CONTACT, ...to, content: { text: 'second' } })
		assert.equal((await client.message(id)).message.conversation, 'second')
		const entry = await web.entry(id, ({ received }) => received)
		assert.deepEqual([entry.said, entry.retries, entry.resent], [1, 2, 2])
		assert.deepEqual((await web.call('state')).accounts[0].clients[0].pending, [])
		const third = await web.call('say', { from: CONTACT, ...to, content: { text: 'third' } })
		assert.equal((await client.message(third.id)).message.conversation, 'third')
	})
}

test('the same message delivered twice is given to the client twice', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'again' } })
	await web.entry(id, ({ received }) => received)
	await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'again' }, id })
	await client.messages.first(() => client.texts.length === 2)
	assert.equal((await web.entry(id)).said, 2)
})

test('a client gets a message that it could not read from its own phone', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'kept' } })
	const { key } = await client.message(id)
	assert.match(await client.sock.requestPlaceholderResend(key), /\w/)
	await client.messages.first(
		(message) =>
			message.key.id === id &&
			message.requestId === undefined &&
			client.messages.items.filter((each) => each.key.id === id).length === 2,
	)
	assert.equal((await web.entry(id, ({ revived }) => revived)).revived, 1)
})

test('a client with few one-time keys left is asked for more', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const keys = async () => (await web.call('state')).accounts[0].clients[0].preKeys
	const people = (await keys()) - 4
	// Another client takes nearly all of them, as many people's first words would.
	const other = await web.linked('15550000002')
	const user = { tag: 'user', attrs: { jid: client.creds.me.lid } }
	await other.sock.query({
		tag: 'iq',
		attrs: { to: '@s.whatsapp.net', type: 'get', xmlns: 'encrypt' },
		content: [{ tag: 'key', attrs: {}, content: Array(people).fill(user) }],
	})
	for (let tries = 0; (await keys()) <= 4; tries++) {
		assert.ok(tries < 400, 'no new keys came')
		await new Promise((resolve) => setTimeout(resolve, 25))
	}
})

test('the ledger gives what changed, in the order of change, and can be told to forget', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const id = await client.send(CONTACT, { text: 'x' })
	await client.updates.first(({ key, update }) => key.id === id && update.status === 3)
	const { entries, last } = await web.call('ledger', {})
	assert.deepEqual(
		entries.map((each) => each.id),
		[id],
	)
	assert.deepEqual(await web.call('ledger', { after: last }), { entries: [], last })
	await web.call('read', { by: CONTACT, to: ACCOUNT, ids: [id] })
	const later = await web.call('ledger', { after: last })
	assert.deepEqual(
		later.entries.map((each) => each.id),
		[id],
	)
	await web.call('forget', { upTo: later.last })
	assert.deepEqual(await web.call('ledger', {}), { entries: [], last: later.last })
	const next = await client.send(CONTACT, { text: 'y' })
	await heard(web, next)
	assert.deepEqual(
		(await web.call('ledger', { after: later.last })).entries.map((each) => each.id),
		[next],
	)
})

test('a client that lost the last state of its sessions is understood all the same', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await client.message((await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'hi' } })).id)
	await heard(web, await client.send(CONTACT, { text: 'before' }))
	// A crash between the frame and the write of the ratchet behind it: the same key is used for two messages.
	const tables = structuredClone(client.tables)
	await heard(web, await client.send(CONTACT, { text: 'sent' }))
	client.tables = tables
	await client.again()
	await client.opened()
	const id = await client.send(CONTACT, { text: 'after' })
	assert.deepEqual((await heard(web, id)).args.content, { type: 'text', text: 'after' })
	const { recipients } = await web.entry(id)
	assert.deepEqual([recipients[CONTACT].undecryptable, recipients[CONTACT].shown], [1, 1])
})

test('a message that the client took without its receipt getting through comes again, and is refused with 487', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await client.message((await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'first' } })).id)
	await web.call('mute', { phone: ACCOUNT, way: 'in' })
	const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'second' } })
	await client.message(id)
	await client.again()
	const entry = await web.entry(id, ({ nacked }) => nacked.length)
	assert.deepEqual([entry.received, entry.nacked], [null, [487]])
	assert.deepEqual((await web.call('state')).accounts[0].clients[0].pending, [])
})

test("one person's words keep their order, a file among them", async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const file = fileURLToPath(import.meta.url)
	const contents = [{ text: 'one' }, { document: { file } }, { text: 'three' }]
	const ids = (await Promise.all(contents.map((content) => web.call('say', { from: CONTACT, to: ACCOUNT, content })))).map(
		({ id }) => id,
	)
	await client.message(ids[2])
	assert.deepEqual(
		client.messages.items.filter(({ key }) => !key.fromMe).map(({ key }) => key.id),
		ids,
	)
})
