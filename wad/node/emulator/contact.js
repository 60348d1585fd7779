/** What a simulated person's phone does with messages: takes them, confirms them, asks again, says some, says them again. */

import { randomBytes } from 'node:crypto'

import { proto } from '@whiskeysockets/baileys'

import { CallError, log } from '../lines.js'
import { build, mediaOf, stanzaAttrs, summary } from './content.js'
import { bytes, child, node, seconds } from './nodes.js'

const RETRIES = 5 // as many as Baileys allows, and WhatsApp

/**
 * A message reached a phone (device 0 of `person`).
 *
 * @param {object} delivery
 * @param {import('./companion.js').Companion} delivery.from the client that sent it
 * @param {string} delivery.id
 * @param {string} delivery.to the JID that the client wrote to
 * @param {string} delivery.server how the chat names people
 * @param {import('./groups.js').Group} [delivery.group]
 * @param {Array<{type: string, content: Uint8Array}>} delivery.parts the ciphertexts that are for this phone, in order
 * @param {object} [delivery.entry] of the ledger; a peer message has none
 */
export function receive(world, person, delivery) {
	return person.device.run(async () => {
		const { message, error } = await read(person, delivery)
		if (!delivery.entry) {
			if (message) return person.device.peerMessage?.(message, delivery.from)
			return log('warning', 'a phone cannot read what its client asks', { phone: person.phone, error: error?.message })
		}
		const own = delivery.from.person === person
		const told = (delivery.entry.recipients[person.phone] ??= { decrypted: 0, undecryptable: 0, shown: 0, shownAt: null, content: null })
		const seen = `${delivery.from.person.phone} ${delivery.id}`
		if (!message) {
			told.undecryptable++
			told.error = error?.message
			world.ledger.touch(delivery.entry)
			// A copy of what the person has already: a phone drops it, there is nothing to ask for.
			if (person.shown.has(seen)) return own ? undefined : confirm(world, person, delivery)
			return askAgain(world, person, delivery)
		}
		told.decrypted++
		const shown = !person.shown.has(seen)
		const inner = message.deviceSentMessage?.message ?? message
		if (shown) {
			person.shown.add(seen)
			told.shown++
			told.shownAt = Date.now()
			told.content = await summary(inner, world.media)
			remember(person, delivery.id, { message: inner, author: delivery.from.person, group: delivery.group, chat: chatOf(world, delivery), server: delivery.server })
		}
		world.ledger.touch(delivery.entry)
		if (own) return
		world.tell('message', {
			account: delivery.from.person.phone, to: person.phone, group: delivery.group?.id ?? null, from: delivery.from.person.phone,
			id: delivery.id, content: told.content, shown, at: Date.now(),
		})
		confirm(world, person, delivery)
		if (shown && world.setting(person, 'autoRead') && !inner.protocolMessage && !inner.reactionMessage) {
			receipt(world, person, { account: delivery.from.person, group: delivery.group, server: delivery.server, ids: [delivery.id], type: 'read' })
		}
	})
}

/** Read the parts of a delivery. A message is there when any of them held more than a sender key. */
async function read(person, { from, group, parts }) {
	let message = null
	let error = null
	for (const { type, content } of parts) {
		try {
			const part = type === 'skmsg' ? await person.device.decryptGroup(group.id, from.peer, content) : await person.device.decrypt(from.peer, type, content)
			const { senderKeyDistributionMessage, ...rest } = part
			if (senderKeyDistributionMessage) await person.device.takeSenderKey(from.peer, senderKeyDistributionMessage)
			delete rest.messageContextInfo
			if (Object.keys(rest).length) message = part
		} catch (problem) {
			error = problem
		}
	}
	return { message, error: message ? null : (error ?? new Error('nothing in it')) }
}

/** The person at the other end, from the account's side: who the 1:1 chat is with. */
const chatOf = (world, { group, to }) => (group ? null : world.people.at(to)?.person)

function remember(person, id, facts) {
	person.messages.set(id, facts)
}

/** Tell the sender's clients that the message arrived. */
function confirm(world, person, { from, group, server, id }) {
	if (!world.setting(person, 'receipts')) return
	receipt(world, person, { account: from.person, group, server, ids: [id], type: undefined })
}

/**
 * Send a receipt of `person` for messages of `account`: plain (delivered), 'read' or 'played'.
 */
