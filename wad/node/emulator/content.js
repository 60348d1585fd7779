/** What people say, in two directions: a test's words into WhatsApp's message, and a message into words for a test. */

import { createCipheriv, createHash, createHmac, randomBytes } from 'node:crypto'

import { normalizeMessageContent, proto } from '@whiskeysockets/baileys'

import { CallError } from '../lines.js'

const MEDIA = ['image', 'video', 'audio', 'document', 'sticker']
const MIMETYPES = {
	image: 'image/jpeg',
	video: 'video/mp4',
	audio: 'audio/ogg; codecs=opus',
	document: 'application/octet-stream',
	sticker: 'image/webp',
}
const { ProtocolMessage } = proto.Message

/**
 * Build a message from `content`, which holds one of
 *
 *   text: string                                with `mentions`: [phone]
 *   image|video|audio|document|sticker: {file, mimetype?, caption?, fileName?, ptt?, seconds?, width?, height?}
 *   location: {latitude, longitude, name?, address?}
 *   contact: {name, phone}
 *   poll: {name, options, selectable?}
 *   vote: {id, options}                         on a poll that the speaker has
 *   reaction: {id, emoji}                       "" takes it back
 *   edit: {id, text}
 *   delete: {id}
 *
 * and, with any of them but the last four, `reply: id` of a message that the speaker has.
 *
 * `recall(id)` gives {message, key, author} of such a message: the key as this chat has it for the speaker, and the JID
 * of who wrote it. `self` is the speaker's JID in this chat.
 *
 * @returns {Promise<proto.IMessage>}
 */
export async function build(content, { media, recall, self, jidOf }) {
	const contextInfo = {}
	if (content.reply) {
		const { message, author } = recall(content.reply)
		Object.assign(contextInfo, { stanzaId: content.reply, participant: author, quotedMessage: message })
	}
	if (content.mentions) contextInfo.mentionedJid = content.mentions.map(jidOf)
	const context = Object.keys(contextInfo).length ? { contextInfo } : {}

	for (const kind of MEDIA) {
		if (content[kind]) return { [`${kind}Message`]: { ...(await mediaMessage(media, kind, content[kind])), ...context } }
	}
	if (content.text !== undefined) {
		return content.reply || content.mentions
			? { extendedTextMessage: { text: content.text, ...context } }
			: { conversation: content.text }
	}
	if (content.location) {
		const { latitude, longitude, name, address } = content.location
		return { locationMessage: { degreesLatitude: latitude, degreesLongitude: longitude, name, address, ...context } }
	}
	if (content.contact) {
		const { name, phone } = content.contact
		const vcard = `BEGIN:VCARD\nVERSION:3.0\nFN:${name}\nTEL;type=CELL;waid=${phone}:+${phone}\nEND:VCARD`
		return { contactMessage: { displayName: name, vcard, ...context } }
	}
	if (content.poll) {
		const { name, options, selectable = 1 } = content.poll
		const poll = {
			name,
			options: options.map((optionName) => ({ optionName })),
			selectableOptionsCount: selectable,
			...context,
		}
		return {
			messageContextInfo: { messageSecret: randomBytes(32) },
			[selectable === 1 ? 'pollCreationMessageV3' : 'pollCreationMessage']: poll,
		}
	}
	if (content.vote) return vote(content.vote, recall(content.vote.id), self)
	if (content.reaction) {
		const { key } = recall(content.reaction.id)
		return { reactionMessage: { key, text: content.reaction.emoji, senderTimestampMs: Date.now() } }
	}
	if (content.edit) {
		const { key } = recall(content.edit.id)
		const editedMessage = { conversation: content.edit.text }
		return { protocolMessage: { key, type: ProtocolMessage.Type.MESSAGE_EDIT, editedMessage, timestampMs: Date.now() } }
	}
	if (content.delete) {
		const { key } = recall(content.delete.id)
		return { protocolMessage: { key, type: ProtocolMessage.Type.REVOKE } }
	}
	throw new CallError('bad_content', `nothing to say in ${JSON.stringify(Object.keys(content))}`)
}

async function mediaMessage(media, kind, { file, mimetype = MIMETYPES[kind], caption, fileName, ptt, seconds, width, height }) {
	const shared = await media.share(file, kind)
	const extras = {
		image: { caption, width, height },
		video: { caption, seconds, width, height },
		audio: { ptt, seconds: seconds ?? 1 },
		document: { caption, fileName: fileName ?? 'file', title: fileName },
		sticker: {},
	}
	return { ...shared, mimetype, ...extras[kind] }
}

