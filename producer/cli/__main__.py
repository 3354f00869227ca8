"""``python -m producer.cli`` is ``factory``."""

from producer import cli

if __name__ == "__main__":
    cli.main()
