// A chat client after docs/protocol.md and nothing else, on a WebSocket library that nobody here wrote.
//
//     node chat_peer.mjs ws://127.0.0.1:7000/chat
//
// The server must admit guests. Exits 0 when everything on the way was as the page says, otherwise 1 with one sentence.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import WebSocket from 'ws';

const CODEC = 'chat.v1.json';
const FRAME_WITHIN = 8_000; // milliseconds
const SCENARIO_WITHIN = 50_000;

// What the page does not mark optional.
const FRAMES = {
  welcome: ['session', 'user', 'epoch', 'limits', 'heartbeat', 'capabilities', 'at'],
  inbox: ['entries', 'revision', 'last'],
  reset: ['reason'],
  synced: ['revision'],
  event: ['event', 'conversation', 'seq', 'tag', 'id', 'at', 'data'],
  page: ['conversation', 'items'],
  skip: ['conversation', 'from', 'to', 'tag'],
  signal: ['signal', 'data'],
  reply: ['req', 'result'],
  error: ['code', 'retryable', 'message'],
  expiring: ['expires_in_ms'],
  reconnect: ['after_ms'],
};
const ENTRY = 'conversation head role joined unread read delivered muted archived revision'.split(' ');
const MESSAGE = 'id seq at version changed'.split(' ');
const STORED = 'conversation id seq tag at duplicate'.split(' ');

/** Something is not as the page says; the message is the sentence for the reader. */
class Wrong extends Error {}

function need(condition, sentence) {
  if (!condition) throw new Wrong(sentence);
}

function needFields(fields, holder, what) {
  for (const field of fields) need(field in holder, `${what} is without ${field}: ${show(holder)}`);
}

const show = (value) => JSON.stringify(value);

/** One user on one device: keeps in step by the rules of the page, and calls every departure from it wrong. */
class Peer {
  session = null;
  attempt = 0;
  epoch = null;
  revision = null;
  cursors = new Map(); // by conversation
  entries = new Map(); // by conversation
  messages = new Map(); // by id, the newest copy of each
  taken = []; // events in their order
  repeated = []; // those that the cursor was past already
  signals = [];
  resets = [];
  heardText = ''; // to search for what must not be there

  constructor(url, name) {
    this.url = url;
    this.name = name;
  }

  async connect() {
    Object.assign(this, { request: 0, answers: new Map(), synced: false, pongs: 0, received: [], over: null });
    const socket = new WebSocket(this.url, [CODEC], { handshakeTimeout: FRAME_WITHIN });
    this.socket = socket;
    this.wake = () => {};
    socket.on('message', (data, binary) => {
      if (socket !== this.socket) return;
      this.received.push({ text: data.toString('utf8'), binary });
      this.wake();
    });
    socket.on('close', (code, reason) => {
      if (socket !== this.socket) return;
      this.over = `${code} ${reason}`;
      this.wake();
    });
    await opened(socket);
    need(socket.protocol === CODEC, `the subprotocol became ${socket.protocol}`);
    need(socket.extensions === '', `there is an extension: ${socket.extensions}`);
    const hello = { type: 'hello', guest: this.name, attempt: this.attempt++, wants: ['receipts', 'a-new-one'] };
    hello.client = { name: 'chat-peer-node', version: '1' };
    hello.from_the_future = true; // to be ignored
    if (this.session) hello.session = this.session;
    this.say(hello);
    for (const frame of this.resumeFrames()) this.say(frame);
    const welcome = await this.hear();
    need(welcome.type === 'welcome', `the first frame is no welcome: ${show(welcome)}`);
    need(welcome.user === this.name, `${this.name} was welcomed as ${welcome.user}`);
    need(!welcome.capabilities.includes('a-new-one'), 'an unknown capability is in force');
    need(!this.epoch || this.epoch === welcome.epoch, 'the epoch changed');
    need(!this.session || isDeepStrictEqual(this.session, welcome.session), 'a known session was not gone on with');
    Object.assign(this, { session: welcome.session, epoch: welcome.epoch, capabilities: welcome.capabilities });
    await this.until(() => this.synced, 'synced');
  }

  resumeFrames() {
    if (!this.epoch) return [{ type: 'resume', last: true }];
    const about = { type: 'resume', epoch: this.epoch, revision: this.revision };
    const cursors = [...this.cursors].map(([conversation, cursor]) => ({ conversation, ...cursor }));
    const half = Math.floor(cursors.length / 2);
    const first = half ? [{ ...about, cursors: cursors.slice(0, half), last: false }] : [];
    return [...first, { ...about, cursors: cursors.slice(half), last: true }];
  }

