"""Grafana's dashboards, written down as values; ``python -m infra.grafana`` makes JSON of them."""
