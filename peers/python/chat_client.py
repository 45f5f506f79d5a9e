"""A chat client after docs/protocol.md and nothing else: both codecs, and the rules for keeping in step.

What it keeps it keeps in memory, and every departure of the server from the page is `Wrong`.
"""

import asyncio
import itertools
import json
import uuid

import msgpack
import websockets

FRAME_WITHIN = 8  # seconds

# What the page does not mark optional.
FRAMES = {
    "welcome": ["session", "user", "epoch", "limits", "heartbeat", "capabilities", "at"],
    "inbox": ["entries", "revision", "last"],
    "reset": ["reason"],
    "synced": ["revision"],
    "event": ["event", "conversation", "seq", "tag", "id", "at", "data"],
    "page": ["conversation", "items"],
    "skip": ["conversation", "from", "to", "tag"],
    "signal": ["signal", "data"],
    "reply": ["req", "result"],
    "error": ["code", "retryable", "message"],
    "expiring": ["expires_in_ms"],
    "reconnect": ["after_ms"],
}
EVENTS = {
    "conversation:created": ["conversation", "members"],
    "conversation:updated": ["conversation"],
    "member:joined": ["member", "member_count"],
    "member:left": ["user", "member_count"],
    "member:removed": ["user", "member_count"],
    "member:role": ["user", "role"],
    "message:new": ["message"],
    "message:updated": ["message"],
    "message:deleted": ["message"],
    "reaction:added": ["emoji", "message"],
    "reaction:removed": ["emoji", "message"],
}
ENTRY = "conversation head role joined unread read delivered muted archived revision".split()
MESSAGE = "id seq at version changed".split()
STORED = "conversation id seq tag at duplicate".split()


class Wrong(Exception):
    """Something is not as the page says; the text is the sentence for the reader."""