  /** The connection ends as when a cable is cut: without a close frame, and what was not read is lost. */
  async drop() {
    this.received = [];
    this.socket.terminate();
    this.socket = null;
  }

  async close() {
    const { socket } = this;
    socket.close(1000);
    await until(() => this.over !== null, this, 'the end of an orderly close');
    need(this.over.startsWith('1000'), `an orderly close ended with ${this.over}`);
  }

  say(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  async hear() {
    await until(() => this.received.length > 0 || this.over !== null, this, 'a frame');
    need(this.received.length > 0, `the connection of ${this.name} was closed: ${this.over}`);
    const { text, binary } = this.received.shift();
    need(!binary, `a binary frame in ${CODEC}`);
    this.heardText += text;
    const frame = JSON.parse(text);
    needFields(FRAMES[frame.type] ?? [], frame, frame.type);
    return frame;
  }

  async until(holds, what) {
    while (!holds()) {
      try {
        this.take(await this.hear());
      } catch (wrong) {
        if (wrong instanceof Wrong) wrong.message += ` (while waiting for ${what})`;
        throw wrong;
      }
    }
  }

  take(frame) {
    switch (frame.type) {
      case 'inbox':
        for (const entry of frame.entries) this.takeEntry(entry);
        if (frame.last) this.revision = frame.revision;
        break;
      case 'event':
      case 'skip':
        this.takeItem(frame);
        break;
      case 'page':
        for (const item of frame.items) {
          need(item.conversation === frame.conversation, "a page with another conversation's item");
          this.takeItem(item);
        }
        break;
      case 'reset':
        this.takeReset(frame);
        break;
      case 'synced':
        this.synced = true;
        break;
      case 'signal':
        this.signals.push(frame);
        break;
      case 'reply':
      case 'error':
        need('req' in frame, `an error that nobody asked for: ${show(frame)}`);
        this.answers.set(frame.req, frame);
        break;
      case 'ping':
        this.say({ type: 'pong' });
        break;
      case 'pong':
        this.pongs += 1;
        break;
      default: // newer than this client
    }
  }

  takeEntry(entry) {
    needFields(ENTRY, entry, 'an inbox entry');
    const conversation = entry.conversation.id;
    if (!this.cursors.has(conversation)) {
      this.cursors.set(conversation, entry.head);
      this.entries.set(conversation, { ...entry });
    }
    const known = this.entries.get(conversation);
    for (const mark of ['read', 'delivered']) known[mark] = Math.max(known[mark], entry[mark]);
    for (const field of ['muted', 'archived', 'role', 'joined']) known[field] = entry[field];
    if (entry.head.seq >= this.cursors.get(conversation).seq) {
      known.unread = entry.unread;
      if (entry.last_message) this.takeMessage(entry.last_message);
    }
  }

  takeItem(item) {
    needFields(FRAMES[item.type], item, item.type);
    const cursor = this.cursors.get(item.conversation);
    if (!cursor) return;
    const skip = item.type === 'skip';
    const [first, last] = skip ? [item.from, item.to] : [item.seq, item.seq];
    if (last <= cursor.seq) {
      this.repeated.push(item);
      return;
    }
    need(first <= cursor.seq + 1, `${this.name} was at ${cursor.seq}, and ${first} follows: a gap`);
    this.cursors.set(item.conversation, { seq: last, tag: item.tag });
    if (skip) return;
    this.taken.push(item);
    if (item.data.message) this.takeMessage(item.data.message);
    const gone = ['member:left', 'member:removed'].includes(item.event) && item.data.user === this.name;
    if ((gone && last > this.entries.get(item.conversation).joined) || item.event === 'conversation:deleted') {
      this.forget(item.conversation);
    }
  }

  takeMessage(message) {
    needFields(MESSAGE, message, 'a message');
    const known = this.messages.get(message.id);
    if (!known || message.changed >= known.changed) this.messages.set(message.id, message);
  }

  takeReset(frame) {
    need(frame.conversation, `the server forgot everything: ${show(frame)}`);
    this.resets.push(frame);
    this.forget(frame.conversation);
    if (frame.entry) this.takeEntry(frame.entry);
  }

  forget(conversation) {
    this.cursors.delete(conversation);
    this.entries.delete(conversation);
  }

  /** The answer; as the page says, the same is sent again when it was too fast or nobody knows. */
  async command(name, data) {
    for (;;) {
      this.request += 1;
      const req = this.request;
      this.say({ type: 'command', req, command: name, data });
      await this.until(() => this.answers.has(req), `the answer to ${name}`);
      const answer = this.answers.get(req);
      this.answers.delete(req);
      if (!['rate_limited', 'unavailable'].includes(answer.code)) return answer;
      need(answer.retryable, `${answer.code} must be retryable: ${show(answer)}`);
      await sleep(answer.retry_after_ms ?? 500);
    }
  }

  async ask(kind, name, data) {
    const answer = await this.command(name, data);
    need(answer.type === 'reply', `${name} of ${this.name} was refused: ${show(answer)}`);
    need(isDeepStrictEqual(Object.keys(answer.result), [kind]), `${name} was answered with ${show(answer.result)}`);
    const result = answer.result[kind];
    if (kind === 'stored') needFields(STORED, result, `the answer to ${name}`);
    return result;
  }

  async refused(code, name, data) {
    const answer = await this.command(name, data);
    need(answer.code === code, `${name} should have been ${code}, but: ${show(answer)}`);
    need(!answer.retryable, `${code} is not retryable: ${show(answer)}`);
    return answer;
  }

  async send(conversation, text) {
    const id = randomUUID();
    await this.ask('stored', 'message:send', { conversation, id, content: { text } });
    return id;
  }

  async unread(conversation) {
    return (await this.ask('conversation', 'conversation:get', { conversation })).entry.unread;
  }

  history(conversation) {
    return this.ask('history', 'history:list', { conversation, limit: 200 });
  }

  said(conversation) {
    const news = this.taken.filter((event) => event.conversation === conversation && event.event === 'message:new');
    return news.map((event) => event.data.message.id);
  }
}

/** Waits for `holds` as long as a frame may take; the peer wakes it up. */
function until(holds, peer, what) {
  if (holds()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Wrong(`${peer.name} waited ${FRAME_WITHIN} ms in vain for ${what}`)),
      FRAME_WITHIN,
    );
    peer.wake = () => {
      if (!holds()) return;
      clearTimeout(late);
      resolve();
    };
  });
}

