"""Two users chat, lose their connections and come back; the server is held to what docs/protocol.md says.

    python chat_peer.py ws://127.0.0.1:7000/chat

The server must admit guests. Exits 0 when everything on the way was as the page says, otherwise 1 with one sentence.
"""

import asyncio
import copy
import sys
import uuid
from urllib.parse import urlsplit

import websockets

from chat_client import FRAME_WITHIN, Json, MessagePack, Peer, Wrong, need, new_id

SCENARIO_WITHIN = 28  # seconds, for each codec


async def wrong_path(url, codec):
    parts = urlsplit(url)
    socket = await websockets.connect(
        f"ws://{parts.netloc}/not-the-chat", subprotocols=[codec.name], open_timeout=FRAME_WITHIN
    )
    try:
        await asyncio.wait_for(socket.recv(), FRAME_WITHIN)
        raise Wrong("an unknown path was not closed")
    except websockets.ConnectionClosed as closed:
        need(closed.rcvd is not None, "an unknown path was closed without a close frame")
        need(closed.rcvd.code == 4510, f"an unknown path was closed with {closed.rcvd.code}")
        need(parts.path in closed.rcvd.reason, f"the reason does not name {parts.path}: {closed.rcvd.reason}")


async def meet(anna, ben):
    """A group of both. Two users may add each other when they share a conversation: a public channel is open to all."""
    channel = new_id()
    await anna.ask(
        "stored", "conversation:create", conversation=channel, id=new_id(), kind="channel", public=True, title="Square"
    )
    await anna.until(lambda: channel in anna.entries, "the channel in the inbox of who created it")
    await ben.ask("stored", "conversation:join", conversation=channel, id=new_id())
    await ben.until(lambda: channel in ben.entries, "the channel in the inbox of who joined")
    await anna.until(lambda: anna.events(channel, "member:joined"), "the event of a join")
    need(anna.events(channel, "member:joined")[0]["data"]["member"]["user"] == ben.name, "somebody else joined")

    group = new_id()
    create = dict(conversation=group, id=new_id(), kind="group", title="Zwei Leute ☕", members=[ben.name])
    first = await anna.ask("stored", "conversation:create", **create)
    need(first["seq"] == 1 and not first["duplicate"], f"the first event is no new one at 1: {first}")
    again = await anna.ask("stored", "conversation:create", **create)
    need(again == {**first, "duplicate": True}, f"the same create was answered {again} after {first}")
    for peer in (anna, ben):
        await peer.until(lambda: group in peer.entries, "the group in the inbox")
    need(anna.entries[group]["role"] == "owner", "who creates is not the owner")
    need(ben.entries[group]["role"] == "member", "who is added is not a member")
    return group


async def chat(anna, ben, group):
    sent = []
    for number in range(3):
        sent.append(await anna.send(group, f"anna {number} – grüß dich 🙂"))
        sent.append(await ben.send(group, f"ben {number}\n\tzwei Zeilen"))
    for peer in (anna, ben):
        await peer.until(lambda: len(peer.said(group)) >= len(sent), "what both said")
        need(peer.said(group) == sent, f"{peer.name} took {peer.said(group)}, not {sent}")
        senders = [peer.messages[message]["sender"] for message in sent]
        need(senders == [anna.name, ben.name] * 3, f"the senders are {senders}")
    need(anna.messages[sent[1]]["content"]["text"] == "ben 0\n\tzwei Zeilen", "a text was changed on its way")
    return sent


async def retry(anna, ben, group):
    send = dict(conversation=group, id=new_id(), content={"text": "once"})
    first = await anna.ask("stored", "message:send", **send)
    need(not first["duplicate"], f"a new message is a duplicate: {first}")
    again = await anna.ask("stored", "message:send", **send)
    need(again == {**first, "duplicate": True}, f"the same message was answered {again} after {first}")
    await anna.refused("id_conflict", "message:send", **{**send, "content": {"text": "twice"}})
    await ben.refused("id_conflict", "message:send", **send)
    return send["id"]


async def lose_and_resume(anna, ben, group, said):
    """Ben's connection breaks in the middle of what Anna says; he comes back while she goes on, and once more after."""

    async def talk():
        for number in range(8):
            said.append(await anna.send(group, f"on and on {number}"))
            await asyncio.sleep(0.02)

    for comes_back_at in (0, 8):
        before, there = len(said), len(ben.said(group))
        talking = asyncio.create_task(talk())
        await ben.until(lambda: len(ben.said(group)) >= there + 3, "the beginning")
        await ben.drop()
        missed_from = len(ben.said(group))
        if comes_back_at:
            await talking
        ben.repeated.clear()
        await ben.connect()
        if comes_back_at:
            need(ben.said(group) == said, f"`synced` came at {len(ben.said(group))} of {len(said)} messages")
        await talking
        await ben.until(lambda: len(ben.said(group)) >= before + 8, "what was missed")
        need(ben.said(group) == said, "what was missed did not come in order, each once")
        need(missed_from < len(said), "nothing was missed")
        need(not ben.repeated, f"what the cursors cover came again: {ben.repeated}")


