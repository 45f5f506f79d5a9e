-- One row: what this store is. The epoch names this incarnation of the log.
CREATE TABLE chat_store (
    only_one        boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch           uuid    NOT NULL,
    fingerprint_key text    NOT NULL,
    cluster_key     text    NOT NULL
);

-- `head_seq` and `head_tag` are the last row of the log; whatever the judge looks at changes with them.
CREATE TABLE chat_conversations (
    id           uuid    PRIMARY KEY,
    kind         text    NOT NULL,
    title        text,
    public       boolean NOT NULL,
    history      text    NOT NULL,
    meta         text,
    created_at   bigint  NOT NULL,
    member_count bigint  NOT NULL,
    owner        text COLLATE "C",
    deleted      boolean NOT NULL DEFAULT false,
    pair_low     text COLLATE "C",
    pair_high    text COLLATE "C",
    head_seq     bigint  NOT NULL,
    head_tag     bigint  NOT NULL,
    changed      xid8    NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX ON chat_conversations (changed);
CREATE UNIQUE INDEX ON chat_conversations (pair_low, pair_high) WHERE pair_low IS NOT NULL;

-- A log row says what changed, never content. `fingerprint` is 16 bytes in the form of a UUID.
CREATE TABLE chat_log (
    conversation uuid   NOT NULL,
    seq          bigint NOT NULL,
    tag          bigint NOT NULL,
    id           uuid   NOT NULL,
    actor        text COLLATE "C",
    at           bigint NOT NULL,
    fingerprint  uuid,
    kind         text   NOT NULL,
    detail       text,
    message_seq  bigint,
    PRIMARY KEY (conversation, seq),
    UNIQUE (conversation, id)
);

-- A message as it is now, at the seq of its creation. `reactions` is what rides along with it.
CREATE TABLE chat_messages (
    conversation uuid   NOT NULL,
    seq          bigint NOT NULL,
    id           uuid   NOT NULL,
    sender       text COLLATE "C",
    at           bigint NOT NULL,
    version      bigint NOT NULL,
    changed      bigint NOT NULL,
    edited_at    bigint,
    deleted_at   bigint,
    reply_to     uuid,
    content      text,
    reactions    text,
    PRIMARY KEY (conversation, seq)
);

-- Who chose a reaction, at the seq at which they did.
CREATE TABLE chat_reactions (
    conversation uuid   NOT NULL,
    message_seq  bigint NOT NULL,
    emoji        text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    PRIMARY KEY (conversation, message_seq, emoji, user_id)
);
CREATE INDEX ON chat_reactions (conversation, message_seq, emoji, seq);

-- Everybody who was ever a member, with their latest membership.
CREATE TABLE chat_members (
    conversation uuid    NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    role         text    NOT NULL,
    joined       bigint  NOT NULL,
    ended        bigint,
    read         bigint  NOT NULL,
    delivered    bigint  NOT NULL,
    muted        boolean NOT NULL,
    archived     boolean NOT NULL,
    revision     bigint  NOT NULL,
    PRIMARY KEY (conversation, user_id)
) WITH (fillfactor = 80);
CREATE INDEX ON chat_members (user_id, conversation) WHERE ended IS NULL;

-- The revision of the members' marks: apart from the conversation, so that marks never wait for messages.
CREATE TABLE chat_marks (
    conversation uuid   PRIMARY KEY,
    revision     bigint NOT NULL
) WITH (fillfactor = 70);

CREATE TABLE chat_users (
    id       text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 0,
    display  text,
    changed  xid8   NOT NULL DEFAULT '0'
) WITH (fillfactor = 70);
CREATE INDEX ON chat_users (changed);

CREATE TABLE chat_leases (
    node  uuid   PRIMARY KEY,
    until bigint NOT NULL
);
