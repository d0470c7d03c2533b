"""Fast servers in processes of their own, so that what is measured is the client."""