async def lose_the_answer(anna, ben, group, said):
    """Anna's connection breaks before the answer: she sends the same again, and it is there once."""
    send = dict(conversation=group, id=new_id(), content={"text": "are you there?"})
    await anna.say({"type": "command", "req": 999, "command": "message:send", "data": send})
    await anna.drop()
    await anna.connect()
    stored = await anna.ask("stored", "message:send", **send)
    said.append(send["id"])
    for peer in (anna, ben):
        await peer.until(lambda: send["id"] in peer.said(group), "the message that was sent twice")
    history = await anna.ask("history", "history:list", conversation=group, limit=200)
    found = [message["seq"] for message in history["messages"] if message["id"] == send["id"]]
    need(found == [stored["seq"]], f"the message that was sent twice is at {found}, not at {stored['seq']} only")
    need([message["id"] for message in history["messages"]] == said, "the history is not what was said")
    need(anna.said(group) == said, f"anna took {len(anna.said(group))} messages, not the {len(said)} that were said")


async def edit_and_delete(anna, ben, group, message, secret):
    edit = dict(conversation=group, message=message, version=1, content={"text": "edited"})
    await anna.ask("stored", "message:edit", id=new_id(), **edit)
    stale = await anna.refused("version_conflict", "message:edit", id=new_id(), **edit)
    need(stale.get("version") == 2, f"the current version is 2: {stale}")
    await ben.until(lambda: ben.messages[message]["version"] == 2, "the edit")
    need(ben.messages[message]["content"]["text"] == "edited", "the edit did not bring its text")
    need("edited_at" in ben.messages[message], "an edited message is without `edited_at`")
    await ben.refused("forbidden", "message:edit", id=new_id(), **{**edit, "version": 2})

    await anna.ask("stored", "message:delete", id=new_id(), conversation=group, message=secret)
    await anna.refused("gone", "message:edit", id=new_id(), **{**edit, "message": secret, "version": 2})
    await ben.until(lambda: "deleted_at" in ben.messages[secret], "the tombstone")
    history = await ben.ask("history", "history:list", conversation=group, limit=200)
    for where, copy in [("event", ben.messages[secret])] + [
        ("history", found) for found in history["messages"] if found["id"] == secret
    ]:
        need("deleted_at" in copy and "content" not in copy, f"the tombstone in the {where} has a body: {copy}")


async def marks(anna, ben, group):
    need("receipts" in anna.capabilities, f"receipts are not in force: {anna.capabilities}")
    await anna.ask("done", "watch:conversations", conversations=[group])
    await ben.ask("done", "mark:read", conversation=group, seq=ben.cursors[group]["seq"])
    need(await ben.unread(group) == 0, "all is read, and something is unread")
    last = [await anna.send(group, f"unread {number}") for number in range(3)][-1]
    await ben.until(lambda: last in ben.messages, "what is to be unread")
    need(await ben.unread(group) == 3, f"three messages are unread, not {await ben.unread(group)}")
    need(await anna.unread(group) == 0, "what one sent oneself is unread")
    seq = ben.messages[last]["seq"]
    await ben.ask("done", "mark:read", conversation=group, seq=seq - 1)
    need(await ben.unread(group) == 1, "one message is unread")
    await ben.ask("done", "mark:read", conversation=group, seq=1)
    need(await ben.unread(group) == 1, "a mark went back")
    await ben.refused("invalid_argument", "mark:read", conversation=group, seq=seq + 1000)
    listed = await anna.ask("marks", "mark:list", conversation=group)
    read = {mark["user"]: mark["read"] for mark in listed["marks"]}
    need(read.get(ben.name) == seq - 1, f"ben's mark is {seq - 1}, and the list says {read}")

    def seen():
        data = [signal["data"] for signal in anna.signals if signal["signal"] == "marks"]
        return any(mark["user"] == ben.name and mark["read"] == seq - 1 for mark in data)

    await anna.until(seen, "the signal of ben's mark")


async def mistakes(anna, group):
    """What is wrong in a command is said, and the connection goes on."""
    send = dict(conversation=group, content={"text": "no"})
    wrong = await anna.refused("invalid_argument", "message:send", id=new_id(), colour="red", **send)
    need("colour" in wrong["message"], f"the message does not name the unknown field: {wrong}")
    await anna.refused("invalid_argument", "message:send", id=new_id().upper(), **send)
    await anna.refused("invalid_argument", "mark:read", conversation=group, seq="1")
    await anna.refused("unknown_command", "message:sing", **send)
    await anna.refused("not_found", "message:send", id=new_id(), **{**send, "conversation": new_id()})
    pongs = anna.pongs
    await anna.say({"type": "ping"})
    await anna.until(lambda: anna.pongs > pongs, "the pong")


