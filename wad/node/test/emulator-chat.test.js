import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import * as B from '@whiskeysockets/baileys'

import { emulator, lid, pn } from './web.js'

const ACCOUNT = '15550000001'
const CONTACT = '15551110001'
const OTHER = '15551110002'

// The certificate of these tests is of no authority that this process was started with.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')

const heardBy = (web, id, phone = CONTACT) =>
	web.event(({ event, args }) => event === 'message' && args.id === id && args.to === phone).then(({ args }) => args)

test('what a client sends is understood, whatever it is', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id: theirs } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'mine' } })
	const { key } = await client.message(theirs)
	const first = await client.send(CONTACT, { text: 'to change' })
	const own = { remoteJid: pn(CONTACT), fromMe: true, id: first }
	for (const [what, content, expected] of [
		[
			'location',
			{ location: { degreesLatitude: 1.5, degreesLongitude: -2.5, name: 'Here' } },
			{ type: 'location', latitude: 1.5, longitude: -2.5, name: 'Here' },
		],
		[
			'contact',
			{ contacts: { displayName: 'Bob', contacts: [{ displayName: 'Bob', vcard: 'BEGIN:VCARD' }] } },
			{ type: 'contact', name: 'Bob', vcard: 'BEGIN:VCARD' },
		],
		[
			'poll',
			{ poll: { name: 'Tea?', values: ['yes', 'no'], selectableCount: 1 } },
			{ type: 'poll', name: 'Tea?', options: ['yes', 'no'], selectable: 1 },
		],
		['reaction', { react: { text: '👍', key } }, { type: 'reaction', id: theirs, emoji: '👍' }],
		['reaction taken back', { react: { text: '', key } }, { type: 'reaction', id: theirs, emoji: '' }],
		['edit', { text: 'changed', edit: own }, { type: 'edit', id: first, text: 'changed' }],
		['delete', { delete: own }, { type: 'delete', id: first }],
		['mention', { text: 'hey @1', mentions: [pn(OTHER)] }, { type: 'text', text: 'hey @1', mentions: [pn(OTHER)] }],
	]) {
		const { content: told } = await heardBy(web, await client.send(CONTACT, content))
		assert.deepEqual(told, JSON.parse(JSON.stringify(expected)), what)
	}
})

test('what a contact says is understood by the client, whatever it is', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const say = async (content) => client.message((await web.call('say', { from: CONTACT, to: ACCOUNT, content })).id)
	const poll = await client.send(CONTACT, { poll: { name: 'Tea?', values: ['yes', 'no'], selectableCount: 1 } })
	await heardBy(web, poll)
	const first = await say({ text: 'first' })
	assert.equal(
		(await say({ text: 'about it', reply: first.key.id })).message.extendedTextMessage.contextInfo.stanzaId,
		first.key.id,
	)
	assert.equal((await say({ location: { latitude: 1.5, longitude: 2 } })).message.locationMessage.degreesLatitude, 1.5)
	assert.match((await say({ contact: { name: 'Bob', phone: OTHER } })).message.contactMessage.vcard, /FN:Bob/)
	assert.equal(
		(await say({ poll: { name: 'When?', options: ['now', 'then'] } })).message.pollCreationMessageV3.options[1].optionName,
		'then',
	)
	const reaction = (await say({ reaction: { id: poll, emoji: '🎉' } })).message.reactionMessage
	assert.deepEqual([reaction.text, reaction.key.id, reaction.key.fromMe], ['🎉', poll, true])
	assert.equal(
		(await say({ edit: { id: first.key.id, text: 'better' } })).message.protocolMessage.editedMessage.conversation,
		'better',
	)
	assert.equal((await say({ delete: { id: first.key.id } })).message.protocolMessage.key.id, first.key.id)
	await client.updates.first(
		({ key, update }) => key.id === first.key.id && update.messageStubType === B.WAMessageStubType.REVOKE,
	)
	const { pollUpdateMessage } = (await say({ vote: { id: poll, options: ['yes'] } })).message
	const vote = B.decryptPollVote(pollUpdateMessage.vote, {
		pollCreatorJid: pn(ACCOUNT),
		pollMsgId: poll,
		pollEncKey: client.sent.get(poll).messageContextInfo.messageSecret,
		voterJid: pn(CONTACT),
	})
	assert.deepEqual(
		vote.selectedOptions.map((each) => Buffer.from(each).toString('hex')),
		[createHash('sha256').update('yes').digest('hex')],
	)
	await assert.rejects(web.call('say', { from: CONTACT, to: ACCOUNT, content: { reaction: { id: 'none', emoji: 'x' } } }), {
		code: 'no_such_message',
	})
	await assert.rejects(web.call('say', { from: CONTACT, to: ACCOUNT, content: {} }), { code: 'bad_content' })
})

