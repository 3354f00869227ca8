"""Dashboards as the JSON that Grafana loads."""

from collections.abc import Callable, Iterator, Mapping

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models

from infra.grafana.panels import Board, Panel, Postgres, Prometheus, Variable

METRICS, TABLES = "prometheus", "postgres"
"""The variables by which a dashboard chooses its data sources, so that it works with those of any Grafana."""

POSTGRES = "grafana-postgresql-datasource"
RUNBOOKS = "runbooks"

Builder = timeseries.Panel | stat.Panel | table.Panel


class PostgresQuery(variants.Dataquery):
    """A query to a Postgres data source, for which the library has no model."""

    def __init__(self, text: str, ref_id: str) -> None:
        self._text = text
        self._ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """What Grafana's Postgres plugin reads."""
        return {"refId": self._ref_id, "rawQuery": True, "rawSql": self._text, "format": "table", "editorMode": "code"}


class _Ready(builder.Builder[variants.Dataquery]):
    """A query that is built already."""

    def __init__(self, query: variants.Dataquery) -> None:
        self._query = query

    def build(self) -> variants.Dataquery:
        return self._query


def document(board: Board, runbooks: Mapping[str, int]) -> str:
    """The JSON of a dashboard; ``runbooks`` are the panels of the runbooks' dashboard by the alert they are about."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"factory-{board.name}")
        .description(board.says)
        .tags(["ai-factory"])
        .time(board.span, "now")
        .refresh("15s")
        .timezone("browser")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .links([_all_boards()])
        .annotation(_alerts())
    )
    for variable in _variables(board):
        made = made.with_variable(variable)
    number = 0
    for section in board.sections:
        made = made.with_row(dashboard.Row(section.title))
        for panel in section.panels:
            number += 1
            made = made.with_panel(_panel(panel, number, runbooks))
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(made.build()) + "\n"


def _all_boards() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("AI Factory").type(models.DashboardLinkType.DASHBOARDS)
    return link.tags(["ai-factory"]).as_dropdown(True).keep_time(True)


def _alerts() -> dashboard.AnnotationQuery:
    """Alerts that fire, as marks on every graph."""
    found = dashboard.AnnotationQuery().name("Alerts").enable(True).icon_color("red")
    return found.datasource(_source(METRICS)).expr('ALERTS{alertstate="firing", alertname!=""}')


def _source(variable: str) -> models.DataSourceRef:
    kind = "prometheus" if variable == METRICS else POSTGRES
    return models.DataSourceRef(type_val=kind, uid=f"${{{variable}}}")


def _variables(board: Board) -> Iterator[builder.Builder[models.VariableModel]]:
    asked = {type(query) for panel in board.panels for query in panel.queries}
    yield dashboard.DatasourceVariable(METRICS).label("Metrics").type("prometheus")
    if Postgres in asked:
        yield dashboard.DatasourceVariable(TABLES).label("Tables").type(POSTGRES)
    for variable in board.variables:
        yield _variable(variable)


def _variable(variable: Variable) -> builder.Builder[models.VariableModel]:
    if variable.metric is None:
        return dashboard.TextBoxVariable(variable.name).label(variable.title)
    choice = (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    values = choice.datasource(_source(METRICS)).query(f"label_values({variable.metric}, {variable.name})")
    return (
        values.multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _panel(panel: Panel, number: int, runbooks: Mapping[str, int]) -> builder.Builder[models.Panel]:
    shape = _SHAPES[panel.kind]()
    shape = shape.id(number).title(panel.title).description(panel.says).unit(panel.unit)
    shape = shape.span(panel.width).height(panel.height)
    shape = shape.datasource(_source(TABLES if isinstance(panel.queries[0], Postgres) else METRICS))
    if panel.least is not None and panel.kind == "graph":
        shape = shape.min(panel.least)
    if panel.kind == "figure" or panel.limits:
        shape = shape.thresholds(_thresholds(panel))
    if panel.stacked and isinstance(shape, timeseries.Panel):
        shape = shape.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL)).fill_opacity(30)
    if panel.kind == "graph" and panel.limits and isinstance(shape, timeseries.Panel):
        line = common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.LINE)
        shape = shape.thresholds_style(line)
    for position, query in enumerate(panel.queries):
        shape = shape.with_target(_target(query, chr(ord("A") + position)))
    for column, unit in panel.columns:
        shape = shape.override_by_name(column, [models.DynamicConfigValue("unit", unit)])
    if panel.opens is not None:
        shape = shape.override_by_name(panel.opens[0], [models.DynamicConfigValue("links", [_opening(*panel.opens)])])
    return shape.links(list(_links(panel, runbooks)))


def _opening(column: str, board: str) -> dict[str, str]:
    return {"title": "Show", "url": f"/d/factory-{board}?var-{column}=${{__value.raw}}&${{__url_time_range}}"}


def _figure() -> Builder:
    latest = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(latest).graph_mode(options.BigValueGraphMode.AREA)


def _graph() -> Builder:
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST).show_legend(True)
    legend = legend.placement(options.LegendPlacement.BOTTOM).calcs([])
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING)
    return timeseries.Panel().legend(legend).tooltip(tooltip).line_width(1).fill_opacity(8)


_SHAPES: Mapping[str, Callable[[], Builder]] = {
    "figure": _figure,
    "graph": _graph,
    "table": lambda: table.Panel().show_header(True),
}


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    first = models.Threshold(value=None, color="green" if panel.limits else "text")
    steps = [first, *(models.Threshold(value=value, color=colour) for value, colour in panel.limits)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Prometheus | Postgres, letter: str) -> builder.Builder[variants.Dataquery]:
    if isinstance(query, Postgres):
        return _Ready(PostgresQuery(query.text, letter))
    asked = prometheus.Dataquery().expr(query.text).ref_id(letter).legend_format(query.legend or "__auto")
    return asked.range()


def _links(panel: Panel, runbooks: Mapping[str, int]) -> Iterator[dashboard.DashboardLink]:
    if panel.board is not None:
        yield _link(f"More: {panel.board}", f"/d/factory-{panel.board}?${{__url_time_range}}")
    if panel.runbook is not None:
        place = f"/d/factory-{RUNBOOKS}?viewPanel={runbooks[panel.runbook]}"
        yield _link(f"Runbook: {panel.runbook}", place)


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)