async def direct(anna, ben):
    """A direct conversation is there once, whoever opens it."""
    create = dict(kind="direct", members=[ben.name])
    first = await anna.ask("stored", "conversation:create", conversation=new_id(), id=new_id(), **create)
    create["members"] = [anna.name]
    found = await ben.ask("stored", "conversation:create", conversation=new_id(), id=new_id(), **create)
    need(found["duplicate"], f"a direct conversation that exists was stored as a new one: {found}")
    need(found["conversation"] == first["conversation"], f"there are two direct conversations: {first}, {found}")
    for peer in (anna, ben):
        await peer.until(lambda: first["conversation"] in peer.entries, "the direct conversation in the inbox")
    message = await ben.send(found["conversation"], "just the two of us")
    await anna.until(lambda: message in anna.said(found["conversation"]), "the message in the direct conversation")
    members = sorted(member["user"] for member in anna.entries[found["conversation"]]["members"])
    need(members == sorted([anna.name, ben.name]), f"the direct conversation is of {members}")


async def replay(ben, group, saved, edited, secret, text):
    """Another device of Ben's starts with what it had saved long ago: all since then comes, and nothing deleted."""
    device = Peer(ben.url, ben.codec, ben.name)
    device.epoch, device.revision, device.cursors, device.entries = copy.deepcopy(saved)
    after = device.cursors[group]["seq"]
    await device.connect()
    shape = lambda events: [(event["seq"], event["tag"], event["event"], event["id"]) for event in events]
    of_group = lambda events: [event for event in events if event["conversation"] == group and event["seq"] > after]
    need(shape(of_group(device.taken)) == shape(of_group(ben.taken)), "a replay is not what came the first time")
    need(not device.repeated, f"what the cursors cover came again: {device.repeated}")
    need(text not in "".join(device.frames_seen), "the replay tells what was deleted")
    for event in of_group(device.taken):
        message = event["data"].get("message", {})
        if message.get("id") == secret:
            need("deleted_at" in message and "content" not in message, f"the replay has no tombstone: {event}")
        if message.get("id") == edited:
            need(message["content"]["text"] == "edited", f"the replay shows the message before its edit: {event}")

    position, pages, more = {"seq": 0, "tag": "0" * 16}, [], True
    while more:
        log = await device.ask("log", "log:list", conversation=group, after=position, limit=7)
        for item in log["items"]:
            first, last = (item["from"], item["to"]) if item["type"] == "skip" else (item["seq"], item["seq"])
            need(first == position["seq"] + 1, f"the log goes on with {first} after {position['seq']}")
            position = {"seq": last, "tag": item["tag"]}
        pages += log["items"]
        more = log.get("more", False)
    need(position == ben.cursors[group], f"the log ends at {position}, not {ben.cursors[group]}")
    need(text not in repr(pages), "the log tells what was deleted")
    await device.close()


async def removed_while_away(anna, ben, group):
    await ben.drop()
    await anna.ask("stored", "member:remove", conversation=group, id=new_id(), user=ben.name)
    await anna.send(group, "among ourselves")
    await ben.connect()
    need(group not in ben.cursors, "who was removed still has the conversation")
    need("among ourselves" not in "".join(ben.frames_seen), "who was removed hears on")
    await ben.refused("not_found", "history:list", conversation=group)


async def scenario(url, codec):
    step = "an unknown path"
    try:
        await wrong_path(url, codec)
        run = uuid.uuid4().hex[:8]
        anna, ben = Peer(url, codec, f"anna-{run}"), Peer(url, codec, f"ben-{run}")
        step = "hello and resume"
        await anna.connect()
        await ben.connect()
        step = "creating a group"
        group = await meet(anna, ben)
        step = "chatting"
        said = await chat(anna, ben, group)
        saved = copy.deepcopy((ben.epoch, ben.revision, ben.cursors, ben.entries))
        step = "sending the same again"
        said.append(await retry(anna, ben, group))
        text = f"secret of {run}"
        secret = await anna.send(group, text)
        said.append(secret)
        step = "a lost connection"
        await lose_and_resume(anna, ben, group, said)
        step = "a lost answer"
        await lose_the_answer(anna, ben, group, said)
        step = "editing and deleting"
        edited = said[-1]
        await edit_and_delete(anna, ben, group, edited, secret)
        step = "marks"
        await marks(anna, ben, group)
        step = "mistakes"
        await mistakes(anna, group)
        step = "a direct conversation"
        await direct(anna, ben)
        step = "a replay"
        await replay(ben, group, saved, edited, secret, text)
        step = "being removed"
        await removed_while_away(anna, ben, group)
        await anna.close()
        await ben.close()
    except Wrong as wrong:
        raise Wrong(f"{codec.name}, {step}: {wrong}") from None
    except asyncio.CancelledError:
        print(f"{codec.name}: it was at {step}", file=sys.stderr)
        raise


async def main(url):
    for codec in (Json, MessagePack):
        try:
            await asyncio.wait_for(scenario(url, codec), SCENARIO_WITHIN)
        except asyncio.TimeoutError:
            raise Wrong(f"{codec.name}: not at its end after {SCENARIO_WITHIN} s") from None
        print(f"websockets {websockets.__version__}, {codec.name}: as the page says")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python chat_peer.py ws://HOST:PORT/chat")
    try:
        asyncio.run(main(sys.argv[1]))
    except (Wrong, OSError, websockets.WebSocketException) as wrong:
        sys.exit(f"wrong: {wrong or type(wrong).__name__}")