for (const [kind, more] of [
	['image', { caption: 'look' }],
	['video', { caption: 'look' }],
	['audio', { ptt: true, seconds: 3, mimetype: 'audio/ogg; codecs=opus' }],
	['document', { fileName: 'a.pdf', mimetype: 'application/pdf' }],
	['sticker', {}],
]) {
	test(`a ${kind} goes both ways over the media host, byte for byte`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		const bytes = randomBytes(100_001)
		const file = join(web.dir, 'plain')
		await writeFile(file, bytes)
		const sha256 = createHash('sha256').update(bytes).digest('hex')
		const sent = await client.send(CONTACT, { [kind]: { url: file }, jpegThumbnail: '', ...more })
		const { content } = await heardBy(web, sent)
		assert.deepEqual(
			[content.type, content.size, content.sha256, content.caption],
			[kind, bytes.length, sha256, more.caption],
		)
		await web.call('media', { phone: CONTACT, id: sent, path: join(web.dir, 'theirs') })
		assert.deepEqual(await readFile(join(web.dir, 'theirs')), bytes)
		const { id } = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { [kind]: { file, ...more } } })
		assert.deepEqual(await B.downloadMediaMessage(await client.message(id), 'buffer', {}), bytes)
	})
}

test('an upload can be made to fail', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('fault', { phone: ACCOUNT, kind: 'upload', code: 500, times: 'always' })
	await assert.rejects(client.send(CONTACT, { document: Buffer.from('x'), fileName: 'x', mimetype: 'text/plain' }))
	await web.call('fault', { phone: ACCOUNT, kind: 'none' })
	await heardBy(web, await client.send(CONTACT, { document: Buffer.from('x'), fileName: 'x', mimetype: 'text/plain' }))
})

for (const addressing of ['lid', 'pn']) {
	test(`a group that names people by ${addressing} talks both ways`, async (t) => {
		const web = await emulator(t)
		const client = await web.linked(ACCOUNT)
		const name = addressing === 'lid' ? lid : pn
		const { id: group } = await web.call('group_create', {
			subject: 'Friends',
			participants: [CONTACT, OTHER, ACCOUNT],
			addressing,
		})
		await client.groups.first(({ id }) => id === group)
		const metadata = await client.sock.groupMetadata(group)
		assert.deepEqual([metadata.subject, metadata.addressingMode, metadata.owner], ['Friends', addressing, name(CONTACT)])
		assert.deepEqual(
			metadata.participants.map(({ id, admin }) => [id, admin]),
			[
				[name(CONTACT), 'superadmin'],
				[name(OTHER), null],
				[name(ACCOUNT), null],
			],
		)
		assert.deepEqual(Object.keys(await client.sock.groupFetchAllParticipating()), [group])
		for (const text of ['first', 'second']) {
			const id = await client.send(group, { text })
			for (const phone of [CONTACT, OTHER])
				assert.deepEqual((await heardBy(web, id, phone)).content, { type: 'text', text })
			await client.receipts.first(
				({ key, receipt }) => key.id === id && receipt.userJid === name(OTHER) && receipt.receiptTimestamp,
			)
		}
		for (const from of [CONTACT, OTHER, CONTACT]) {
			const { id } = await web.call('say', { from, group, content: { text: `of ${from}` } })
			const { key, message } = await client.message(id)
			assert.deepEqual(
				[key.remoteJid, key.participant, key.participantAlt, message.conversation],
				[group, name(from), (addressing === 'lid' ? pn : lid)(from), `of ${from}`],
			)
			await web.entry(id, ({ received }) => received)
		}
	})
}

