/** The phone of an account: what it tells its linked clients, answers them, and how it takes them off again. */

import { randomBytes } from 'node:crypto'
import { deflateSync } from 'node:zlib'

import { proto } from '@whiskeysockets/baileys'

import { log } from '../lines.js'
import { node, seconds } from './nodes.js'
import { messageId, sealFor } from './saying.js'

const { ProtocolMessage } = proto.Message

/** Tell clients that know this person's devices that these are others now. */
export function devicesChanged(world, person) {
	const id = messageId()
	for (const watcher of person.watchers) {
		for (const companion of watcher.companions.values()) {
			for (const server of ['s.whatsapp.net', 'lid']) {
				const devices = [0, ...person.companions.keys()].map((device) =>
					node('device', { jid: person.jid(server, device) }),
				)
				const stanza = node(
					'notification',
					{ from: person.jid(server), id: `${id}${server[0]}`, type: 'devices', t: seconds() },
					[node('update', {}, devices)],
				)
				companion.hold(`notification:${stanza.attrs.id}`, stanza)
			}
		}
	}
}

/** Say something to a client of one's own that no chat shows. */
function tellClient(person, companion, protocolMessage) {
	return person.device.run(async () => {
		const id = messageId()
		const { type, ciphertext } = await sealFor(person, companion, { protocolMessage })
		companion.hold(
			`message:${id}`,
			node('message', { from: person.pnJid, id, t: seconds(), type: 'text', category: 'peer' }, [
				node('enc', { v: '2', type }, ciphertext),
			]),
		)
	})
}

/** What a phone gives a new client: a key for its settings, and its history, which is empty here but for names. */
export async function shareHistory(world, person, companion) {
	await tellClient(person, companion, {
		type: ProtocolMessage.Type.APP_STATE_SYNC_KEY_SHARE,
		appStateSyncKeyShare: {
			keys: [
				{
					keyId: { keyId: randomBytes(6) },
					keyData: {
						keyData: randomBytes(32),
						fingerprint: { rawId: 1, currentIndex: 0, deviceIndexes: [0] },
						timestamp: Math.floor(Date.now() / 1000),
					},
				},
			],
		},
	})
	const { HistorySyncType } = proto.HistorySync
	const history = proto.HistorySync.encode({
		syncType: HistorySyncType.INITIAL_BOOTSTRAP,
		conversations: [],
		progress: 100,
		pushnames: [{ id: person.pnJid, pushname: person.name }],
		phoneNumberToLidMappings: [{ pnJid: person.pnJid, lidJid: person.lidJid }],
	}).finish()
	await tellClient(person, companion, {
		type: ProtocolMessage.Type.HISTORY_SYNC_NOTIFICATION,
		historySyncNotification: {
			syncType: HistorySyncType.INITIAL_BOOTSTRAP,
			progress: 100,
			chunkOrder: 1,
			initialHistBootstrapInlinePayload: deflateSync(history),
		},
	})
}

/** A client asks its phone for messages that it could not read; the phone has them all. */
export async function answerPeer(world, person, companion, message) {
	const said = message.deviceSentMessage?.message ?? message
	const request = said.protocolMessage?.peerDataOperationRequestMessage
	if (!request)
		return log('info', 'a client told its phone something', {
			phone: person.phone,
			fields: Object.keys(said.protocolMessage ?? said),
		})
	const results = []
	for (const { messageKey } of request.placeholderMessageResendRequest ?? []) {
		const found = person.messages.get(messageKey.id)
		if (!found) continue
		const info = proto.WebMessageInfo.encode(
			proto.WebMessageInfo.fromObject({
				key: messageKey,
				message: found.message,
				messageTimestamp: Math.floor(Date.now() / 1000),
				pushName: found.author.name,
			}),
		).finish()
		results.push({ placeholderMessageResendResponse: { webMessageInfoBytes: info } })
		const entry = world.ledger.in(person.phone, messageKey.id)
		if (!entry) continue
		entry.revived++
		world.ledger.touch(entry)
	}
	// Not awaited: the device is at work on this very request, and the answer is queued behind it.
	tellClient(person, companion, {
		type: ProtocolMessage.Type.PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE,
		peerDataOperationRequestResponseMessage: {
			peerDataOperationRequestType: request.peerDataOperationRequestType,
			stanzaId: messageId(),
			peerDataOperationResult: results,
		},
	}).catch((error) => log('error', 'a phone cannot answer its client', { phone: person.phone, error: error.message }))
	return undefined
}

/** Take a client off the account: what the server says to it, and to who knows its devices. */
export function unlink(world, companion, by) {
	const { person, device } = companion
	if (!person.companions.delete(device)) return
	companion.pending.clear()
	companion.connection?.end(node('stream:error', { code: '401' }, [node('conflict', { type: 'device_removed' })]))
	devicesChanged(world, person)
	world.tell('unlinked', { phone: person.phone, device, by })
}
