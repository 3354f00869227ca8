-- Who asks for work.

CREATE TABLE clients (
    id             text PRIMARY KEY,
    name           text NOT NULL,
    tier           text NOT NULL CHECK (tier IN ('basic', 'standard', 'premium', 'enterprise')),
    amqp_user      text UNIQUE,
    monthly_budget bigint CHECK (monthly_budget >= 0),
    active         boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN clients.monthly_budget IS 'millionths of a US dollar; null: no limit';
COMMENT ON COLUMN clients.amqp_user IS 'the broker user whose jobs count as this client''s';

CREATE TABLE users (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('operator', 'manager', 'auditor', 'client', 'service')),
    client_id  text REFERENCES clients (id),
    amqp_user  text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users IS 'people and programs; a service user may publish jobs for every client';

-- What the workers offer.

CREATE TABLE worker_registry (
    stage         text PRIMARY KEY,
    version       text NOT NULL,
    description   text NOT NULL DEFAULT '',
    input_schema  jsonb NOT NULL,
    output_schema jsonb NOT NULL,
    timeout       double precision NOT NULL,
    cost_profile  jsonb NOT NULL DEFAULT '{}',
    transport     text NOT NULL DEFAULT 'queue' CHECK (transport IN ('queue', 'http')),
    registered_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE worker_instances (
    id         text PRIMARY KEY,
    stages     text[] NOT NULL,
    capacity   integer NOT NULL,
    in_flight  integer NOT NULL,
    sequence   bigint NOT NULL,
    stopped    boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Templates: graphs of steps as rows.

CREATE TABLE pipeline_templates (
    name        text NOT NULL,
    version     integer NOT NULL CHECK (version >= 1),
    title       text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    tiers       text[] NOT NULL DEFAULT '{basic,standard,premium,enterprise}',
    parameters  jsonb NOT NULL DEFAULT '[]',
    active      boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);

CREATE TABLE pipeline_steps (
    template   text NOT NULL,
    version    integer NOT NULL,
    position   integer NOT NULL,
    name       text NOT NULL,
    stage      text NOT NULL,
    depends_on text[] NOT NULL DEFAULT '{}',
    condition  text,
    inputs     jsonb NOT NULL DEFAULT '{}',
    parameters jsonb NOT NULL DEFAULT '{}',
    retry      jsonb,
    timeout    double precision,
    fallback   text[] NOT NULL DEFAULT '{}',
    optional   boolean NOT NULL DEFAULT false,
    fan_out    jsonb,
    cost       text NOT NULL DEFAULT '1.0',
    deliver    text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (template, version, name),
    FOREIGN KEY (template, version) REFERENCES pipeline_templates (name, version) ON DELETE CASCADE
);

-- Executions and their steps.

CREATE TABLE executions (
    id               uuid PRIMARY KEY,
    client_id        text NOT NULL REFERENCES clients (id),
    submit_key       text NOT NULL,
    submit_hash      text NOT NULL,
    template         text NOT NULL,
    template_version integer NOT NULL,
    parameters       jsonb NOT NULL,
    tier             text NOT NULL,
    quality          text NOT NULL,
    optimise_for     text NOT NULL,
    urgency          smallint NOT NULL,
    rank             bigint GENERATED ALWAYS AS IDENTITY,
    position         integer NOT NULL,
    estimate         double precision NOT NULL CHECK (estimate > 0),
    epoch            integer NOT NULL DEFAULT 1,
    status           text NOT NULL DEFAULT 'queued' CHECK
        (status IN ('queued', 'running', 'paused', 'completed', 'partial', 'failed', 'cancelled')),
    budget           bigint,
    reply_to         text,
    correlation_id   text,
    traceparent      text,
    explanation      text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    UNIQUE (client_id, submit_key),
    FOREIGN KEY (template, template_version) REFERENCES pipeline_templates (name, version)
) WITH (fillfactor = 80);

-- The order in which a client's own jobs are admitted.
CREATE INDEX executions_queued ON executions (client_id, urgency DESC, rank) WHERE status = 'queued';
-- Slots are counted from these rows.
CREATE INDEX executions_running ON executions (client_id) WHERE status = 'running';
CREATE INDEX executions_created ON executions (created_at);

CREATE TABLE step_executions (
    execution_id    uuid NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    step            text NOT NULL,
    shard           integer NOT NULL DEFAULT 0,
    epoch           integer NOT NULL,
    attempt         integer NOT NULL DEFAULT 1,
    retries         integer NOT NULL DEFAULT 0,
    status          text NOT NULL CHECK (status IN
        ('pending', 'ready', 'dispatched', 'running', 'waiting', 'completed', 'failed', 'skipped', 'cancelled')),
    stage           text NOT NULL,
    fallback        smallint NOT NULL DEFAULT 0,
    worker          text,
    starts          text[] NOT NULL DEFAULT '{}',
    shards          integer,
    inputs          jsonb,
    manifest        jsonb,
    output          jsonb,
    files           jsonb,
    summary         jsonb,
    metrics         jsonb,
    error_class     text,
    error           text,
    error_details   jsonb,
    fraction        real,
    note            text,
    dispatched_at   timestamptz,
    published_at    timestamptz,
    started_at      timestamptz,
    finished_at     timestamptz,
    next_attempt_at timestamptz,
    PRIMARY KEY (execution_id, step, shard)
) WITH (fillfactor = 75);
COMMENT ON COLUMN step_executions.shard IS '0: the step itself; 1 and up: its shards';
COMMENT ON COLUMN step_executions.published_at IS 'null while dispatched: the publish is still owed';

-- Everything that the sweeper looks at; a bounded number of rows, whatever the history.
CREATE INDEX step_executions_live ON step_executions (status)
    WHERE status IN ('ready', 'dispatched', 'running', 'waiting');

-- Facts that a step row cannot tell.

CREATE TABLE timeline (
    at           timestamptz NOT NULL DEFAULT now(),
    execution_id uuid NOT NULL,
    kind         text NOT NULL,
    step         text,
    shard        integer,
    attempt      integer,
    actor        text NOT NULL DEFAULT 'coordinator',
    detail       jsonb NOT NULL DEFAULT '{}'
) PARTITION BY RANGE (at);
CREATE TABLE timeline_default PARTITION OF timeline DEFAULT;
CREATE INDEX timeline_execution ON timeline (execution_id, at);

CREATE FUNCTION make_timeline_partitions(months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start date;
    partition text;
BEGIN
    FOR n IN 0..months LOOP
        start := date_trunc('month', now() AT TIME ZONE 'UTC')::date + make_interval(months => n);
        partition := format('timeline_%s', to_char(start, 'YYYY_MM'));
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF timeline FOR VALUES FROM (%L) TO (%L)',
                           partition, start || ' 00:00+00', (start + interval '1 month')::date || ' 00:00+00');
        END IF;
    END LOOP;
END $$;
SELECT make_timeline_partitions(3);

-- What was made.

CREATE TABLE deliverables (
    execution_id uuid NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    step         text NOT NULL,
    format       text NOT NULL,
    epoch        integer NOT NULL,
    ref          jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, step, format)
);

-- What needs a person.

CREATE TABLE dead_letters (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('message', 'step')),
    fingerprint  text NOT NULL UNIQUE,
    reason       text NOT NULL,
    explanation  text NOT NULL,
    queue        text,
    exchange     text,
    routing_key  text,
    message_type text,
    message_id   text,
    headers      jsonb NOT NULL DEFAULT '{}',
    body         bytea,
    client_id    text,
    tier         text,
    template     text,
    execution_id uuid,
    stage        text,
    step         text,
    shard        integer,
    epoch        integer,
    attempt      integer,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'requeued', 'discarded')),
    note         text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at  timestamptz
);
CREATE INDEX dead_letters_open ON dead_letters (created_at) WHERE status = 'open';

-- Publishes owed after a commit that are no task.

CREATE TABLE outbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange       text NOT NULL,
    routing_key    text NOT NULL,
    message_type   text NOT NULL,
    body           bytea NOT NULL,
    correlation_id text,
    traceparent    text,
    mandatory      boolean NOT NULL,
    execution_id   uuid,
    created_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Virtual times of start-time fair queueing: of the factory, of each tier in it, of each client in its tier.

CREATE TABLE shares (
    flow         text PRIMARY KEY,
    finish       double precision NOT NULL DEFAULT 0,
    virtual_time double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- What stages share, under a role of its own that sees nothing else.

CREATE SCHEMA shared;

CREATE TABLE shared.cache (
    scope      text NOT NULL,
    key        text NOT NULL,
    value      jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);

DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'factory_worker') THEN
        CREATE ROLE factory_worker NOLOGIN;
    END IF;
END $$;
REVOKE ALL ON SCHEMA public FROM factory_worker;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA shared TO factory_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shared TO factory_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA shared GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO factory_worker;
