-- Jobs that come again by the clock.

CREATE TABLE schedules (
    id               text PRIMARY KEY,
    client_id        text NOT NULL REFERENCES clients (id),
    template         text NOT NULL,
    template_version integer,
    parameters       jsonb NOT NULL DEFAULT '{}',
    quality          text NOT NULL DEFAULT 'standard',
    optimise_for     text NOT NULL DEFAULT 'balance',
    urgency          smallint NOT NULL DEFAULT 5,
    budget           bigint,
    cron             text NOT NULL,
    timezone         text NOT NULL DEFAULT 'UTC',
    active           boolean NOT NULL DEFAULT true,
    last_due         timestamptz,
    last_execution   uuid,
    last_problem     text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now()
);
