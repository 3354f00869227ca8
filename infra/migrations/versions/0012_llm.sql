-- What calls to language models all workers together have under way and have made lately.

CREATE TABLE shared.llm_models (
    model text PRIMARY KEY,
    requests double precision NOT NULL DEFAULT 'Infinity',
    tokens double precision NOT NULL DEFAULT 'Infinity',
    filled_at timestamptz NOT NULL DEFAULT now(),
    closed_until timestamptz
);
COMMENT ON TABLE shared.llm_models IS 'what each model may still be asked; one row is locked for each turn that is taken';
COMMENT ON COLUMN shared.llm_models.requests IS 'what was in the bucket at filled_at; below 0 it is owed by turns to come';
COMMENT ON COLUMN shared.llm_models.closed_until IS 'when the service, which asked to be left alone, may be asked again';

CREATE TABLE shared.llm_calls (
    id uuid PRIMARY KEY,
    model text NOT NULL REFERENCES shared.llm_models (model),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE shared.llm_calls IS 'calls under way; one whose process died counts until it expires';
CREATE INDEX llm_calls_model ON shared.llm_calls (model, expires_at);

-- Takes a turn at a model for a call, which asks for the_tokens and may hold its slot for "hold" seconds.
--
-- A bucket holds a tenth of what a minute allows and is refilled with nine tenths of it a minute, so that no minute ever
-- sees more than the limit (of tokens: and one call more, since a call larger than the bucket only has to find it full).
-- A limit of 0 is none. A turn is booked ahead, by a bucket that falls below 0, so that turns come in the order in which
-- they were asked for and nobody has to ask twice. Only slots cannot be booked: nobody knows when one becomes free.
--
-- granted: "wait" seconds are to pass before the call. Not granted: the model is closed for "wait" seconds, or the turn
-- would come only then, which is longer than "patience"; where "wait" is 0 all slots are taken.
CREATE FUNCTION shared.llm_take(the_call uuid, the_model text, slots integer, requests_a_minute double precision,
                                tokens_a_minute double precision, the_tokens double precision,
                                patience double precision, hold double precision,
                                OUT granted boolean, OUT wait double precision)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bucket shared.llm_models;
    moment timestamptz;
    minutes double precision;
    requests_size double precision := greatest(1, requests_a_minute / 10);
    tokens_size double precision := tokens_a_minute / 10;
BEGIN
    granted := false;
    INSERT INTO shared.llm_models (model) VALUES (the_model) ON CONFLICT DO NOTHING;
    SELECT * INTO bucket FROM shared.llm_models m WHERE m.model = the_model FOR UPDATE;
    -- Who waited for the lock goes on later than its transaction began.
    moment := clock_timestamp();
    wait := greatest(0, extract(epoch FROM bucket.closed_until - moment));
    IF wait > 0 THEN
        RETURN;
    END IF;
    wait := 0;
    DELETE FROM shared.llm_calls c WHERE c.model = the_model AND c.expires_at <= moment;
    IF (SELECT count(*) FROM shared.llm_calls c WHERE c.model = the_model) >= slots THEN
        RETURN;
    END IF;
    minutes := greatest(0, extract(epoch FROM moment - bucket.filled_at) / 60);
    IF requests_a_minute > 0 THEN
        bucket.requests := least(requests_size, bucket.requests + minutes * 0.9 * requests_a_minute);
        wait := greatest(wait, (1 - bucket.requests) / (0.9 * requests_a_minute) * 60);
        bucket.requests := bucket.requests - 1;
    END IF;
    IF tokens_a_minute > 0 THEN
        bucket.tokens := least(tokens_size, bucket.tokens + minutes * 0.9 * tokens_a_minute);
        wait := greatest(wait, (least(the_tokens, tokens_size) - bucket.tokens) / (0.9 * tokens_a_minute) * 60);
        bucket.tokens := bucket.tokens - the_tokens;
    END IF;
    IF wait > patience THEN
        RETURN;
    END IF;
    UPDATE shared.llm_models m SET requests = bucket.requests, tokens = bucket.tokens, filled_at = moment
    WHERE m.model = the_model;
    INSERT INTO shared.llm_calls (id, model, expires_at)
    VALUES (the_call, the_model, moment + make_interval(secs => wait + hold));
    granted := true;
END $$;