/** The handshake is over; errors after it end in `close`. */
function opened(socket) {
  return new Promise((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', (error) => reject(new Wrong(`no connection: ${error.message}`)));
  });
}

async function wrongPath(url) {
  const path = new URL(url).pathname;
  const socket = new WebSocket(new URL('/not-the-chat', url), [CODEC], { handshakeTimeout: FRAME_WITHIN });
  const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve([code, reason.toString()])));
  await opened(socket);
  const [code, reason] = await Promise.race([closed, sleep(FRAME_WITHIN, ['nothing', ''], { ref: false })]);
  need(code === 4510, `an unknown path was answered with ${code}, not closed with 4510`);
  need(reason.includes(path), `the reason does not name ${path}: ${reason}`);
}

/** A group of both. Two users may add each other when they share a conversation: a public channel is open to all. */
async function meet(anna, ben) {
  const channel = randomUUID();
  const square = { conversation: channel, id: randomUUID(), kind: 'channel', public: true, title: 'Square' };
  await anna.ask('stored', 'conversation:create', square);
  await anna.until(() => anna.entries.has(channel), 'the channel in the inbox of who created it');
  await ben.ask('stored', 'conversation:join', { conversation: channel, id: randomUUID() });
  await ben.until(() => ben.entries.has(channel), 'the channel in the inbox of who joined');
  const joined = (event) => event.event === 'member:joined' && event.conversation === channel;
  await anna.until(() => anna.taken.some(joined), 'the event of a join');
  need(anna.taken.find(joined).data.member.user === ben.name, 'somebody else joined');

  const group = randomUUID();
  const create = { conversation: group, id: randomUUID(), kind: 'group', title: 'Zwei Leute ☕', members: [ben.name] };
  const first = await anna.ask('stored', 'conversation:create', create);
  need(first.seq === 1 && !first.duplicate, `the first event is no new one at 1: ${show(first)}`);
  const again = await anna.ask('stored', 'conversation:create', create);
  need(isDeepStrictEqual(again, { ...first, duplicate: true }), `${show(again)} after ${show(first)}`);
  for (const peer of [anna, ben]) await peer.until(() => peer.entries.has(group), 'the group in the inbox');
  need(anna.entries.get(group).role === 'owner', 'who creates is not the owner');
  need(ben.entries.get(group).role === 'member', 'who is added is not a member');
  return group;
}

