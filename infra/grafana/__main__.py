"""Writes the dashboards beside this package's ``__init__``, into the folder from which Grafana is provisioned."""

from infra.grafana import library


def main() -> None:
    """Replace what is there."""
    library.FOLDER.mkdir(exist_ok=True)
    for stale in library.FOLDER.glob("*.json"):
        stale.unlink()
    for name, text in library.files().items():
        (library.FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
