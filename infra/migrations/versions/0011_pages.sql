-- Pages of the web as they were seen last, so that nobody asks twice for what has not changed.

CREATE TABLE shared.pages (
    url            text PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('feed', 'page')),
    -- Where it is asked for: after a permanent redirect not at its own address any more.
    address        text NOT NULL,
    moved_to       text NOT NULL DEFAULT '',
    moved_seen     integer NOT NULL DEFAULT 0,
    -- The last good answer. Validators are kept as they came.
    final_url      text NOT NULL DEFAULT '',
    etag           text NOT NULL DEFAULT '',
    last_modified  text NOT NULL DEFAULT '',
    content_type   text NOT NULL DEFAULT '',
    body           bytea,
    size           bigint NOT NULL DEFAULT 0,
    received       bigint NOT NULL DEFAULT 0,
    -- No request goes out before, be it that the answer is fresh or that the site is left alone after a failure.
    next_at        timestamptz NOT NULL DEFAULT now(),
    lease_by       uuid,
    lease_until    timestamptz,
    -- Facts by which the state of a feed is judged.
    state          text NOT NULL DEFAULT 'healthy' CHECK (state IN ('healthy', 'degraded', 'dormant', 'gone')),
    state_since    timestamptz NOT NULL DEFAULT now(),
    first_at       timestamptz NOT NULL DEFAULT now(),
    used_at        timestamptz NOT NULL DEFAULT now(),
    asked_at       timestamptz,
    succeeded_at   timestamptz,
    renewed_at     timestamptz,
    listing        bytea,
    failures       integer NOT NULL DEFAULT 0,
    failing_since  timestamptz,
    fault          text NOT NULL DEFAULT '' CHECK (fault IN ('', 'gone', 'missing', 'failing', 'unreadable')),
    error          text NOT NULL DEFAULT '',
    requests       bigint NOT NULL DEFAULT 0,
    unchanged      bigint NOT NULL DEFAULT 0,
    remembered     bigint NOT NULL DEFAULT 0,
    bytes_received bigint NOT NULL DEFAULT 0,
    bytes_saved    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
-- Bodies are packed already.
ALTER TABLE shared.pages ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX pages_used ON shared.pages (used_at);
COMMENT ON COLUMN shared.pages.size IS 'bytes of the body before it was packed';
COMMENT ON COLUMN shared.pages.received IS 'bytes of the body as they came over the network';
COMMENT ON COLUMN shared.pages.failures IS 'in a row, up to now';
COMMENT ON COLUMN shared.pages.listing IS 'hash of the identities that a feed lists, to tell when it has something new';

-- Sites, by registrable domain: who waits for whom, and who is left alone.

CREATE TABLE shared.domains (
    domain     text PRIMARY KEY,
    next_at    timestamptz NOT NULL DEFAULT now(),
    hold_until timestamptz,
    strikes    integer NOT NULL DEFAULT 0,
    reason     text NOT NULL DEFAULT '',
    used_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE INDEX domains_held ON shared.domains (hold_until) WHERE hold_until IS NOT NULL;
COMMENT ON COLUMN shared.domains.next_at IS 'no request to the domain begins before';
COMMENT ON COLUMN shared.domains.strikes IS 'refusals in a row that have put it on hold';

-- Requests under way. They are counted, so that none that is lost with its worker counts for longer than it could last.
CREATE TABLE shared.turns (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain      text NOT NULL,
    lease_until timestamptz NOT NULL
);
CREATE INDEX turns_domain ON shared.turns (domain);

-- Gives whoever asks a turn at a domain, unless it is on hold, as many requests as may be are under way, or the last one
-- began less than "spacing" seconds ago; then it says how many seconds to wait, 0 where only an end frees a turn.
CREATE FUNCTION shared.take_turn(of_domain text, spacing double precision, at_once integer, lease double precision)
RETURNS TABLE (turn bigint, wait double precision, held boolean, strikes integer, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    found shared.domains;
    present timestamptz;
BEGIN
    INSERT INTO shared.domains AS d (domain) VALUES (of_domain)
    ON CONFLICT (domain) DO UPDATE SET used_at = now()
    RETURNING d.* INTO found;
    present := clock_timestamp();
    strikes := found.strikes;
    reason := found.reason;
    held := coalesce(found.hold_until > present, false);
    wait := extract(epoch FROM greatest(found.hold_until, found.next_at) - present);
    IF wait <= 0 OR wait IS NULL THEN
        wait := 0;
        DELETE FROM shared.turns t WHERE t.domain = of_domain AND t.lease_until < present;
        IF (SELECT count(*) FROM shared.turns t WHERE t.domain = of_domain) < at_once THEN
            INSERT INTO shared.turns (domain, lease_until) VALUES (of_domain, present + make_interval(secs => lease))
            RETURNING id INTO turn;
            UPDATE shared.domains d SET next_at = present + make_interval(secs => spacing) WHERE d.domain = of_domain;
        END IF;
    END IF;
    RETURN NEXT;
END $$;
