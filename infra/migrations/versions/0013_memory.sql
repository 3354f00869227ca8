-- What the executions of a client leave for its later ones: what they told, which stories go on, what sources gave.

CREATE TABLE shared.memories (
    client       text NOT NULL,
    execution_id uuid NOT NULL,
    subject      text NOT NULL,
    kept_at      timestamptz NOT NULL DEFAULT now(),
    report       jsonb NOT NULL,
    stories      jsonb NOT NULL,
    sources      jsonb NOT NULL,
    PRIMARY KEY (client, execution_id, subject)
);
CREATE INDEX memories_subject ON shared.memories (client, subject, kept_at DESC);
CREATE INDEX memories_latest ON shared.memories (client, kept_at DESC);
CREATE INDEX memories_age ON shared.memories (kept_at);
