-- Every move of every step and execution, written down by the database itself.

CREATE TABLE chaos_history (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    execution_id uuid NOT NULL,
    step         text,
    shard        integer,
    epoch        integer NOT NULL,
    attempt      integer,
    before_epoch integer,
    before       text,
    status       text NOT NULL,
    rewritten    boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN chaos_history.step IS 'null: the execution itself';

CREATE FUNCTION chaos_note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos_history (execution_id, step, shard, epoch, attempt, status)
        VALUES (NEW.execution_id, NEW.step, NEW.shard, NEW.epoch, NEW.attempt, NEW.status);
    ELSIF (NEW.status, NEW.attempt, NEW.epoch) IS DISTINCT FROM (OLD.status, OLD.attempt, OLD.epoch)
        OR (OLD.status = 'completed' AND (NEW.output, NEW.files) IS DISTINCT FROM (OLD.output, OLD.files)) THEN
        INSERT INTO chaos_history
            (execution_id, step, shard, epoch, attempt, before_epoch, before, status, rewritten)
        VALUES (NEW.execution_id, NEW.step, NEW.shard, NEW.epoch, NEW.attempt, OLD.epoch, OLD.status, NEW.status,
                OLD.status = 'completed' AND NEW.epoch = OLD.epoch);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION chaos_note_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos_history (execution_id, epoch, status) VALUES (NEW.id, NEW.epoch, NEW.status);
    ELSIF (NEW.status, NEW.epoch) IS DISTINCT FROM (OLD.status, OLD.epoch) THEN
        INSERT INTO chaos_history (execution_id, epoch, before_epoch, before, status)
        VALUES (NEW.id, NEW.epoch, OLD.epoch, OLD.status, NEW.status);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE ON step_executions
    FOR EACH ROW EXECUTE FUNCTION chaos_note_step();
CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE ON executions
    FOR EACH ROW EXECUTE FUNCTION chaos_note_execution();
