-- What operators do with dead letters: operations over many of them, each resumable, each on record.

CREATE TABLE dead_operations (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action        text NOT NULL CHECK (action IN ('requeue', 'discard')),
    status        text NOT NULL DEFAULT 'running' CHECK
        (status IN ('running', 'canary', 'done', 'stopped', 'canary_failed')),
    actor         text NOT NULL,
    note          text NOT NULL DEFAULT '',
    filter        jsonb NOT NULL DEFAULT '{}',
    canary        integer NOT NULL DEFAULT 0 CHECK (canary >= 0),
    rate          double precision CHECK (rate > 0),
    total         integer NOT NULL DEFAULT 0,
    next_at       timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now(),
    proved_at     timestamptz,
    stopped_by    text,
    finished_at   timestamptz
);
COMMENT ON COLUMN dead_operations.rate IS 'letters a second; null: as fast as it goes';
COMMENT ON COLUMN dead_operations.next_at IS 'when the next letter may be dealt with';
COMMENT ON COLUMN dead_operations.proved_at IS 'when its canary had come out well';
CREATE INDEX dead_operations_active ON dead_operations (id) WHERE status IN ('running', 'canary');

ALTER TABLE dead_letters
    ADD COLUMN operation_id bigint REFERENCES dead_operations (id),
    ADD COLUMN again_of bigint REFERENCES dead_letters (id) ON DELETE SET NULL,
    ADD COLUMN traceparent text,
    ADD COLUMN error_class text,
    ADD COLUMN refs jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN history jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN problem text NOT NULL DEFAULT '',
    ADD COLUMN landed_at timestamptz;
COMMENT ON COLUMN dead_letters.operation_id IS 'the operation that has it or had it last';
COMMENT ON COLUMN dead_letters.again_of IS 'the letter whose requeueing made this one';
COMMENT ON COLUMN dead_letters.refs IS 'the documents that it names or would have read';
COMMENT ON COLUMN dead_letters.history IS 'every attempt at the step, the last one included';
COMMENT ON COLUMN dead_letters.problem IS 'why its operation could not deal with it; it is open still';
COMMENT ON COLUMN dead_letters.landed_at IS 'when a coordinator had used the message after its requeueing';

DROP INDEX dead_letters_open;
CREATE INDEX dead_letters_open ON dead_letters (id) WHERE status = 'open';
CREATE INDEX dead_letters_stage ON dead_letters (stage, id) WHERE status = 'open';
CREATE INDEX dead_letters_client ON dead_letters (client_id, id) WHERE status = 'open';
CREATE INDEX dead_letters_reason ON dead_letters (reason, id) WHERE status = 'open';
-- The letters that an operation has not dealt with; without it each one would be sought among those that it has.
CREATE INDEX dead_letters_due ON dead_letters (operation_id, id) WHERE status = 'open' AND problem = '';
CREATE INDEX dead_letters_operation ON dead_letters (operation_id, id) WHERE operation_id IS NOT NULL;
CREATE INDEX dead_letters_execution ON dead_letters (execution_id, id) WHERE execution_id IS NOT NULL;
CREATE INDEX dead_letters_again ON dead_letters (again_of) WHERE again_of IS NOT NULL;

ALTER TABLE outbox
    ADD COLUMN reply_to text,
    ADD COLUMN headers jsonb NOT NULL DEFAULT '{}';

CREATE FUNCTION matching_dead_letters(filter jsonb) RETURNS SETOF dead_letters LANGUAGE sql STABLE AS $$
    SELECT * FROM dead_letters
    WHERE (NOT filter ? 'ids' OR id = ANY (ARRAY(SELECT jsonb_array_elements_text(filter -> 'ids')::bigint)))
      AND (NOT filter ? 'status' OR status = filter ->> 'status')
      AND (NOT filter ? 'kind' OR kind = filter ->> 'kind')
      AND (NOT filter ? 'reason' OR reason = filter ->> 'reason')
      AND (NOT filter ? 'error_class' OR error_class = filter ->> 'error_class')
      AND (NOT filter ? 'stage' OR stage = filter ->> 'stage')
      AND (NOT filter ? 'tier' OR tier = filter ->> 'tier')
      AND (NOT filter ? 'client' OR client_id = filter ->> 'client')
      AND (NOT filter ? 'template' OR template = filter ->> 'template')
      AND (NOT filter ? 'execution' OR execution_id = (filter ->> 'execution')::uuid)
      AND (NOT filter ? 'since' OR created_at >= (filter ->> 'since')::timestamptz)
      AND (NOT filter ? 'until' OR created_at < (filter ->> 'until')::timestamptz)
$$;
COMMENT ON FUNCTION matching_dead_letters IS 'what a filter of the dead-letter desk means; the planner reads through it';
