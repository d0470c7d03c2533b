"""`python -m at_worker` is `at-worker`."""

from at_worker.cli import main

if __name__ == "__main__":
    main()
