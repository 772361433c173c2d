/** The documents and events that the client gives and takes, as far as it knows them; the types `rest` and `events` of the package have all. */

/**
 * @typedef {object} User
 * @property {string} id
 * @property {string} name
 * @property {string|null} avatarUrl
 * @property {string[]} [permissions] of the logged-in user alone
 * @property {string|null} [email] of the logged-in user alone
 *
 * @typedef {object} Member
 * @property {string} userId
 * @property {string} name
 * @property {"owner"|"admin"|"moderator"|"member"|"readonly"} role
 * @property {number} readSeq up to where this member has read
 * @property {number} joinedSeq
 *
 * @typedef {object} Media
 * @property {string} id
 * @property {"image"|"video"|"audio"|"file"} type by its content
 * @property {string} name
 * @property {number} size bytes
 * @property {number|null} duration seconds
 * @property {number|null} width
 * @property {number|null} height
 * @property {string|null} thumbnail_url
 *
 * @typedef {object} Reaction
 * @property {string} key an emoji, or a name such as :heart:
 * @property {number} count
 * @property {string[]} userIds some of those who reacted so, at most 20
 *
 * @typedef {object} Thread the summary of a thread, of the replies that are not deleted
 * @property {number} replyCount
 * @property {number} lastSeq 0 without a reply
 * @property {string|null} lastAt
 * @property {string[]} participants who replied first, at most 5
 *
 * @typedef {object} Message
 * @property {string} _id
 * @property {string} chatId
 * @property {string} senderId
 * @property {"text"|"media"|"creditTransfer"} type
 * @property {string|null} content
 * @property {Media|null} media
 * @property {{amount: number, recipientId: string, senderId: string, reversal?: true}|null} creditTransfer
 * @property {number} seq its place in the chat: messages sort by it
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {Reaction[]} [reactions] where there are some; not in `message:new` and `message:updated`
 * @property {string[]} [mine] keys of the user's own reactions, as the page keeps them
 * @property {string[]} [mentions] ids of members
 * @property {true} [mentionAll]
 * @property {true} [forwarded] it is a copy of another message
 * @property {string} [threadId] of a reply: the message that began its thread
 * @property {true} [alsoInChat] of a reply that the chat shows, too
 * @property {Thread} [thread] of a message with replies; not in events of it
 * @property {string} [deletedAt]
 *
 * @typedef {object} Chat
 * @property {string} _id
 * @property {"direct"|"group"|"room"} type anybody reads a room
 * @property {string|null} name
 * @property {Member[]} members at most 100
 * @property {number} memberCount
 * @property {string} [role] that of the user in a room; "viewer" without a membership
 * @property {Message|null} lastMessage
 * @property {number} unreadCount
 * @property {number} [mentionCount] unread messages that mention the user, where there are any
 * @property {string|null} mutedUntil
 * @property {"none"} [muteLevel] mentions are not pushed either
 * @property {string|null} [silencedUntil] until when the user may not write; null for no end
 * @property {number} [slowMode] seconds between two messages of a member
 * @property {boolean} [frozen] only moderators may write
 * @property {"all"|"moderators"} [links] who may post links
 * @property {"all"|"members"|"none"} [reactions] who may react
 * @property {number} seq that of the last event of the chat that this document contains
 * @property {string} createdAt
 * @property {string} updatedAt
 *
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} type
 * @property {string} category
 * @property {string} title
 * @property {string} message
 * @property {string|null} actionUrl
 * @property {boolean} read
 * @property {string} createdAt
 *
 * @typedef {object} Stream
 * @property {string} id
 * @property {string} title
 * @property {"scheduled"|"ready"|"started"|"ended"|"cancelled"|"expired"} status
 * @property {string} startsAt
 * @property {string} ownerId
 * @property {string} chatId
 * @property {"open"} [audience] anybody watches it
 * @property {number} [viewers] of an open one
 * @property {number} [peak] how many there were at most
 *
 * @typedef {object} Outgoing what `Live.send` takes
 * @property {"text"|"media"|"creditTransfer"} type
 * @property {string} [chatId]
 * @property {string} [targetUserId]
 * @property {string} [content]
 * @property {string} [forwardOf] it is a copy of this message
 * @property {string[]} [mentions] ids of members, at most 50
 * @property {boolean} [mentionAll]
 * @property {string} [threadId] it is a reply in the thread of this message
 * @property {boolean} [alsoInChat] the chat shows the reply, too
 * @property {string} [file] the id of an upload
 * @property {{amount: number}} [creditTransfer]
 * @property {string} [clientMessageId] the key under which it is sent at most once; made here if absent
 */

/**
 * What `Live` gives to its listeners, by event. Durable ones come once and in order, with `{channel, seq}`. `message:reactions` are
 * whole states; `typing` ends after six seconds; `stream:reactions` are those since the event before. Of the connection itself:
 * `state`; `reload`, when events were missed that can't be replayed, so that `channels` must be read over REST; `closed`, when the
 * login is over. Of messages that this client sends: `queued`, then `sent` or `refused`.
 *
 * @typedef {{
 *   "message:new": Message,
 *   "message:updated": Message,
 *   "message:deleted": Message,
 *   "message:read": {chatId: string, userId: string, messageId: string, readSeq: number},
 *   "message:reactions": {chatId: string, items: {messageId: string, reactions: Reaction[]}[]},
 *   "message:thread": {chatId: string, threadId: string, thread: Thread},
 *   "thread:read": {chatId: string, threadId: string, readSeq: number},
 *   "chat:new": Chat & {at: number},
 *   "chat:updated": {chatId: string, changes: object, added: string[], removed: string[]},
 *   "chat:removed": {chatId: string},
 *   "notification:new": Notification,
 *   "notification:read": {ids?: string[], all?: true, before?: string},
 *   "notification:deleted": Notification,
 *   "credit:balance": {balance: number, transactionId: string},
 *   "stream:status": Stream,
 *   "stream:viewers": {streamId: string, viewers: number, peak: number},
 *   "stream:reactions": {streamId: string, counts: {[key: string]: number}},
 *   "member:silenced": {chatId: string, until: string|null},
 *   "typing": {chatId: string, userId: string},
 *   "presence": {userId: string, online: boolean, lastSeenAt: string|null},
 *   "state": "connecting"|"online"|"offline",
 *   "reload": {channels: string[], first: boolean},
 *   "closed": {reason: "logout"|"banned"|"deleted"|string},
 *   "queued": Outgoing,
 *   "sent": Message,
 *   "refused": {message: Outgoing, error: import("./refused.js").Refused},
 * }} Events
 */

export {};