export function receipt(world, person, { account, group, server, ids, type }) {
	const [id, ...more] = ids
	const names = group ? { from: group.id, participant: person.jid(server) } : { from: person.jid(server) }
	const items = more.length ? [node('list', {}, more.map((each) => node('item', { id: each })))] : undefined
	const stanza = node('receipt', { id, ...names, t: seconds(), type }, items)
	for (const companion of account.companions.values()) companion.hold(receiptKey(stanza.attrs), stanza)
	for (const each of ids) {
		const entry = world.ledger.sentBy(account.phone, each)
		if (!entry) continue
		const times = (entry.receipts[person.phone] ??= {})
		times[type ?? 'delivered'] ??= Date.now()
		world.ledger.touch(entry)
	}
}

/** The name under which a client's ack settles a receipt. */
export const receiptKey = ({ id, type, from, participant }) => `receipt:${id}:${type ?? ''}:${from}:${participant ?? ''}`

/** Ask the sender for a message again, with keys for a new session. */
async function askAgain(world, person, { from, id, to, group, server, entry }) {
	const counted = `${from.person.phone} ${id}`
	const count = (person.retries.get(counted) ?? 0) + 1
	if (count > RETRIES) return log('info', 'a phone gives up on a message', { phone: person.phone, id, count })
	person.retries.set(counted, count)
	const [registration, ...keys] = await person.device.bundle()
	const names = group ? { from: group.id, participant: person.jid(server) } : { from: person.jid(server) }
	if (from.person === person && !group) names.recipient = to
	const stanza = node('receipt', { id, ...names, type: 'retry', t: seconds() }, [
		node('retry', { v: '1', count: String(count), id, t: seconds(entry.at) }),
		registration,
		node('keys', {}, keys),
	])
	from.hold(receiptKey(stanza.attrs), stanza)
}

/** A new message id, in the form of the phones' own. */
export const messageId = () => `3A${randomBytes(9).toString('hex').toUpperCase()}`

/**
 * `person` says something, to a person or in a group; linked clients of everybody concerned get it encrypted, those of
 * the speaker too (as "sent from the phone").
 *
 * One person's words keep their order, also when one of them is a file that takes a while.
 *
 * @returns {Promise<string>} the message's id, once all of it is queued
 */
export function say(world, person, words) {
	const said = person.saying.then(() => speak(world, person, words))
	person.saying = said.catch(() => {})
	return said
}

async function speak(world, person, { to, group, content, id = messageId(), addressing }) {
	if (group && !group.members.has(person)) throw new CallError('not_a_member', `${person.phone} is not in ${group.id}`)
	const mode = addressing ?? world.setting(person, 'addressing')
	const server = group ? group.server : mode === 'lid' ? 'lid' : 's.whatsapp.net'
	const recall = (of) => recalled(person, of, { to, group, server })
	const message = proto.Message.fromObject(
		await build(content, { media: world.media, recall, self: person.jid(server), jidOf: (phone) => world.people.get(phone).jid(server) }),
	)
	const facts = { message, author: person, group, chat: group ? null : to, server }
	remember(person, id, facts)
	const people = group ? [...group.members.keys()] : to === person ? [to] : [to, person]
	const told = await summary(message, world.media)
	for (const each of people) {
		if (each !== person) remember(each, id, { ...facts, chat: group ? null : person })
		if (each === person || !each.isAccount) continue
		const entry = world.ledger.in(each.phone, id, { chat: group ? group.id : person.phone, from: person.phone, content: told })
		entry.said++
		world.ledger.touch(entry)
	}
	const companions = people.flatMap((each) => [...each.companions.values()])
	if (!companions.length) return id
	await person.device.run(async () => {
		const sealed = group && (await person.device.encryptGroup(group.id, person.jid(server), message))
		for (const companion of companions) {
			const parts = []
			if (!group) parts.push(await sealFor(person, companion, wrapped(world, person, companion, facts)))
			else {
				const holder = `${group.id} ${companion.peer}`
				if (!person.keyHolders.has(holder)) {
					person.keyHolders.add(holder)
					parts.push(await sealFor(person, companion, senderKeyMessage(group, sealed.senderKeyDistributionMessage)))
				}
				parts.push({ type: 'skmsg', ciphertext: sealed.ciphertext })
			}
			deliver(world, person, companion, id, facts, parts)
		}
	})
	return id
}

/** A message that `person` has, as content.js needs it. */
function recalled(person, id, { to, group, server }) {
	const found = person.messages.get(id)
	if (!found) throw new CallError('no_such_message', `${person.phone} has no message ${id}`)
	const author = found.author.jid(server)
	const key = { remoteJid: group ? group.id : to.jid(server), fromMe: found.author === person, id, ...(group ? { participant: author } : {}) }
	return { message: found.message, key, author }
}

