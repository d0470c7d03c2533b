"""Who is measured: at-worker and its peers, each with its defaults and with its documented tuning."""
