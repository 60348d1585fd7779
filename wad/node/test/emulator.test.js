import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as B from '@whiskeysockets/baileys'

import { emulator, pn } from './web.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'

test('a client pairs by QR, is told to connect again, and opens', async (t) => {
	const web = await emulator(t)
	const client = web.client()
	await client.connect()
	const scanned = await web.call('scan', { qr: await client.qr(), phone: ACCOUNT, name: 'Ada' })
	assert.equal(scanned.jid, `${ACCOUNT}:1@s.whatsapp.net`)
	await client.opened()
	assert.equal(client.creds.me.id, scanned.jid)
	assert.equal(client.creds.me.lid, scanned.lid)
	const state = await web.call('state')
	assert.equal(state.accounts[0].phone, ACCOUNT)
	assert.deepEqual(
		state.accounts[0].clients.map(({ device, connected, preKeys }) => ({ device, connected, preKeys })),
		[{ device: 1, connected: true, preKeys: 811 }],
	)
})

test('a client refuses a server whose certificate another root signed', async (t) => {
	const web = await emulator(t)
	B.WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from('142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b', 'hex')
	const client = web.client()
	await client.connect()
	assert.equal(await client.closed(), 400)
})

test('a text reaches the contact once, is acknowledged, delivered and read', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const id = await client.send(CONTACT, { text: 'hello' })
	assert.equal((await client.ack(id)).error, undefined)
	const { args } = await web.event(({ event, args }) => event === 'message' && args.id === id)
	assert.deepEqual(
		{ account: args.account, to: args.to, content: args.content, shown: args.shown },
		{ account: ACCOUNT, to: CONTACT, content: { type: 'text', text: 'hello' }, shown: true },
	)
	await client.updates.first(({ key, update }) => key.id === id && update.status === 3)
	await web.call('read', { by: CONTACT, to: ACCOUNT, ids: [id] })
	await client.updates.first(({ key, update }) => key.id === id && update.status === 4)
	const entry = await web.entry(id)
	assert.equal(entry.sent, 1)
	assert.equal(entry.acked.length, 1)
	assert.equal(entry.recipients[CONTACT].decrypted, 1)
	assert.equal(entry.recipients[ACCOUNT].shown, 1, "the account's own phone has a copy")
	assert.deepEqual(Object.keys(entry.receipts[CONTACT]), ['delivered', 'read'])
})

for (const [addressing, from] of [
	['pn', pn(CONTACT)],
	['lid', '200015551110001@lid'],
]) {
	test(`a text of a contact addressed by ${addressing} reaches the client, whose receipt is noted`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'hi' }, addressing })
		const message = await client.message(id)
		assert.equal(message.message.conversation, 'hi')
		assert.equal(message.key.remoteJid, from)
		assert.equal(message.pushName, 'Contact 0001')
		const entry = await web.entry(id, ({ received }) => received)
		assert.deepEqual([entry.said, entry.retries, entry.nacked], [1, 0, []])
		const reply = await client.send(message.key.remoteJid, { text: 'yes?' }, { quoted: message })
		const { args } = await web.event(({ event, args }) => event === 'message' && args.id === reply)
		assert.deepEqual([args.to, args.content], [CONTACT, { type: 'text', text: 'yes?', reply: id }])
	})
}