/** A vote is encrypted under the poll's secret, for it and this voter alone. */
function vote({ id, options }, { message, key, author }, self) {
	const secret = message.messageContextInfo?.messageSecret
	if (!secret) throw new CallError('bad_content', `${id} is no poll`)
	const hmac = (k, data) => createHmac('sha256', k).update(data).digest()
	const bare = (jid) => jid.replace(/:\d+@/, '@')
	const use = Buffer.concat([Buffer.from(id + bare(author) + bare(self) + 'Poll Vote'), Buffer.from([1])])
	const encIv = randomBytes(12)
	const cipher = createCipheriv('aes-256-gcm', hmac(hmac(Buffer.alloc(32), secret), use), encIv)
	cipher.setAAD(Buffer.from(`${id}\0${bare(self)}`))
	const choice = proto.Message.PollVoteMessage.encode({
		selectedOptions: options.map((name) => createHash('sha256').update(name).digest()),
	}).finish()
	const encPayload = Buffer.concat([cipher.update(choice), cipher.final(), cipher.getAuthTag()])
	return { pollUpdateMessage: { pollCreationMessageKey: key, vote: { encPayload, encIv }, senderTimestampMs: Date.now() } }
}

/** The `type` and `edit` attributes of a message's stanza, and the media type of its ciphertext. */
export function stanzaAttrs(message) {
	const kind = MEDIA.find((each) => message[`${each}Message`])
	if (kind) return { type: 'media', mediatype: kind === 'audio' && message.audioMessage.ptt ? 'ptt' : kind }
	if (message.contactMessage) return { type: 'media', mediatype: 'vcard' }
	if (message.locationMessage) return { type: 'media', mediatype: 'location' }
	if (message.reactionMessage) return { type: 'reaction' }
	if (message.pollCreationMessage || message.pollCreationMessageV3 || message.pollUpdateMessage) return { type: 'poll' }
	if (message.protocolMessage?.type === ProtocolMessage.Type.MESSAGE_EDIT) return { type: 'text', edit: '1' }
	if (message.protocolMessage?.type === ProtocolMessage.Type.REVOKE) return { type: 'text', edit: '7' }
	return { type: 'text' }
}

/** The media of a message, if it has any: {kind, part}. */
export function mediaOf(message) {
	const content = normalizeMessageContent(message) ?? {}
	const kind = MEDIA.find((each) => content[`${each}Message`])
	return kind && { kind, part: content[`${kind}Message`] }
}

/**
 * A message in words, with the same names as `build` takes, and `type`. Media are fetched from the host, decrypted and
 * checked against the message; `sha256` and `size` are of the plain file, `error` says what was wrong with it.
 */
export async function summary(message, media) {
	const content = normalizeMessageContent(message) ?? {}
	const context = Object.values(content).find((part) => part?.contextInfo)?.contextInfo
	const more = {
		...(context?.stanzaId ? { reply: context.stanzaId } : {}),
		...(context?.mentionedJid?.length ? { mentions: context.mentionedJid } : {}),
	}
	const found = mediaOf(message)
	if (found) {
		const { kind, part } = found
		const facts = {
			type: kind,
			mimetype: part.mimetype,
			caption: part.caption || undefined,
			fileName: part.fileName || undefined,
			ptt: part.ptt || undefined,
		}
		try {
			const plain = await media.open(part, kind)
			return { ...facts, size: plain.length, sha256: createHash('sha256').update(plain).digest('hex'), ...more }
		} catch (error) {
			return { ...facts, error: error.message, ...more }
		}
	}
	if (content.conversation) return { type: 'text', text: content.conversation }
	if (content.extendedTextMessage) return { type: 'text', text: content.extendedTextMessage.text, ...more }
	if (content.locationMessage) {
		const { degreesLatitude, degreesLongitude, name, address } = content.locationMessage
		return {
			type: 'location',
			latitude: degreesLatitude,
			longitude: degreesLongitude,
			name: name || undefined,
			address: address || undefined,
			...more,
		}
	}
	if (content.contactMessage)
		return { type: 'contact', name: content.contactMessage.displayName, vcard: content.contactMessage.vcard, ...more }
	if (content.contactsArrayMessage) {
		const { displayName, contacts } = content.contactsArrayMessage
		return {
			type: 'contacts',
			name: displayName,
			contacts: contacts.map(({ displayName: name, vcard }) => ({ name, vcard })),
			...more,
		}
	}
	const poll = content.pollCreationMessage ?? content.pollCreationMessageV2 ?? content.pollCreationMessageV3
	if (poll)
		return {
			type: 'poll',
			name: poll.name,
			options: poll.options.map(({ optionName }) => optionName),
			selectable: poll.selectableOptionsCount,
			...more,
		}
	if (content.pollUpdateMessage) return { type: 'vote', id: content.pollUpdateMessage.pollCreationMessageKey?.id }
	if (content.reactionMessage)
		return { type: 'reaction', id: content.reactionMessage.key?.id, emoji: content.reactionMessage.text ?? '' }
	const protocol = content.protocolMessage
	if (protocol?.type === ProtocolMessage.Type.MESSAGE_EDIT) {
		const { text } = await summary(protocol.editedMessage, media)
		return { type: 'edit', id: protocol.key?.id, text }
	}
	if (protocol?.type === ProtocolMessage.Type.REVOKE) return { type: 'delete', id: protocol.key?.id }
	return { type: 'other', fields: Object.keys(content).filter((key) => content[key] && key !== 'messageContextInfo') }
}
