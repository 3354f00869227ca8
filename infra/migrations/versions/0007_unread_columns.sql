-- Deadlines and the times of next attempts are timers, and nowhere else.

ALTER TABLE executions DROP COLUMN deadline_at;
ALTER TABLE step_executions DROP COLUMN next_attempt_at;
