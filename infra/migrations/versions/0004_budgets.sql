-- Money: what each template does when it runs out, and the ledger of what paid calls cost.
-- All amounts are in millionths of a US dollar.

ALTER TABLE pipeline_templates
    ADD COLUMN on_budget text NOT NULL DEFAULT 'stop' CHECK (on_budget IN ('degrade', 'pause', 'stop'));

CREATE TABLE shared.budget_months (
    client_id text NOT NULL,
    month     date NOT NULL,
    reserved  bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    spent     bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    overrun   bigint NOT NULL DEFAULT 0 CHECK (overrun BETWEEN 0 AND spent),
    PRIMARY KEY (client_id, month)
) WITH (fillfactor = 50);
COMMENT ON TABLE shared.budget_months IS 'the account of each client and month (UTC), named by its first day';

CREATE TABLE shared.budget_executions (
    execution_id uuid PRIMARY KEY,
    client_id    text NOT NULL,
    reserved     bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    spent        bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    overrun      bigint NOT NULL DEFAULT 0 CHECK (overrun BETWEEN 0 AND spent)
) WITH (fillfactor = 50);
COMMENT ON TABLE shared.budget_executions IS 'the account of each execution';
COMMENT ON COLUMN shared.budget_executions.overrun IS 'the part of what is spent that was never reserved';

