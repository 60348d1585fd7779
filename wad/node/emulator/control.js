/**
 * What the parent may ask of the emulator, and what it hears.
 *
 * A `phone` is a number in digits ("15550001001"; a leading + is dropped). Every number is a registered WhatsApp user with
 * a phone, made when it is first named, unless `unregister` said otherwise. A number becomes an account when a client is
 * linked to it. Its LID is "2" and the number padded to 14 digits. Group ids are whole JIDs ("120363...@g.us").
 *
 * Calls:
 *
 *   start {host?, port?, mediaPort?, tls: {certFile, keyFile}, rootKey?: hex, dir?}
 *       → {url, mediaUrl, rootKey}     rootKey in: the private root key (32 bytes) to use; out: the public one, for clients.
 *                                      dir: where media bodies are kept (default: a temporary one, removed at the end)
 *   settings {phone?, autoRead?, receipts?, history?, addressing?, minVersion?, offlinePreview?, name?} → all that hold
 *       of everybody, or of one person (then `name` too); what they mean stands in world.js
 *   register {phone} · unregister {phone} → {}
 *
 *   scan {qr, phone, name?} → {phone, device, jid, lid}            the phone scans a QR's text and links the client
 *       errors: bad_qr, expired_qr, bad_signature, not_registered, banned, timeout
 *   enter_code {phone, code} → as scan                            errors besides: no_code_asked, wrong_code
 *   unlink {phone, device?} → {unlinked}                          the phone removes its clients: 401
 *   ban {phone, kind: blocked|banned|temporary|outdated|none, code?, expire?} → {}
 *       403, 406, 402 (code 101-106, expire in seconds), 405: at once, and at each login until kind none
 *   replace {phone} → {replaced}                                  another client takes over: 440
 *   drop {phone, code?} → {dropped}                               break the connections; with `code` (500, 503, 515, ...) by a stream error
 *   mute {phone, on?, way?: both|in} → {muted}                    the connections there are hang: nothing is heard or said;
 *                                                                 way in: what the client says is lost, it still hears
 *   fault {phone, kind, times?: number|"always", code?, ms?} → {waiting}    kinds in faults.js; kind "none" clears all
 *   stop_acks {phone, on?: bool} → {waiting}                      fault no_ack, always; on: false ends it
 *
 *   say {from, to?: phone, group?: id, content, id?, addressing?: pn|lid} → {id}      content as in content.js;
 *       the same `id` again is the same message delivered twice. from an account: written on its phone
 *   read {by, to: account phone, group?, ids, type?: read|played} → {}              a receipt of `by`
 *   type {from, to?|group?, state?: composing|recording|paused} → {}
 *   online {phone, on?} → {}                                      clients that subscribed are told
 *   media {phone, id, path} → {size}                              write the plain media of a message that this phone has to `path`
 *   contact_lose_session {phone, account} → {}                    the contact can decrypt nothing more of the account's
 *   stanza {phone, stanza: {tag, attrs, content?}} → {told}       WhatsApp says this to the clients, whatever it is
 *   ask_again {by, account, id, addressing?: pn|lid} → {}         the contact says that it cannot read message `id`, whoever that is for
 *
 *   group_create {subject, participants: [phone], by?: phone, addressing?: lid|pn} → {id}    by: the first participant
 *   group_add · group_remove {id, by?, participants} → {}         somebody who removes themselves leaves
 *   group_rank {id, by?, participants, change: promote|demote} → {} · group_subject {id, by?, subject} → {}
 *
 *   state {} → {accounts: [{phone, lid, name, ban, faults, clients: [{device, jid, connected, active, available, pending, preKeys, tokens}]}],
 *               groups: [{id, subject, addressing, members}], connections, memory}
 *   ledger {after?} → {entries, last}                             entries as in ledger.js; ask again with after: last
 *   forget {upTo} → {}                                            drop ledger entries that did not change after
 *
 * Events:
 *
 *   linked {phone, device, name} · unlinked {phone, device, by: phone|client} · connected · disconnected {phone, device}
 *   message {account, to, group, from, id, content, shown, at}    a person's phone decrypted what `account` sent; shown: not a repeat
 *   receipt {account, to, chat, ids, type}                        of an account's client, for messages of `to`
 *   presence {account, to, state}                                 an account's client is available, is writing, ...
 *   group {group, change, by, subject, members}
 *   ledger {last}                                                 entries changed, up to this number; at most once in 20 ms
 */

import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'