def need(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def need_fields(fields, holder, what):
    for field in fields:
        need(field in holder, f"{what} is without `{field}`: {holder}")


def new_id():
    return str(uuid.uuid4())


class Json:
    name = "chat.v1.json"
    kind = str

    @staticmethod
    def encode(frame):
        return json.dumps(frame, ensure_ascii=False)

    decode = staticmethod(json.loads)


class MessagePack:
    name = "chat.v1.msgpack"
    kind = bytes
    encode = staticmethod(msgpack.packb)
    decode = staticmethod(msgpack.unpackb)


class Peer:
    """One user on one device: keeps in step by the rules of the page, and calls every departure from it wrong."""

    def __init__(self, url, codec, name):
        self.url, self.codec, self.name = url, codec, name
        self.session, self.attempt = None, itertools.count()
        self.epoch, self.revision = None, None
        self.cursors, self.entries = {}, {}  # by conversation
        self.messages = {}  # by id, the newest copy of each
        self.taken, self.repeated = [], []  # events in their order; those that the cursor was past already
        self.signals, self.resets = [], []
        self.frames_seen = []  # as text, to search for what must not be there

    async def connect(self):
        self.requests, self.answers = itertools.count(1), {}
        self.synced, self.pongs = False, 0
        self.socket = await websockets.connect(
            self.url, subprotocols=[self.codec.name], open_timeout=FRAME_WITHIN, ping_interval=None
        )
        need(self.socket.subprotocol == self.codec.name, f"the subprotocol became {self.socket.subprotocol}")
        hello = {"type": "hello", "guest": self.name, "attempt": next(self.attempt), "wants": ["receipts", "a-new-one"]}
        hello["client"] = {"name": "chat-peer-python", "version": "1"}
        hello["from_the_future"] = True  # to be ignored
        if self.session:
            hello["session"] = self.session
        await self.say(hello)
        for frame in self.resume_frames():
            await self.say(frame)
        welcome = await self.hear()
        need(welcome["type"] == "welcome", f"the first frame is no welcome: {welcome}")
        need(welcome["user"] == self.name, f"{self.name} was welcomed as {welcome['user']}")
        need("a-new-one" not in welcome["capabilities"], "an unknown capability is in force")
        need(self.epoch in (None, welcome["epoch"]), "the epoch changed")
        need(self.session in (None, welcome["session"]), "a known session was not gone on with")
        self.session, self.epoch, self.limits = welcome["session"], welcome["epoch"], welcome["limits"]
        self.capabilities = welcome["capabilities"]
        await self.until(lambda: self.synced, "`synced`")

    def resume_frames(self):
        if self.epoch is None:
            return [{"type": "resume", "last": True}]
        about = {"type": "resume", "epoch": self.epoch, "revision": self.revision}
        cursors = [{"conversation": conversation, **cursor} for conversation, cursor in self.cursors.items()]
        half = len(cursors) // 2
        first = [{**about, "cursors": cursors[:half], "last": False}] if half else []
        return first + [{**about, "cursors": cursors[half:], "last": True}]

    async def drop(self):
        """The connection ends as when a cable is cut: without a close frame, and what was not read is lost."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def close(self):
        await self.socket.close()
        need(self.socket.close_code == 1000, f"an orderly close ended with {self.socket.close_code}")

    async def say(self, frame):
        await self.socket.send(self.codec.encode(frame))

    async def hear(self):
        try:
            raw = await asyncio.wait_for(self.socket.recv(), FRAME_WITHIN)
        except asyncio.TimeoutError:
            raise Wrong(f"{self.name} heard nothing for {FRAME_WITHIN} s") from None
        except websockets.ConnectionClosed as closed:
            raise Wrong(f"the connection of {self.name} was closed: {closed}") from None
        need(isinstance(raw, self.codec.kind), f"a {type(raw).__name__} frame in {self.codec.name}")
        frame = self.codec.decode(raw)
        self.frames_seen.append(repr(frame))
        need_fields(FRAMES.get(frame["type"], []), frame, f"`{frame['type']}`")
        return frame

    async def until(self, holds, what):
        while not holds():
            try:
                await self.take(await self.hear())
            except Wrong as wrong:
                raise Wrong(f"{wrong} (while waiting for {what})") from None

    async def take(self, frame):
        match frame["type"]:
            case "inbox":
                for entry in frame["entries"]:
                    self.take_entry(entry)
                if frame["last"]:
                    self.revision = frame["revision"]
            case "event" | "skip":
                self.take_item(frame)
            case "page":
                for item in frame["items"]:
                    need(item["conversation"] == frame["conversation"], "a page with another conversation's item")
                    self.take_item(item)
            case "reset":
                self.take_reset(frame)
            case "synced":
                self.synced = True
            case "signal":
                self.signals.append(frame)
            case "reply" | "error":
                need("req" in frame, f"an error that nobody asked for: {frame}")
                self.answers[frame["req"]] = frame
            case "ping":
                await self.say({"type": "pong"})
            case "pong":
                self.pongs += 1
            case _:
                pass  # newer than this client

    def take_entry(self, entry):
        need_fields(ENTRY, entry, "an inbox entry")
        conversation, head = entry["conversation"]["id"], entry["head"]
        cursor = self.cursors.setdefault(conversation, head)
        known = self.entries.setdefault(conversation, entry)
        for mark in ("read", "delivered"):
            known[mark] = max(known[mark], entry[mark])
        for field in ("muted", "archived", "role", "joined"):
            known[field] = entry[field]
        if head["seq"] >= cursor["seq"]:
            known["unread"] = entry["unread"]
            if "last_message" in entry:
                self.take_message(entry["last_message"])

    def take_item(self, item):
        need_fields(FRAMES[item["type"]], item, f"`{item['type']}`")
        conversation = item["conversation"]
        if conversation not in self.cursors:
            return
        cursor = self.cursors[conversation]
        skip = item["type"] == "skip"
        first, last = (item["from"], item["to"]) if skip else (item["seq"], item["seq"])
        if last <= cursor["seq"]:
            self.repeated.append(item)
            return
        need(first <= cursor["seq"] + 1, f"{self.name} was at {cursor['seq']}, and {first} follows: a gap")
        self.cursors[conversation] = {"seq": last, "tag": item["tag"]}
        if skip:
            return
        data = item["data"]
        need_fields(EVENTS.get(item["event"], []), data, f"`{item['event']}`")
        self.taken.append(item)
        if "message" in data:
            self.take_message(data["message"])
        gone = item["event"] in ("member:left", "member:removed") and data["user"] == self.name
        if gone and last > self.entries[conversation]["joined"] or item["event"] == "conversation:deleted":
            self.forget(conversation)

    def take_message(self, message):
        need_fields(MESSAGE, message, "a message")
        known = self.messages.get(message["id"])
        if known is None or message["changed"] >= known["changed"]:
            self.messages[message["id"]] = message

    def take_reset(self, frame):
        need("conversation" in frame, f"the server forgot everything: {frame}")
        self.resets.append(frame)
        self.forget(frame["conversation"])
        if "entry" in frame:
            self.take_entry(frame["entry"])

    def forget(self, conversation):
        self.cursors.pop(conversation, None)
        self.entries.pop(conversation, None)

    async def command(self, name, /, **data):
        """The answer; as the page says, the same is sent again when it was too fast or nobody knows."""
        while True:
            request = next(self.requests)
            await self.say({"type": "command", "req": request, "command": name, "data": data})
            await self.until(lambda: request in self.answers, f"the answer to {name}")
            answer = self.answers.pop(request)
            if answer.get("code") not in ("rate_limited", "unavailable"):
                return answer
            need(answer["retryable"], f"`{answer['code']}` must be retryable: {answer}")
            await asyncio.sleep(answer.get("retry_after_ms", 500) / 1000)

    async def ask(self, kind, name, /, **data):
        answer = await self.command(name, **data)
        need(answer["type"] == "reply", f"{name} of {self.name} was refused: {answer}")
        need(list(answer["result"]) == [kind], f"{name} was answered with {list(answer['result'])}, not {kind}")
        result = answer["result"][kind]
        if kind == "stored":
            need_fields(STORED, result, f"the answer to {name}")
            need(result["duplicate"] or result["id"] == data["id"], f"{name} was stored with another id: {result}")
        return result

    async def refused(self, code, name, /, **data):
        answer = await self.command(name, **data)
        need(answer.get("code") == code, f"{name} should have been {code}, but: {answer}")
        need(not answer["retryable"], f"`{code}` is not retryable: {answer}")
        return answer

    async def send(self, conversation, text, message=None):
        message = message or new_id()
        await self.ask("stored", "message:send", conversation=conversation, id=message, content={"text": text})
        return message

    async def unread(self, conversation):
        result = await self.ask("conversation", "conversation:get", conversation=conversation)
        return result["entry"]["unread"]

    def events(self, conversation, kind):
        return [event for event in self.taken if event["conversation"] == conversation and event["event"] == kind]

    def said(self, conversation):
        return [event["data"]["message"]["id"] for event in self.events(conversation, "message:new")]
