/** What a simulated person says: encrypted for every linked client that it concerns, and said again when one could not read it. */

import { randomBytes } from 'node:crypto'

import { proto } from '@whiskeysockets/baileys'

import { CallError, log } from '../lines.js'
import { build, stanzaAttrs, summary } from './content.js'
import { bytes, child, node, seconds } from './nodes.js'

/** How often a message is asked for again: as often as Baileys allows. */
export const RETRIES = 5

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
		await build(content, {
			media: world.media,
			recall,
			self: person.jid(server),
			jidOf: (phone) => world.people.get(phone).jid(server),
		}),
	)
	const facts = { message, author: person, group, chat: group ? null : to, server }
	person.messages.set(id, facts)
	const people = group ? [...group.members.keys()] : to === person ? [to] : [to, person]
	const told = await summary(message, world.media)
	for (const each of people) {
		if (each !== person) each.messages.set(id, { ...facts, chat: group ? null : person })
		if (each === person || !each.isAccount) continue
		const entry = world.ledger.in(each.phone, id, {
			chat: group ? group.id : person.phone,
			from: person.phone,
			content: told,
		})
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
	const key = {
		remoteJid: group ? group.id : to.jid(server),
		fromMe: found.author === person,
		id,
		...(group ? { participant: author } : {}),
	}
	return { message: found.message, key, author }
}

const senderKeyMessage = (group, key) => ({
	senderKeyDistributionMessage: { groupId: group.id, axolotlSenderKeyDistributionMessage: key },
})

/** What one client gets of a message: the speaker's own clients get it as sent from another device. */
function wrapped(world, person, companion, { message, group, chat, server }) {
	if (companion.person !== person) return message
	return {
		deviceSentMessage: { destinationJid: group ? group.id : chat.jid(server), message },
		messageContextInfo: message.messageContextInfo,
	}
}

/** Encrypt for a client; a session is begun when there is none. */
export async function sealFor(person, companion, message, { renew = false, bundle } = {}) {
	if (renew || !(await person.device.knows(companion.peer)))
		await person.device.begin(companion.peer, bundle ?? companion.takeBundle())
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
		Object.assign(attrs, {
			from: person.jid(server),
			recipient: chat.jid(server),
			[pn ? 'peer_recipient_lid' : 'peer_recipient_pn']: chat.jid(pn ? 'lid' : 's.whatsapp.net'),
		})
	} else
		Object.assign(attrs, { from: person.jid(server), [pn ? 'sender_lid' : 'sender_pn']: pn ? person.lidJid : person.pnJid })
	if (world.faults.take(companion.person.phone, ['garble'])) {
		for (const part of parts) {
			part.ciphertext = Buffer.from(part.ciphertext)
			part.ciphertext[part.ciphertext.length - 1] ^= 0xff
		}
	}
	const sealed = parts.map((part) =>
		node('enc', { v: '2', type: part.type, mediatype, count: count && String(count) }, Buffer.from(part.ciphertext)),
	)
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