import { CallError } from '../lines.js'
import { askAgain, mediaBytes, receipt } from './contact.js'
import { keyPairOf } from './curve.js'
import { node } from './nodes.js'
import { unlink } from './phone.js'
import { showPresence, typing } from './routing.js'
import { say } from './saying.js'
import { Server, failureOf, replace } from './server.js'
import { DEFAULTS, World } from './world.js'

const BANS = { blocked: 403, banned: 406, temporary: 402, outdated: 405 }
const LIKELY_TEMPORARY = 101 // "sent too many messages to people who don't know you", says whatsmeow

/**
 * @param {(name: string, args: object) => void} tell hears the events
 * @returns {{calls: Record<string, (args: any) => any>, stop: () => Promise<void>}}
 */
export function control(tell) {
	const world = new World(tell)
	const server = new Server(world)
	let started = false
	const person = (phone) => {
		if (!/^\+?\d{5,15}$/.test(String(phone))) throw new CallError('bad_arguments', `${JSON.stringify(phone)} is no number`)
		return world.people.get(phone)
	}
	const clients = (phone, device) =>
		[...person(phone).companions.values()].filter((each) => device === undefined || each.device === device)
	const connected = (phone) => clients(phone).filter((each) => each.connection)
	const linked = (companion) => ({
		phone: companion.person.phone,
		device: companion.device,
		jid: companion.jid(),
		lid: companion.jid('lid'),
	})
	const group = (id) => world.groups.need(id)
	const actor = (id, by) => (by ? person(by) : group(id).creator)
	const people = (phones) => phones.map(person)

	const calls = {
		async start({ host = '127.0.0.1', port, mediaPort, tls, rootKey, dir }) {
			if (started) throw new CallError('bad_arguments', 'it is started already')
			started = true
			const root = keyPairOf(rootKey ? Buffer.from(rootKey, 'hex') : randomBytes(32))
			const [cert, key] = await Promise.all([readFile(tls.certFile), readFile(tls.keyFile)])
			const mediaUrl = await world.media.start({ cert, key, host, port: mediaPort, dir })
			return { url: await server.start({ host, port, root }), mediaUrl, rootKey: root.public.toString('hex') }
		},

		settings({ phone, name, ...changes }) {
			const unknown = Object.keys(changes).filter((key) => !(key in DEFAULTS))
			if (unknown.length) throw new CallError('bad_arguments', `no setting ${unknown.join(', ')}`)
			const settings = phone ? person(phone).settings : world.settings
			Object.assign(settings, changes)
			if (phone && name) person(phone).name = name
			return { ...world.settings, ...settings }
		},
		register({ phone }) {
			person(phone).registered = true
			return {}
		},
		unregister({ phone }) {
			person(phone).registered = false
			return {}
		},

		async scan({ qr, phone, name }) {
			if (name) person(phone).name = name
			return linked(await server.scan(person(phone), qr))
		},
		async enter_code({ phone, code }) {
			return linked(await server.enterCode(person(phone), code.replace('-', '').toUpperCase()))
		},
		unlink({ phone, device }) {
			const removed = clients(phone, device)
			for (const companion of removed) unlink(world, companion, 'phone')
			return { unlinked: removed.map(linked) }
		},
		ban({ phone, kind, code = LIKELY_TEMPORARY, expire = 3600 }) {
			if (kind !== 'none' && !(kind in BANS)) throw new CallError('bad_arguments', `no ban ${kind}`)
			const temporary = kind === 'temporary' ? { code, expire } : {}
			person(phone).ban = kind === 'none' ? null : { reason: BANS[kind], ...temporary }
			if (kind !== 'none') for (const { connection } of connected(phone)) connection.end(failureOf(person(phone).ban))
			return {}
		},
		replace({ phone }) {
			const replaced = connected(phone)
			for (const companion of replaced) replace(companion)
			return { replaced: replaced.length }
		},
		drop({ phone, code }) {
			const dropped = connected(phone)
			for (const { connection } of dropped) {
				if (code) connection.end(node('stream:error', { code: String(code) }))
				else connection.cut()
			}
			return { dropped: dropped.length }
		},
		mute({ phone, on = true, way = 'both' }) {
			for (const { connection } of connected(phone)) Object.assign(connection, { deaf: on, muted: on && way === 'both' })
			return { muted: connected(phone).length }
		},
		fault({ phone, ...fault }) {
			if (fault.kind === 'none') world.faults.clear(person(phone).phone)
			else world.faults.add(person(phone).phone, fault)
			return { waiting: world.faults.waiting(person(phone).phone) }
		},
		stop_acks({ phone, on = true }) {
			world.faults.clear(person(phone).phone, 'no_ack')
			if (on) world.faults.add(person(phone).phone, { kind: 'no_ack', times: 'always' })
			return { waiting: world.faults.waiting(person(phone).phone) }
		},

		async say({ from, to, group: id, content, id: messageId, addressing }) {
			if (!to === !id) throw new CallError('bad_arguments', 'say needs either to or group')
			return {
				id: await say(world, person(from), {
					to: to && person(to),
					group: id && group(id),
					content,
					id: messageId,
					addressing,
				}),
			}
		},
		read({ by, to, group: id, ids, type = 'read' }) {
			const reader = person(by)
			const server = id ? group(id).server : (reader.messages.get(ids[0])?.server ?? 's.whatsapp.net')
			receipt(world, reader, { account: person(to), group: id && group(id), server, ids, type })
			return {}
		},
		type({ from, to, group: id, state = 'composing' }) {
			const server = world.setting(person(from), 'addressing') === 'lid' ? 'lid' : 's.whatsapp.net'
			typing(world, person(from), { group: id && group(id), to: to && person(to), state, server })
			return {}
		},
		online({ phone, on = true }) {
			person(phone).online = on
			for (const account of world.accounts()) {
				for (const companion of account.companions.values()) {
					if (companion.subscriptions.has(person(phone))) showPresence(companion, person(phone))
				}
			}
			return {}
		},
		async media({ phone, id, path }) {
			const plain = await mediaBytes(world, person(phone), id)
			await writeFile(path, plain)
			return { size: plain.length }
		},
		async contact_lose_session({ phone, account }) {
			const { device } = person(phone)
			await device.run(() => device.forget(person(account).lid))
			return {}
		},
		stanza({ phone, stanza }) {
			const made = ({ tag, attrs = {}, content }) => node(tag, attrs, Array.isArray(content) ? content.map(made) : content)
			for (const { connection } of connected(phone)) connection.send(made(stanza))
			return { told: connected(phone).length }
		},
		async ask_again({ by, account, id, addressing = 'pn' }) {
			const { device } = person(by)
			const server = addressing === 'lid' ? 'lid' : 's.whatsapp.net'
			const ask = (from) => askAgain(world, person(by), { from, id, server, entry: { at: Date.now() } })
			for (const from of connected(account)) await device.run(() => ask(from))
			return {}
		},

		group_create({ subject, participants, by, addressing = 'lid' }) {
			const creator = person(by ?? participants[0])
			const server = addressing === 'lid' ? 'lid' : 's.whatsapp.net'
			return { id: world.groups.create({ subject, creator, people: people(participants), server }).id }
		},
		group_add({ id, by, participants }) {
			world.groups.add(group(id), actor(id, by), people(participants))
			return {}
		},
		group_remove({ id, by, participants }) {
			world.groups.remove(group(id), actor(id, by), people(participants))
			return {}
		},
		group_rank({ id, by, participants, change }) {
			world.groups.rank(group(id), actor(id, by), people(participants), change)
			return {}
		},
		group_subject({ id, by, subject }) {
			world.groups.subject(group(id), actor(id, by), subject)
			return {}
		},

		state() {
			return {
				accounts: world.accounts().map((each) => ({
					phone: each.phone,
					lid: each.lid,
					name: each.name,
					ban: each.ban,
					faults: world.faults.waiting(each.phone),
					clients: [...each.companions.values()].map((companion) => ({
						device: companion.device,
						jid: companion.jid(),
						connected: companion.connection?.open === true,
						active: companion.active,
						available: companion.available,
						pending: [...companion.pending].map(([key, { sent }]) => ({ key, sent })),
						preKeys: companion.preKeyCount,
						tokens: companion.tokens,
					})),
				})),
				groups: [...world.groups].map((each) => ({
					id: each.id,
					subject: each.subject,
					addressing: each.mode,
					members: [...each.members.keys()].map(({ phone }) => phone),
				})),
				connections: server.connections,
				memory: process.memoryUsage(),
			}
		},
		ledger: ({ after }) => world.ledger.since(after),
		forget({ upTo }) {
			world.ledger.forget(upTo)
			return {}
		},
	}
	return {
		calls,
		async stop() {
			server.stop()
			await world.media.stop()
		},
	}
}