test('a client hears who joins, who leaves and what the group is called', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await web.call('group_create', { subject: 'One', participants: [CONTACT, ACCOUNT] })
	const stub = (type) => client.messages.first(({ key, messageStubType }) => key.remoteJid === id && messageStubType === type)
	await web.call('group_add', { id, participants: [OTHER] })
	assert.equal(
		JSON.parse((await stub(B.WAMessageStubType.GROUP_PARTICIPANT_ADD)).messageStubParameters[0]).phoneNumber,
		pn(OTHER),
	)
	await web.call('group_subject', { id, subject: 'Two' })
	assert.deepEqual((await stub(B.WAMessageStubType.GROUP_CHANGE_SUBJECT)).messageStubParameters, ['Two'])
	await web.call('group_remove', { id, by: OTHER, participants: [OTHER] })
	await stub(B.WAMessageStubType.GROUP_PARTICIPANT_LEAVE)
	await web.call('group_rank', { id, participants: [ACCOUNT], change: 'promote' })
	await stub(B.WAMessageStubType.GROUP_PARTICIPANT_PROMOTE)
	await web.call('group_remove', { id, participants: [ACCOUNT] })
	await stub(B.WAMessageStubType.GROUP_PARTICIPANT_REMOVE)
	await assert.rejects(client.sock.groupMetadata(id), (error) => error.data === 403)
	await assert.rejects(client.sock.groupMetadata('1203630000000@g.us'), (error) => error.data === 404)
	await assert.rejects(web.call('say', { from: OTHER, group: id, content: { text: 'x' } }), { code: 'not_a_member' })
})

test('a client creates a group, changes it, invites and leaves', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await client.sock.groupCreate('Mine', [pn(CONTACT)])
	await client.sock.groupUpdateSubject(id, 'Ours')
	await client.sock.groupUpdateDescription(id, 'About us')
	await client.sock.groupParticipantsUpdate(id, [pn(OTHER)], 'add')
	const { subject, desc, participants } = await client.sock.groupMetadata(id)
	assert.deepEqual([subject, desc, participants.length], ['Ours', 'About us', 3])
	const code = await client.sock.groupInviteCode(id)
	await client.sock.groupLeave(id)
	assert.deepEqual((await web.call('state')).groups[0].members, [CONTACT, OTHER])
	assert.equal(await client.sock.groupAcceptInvite(code), id)
	assert.ok((await web.call('state')).groups[0].members.includes(ACCOUNT))
})

test('a number without WhatsApp is known as such, and a message to it reaches nobody', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	await web.call('unregister', { phone: OTHER })
	assert.deepEqual(await client.sock.onWhatsApp(CONTACT, OTHER), [{ jid: pn(CONTACT), exists: true }])
	const id = await client.send(OTHER, { text: 'anybody?' })
	await client.ack(id)
	assert.deepEqual(Object.keys((await web.entry(id, ({ recipients }) => recipients[ACCOUNT])).recipients), [ACCOUNT])
	await web.call('register', { phone: OTHER })
	assert.equal((await client.sock.onWhatsApp(OTHER))[0].exists, true)
})

test('presence and typing are seen both ways', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const state = (wanted) => web.event(({ event, args }) => event === 'presence' && args.state === wanted)
	await state('available')
	await client.sock.sendPresenceUpdate('composing', pn(CONTACT))
	assert.equal((await state('composing')).args.to, CONTACT)
	await client.sock.sendPresenceUpdate('unavailable')
	await state('unavailable')
	await client.sock.presenceSubscribe(pn(CONTACT))
	const seen = (wanted) =>
		client.presences.first(({ id, presences }) => id === pn(CONTACT) && presences[id]?.lastKnownPresence === wanted, wanted)
	await seen('unavailable')
	await web.call('online', { phone: CONTACT })
	await seen('available')
	await web.call('type', { from: CONTACT, to: ACCOUNT })
	await seen('composing')
	await web.call('type', { from: CONTACT, to: ACCOUNT, state: 'recording' })
	await seen('recording')
})

