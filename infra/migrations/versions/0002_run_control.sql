-- Pausing, reopening, and the one clock for everything that becomes due.

ALTER TABLE executions
    ADD COLUMN pause_reason text CHECK (pause_reason IN ('operator', 'client', 'budget', 'delay')),
    ADD COLUMN deadline_at timestamptz;
COMMENT ON COLUMN executions.pause_reason IS 'why a paused execution waits; null in every other status';
CREATE INDEX executions_paused ON executions (client_id) WHERE status = 'paused';

ALTER TABLE step_executions
    ADD COLUMN degraded boolean NOT NULL DEFAULT false,
    ADD COLUMN remade smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN step_executions.degraded IS 'the budget is used up: the work is done without paid calls';
COMMENT ON COLUMN step_executions.remade IS 'how often the step was done again because its output had vanished';

CREATE TABLE pauses (
    kind       text NOT NULL CHECK (kind IN ('stage', 'client')),
    name       text NOT NULL,
    actor      text NOT NULL,
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name)
);
COMMENT ON TABLE pauses IS 'stages whose workers take no tasks, clients whose executions do not go on';

CREATE TABLE timers (
    kind         text NOT NULL CHECK (kind IN ('retry', 'delay', 'deadline', 'schedule')),
    subject      text NOT NULL,
    due_at       timestamptz NOT NULL,
    execution_id uuid REFERENCES executions (id) ON DELETE CASCADE,
    epoch        integer,
    step         text,
    shard        integer,
    attempt      integer,
    PRIMARY KEY (kind, subject)
) WITH (fillfactor = 70);
COMMENT ON COLUMN timers.due_at IS 'infinity while the execution is paused';
CREATE INDEX timers_due ON timers (due_at);
CREATE INDEX timers_execution ON timers (execution_id) WHERE execution_id IS NOT NULL;

INSERT INTO timers (kind, subject, due_at, execution_id, epoch, step, shard, attempt)
SELECT 'retry', format('%s/%s/%s', execution_id, step, shard), next_attempt_at, execution_id, epoch, step, shard, attempt
FROM step_executions
WHERE status = 'waiting';