async function chat(anna, ben, group) {
  const sent = [];
  for (let number = 0; number < 3; number += 1) {
    sent.push(await anna.send(group, `anna ${number} – grüß dich 🙂`));
    sent.push(await ben.send(group, `ben ${number}\n\tzwei Zeilen`));
  }
  for (const peer of [anna, ben]) {
    await peer.until(() => peer.said(group).length >= sent.length, 'what both said');
    need(isDeepStrictEqual(peer.said(group), sent), `${peer.name} took ${peer.said(group)}, not ${sent}`);
    const senders = sent.map((id) => peer.messages.get(id).sender);
    need(senders.every((sender, at) => sender === (at % 2 ? ben : anna).name), `the senders are ${senders}`);
  }
  need(anna.messages.get(sent[1]).content.text === 'ben 0\n\tzwei Zeilen', 'a text was changed on its way');
  return sent;
}

async function retry(anna, ben, group) {
  const send = { conversation: group, id: randomUUID(), content: { text: 'once' } };
  const first = await anna.ask('stored', 'message:send', send);
  need(!first.duplicate, `a new message is a duplicate: ${show(first)}`);
  const again = await anna.ask('stored', 'message:send', send);
  need(isDeepStrictEqual(again, { ...first, duplicate: true }), `${show(again)} after ${show(first)}`);
  await anna.refused('id_conflict', 'message:send', { ...send, content: { text: 'twice' } });
  await ben.refused('id_conflict', 'message:send', send);
  return send.id;
}

/** Ben's connection breaks in the middle of what Anna says; he comes back while she goes on, and once more after. */
async function loseAndResume(anna, ben, group, said) {
  const talk = async () => {
    for (let number = 0; number < 8; number += 1) {
      said.push(await anna.send(group, `on and on ${number}`));
      await sleep(20);
    }
  };
  for (const backWhileTalking of [true, false]) {
    const before = said.length;
    const there = ben.said(group).length;
    const talking = talk();
    await ben.until(() => ben.said(group).length >= there + 3, 'the beginning');
    await ben.drop();
    const missedFrom = ben.said(group).length;
    if (!backWhileTalking) await talking;
    ben.repeated = [];
    await ben.connect();
    const synced = ben.said(group).length;
    need(backWhileTalking || synced === said.length, `synced came at ${synced} of ${said.length} messages`);
    await talking;
    await ben.until(() => ben.said(group).length >= before + 8, 'what was missed');
    need(isDeepStrictEqual(ben.said(group), said), 'what was missed did not come in order, each once');
    need(missedFrom < said.length, 'nothing was missed');
    need(ben.repeated.length === 0, `what the cursors cover came again: ${show(ben.repeated)}`);
  }
}

/** Anna's connection breaks before the answer: she sends the same again, and it is there once. */
async function loseTheAnswer(anna, ben, group, said) {
  const data = { conversation: group, id: randomUUID(), content: { text: 'are you there?' } };
  anna.say({ type: 'command', req: 999, command: 'message:send', data });
  await anna.drop();
  await anna.connect();
  const stored = await anna.ask('stored', 'message:send', data);
  said.push(data.id);
  for (const peer of [anna, ben]) {
    await peer.until(() => peer.said(group).includes(data.id), 'the message that was sent twice');
  }
  const { messages } = await anna.history(group);
  const found = messages.filter((message) => message.id === data.id).map((message) => message.seq);
  need(isDeepStrictEqual(found, [stored.seq]), `what was sent twice is at ${found}, not at ${stored.seq} only`);
  const ids = messages.map((message) => message.id);
  need(isDeepStrictEqual(ids, said), 'the history is not what was said');
  need(isDeepStrictEqual(anna.said(group), said), 'anna did not take what was said, in order, each once');
}