CREATE TABLE shared.budget_ledger (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT now(),
    kind           text NOT NULL CHECK (kind IN ('reserve', 'post', 'void', 'overrun')),
    reservation_id uuid NOT NULL,
    client_id      text NOT NULL,
    month          date NOT NULL,
    execution_id   uuid NOT NULL,
    step           text NOT NULL,
    shard          integer NOT NULL,
    epoch          integer NOT NULL,
    attempt        integer NOT NULL,
    purpose        text NOT NULL,
    amount         bigint NOT NULL CHECK (amount BETWEEN 0 AND 1000000000000000),
    reserved       bigint NOT NULL,
    spent          bigint NOT NULL CHECK (spent >= 0),
    expired        boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE shared.budget_ledger IS 'append-only; the sums of reserved and spent are those of the accounts';
COMMENT ON COLUMN shared.budget_ledger.amount IS 'what was asked for, or what the call cost in truth';
COMMENT ON COLUMN shared.budget_ledger.reserved IS 'by how much the entry changes what is reserved';
COMMENT ON COLUMN shared.budget_ledger.spent IS 'by how much the entry changes what is spent';
COMMENT ON COLUMN shared.budget_ledger.expired IS 'nobody said what became of the call: it counts as made, in full';
CREATE INDEX budget_ledger_execution ON shared.budget_ledger (execution_id, id);
-- A reservation is made once and resolved once, and what it cost beyond that is told once.
CREATE UNIQUE INDEX budget_ledger_reserved ON shared.budget_ledger (reservation_id) WHERE kind = 'reserve';
CREATE UNIQUE INDEX budget_ledger_resolved ON shared.budget_ledger (reservation_id) WHERE kind IN ('post', 'void');
CREATE UNIQUE INDEX budget_ledger_overrun ON shared.budget_ledger (reservation_id) WHERE kind = 'overrun';

CREATE TABLE shared.budget_open (
    reservation_id uuid PRIMARY KEY,
    execution_id   uuid NOT NULL,
    step           text NOT NULL,
    shard          integer NOT NULL,
    epoch          integer NOT NULL,
    attempt        integer NOT NULL,
    amount         bigint NOT NULL,
    expires_at     timestamptz NOT NULL
);
COMMENT ON TABLE shared.budget_open IS 'reservations that are not resolved; the ledger alone would have to be searched';

CREATE FUNCTION shared.budget_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'entries of the budget ledger are neither changed nor removed; correct one by another';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shared.budget_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION shared.budget_refuse();

-- Locks both accounts, every client's month before any execution: the order in which everybody takes them.
CREATE FUNCTION shared.budget_lock(the_client text, the_month date, the_execution uuid)
RETURNS TABLE (month_used bigint, execution_used bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO shared.budget_months (client_id, month) VALUES (the_client, the_month) ON CONFLICT DO NOTHING;
    SELECT m.reserved + m.spent INTO month_used
    FROM shared.budget_months m WHERE m.client_id = the_client AND m.month = the_month FOR UPDATE;
    INSERT INTO shared.budget_executions (execution_id, client_id) VALUES (the_execution, the_client)
    ON CONFLICT DO NOTHING;
    SELECT x.reserved + x.spent INTO execution_used
    FROM shared.budget_executions x WHERE x.execution_id = the_execution FOR UPDATE;
    RETURN NEXT;
END $$;

-- Writes an entry and moves both accounts, which the caller has locked; ``entry`` says for whom and what.
CREATE FUNCTION shared.budget_enter(entry shared.budget_ledger, the_kind text, the_amount bigint, by_reserved bigint,
                                    by_spent bigint, is_expired boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    by_overrun bigint := CASE WHEN the_kind = 'overrun' THEN by_spent ELSE 0 END;
BEGIN
    INSERT INTO shared.budget_ledger (kind, reservation_id, client_id, month, execution_id, step, shard, epoch, attempt,
                                      purpose, amount, reserved, spent, expired)
    VALUES (the_kind, entry.reservation_id, entry.client_id, entry.month, entry.execution_id, entry.step, entry.shard,
            entry.epoch, entry.attempt, entry.purpose, the_amount, by_reserved, by_spent, is_expired);
    UPDATE shared.budget_months m
    SET reserved = m.reserved + by_reserved, spent = m.spent + by_spent, overrun = m.overrun + by_overrun
    WHERE m.client_id = entry.client_id AND m.month = entry.month;
    UPDATE shared.budget_executions x
    SET reserved = x.reserved + by_reserved, spent = x.spent + by_spent, overrun = x.overrun + by_overrun
    WHERE x.execution_id = entry.execution_id;
    IF the_kind = 'overrun' OR is_expired THEN
        INSERT INTO public.timeline (execution_id, kind, step, shard, attempt, actor, detail)
        VALUES (entry.execution_id, CASE WHEN is_expired THEN 'budget_expired' ELSE 'budget_overrun' END, entry.step,
                entry.shard, entry.attempt, CASE WHEN is_expired THEN 'coordinator' ELSE 'worker' END,
                jsonb_build_object('purpose', entry.purpose, 'reserved', entry.amount, 'amount', the_amount));
    END IF;
END $$;

-- Reserves money for one paid call of an attempt that is under way, or says why not. The same reservation twice is one.
-- outcome: granted; execution or client, which has not enough left; over, the attempt; foreign, the execution to this
-- client; conflict, the id stands for something else or for what is resolved.
CREATE FUNCTION shared.budget_reserve(the_reservation uuid, the_client text, the_execution uuid, the_epoch integer,
                                      the_step text, the_shard integer, the_attempt integer, the_purpose text,
                                      the_amount bigint, seconds double precision, OUT outcome text, OUT available bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    caps record;
    used record;
    entry shared.budget_ledger;
BEGIN
    IF the_amount IS NULL OR the_amount <= 0 THEN
        RAISE numeric_value_out_of_range USING MESSAGE = 'a reservation is of one millionth of a dollar at least';
    END IF;
    SELECT e.budget AS of_execution, c.monthly_budget AS of_client INTO caps
    FROM public.executions e JOIN public.clients c ON c.id = e.client_id
    WHERE e.id = the_execution AND e.client_id = the_client;
    IF NOT FOUND THEN
        outcome := 'foreign';
        RETURN;
    END IF;
    SELECT * INTO used FROM shared.budget_lock(the_client, this_month, the_execution);
    SELECT * INTO entry FROM shared.budget_ledger l WHERE l.reservation_id = the_reservation AND l.kind = 'reserve';
    IF FOUND THEN
        PERFORM 1 FROM shared.budget_open o
        WHERE o.reservation_id = the_reservation AND o.amount = the_amount
            AND (o.execution_id, o.step, o.shard, o.epoch, o.attempt)
                = (the_execution, the_step, the_shard, the_epoch, the_attempt);
        outcome := CASE WHEN FOUND THEN 'granted' ELSE 'conflict' END;
        RETURN;
    END IF;
    -- Work of before, still running, spends nothing.
    PERFORM 1 FROM public.step_executions s
    WHERE s.execution_id = the_execution AND s.step = the_step AND s.shard = the_shard AND s.epoch = the_epoch
        AND s.attempt = the_attempt AND s.status IN ('dispatched', 'running');
    IF NOT FOUND THEN
        outcome := 'over';
        RETURN;
    END IF;
    -- Null, which is no cap, is left out by least; greatest would do the same, so zero comes in later.
    available := least(caps.of_execution - used.execution_used, caps.of_client - used.month_used);
    IF the_amount > available THEN
        available := greatest(available, 0);
        outcome := CASE WHEN the_amount > caps.of_execution - used.execution_used THEN 'execution' ELSE 'client' END;
        RETURN;
    END IF;
    entry.reservation_id := the_reservation;
    entry.client_id := the_client;
    entry.month := this_month;
    entry.execution_id := the_execution;
    entry.step := the_step;
    entry.shard := the_shard;
    entry.epoch := the_epoch;
    entry.attempt := the_attempt;
    entry.purpose := left(the_purpose, 200);
    PERFORM shared.budget_enter(entry, 'reserve', the_amount, the_amount, 0);
    INSERT INTO shared.budget_open (reservation_id, execution_id, step, shard, epoch, attempt, amount, expires_at)
    VALUES (the_reservation, the_execution, the_step, the_shard, the_epoch, the_attempt, the_amount,
            now() + make_interval(secs => least(greatest(seconds, 0), 3600)));
    outcome := 'granted';
END $$;

-- Locks the accounts of a reservation and returns its first entry, null if there is no such reservation.
CREATE FUNCTION shared.budget_find(the_reservation uuid) RETURNS shared.budget_ledger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry shared.budget_ledger;
BEGIN
    SELECT * INTO entry FROM shared.budget_ledger l WHERE l.reservation_id = the_reservation AND l.kind = 'reserve';
    IF FOUND THEN
        PERFORM shared.budget_lock(entry.client_id, entry.month, entry.execution_id);
    END IF;
    RETURN entry;
END $$;

-- Records what the call cost. outcome: posted; late, after it had been voided or had expired: then what was not counted
-- yet is an overrun; conflict, another cost was told before; unknown.
CREATE FUNCTION shared.budget_post(the_reservation uuid, actual bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry shared.budget_ledger := shared.budget_find(the_reservation);
    last shared.budget_ledger;
BEGIN
    IF entry.id IS NULL THEN
        RETURN 'unknown';
    END IF;
    SELECT * INTO last FROM shared.budget_ledger l
    WHERE l.reservation_id = the_reservation AND l.kind IN ('post', 'void');
    IF NOT FOUND THEN
        DELETE FROM shared.budget_open o WHERE o.reservation_id = the_reservation;
        PERFORM shared.budget_enter(entry, 'post', actual, -entry.amount, least(actual, entry.amount));
        IF actual > entry.amount THEN
            PERFORM shared.budget_enter(entry, 'overrun', actual - entry.amount, 0, actual - entry.amount);
        END IF;
        RETURN 'posted';
    END IF;
    IF last.kind = 'post' AND NOT last.expired THEN
        RETURN CASE WHEN last.amount = actual THEN 'posted' ELSE 'conflict' END;
    END IF;
    PERFORM 1 FROM shared.budget_ledger l WHERE l.reservation_id = the_reservation AND l.kind = 'overrun';
    IF NOT FOUND THEN
        PERFORM shared.budget_enter(entry, 'overrun', actual, 0, greatest(actual - last.spent, 0));
        RETURN 'late';
    END IF;
    PERFORM 1 FROM shared.budget_ledger l
    WHERE l.reservation_id = the_reservation AND l.kind = 'overrun' AND l.amount = actual;
    RETURN CASE WHEN FOUND THEN 'late' ELSE 'conflict' END;
END $$;

-- Gives back what was reserved for a call that was not made. outcome: voided; conflict, it was posted; unknown.
CREATE FUNCTION shared.budget_void(the_reservation uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry shared.budget_ledger := shared.budget_find(the_reservation);
    last shared.budget_ledger;
BEGIN
    IF entry.id IS NULL THEN
        RETURN 'unknown';
    END IF;
    SELECT * INTO last FROM shared.budget_ledger l
    WHERE l.reservation_id = the_reservation AND l.kind IN ('post', 'void');
    IF FOUND THEN
        RETURN CASE WHEN last.kind = 'void' THEN 'voided' ELSE 'conflict' END;
    END IF;
    DELETE FROM shared.budget_open o WHERE o.reservation_id = the_reservation;
    PERFORM shared.budget_enter(entry, 'void', 0, -entry.amount, 0);
    RETURN 'voided';
END $$;

-- Counts a reservation as spent in full, of which nobody said what became of it; false if it is resolved.
CREATE FUNCTION shared.budget_expire(the_reservation uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entry shared.budget_ledger := shared.budget_find(the_reservation);
BEGIN
    DELETE FROM shared.budget_open o WHERE o.reservation_id = the_reservation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM shared.budget_enter(entry, 'post', entry.amount, -entry.amount, entry.amount, true);
    RETURN true;
END $$;

-- Workers call three functions; neither the ledger nor the accounts are theirs to read or to write.
REVOKE ALL ON shared.budget_ledger, shared.budget_months, shared.budget_executions, shared.budget_open
    FROM factory_worker;
REVOKE ALL ON FUNCTION
    shared.budget_refuse(), shared.budget_lock(text, date, uuid), shared.budget_find(uuid), shared.budget_expire(uuid),
    shared.budget_enter(shared.budget_ledger, text, bigint, bigint, bigint, boolean),
    shared.budget_reserve(uuid, text, uuid, integer, text, integer, integer, text, bigint, double precision),
    shared.budget_post(uuid, bigint), shared.budget_void(uuid)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    shared.budget_reserve(uuid, text, uuid, integer, text, integer, integer, text, bigint, double precision),
    shared.budget_post(uuid, bigint), shared.budget_void(uuid)
    TO factory_worker;
