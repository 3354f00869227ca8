-- name: take
-- Takes a turn at a model: whether it is granted, and the seconds to wait, before the call or before asking again.
SELECT granted, wait
FROM shared.llm_take($1::uuid, $2::text, $3::integer, $4::double precision, $5::double precision, $6::double precision,
                     $7::double precision, $8::double precision)

-- name: give_back
-- Ends a turn, and gives back so many requests and tokens that were not used.
WITH refunded AS (
    UPDATE shared.llm_models m
    SET requests = m.requests + $2::double precision, tokens = m.tokens + $3::double precision
    FROM shared.llm_calls c
    WHERE c.id = $1 AND m.model = c.model
    RETURNING m.model
)
DELETE FROM shared.llm_calls c USING refunded r WHERE c.id = $1 AND c.model = r.model

-- name: leave_alone
-- Has everybody leave a model alone for $2 seconds.
INSERT INTO shared.llm_models AS m (model, closed_until)
VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (model) DO UPDATE SET closed_until = greatest(m.closed_until, excluded.closed_until)
