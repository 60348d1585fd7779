import assert from 'node:assert/strict'
import { test } from 'node:test'

import { emulator, pn } from './web.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'

test('a client pairs by a code that the phone takes', async (t) => {
	const web = await emulator(t)
	const client = web.client()
	await client.connect()
	await client.qr()
	const code = await client.sock.requestPairingCode(ACCOUNT)
	const { jid } = await web.call('enter_code', { phone: ACCOUNT, code: `${code.slice(0, 4)}-${code.slice(4).toLowerCase()}` })
	await client.opened()
	assert.equal(client.creds.me.id, jid)
})

test('a wrong code pairs nobody, and one that nobody asked for is said to be so', async (t) => {
	const web = await emulator(t)
	await assert.rejects(web.call('enter_code', { phone: ACCOUNT, code: 'AAAAAAAA' }), { code: 'no_code_asked' })
	const client = web.client()
	await client.connect()
	await client.qr()
	await client.sock.requestPairingCode(ACCOUNT)
	await assert.rejects(web.call('enter_code', { phone: ACCOUNT, code: 'AAAAAAAA' }), { code: 'wrong_code' })
	assert.deepEqual((await web.call('state')).accounts, [])
})

test('an abandoned pairing code leaves a client that is refused with 401', async (t) => {
	const web = await emulator(t)
	const client = web.client()
	await client.connect()
	await client.qr()
	await client.sock.requestPairingCode(ACCOUNT)
	await client.again()
	assert.equal(await client.closed(), 401)
})

test('a QR of a connection that is gone is expired, and nonsense is no QR', async (t) => {
	const web = await emulator(t)
	const client = web.client()
	await client.connect()
	const qr = await client.qr()
	client.kill()
	await assert.rejects(web.call('scan', { qr: 'nonsense', phone: ACCOUNT }), { code: 'bad_qr' })
	for (;;) {
		if ((await web.call('state')).connections === 0) break
	}
	await assert.rejects(web.call('scan', { qr, phone: ACCOUNT }), { code: 'expired_qr' })
})

test('six codes are shown, each can be scanned, and then the client gives up with 408', async (t) => {
	const web = await emulator(t)
	const client = web.client({ options: { qrTimeout: 40 } })
	await client.connect()
	assert.equal(await client.closed(), 408)
	const codes = client.connections.items.filter(({ qr }) => qr).map(({ qr }) => qr)
	assert.equal(new Set(codes).size, 6)
	const second = web.client({ options: { qrTimeout: 100 } })
	await second.connect()
	await second.connections.first(() => second.connections.items.filter(({ qr }) => qr).length === 2)
	await web.call('scan', { qr: second.connections.items.filter(({ qr }) => qr)[1].qr, phone: ACCOUNT })
	await second.opened()
})

for (const [what, call, args, code] of [
	['is replaced', 'replace', {}, 440],
	['is unlinked by the phone', 'unlink', {}, 401],
	['loses its connection', 'drop', {}, 428],
	['is told that the service is unavailable', 'drop', { code: 503 }, 503],
	['is told of an unknown error', 'drop', { code: 500 }, 500],
	['is banned', 'ban', { kind: 'banned' }, 406],
	['is blocked', 'ban', { kind: 'blocked' }, 403],
	['is banned for a time', 'ban', { kind: 'temporary', code: 102, expire: 60 }, 402],
	['is outdated', 'ban', { kind: 'outdated' }, 405],
]) {
	test(`a client that ${what} hears ${code}`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		await web.call(call, { phone: ACCOUNT, ...args })
		assert.equal(await client.closed(), code)
		await web.event(({ event, args }) => event === 'disconnected' && args.phone === ACCOUNT && args.device === 1)
	})
}

test('a ban holds at every login with its reason, until it is lifted', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('ban', { phone: ACCOUNT, kind: 'temporary', code: 104, expire: 77 })
	await client.again()
	assert.equal(await client.closed(), 402)
	const { lastDisconnect } = client.connections.items.find(({ connection }) => connection === 'close')
	assert.deepEqual([lastDisconnect.error.data.code, lastDisconnect.error.data.expire], ['104', '77'])
	await web.call('ban', { phone: ACCOUNT, kind: 'none' })
	await client.again()
	await client.opened()
})

test('an unlinked client is refused at its next login, and the account can be linked again', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('unlink', { phone: ACCOUNT })
	await client.closed()
	await client.again()
	assert.equal(await client.closed(), 401)
	const next = await web.linked(ACCOUNT)
	assert.equal(next.creds.me.id, `${ACCOUNT}:2@s.whatsapp.net`)
})

