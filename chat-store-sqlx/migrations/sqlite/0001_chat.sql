-- One row: what this store is. The epoch names this incarnation of the log; `changes` counts its transactions.
CREATE TABLE chat_store (
    only_one        INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    epoch           TEXT    NOT NULL,
    fingerprint_key TEXT   NOT NULL,
    cluster_key     TEXT   NOT NULL,
    changes         INTEGER NOT NULL DEFAULT 0
);

-- `head_seq` and `head_tag` are the last row of the log; whatever the judge looks at changes with them.
CREATE TABLE chat_conversations (
    id           TEXT    PRIMARY KEY,
    kind         TEXT    NOT NULL,
    title        TEXT,
    public       INTEGER NOT NULL,
    history      TEXT    NOT NULL,
    meta         TEXT,
    created_at   INTEGER  NOT NULL,
    member_count INTEGER  NOT NULL,
    owner        TEXT,
    deleted      INTEGER NOT NULL DEFAULT 0,
    pair_low     TEXT,
    pair_high    TEXT,
    head_seq     INTEGER  NOT NULL,
    head_tag     INTEGER  NOT NULL,
    changed      INTEGER    NOT NULL
);
CREATE INDEX chat_conversations_changed ON chat_conversations (changed);
CREATE UNIQUE INDEX chat_conversations_pair ON chat_conversations (pair_low, pair_high) WHERE pair_low IS NOT NULL;

-- A log row says what changed, never content. `fingerprint` is 16 bytes in the form of a UUID.
CREATE TABLE chat_log (
    conversation TEXT   NOT NULL,
    seq          INTEGER NOT NULL,
    tag          INTEGER NOT NULL,
    id           TEXT   NOT NULL,
    actor        TEXT,
    at           INTEGER NOT NULL,
    fingerprint  TEXT,
    kind         TEXT   NOT NULL,
    detail       TEXT,
    message_seq  INTEGER,
    PRIMARY KEY (conversation, seq),
    UNIQUE (conversation, id)
);

-- A message as it is now, at the seq of its creation. `reactions` is what rides along with it.
CREATE TABLE chat_messages (
    conversation TEXT   NOT NULL,
    seq          INTEGER NOT NULL,
    id           TEXT   NOT NULL,
    sender       TEXT,
    at           INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    changed      INTEGER NOT NULL,
    edited_at    INTEGER,
    deleted_at   INTEGER,
    reply_to     TEXT,
    content      TEXT,
    reactions    TEXT,
    PRIMARY KEY (conversation, seq)
);

-- Who chose a reaction, at the seq at which they did.
CREATE TABLE chat_reactions (
    conversation TEXT   NOT NULL,
    message_seq  INTEGER NOT NULL,
    emoji        TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (conversation, message_seq, emoji, user_id)
) WITHOUT ROWID;
CREATE INDEX chat_reactions_order ON chat_reactions (conversation, message_seq, emoji, seq);

-- Everybody who was ever a member, with their latest membership.
CREATE TABLE chat_members (
    conversation TEXT    NOT NULL,
    user_id      TEXT NOT NULL,
    role         TEXT    NOT NULL,
    joined       INTEGER  NOT NULL,
    ended        INTEGER,
    read         INTEGER  NOT NULL,
    delivered    INTEGER  NOT NULL,
    muted        INTEGER NOT NULL,
    archived     INTEGER NOT NULL,
    revision     INTEGER  NOT NULL,
    PRIMARY KEY (conversation, user_id)
) WITHOUT ROWID;
CREATE INDEX chat_members_user ON chat_members (user_id, conversation) WHERE ended IS NULL;

-- The revision of the members' marks: apart from the conversation, so that marks never wait for messages.
CREATE TABLE chat_marks (
    conversation TEXT   PRIMARY KEY,
    revision     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE chat_users (
    id       TEXT PRIMARY KEY,
    revision INTEGER NOT NULL DEFAULT 0,
    display  TEXT,
    changed  INTEGER   NOT NULL DEFAULT 0
);
CREATE INDEX chat_users_changed ON chat_users (changed);

CREATE TABLE chat_leases (
    node  TEXT   PRIMARY KEY,
    until INTEGER NOT NULL
) WITHOUT ROWID;