async function editAndDelete(anna, ben, group, message, secret) {
  const edit = (changes) => ({
    conversation: group,
    id: randomUUID(),
    message,
    version: 1,
    content: { text: 'edited' },
    ...changes,
  });
  await anna.ask('stored', 'message:edit', edit());
  const stale = await anna.refused('version_conflict', 'message:edit', edit());
  need(stale.version === 2, `the current version is 2: ${show(stale)}`);
  await ben.until(() => ben.messages.get(message).version === 2, 'the edit');
  need(ben.messages.get(message).content.text === 'edited', 'the edit did not bring its text');
  need('edited_at' in ben.messages.get(message), 'an edited message is without edited_at');
  await ben.refused('forbidden', 'message:edit', edit({ version: 2 }));

  await anna.ask('stored', 'message:delete', { conversation: group, id: randomUUID(), message: secret });
  await anna.refused('gone', 'message:edit', edit({ message: secret, version: 2 }));
  await ben.until(() => 'deleted_at' in ben.messages.get(secret), 'the tombstone');
  const { messages } = await ben.history(group);
  for (const copy of [ben.messages.get(secret), messages.find((found) => found.id === secret)]) {
    need('deleted_at' in copy && !('content' in copy), `a tombstone has a body: ${show(copy)}`);
  }
}

async function marks(anna, ben, group) {
  need(anna.capabilities.includes('receipts'), `receipts are not in force: ${anna.capabilities}`);
  await anna.ask('done', 'watch:conversations', { conversations: [group] });
  const read = (seq) => ben.ask('done', 'mark:read', { conversation: group, seq });
  await read(ben.cursors.get(group).seq);
  need((await ben.unread(group)) === 0, 'all is read, and something is unread');
  let last;
  for (let number = 0; number < 3; number += 1) last = await anna.send(group, `unread ${number}`);
  await ben.until(() => ben.messages.has(last), 'what is to be unread');
  need((await ben.unread(group)) === 3, 'three messages are unread');
  need((await anna.unread(group)) === 0, 'what one sent oneself is unread');
  const { seq } = ben.messages.get(last);
  await read(seq - 1);
  need((await ben.unread(group)) === 1, 'one message is unread');
  await read(1);
  need((await ben.unread(group)) === 1, 'a mark went back');
  await ben.refused('invalid_argument', 'mark:read', { conversation: group, seq: seq + 1000 });
  const listed = await anna.ask('marks', 'mark:list', { conversation: group });
  const ofBen = listed.marks.find((mark) => mark.user === ben.name)?.read;
  need(ofBen === seq - 1, `ben's mark is ${seq - 1}, and the list says ${ofBen}`);
  const signal = ({ signal, data }) => signal === 'marks' && data.user === ben.name && data.read === seq - 1;
  await anna.until(() => anna.signals.some(signal), "the signal of ben's mark");
}

/** What is wrong in a command is said, and the connection goes on. */
async function mistakes(anna, group) {
  const send = { conversation: group, id: randomUUID(), content: { text: 'no' } };
  const wrong = await anna.refused('invalid_argument', 'message:send', { ...send, colour: 'red' });
  need(wrong.message.includes('colour'), `the message does not name the unknown field: ${show(wrong)}`);
  await anna.refused('invalid_argument', 'message:send', { ...send, id: send.id.toUpperCase() });
  await anna.refused('invalid_argument', 'mark:read', { conversation: group, seq: '1' });
  await anna.refused('unknown_command', 'message:sing', send);
  await anna.refused('not_found', 'message:send', { ...send, conversation: randomUUID() });
  const { pongs } = anna;
  anna.say({ type: 'ping' });
  await anna.until(() => anna.pongs > pongs, 'the pong');
}

/** A direct conversation is there once, whoever opens it. */
async function direct(anna, ben) {
  const create = (other) => ({ conversation: randomUUID(), id: randomUUID(), kind: 'direct', members: [other.name] });
  const { conversation } = await anna.ask('stored', 'conversation:create', create(ben));
  const found = await ben.ask('stored', 'conversation:create', create(anna));
  need(found.duplicate, `a direct conversation that exists was stored as a new one: ${show(found)}`);
  need(found.conversation === conversation, `there are two direct conversations: ${conversation}, ${show(found)}`);
  for (const peer of [anna, ben]) await peer.until(() => peer.entries.has(conversation), 'it in the inbox');
  const message = await ben.send(conversation, 'just the two of us');
  await anna.until(() => anna.said(conversation).includes(message), 'the message in the direct conversation');
  const members = anna.entries.get(conversation).members.map((member) => member.user);
  need(isDeepStrictEqual(members.sort(), [anna.name, ben.name].sort()), `the direct conversation is of ${members}`);
}

