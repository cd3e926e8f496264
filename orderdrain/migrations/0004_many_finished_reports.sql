-- Finished reports become millions, and what is asked often must not read them: how far each account's orders reach,
-- and which reports are the newest, of one account or of all.
CREATE INDEX reports_newest_of_account ON reports (account, available_at);
CREATE INDEX reports_newest ON reports (available_at);

-- Beat's ticks look for the few accounts that are due among ten thousand.
CREATE INDEX accounts_due_to_list ON accounts (next_list_at);
CREATE INDEX accounts_due_to_schedule ON accounts (next_schedule_at);
