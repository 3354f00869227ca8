-- name: take_turn
-- A turn at domain $1, or how long to wait for one; see the function for $2 to $4.
SELECT turn, wait, held, strikes, reason FROM shared.take_turn($1, $2, $3, $4)

-- name: leave_turn
-- Gives a turn back.
DELETE FROM shared.turns WHERE id = $1

-- name: welcome
-- Forgets the refusals of a domain that has answered.
UPDATE shared.domains SET strikes = 0 WHERE domain = $1 AND strikes > 0 AND hold_until < now()

-- name: hold
-- Leaves a domain alone for $2 seconds because of $3; one refusal more.
UPDATE shared.domains
SET hold_until = greatest(hold_until, now() + make_interval(secs => $2)), strikes = strikes + 1, reason = $3
WHERE domain = $1

-- name: release_domain
-- Forgets the hold of a domain, and says whether there was one.
UPDATE shared.domains SET hold_until = NULL, strikes = 0, reason = '' WHERE domain = $1 AND hold_until > now()
RETURNING domain

-- name: held_domains
-- Domains that are on hold, the longest first, up to $1.
SELECT domain, hold_until, strikes, reason
FROM shared.domains WHERE hold_until > now() ORDER BY hold_until DESC LIMIT $1

-- name: drop_domains
-- Forgets domains that nobody has asked for a month.
DELETE FROM shared.domains WHERE used_at < now() - interval '30 days' AND coalesce(hold_until, '-infinity') < now()

-- name: drop_turns
-- Removes turns that were lost with their workers.
DELETE FROM shared.turns WHERE lease_until < now()