const senderKeyMessage = (group, key) => ({ senderKeyDistributionMessage: { groupId: group.id, axolotlSenderKeyDistributionMessage: key } })

/** What one client gets of a message: the speaker's own clients get it as sent from another device. */
function wrapped(world, person, companion, { message, group, chat, server }) {
	if (companion.person !== person) return message
	return { deviceSentMessage: { destinationJid: group ? group.id : chat.jid(server), message }, messageContextInfo: message.messageContextInfo }
}

/** Encrypt for a client; a session is begun when there is none. */
export async function sealFor(person, companion, message, { renew = false, bundle } = {}) {
	if (renew || !(await person.device.knows(companion.peer))) await person.device.begin(companion.peer, bundle ?? companion.takeBundle())
	return person.device.encrypt(companion.peer, message)
}

/** Queue a message's stanza for a client. */
function deliver(world, person, companion, id, facts, parts, count = undefined) {
	const { message, group, chat, server } = facts
	const { type, edit, mediatype } = stanzaAttrs(message)
	const pn = server !== 'lid'
	const attrs = { id, t: seconds(), type, edit, notify: person.name, addressing_mode: pn ? 'pn' : 'lid' }
	if (group) Object.assign(attrs, { from: group.id, participant: person.jid(server), ...group.other('participant', person) })
	else if (companion.person === person) {
		Object.assign(attrs, { from: person.jid(server), recipient: chat.jid(server), [pn ? 'peer_recipient_lid' : 'peer_recipient_pn']: chat.jid(pn ? 'lid' : 's.whatsapp.net') })
	} else Object.assign(attrs, { from: person.jid(server), [pn ? 'sender_lid' : 'sender_pn']: pn ? person.lidJid : person.pnJid })
	if (world.faults.take(companion.person.phone, ['garble'])) {
		for (const part of parts) {
			part.ciphertext = Buffer.from(part.ciphertext)
			part.ciphertext[part.ciphertext.length - 1] ^= 0xff
		}
	}
	const sealed = parts.map((part) => node('enc', { v: '2', type: part.type, mediatype, count: count && String(count) }, Buffer.from(part.ciphertext)))
	companion.hold(`message:${id}`, node('message', attrs, sealed), facts)
}

/** A client could not read a message of `person`, and asks for it again. */
export function resend(world, person, companion, stanza, held) {
	const { id } = stanza.attrs
	// What is queued is never forgotten; of the rest a phone remembers the last few hundred.
	const facts = held ?? person.messages.get(id)
	const entry = world.ledger.in(companion.person.phone, id)
	if (!facts) return log('warning', 'a client asks for a message that is gone', { phone: person.phone, id })
	const count = Number(child(stanza, 'retry')?.attrs.count ?? 1)
	if (count > RETRIES) return undefined
	return person.device.run(async () => {
		const bundle = bundleIn(stanza)
		let message = wrapped(world, person, companion, facts)
		if (facts.group) {
			const key = await person.device.senderKey(facts.group.id, person.jid(facts.server))
			message = { ...message, ...senderKeyMessage(facts.group, key) }
		}
		const sealed = await sealFor(person, companion, message, { renew: true, bundle })
		if (entry) {
			entry.resent++
			world.ledger.touch(entry)
		}
		deliver(world, person, companion, id, facts, [sealed], count)
	})
}

/** The key bundle in a retry receipt, if it brings one. */
function bundleIn(receiptStanza) {
	const keys = child(receiptStanza, 'keys')
	if (!keys) return undefined
	const [skey, key] = [child(keys, 'skey'), child(keys, 'key')]
	const id = (parent) => bytes(child(parent, 'id')).readUIntBE(0, 3)
	return {
		registrationId: bytes(child(receiptStanza, 'registration')).readUInt32BE(),
		identity: bytes(child(keys, 'identity')),
		signedPreKey: { id: id(skey), value: bytes(child(skey, 'value')), signature: bytes(child(skey, 'signature')) },
		preKey: key && { id: id(key), value: bytes(child(key, 'value')) },
	}
}

/** The plain bytes of a media message that a person has. */
export async function mediaBytes(world, person, id) {
	const found = person.messages.get(id)
	if (!found) throw new CallError('no_such_message', `${person.phone} has no message ${id}`)
	const media = mediaOf(found.message)
	if (!media) throw new CallError('bad_arguments', `${id} has no media`)
	return world.media.open(media.part, media.kind)
}