test('a client that logs out is no device of the account any more', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await client.sock.logout()
	const { args } = await web.event(({ event }) => event === 'unlinked')
	assert.deepEqual(args, { phone: ACCOUNT, device: 1, by: 'client' })
	assert.deepEqual((await web.call('state')).accounts[0].clients, [])
})

test('a second login of the same client replaces the first', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { sock } = client
	const closed = new Promise((resolve) =>
		sock.ev.on(
			'connection.update',
			({ lastDisconnect }) => lastDisconnect && resolve(lastDisconnect.error.output.statusCode),
		),
	)
	await client.connect()
	assert.equal(await closed, 440)
})

test('a login can be made to fail a number of times', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('fault', { phone: ACCOUNT, kind: 'login', code: 503, times: 2 })
	for (const expected of [503, 503]) {
		await client.again()
		assert.equal(await client.closed(), expected)
	}
	await client.again()
	await client.opened()
})

test('a client older than the least version is refused with 405, before it can pair', async (t) => {
	const web = await emulator(t, { minVersion: [2, 3000, 5] })
	const old = web.client({ options: { version: [2, 3000, 4] } })
	await old.connect()
	assert.equal(await old.closed(), 405)
	const fresh = web.client({ options: { version: [2, 3000, 5] } })
	await fresh.connect()
	await fresh.qr()
})

for (const offlinePreview of [false, true])
	test(`messages that come while the client is away wait for it, in order${offlinePreview ? ', announced' : ''}`, async (t) => {
		const web = await emulator(t, { offlinePreview })
		const client = await web.linked(ACCOUNT)
		await web.call('drop', { phone: ACCOUNT })
		await client.closed()
		const ids = []
		for (const text of ['one', 'two', 'three'])
			ids.push((await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text } })).id)
		const waiting = (await web.call('state')).accounts[0].clients[0].pending.map(({ key }) => key)
		assert.deepEqual(
			waiting.slice(-3),
			ids.map((id) => `message:${id}`),
		)
		await client.again()
		await client.message(ids[2])
		assert.deepEqual(client.texts, [
			['append', 'one'],
			['append', 'two'],
			['append', 'three'],
		])
		for (const id of ids) await web.entry(id, ({ received }) => received)
		assert.deepEqual((await web.call('state')).accounts[0].clients[0].pending, [])
	})

test('a message stays queued until the client takes it, however often it connects', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'first' } })
	await client.message(id)
	// A client that hears but never answers: it is gone before it can.
	client.sock.sendNode = async () => {}
	client.sock.ws.socket.pause()
	const second = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'second' } })
	assert.deepEqual((await web.call('state')).accounts[0].clients[0].pending, [{ key: `message:${second.id}`, sent: 1 }])
	await client.again()
	assert.equal((await client.message(second.id)).message.conversation, 'second')
	const entry = await web.entry(second.id, ({ received }) => received)
	assert.equal(entry.said, 1)
})

test('many accounts are linked at once, and none hears what is for another', { timeout: 120_000 }, async (t) => {
	const COUNT = 20
	const web = await emulator(t)
	const phones = Array.from({ length: COUNT }, (_, index) => `1556000${String(index).padStart(4, '0')}`)
	const clients = []
	for (const phone of phones) clients.push(await web.linked(phone))
	const said = await Promise.all(phones.map((phone) => web.call('say', { from: CONTACT, to: phone, content: { text: phone } })))
	await Promise.all(clients.map((client, index) => client.message(said[index].id)))
	for (const [index, client] of clients.entries()) {
		assert.deepEqual(
			client.texts.map(([, text]) => text),
			[phones[index]],
		)
	}
})

test('two real clients talk to each other, and each hears of what the other did', async (t) => {
	const web = await emulator(t)
	const ada = await web.linked(ACCOUNT)
	const bob = await web.linked('15550000002')
	const id = await ada.send('15550000002', { text: 'hello bob' })
	const heard = await bob.message(id)
	assert.equal(heard.message.extendedTextMessage.text, 'hello bob')
	await ada.updates.first(({ key, update }) => key.id === id && update.status === 3)
	await bob.sock.readMessages([heard.key])
	await ada.updates.first(({ key, update }) => key.id === id && update.status === 4)
	const reply = await bob.send(ACCOUNT, { text: 'hello ada' })
	assert.equal((await ada.message(reply)).key.remoteJid, pn('15550000002'))
})