test('what is written on the phone itself shows on the client as its own', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id } = await web.call('say', { from: ACCOUNT, to: CONTACT, content: { text: 'from the phone' } })
	const { key, message } = await client.message(id)
	assert.deepEqual([key.fromMe, key.remoteJid, message.conversation], [true, pn(CONTACT), 'from the phone'])
})

test('people read at once when they are set to, and confirm nothing when they are set to', async (t) => {
	const web = await emulator(t, { autoRead: true })
	const client = await web.linked(ACCOUNT)
	const id = await client.send(CONTACT, { text: 'x' })
	await client.updates.first(({ key, update }) => key.id === id && update.status === 4)
	await web.call('settings', { phone: OTHER, autoRead: false, receipts: false })
	const silent = await client.send(OTHER, { text: 'x' })
	await heardBy(web, silent, OTHER)
	assert.deepEqual((await web.entry(silent)).receipts, {})
	await assert.rejects(web.call('settings', { colour: 'red' }), { code: 'bad_arguments' })
})

test('a receipt says read in a group and played of a voice message', async (t) => {
	const web = await emulator(t)
	const client = await web.linked(ACCOUNT)
	const { id: group } = await web.call('group_create', { subject: 'G', participants: [CONTACT, ACCOUNT] })
	const ids = [await client.send(group, { text: 'a' }), await client.send(group, { text: 'b' })]
	await heardBy(web, ids[1])
	await web.call('read', { by: CONTACT, to: ACCOUNT, group, ids })
	for (const id of ids)
		await client.receipts.first(
			({ key, receipt }) => key.id === id && receipt.userJid === lid(CONTACT) && receipt.readTimestamp,
		)
	const voice = await client.send(CONTACT, { audio: Buffer.from('x'), ptt: true, seconds: 1, mimetype: 'audio/ogg' })
	await heardBy(web, voice)
	await web.call('read', { by: CONTACT, to: ACCOUNT, ids: [voice], type: 'played' })
	await client.updates.first(({ key, update }) => key.id === voice && update.status === 5)
	assert.deepEqual(Object.keys((await web.entry(voice)).receipts[CONTACT]), ['delivered', 'played'])
})

test('two clients of one account see what the other sends, and both get what comes', async (t) => {
	const web = await emulator(t)
	const [first, second] = [await web.linked(ACCOUNT), await web.linked(ACCOUNT)]
	assert.equal(second.creds.me.id, `${ACCOUNT}:2@s.whatsapp.net`)
	const id = await first.send(CONTACT, { text: 'of the first' })
	const { key, message } = await second.message(id)
	assert.deepEqual([key.fromMe, key.remoteJid, message.extendedTextMessage.text], [true, pn(CONTACT), 'of the first'])
	const said = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'to both' } })
	for (const client of [first, second]) assert.equal((await client.message(said.id)).message.conversation, 'to both')
	await web.call('unlink', { phone: ACCOUNT, device: 1 })
	assert.equal(await first.closed(), 401)
	const later = await web.call('say', { from: CONTACT, to: ACCOUNT, content: { text: 'to one' } })
	assert.equal((await second.message(later.id)).message.conversation, 'to one')
})

test('real clients talk in a group, and one that lost its keys gets the message again from the other', async (t) => {
	const web = await emulator(t)
	const [ada, bob] = [await web.linked(ACCOUNT), await web.linked('15550000002')]
	const { id: group } = await web.call('group_create', { subject: 'G', participants: [CONTACT, ACCOUNT, '15550000002'] })
	const first = await ada.send(group, { text: 'first' })
	const heard = await bob.message(first)
	assert.deepEqual([heard.key.participant, heard.message.extendedTextMessage.text], [lid(ACCOUNT), 'first'])
	await heardBy(web, first)
	await ada.message(await bob.send(group, { text: 'back' }))
	bob.tables['sender-key'] = {}
	const second = await ada.send(group, { text: 'second' })
	assert.equal((await bob.message(second)).message.extendedTextMessage.text, 'second')
	const { entries } = await web.call('ledger', {})
	assert.equal(entries.find(({ id, direction }) => id === second && direction === 'in').retries, 1)
	assert.equal(entries.find(({ id, direction }) => id === second && direction === 'out').resent, 1)
})