/** Another device of Ben's starts with what it had saved long ago: all since then comes, and nothing deleted. */
async function replay(ben, group, saved, edited, secret, text) {
  const device = new Peer(ben.url, ben.name);
  Object.assign(device, structuredClone(saved));
  const after = device.cursors.get(group).seq;
  await device.connect();
  const ofGroup = (peer) => peer.taken.filter((event) => event.conversation === group && event.seq > after);
  const shape = (peer) => ofGroup(peer).map(({ seq, tag, event, id }) => [seq, tag, event, id]);
  need(isDeepStrictEqual(shape(device), shape(ben)), 'a replay is not what came the first time');
  need(device.repeated.length === 0, `what the cursors cover came again: ${show(device.repeated)}`);
  for (const event of ofGroup(device)) {
    const message = event.data.message ?? {};
    if (message.id === secret) {
      need('deleted_at' in message && !('content' in message), `the replay has no tombstone: ${show(event)}`);
    }
    if (message.id === edited) {
      need(message.content.text === 'edited', `the replay shows the message before its edit: ${show(event)}`);
    }
  }

  let position = { seq: 0, tag: '0'.repeat(16) };
  for (let more = true; more; ) {
    const log = await device.ask('log', 'log:list', { conversation: group, after: position, limit: 7 });
    for (const item of log.items) {
      const [first, last] = item.type === 'skip' ? [item.from, item.to] : [item.seq, item.seq];
      need(first === position.seq + 1, `the log goes on with ${first} after ${position.seq}`);
      position = { seq: last, tag: item.tag };
    }
    more = log.more;
  }
  need(isDeepStrictEqual(position, ben.cursors.get(group)), `the log ends at ${show(position)}`);
  need(!device.heardText.includes(text), 'the replay or the log tells what was deleted');
  await device.close();
}

async function removedWhileAway(anna, ben, group) {
  await ben.drop();
  await anna.ask('stored', 'member:remove', { conversation: group, id: randomUUID(), user: ben.name });
  await anna.send(group, 'among ourselves');
  await ben.connect();
  need(!ben.cursors.has(group), 'who was removed still has the conversation');
  need(!ben.heardText.includes('among ourselves'), 'who was removed hears on');
  await ben.refused('not_found', 'history:list', { conversation: group });
}

async function scenario(url, at) {
  at.step = 'an unknown path';
  await wrongPath(url);
  const run = randomUUID().slice(0, 8);
  const [anna, ben] = [new Peer(url, `anna-${run}`), new Peer(url, `ben-${run}`)];
  at.step = 'hello and resume';
  await anna.connect();
  await ben.connect();
  at.step = 'creating a group';
  const group = await meet(anna, ben);
  at.step = 'chatting';
  const said = await chat(anna, ben, group);
  const { epoch, revision, cursors, entries } = ben;
  const saved = structuredClone({ epoch, revision, cursors, entries });
  at.step = 'sending the same again';
  said.push(await retry(anna, ben, group));
  const text = `secret of ${run}`;
  const secret = await anna.send(group, text);
  said.push(secret);
  at.step = 'a lost connection';
  await loseAndResume(anna, ben, group, said);
  at.step = 'a lost answer';
  await loseTheAnswer(anna, ben, group, said);
  at.step = 'editing and deleting';
  const edited = said.at(-1);
  await editAndDelete(anna, ben, group, edited, secret);
  at.step = 'marks';
  await marks(anna, ben, group);
  at.step = 'mistakes';
  await mistakes(anna, group);
  at.step = 'a direct conversation';
  await direct(anna, ben);
  at.step = 'a replay';
  await replay(ben, group, saved, edited, secret, text);
  at.step = 'being removed';
  await removedWhileAway(anna, ben, group);
  await anna.close();
  await ben.close();
}

if (process.argv.length !== 3) {
  console.error('usage: node chat_peer.mjs ws://HOST:PORT/chat');
  process.exit(2);
}
const at = { step: '' };
const late = new Wrong(`not at its end after ${SCENARIO_WITHIN} ms`);
const end = setTimeout(() => failed(late), SCENARIO_WITHIN);
const failed = (wrong) => {
  console.error(`wrong: ${CODEC}, ${at.step}: ${wrong instanceof Wrong ? wrong.message : wrong.stack}`);
  process.exit(1);
};
await scenario(process.argv[2], at).catch(failed);
clearTimeout(end);
console.log(`ws, ${CODEC}: as the page says`);
